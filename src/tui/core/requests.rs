//! What the console asks of the pipeline beside its stream, and the answers.

use std::path::PathBuf;

use crate::pipeline::lookup::EventTrace;
use crate::pipeline::queue::view::{BatchView, FailedView, QueueView};
use crate::pipeline::store::live::LiveView;

/// Something the model wants to know or to have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The queue, with at most so many failed events.
    Queue {
        /// The most.
        failed: usize,
    },
    /// Something is to be done with failed events.
    Change(Change, Vec<String>),
    /// What is in a batch in flight, by its id.
    Batch(String),
    /// Where an event is, by its id.
    Event(String),
    /// Who is there now.
    Live,
    /// Failed events are to be written into a file.
    Export {
        /// Where to; it must not be there.
        path: PathBuf,
        /// What.
        items: Vec<FailedView>,
    },
}

/// What to do with failed events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Back into the queue.
    Retry,
    /// Away for good.
    Delete,
}

/// What became of a request; each has one answer, also when it took too long.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Of [`Request::Queue`].
    Queue(Result<QueueSnapshot, String>),
    /// Of [`Request::Change`]: how many there were.
    Changed(Change, Result<u64, String>),
    /// Of [`Request::Batch`], with the id; `None` once the batch is done.
    Batch(String, Result<Option<BatchView>, String>),
    /// Of [`Request::Event`], with the id.
    Event(String, Result<EventTrace, String>),
    /// Of [`Request::Live`].
    Live(Result<LiveView, String>),
    /// Of [`Request::Export`]: how many events are where.
    Exported(Result<(u64, PathBuf), String>),
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
