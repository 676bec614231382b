//! The console's requests to the pipeline, and the answers.

use bklit_wire::backend::Change;
use bklit_wire::event_lookup::EventTrace;
use bklit_wire::history::{History, HistoryQuery};
use bklit_wire::live_view::LiveView;
use bklit_wire::pause::Pausable;
use bklit_wire::queue::{BatchView, Edit, Edited, FailedView, QueueView};
use bklit_wire::session_lookup::SessionTrace;
use bklit_wire::sql::{SqlAnswer, SqlSchema};
use bklit_wire::who::{WhoQuery, WhoView};

/// A request of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The queue and its newest failed events.
    Queue {
        /// The most failed events to return.
        failed: usize,
    },
    /// Change a failed event, by its id in the failed queue.
    Change(Change, String),
    /// Check an edited event, without changing anything.
    CheckEdit(Edit),
    /// Keep a failed event in a file, and put another body into the queue instead of it.
    Edit(Box<FailedView>, String),
    /// The events of a batch in flight, by its id.
    Batch(String),
    /// The state of an event, by its id.
    Event(String),
    /// The events of a session.
    Session {
        /// Its id.
        id: String,
        /// Its project, if known.
        project: Option<String>,
    },
    /// Current visitors.
    Live,
    /// The history of figures in a window, and in the same window an hour, a day and a week earlier.
    History(HistoryQuery),
    /// The history of figures for the bars next to the figures.
    Bars(HistoryQuery),
    /// Where events come from.
    Who(WhoQuery),
    /// Pause or resume a part of the pipeline.
    Pause {
        /// The part.
        part: Pausable,
        /// Whether to pause it.
        paused: bool,
        /// Why, if the user said so.
        reason: Option<String>,
    },
    /// Run a query on the store; replaces the one that is running.
    Sql {
        /// Its number, which the answer repeats.
        number: u64,
        /// The statement.
        query: String,
    },
    /// The tables that can be queried.
    SqlSchema,
}

/// The answer to a request. Each request gets exactly one, even after a timeout.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Of [`Request::Queue`].
    Queue(Result<QueueSnapshot, String>),
    /// Of [`Request::Change`]: how many were changed.
    Changed(Change, Result<u64, String>),
    /// Of [`Request::CheckEdit`], with the edited body.
    EditChecked(String, Result<Edited, String>),
    /// Of [`Request::Edit`].
    Edited(Result<KeptEdit, String>),
    /// Of [`Request::Batch`], with the id; `None` once the batch is done.
    Batch(String, Result<Option<BatchView>, String>),
    /// Of [`Request::Event`], with the id.
    Event(String, Result<EventTrace, String>),
    /// Of [`Request::Session`], with the id.
    Session(String, Result<SessionTrace, String>),
    /// Of [`Request::Live`].
    Live(Result<LiveView, String>),
    /// Of [`Request::History`].
    History(Result<Box<HistoryWindow>, String>),
    /// Of [`Request::Bars`].
    Bars(Result<History, String>),
    /// Of [`Request::Who`].
    Who(Result<WhoView, String>),
    /// Of [`Request::Pause`], with what was requested.
    Paused(Pausable, bool, Result<(), String>),
    /// Of [`Request::Sql`], with its number.
    Sql(u64, Result<SqlAnswer, String>),
    /// Of [`Request::SqlSchema`].
    SqlSchema(Result<SqlSchema, String>),
}

/// What became of an edited event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEdit {
    /// Whether it was put into the queue.
    pub edited: Edited,
    /// The file with the original.
    pub kept: String,
}

/// The queue at a moment, and its newest failed events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSnapshot {
    /// Figures and batches.
    pub view: QueueView,
    /// The newest failed events first.
    pub failed: Vec<FailedView>,
    /// Whether there are more of them.
    pub has_more: bool,
}

/// The history of figures in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryWindow {
    /// The window.
    pub now: History,
    /// The same window an hour, a day and a week earlier; `None` if it could not be read.
    pub before: [Option<History>; 3],
}
