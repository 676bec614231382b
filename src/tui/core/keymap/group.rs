//! The groups of bindings in the help.

use super::{BINDINGS, Binding, Context};

/// A group of bindings in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Moving through lines.
    Move,
    /// Searching and filtering.
    Find,
    /// Stages and levels.
    Show,
    /// Actions on a line.
    Line,
    /// Panes.
    Panes,
    /// The views other than the log.
    Views,
    /// The console itself.
    Console,
    /// The clock of a replay.
    Replay,
    /// Views that cover the log.
    InView,
    /// The timeline above the log.
    InTimeline,
    /// The queue's own view.
    InQueue,
    /// The problems' view.
    InProblems,
    /// Figures over time.
    InHistory,
    /// Queries on the store.
    InSql,
    /// Where events come from.
    InWho,
    /// The list of projects.
    InList,
    /// Text fields.
    InField,
    /// The palette.
    InCommand,
}

impl Group {
    /// All of them, those for the log first.
    pub const ALL: [Self; 18] = [
        Self::Move,
        Self::Find,
        Self::Show,
        Self::Line,
        Self::Panes,
        Self::Views,
        Self::Console,
        Self::Replay,
        Self::InTimeline,
        Self::InView,
        Self::InQueue,
        Self::InProblems,
        Self::InHistory,
        Self::InSql,
        Self::InWho,
        Self::InList,
        Self::InField,
        Self::InCommand,
    ];

    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Move => "Moving",
            Self::Find => "Searching",
            Self::Show => "Stages and levels",
            Self::Line => "The selected line",
            Self::Panes => "Panes",
            Self::Views => "Problems, queue, live, verify, history, processes, who, SQL",
            Self::Console => "Console",
            Self::Replay => "In a replay, besides pause",
            Self::InTimeline => "In the timeline",
            Self::InView => "In a view",
            Self::InQueue => "In the queue's view",
            Self::InProblems => "In the problems' view",
            Self::InHistory => "In the history",
            Self::InSql => "In SQL",
            Self::InWho => "In the who view",
            Self::InList => "In the list of projects",
            Self::InField => "In a text field",
            Self::InCommand => "In a command",
        }
    }

    /// Its bindings, in the order of the table.
    pub fn bindings(self) -> impl Iterator<Item = &'static Binding> {
        BINDINGS.iter().filter(move |binding| binding.group == self)
    }

    /// All groups in the order in which a context's help shows them: its own, then others that
    /// apply there, then the rest.
    pub fn order(context: Context) -> Vec<Self> {
        let own = match context {
            Context::Queue | Context::Failed | Context::Edit | Context::Batch => {
                Some(Self::InQueue)
            }
            Context::Problems => Some(Self::InProblems),
            Context::History => Some(Self::InHistory),
            Context::Sql | Context::SqlRow | Context::SqlInput => Some(Self::InSql),
            Context::Who => Some(Self::InWho),
            Context::Log => None,
            Context::Timeline => Some(Self::InTimeline),
            _ => Some(Self::InView),
        };
        let rank = |group: &Self| {
            let works = group.bindings().any(|binding| binding.contexts.contains(context));
            (own != Some(*group), !works)
        };
        let mut all = Self::ALL.to_vec();
        all.sort_by_key(rank);
        all
    }
}
