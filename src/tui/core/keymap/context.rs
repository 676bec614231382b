//! Where keys go, and sets of such places.

/// Where the keys go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The log.
    Log,
    /// One line in full.
    Detail,
    /// The help.
    Help,
    /// The way of an event.
    Trace,
    /// The list of projects.
    Projects,
    /// The queue.
    Queue,
    /// One failed event in full.
    Failed,
    /// One batch in flight in full.
    Batch,
    /// Who is there now.
    Live,
    /// What verification found.
    Verify,
    /// A text field.
    Field,
    /// Where a letter is awaited.
    Letter,
    /// A command.
    Palette,
}

impl Context {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Log,
        Self::Detail,
        Self::Help,
        Self::Trace,
        Self::Projects,
        Self::Queue,
        Self::Failed,
        Self::Batch,
        Self::Live,
        Self::Verify,
        Self::Field,
        Self::Letter,
        Self::Palette,
    ];

    /// How the help calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Detail => "detail",
            Self::Help => "help",
            Self::Trace => "trace",
            Self::Projects => "projects",
            Self::Queue => "queue",
            Self::Failed => "failed event",
            Self::Batch => "batch",
            Self::Live => "live",
            Self::Verify => "verify",
            Self::Field => "text field",
            Self::Letter => "letter",
            Self::Palette => "command",
        }
    }
}

/// A set of contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contexts(u16);

impl Contexts {
    /// All of them.
    pub const ALL: Self = Self::of(&Context::ALL);

    pub(super) const fn of(contexts: &[Context]) -> Self {
        let (mut set, mut nth) = (0, 0);
        while nth < contexts.len() {
            set |= 1 << contexts[nth] as u16;
            nth += 1;
        }
        Self(set)
    }

    pub(super) const fn with(self, context: Context) -> Self {
        Self(self.0 | 1 << context as u16)
    }

    pub(super) const fn without(self, context: Context) -> Self {
        Self(self.0 & !(1 << context as u16))
    }

    /// Whether it is one of them.
    pub const fn contains(self, context: Context) -> bool {
        self.0 & 1 << context as u16 != 0
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Context> {
        Context::ALL.into_iter().filter(move |&context| self.contains(context))
    }
}
