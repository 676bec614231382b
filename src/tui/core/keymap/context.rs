//! The contexts in which keys apply, and sets of them.

/// A context in which keys apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The log.
    Log,
    /// The timeline above the log.
    Timeline,
    /// One line in full.
    Detail,
    /// The help.
    Help,
    /// The trace of an event.
    Trace,
    /// The list of projects.
    Projects,
    /// The queue.
    Queue,
    /// One failed event in full.
    Failed,
    /// Edited failed events.
    Edit,
    /// One batch in flight in full.
    Batch,
    /// Current visitors.
    Live,
    /// The results of verification.
    Verify,
    /// The problems.
    Problems,
    /// The session of a visitor.
    Session,
    /// Figures over time.
    History,
    /// The processes of the pipeline.
    Processes,
    /// The result of a query on the store.
    Sql,
    /// One row of it in full.
    SqlRow,
    /// The query being typed.
    SqlInput,
    /// Where events come from.
    Who,
    /// A text field.
    Field,
    /// A prompt for a letter.
    Letter,
    /// The palette.
    Palette,
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Log,
        Self::Timeline,
        Self::Detail,
        Self::Help,
        Self::Trace,
        Self::Projects,
        Self::Queue,
        Self::Failed,
        Self::Edit,
        Self::Batch,
        Self::Live,
        Self::Verify,
        Self::Problems,
        Self::Session,
        Self::History,
        Self::Processes,
        Self::Sql,
        Self::SqlRow,
        Self::SqlInput,
        Self::Who,
        Self::Field,
        Self::Letter,
        Self::Palette,
    ];

    /// Its name in the help.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Timeline => "timeline",
            Self::Detail => "detail",
            Self::Help => "help",
            Self::Trace => "trace",
            Self::Projects => "projects",
            Self::Queue => "queue",
            Self::Failed => "failed event",
            Self::Edit => "edited event",
            Self::Batch => "batch",
            Self::Live => "live",
            Self::Verify => "verify",
            Self::Problems => "problems",
            Self::Session => "session",
            Self::History => "history",
            Self::Processes => "processes",
            Self::Sql => "sql",
            Self::SqlRow => "row",
            Self::SqlInput => "query",
            Self::Who => "who",
            Self::Field => "text field",
            Self::Letter => "letter",
            Self::Palette => "command",
        }
    }
}

/// A set of contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contexts(u32);

impl Contexts {
    /// All of them.
    pub const ALL: Self = Self::of(&Context::ALL);

    pub(super) const fn of(contexts: &[Context]) -> Self {
        let (mut set, mut nth) = (0, 0);
        while nth < contexts.len() {
            set |= 1 << contexts[nth] as u32;
            nth += 1;
        }
        Self(set)
    }

    pub(super) const fn with(self, context: Context) -> Self {
        Self(self.0 | 1 << context as u32)
    }

    pub(super) const fn without(self, context: Context) -> Self {
        Self(self.0 & !(1 << context as u32))
    }

    /// Whether a context is in the set.
    pub const fn contains(self, context: Context) -> bool {
        self.0 & 1 << context as u32 != 0
    }

    /// The contexts in the set, in order.
    pub fn iter(self) -> impl Iterator<Item = Context> {
        Context::ALL.into_iter().filter(move |&context| self.contains(context))
    }
}
