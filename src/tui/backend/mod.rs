//! What the console can ask beside its stream: the queue, its repair, and who is there now. The
//! loop asks, in tasks of their own and each with a deadline; the model only says what it wants.

mod export;
mod tasks;

use std::path::PathBuf;

use bklit_wire::backend::{Backend, Change};
use bklit_wire::event_lookup::EventTrace;
use bklit_wire::live_view::LiveView;
use bklit_wire::queue::MAX_PAGE;
use bklit_wire::queue::{BatchView, FailedView, QueueView};

pub(super) use tasks::Tasks;

/// Items of a page that is asked for; a slow line carries a page at a time.
const PAGE: usize = 100;
/// Bytes of failed items that are kept at most, besides the last page.
pub const MAX_SNAPSHOT_BYTES: usize = 16 * 1024 * 1024;

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

/// The queue with its newest failed events, `most` or fewer where they are large.
async fn snapshot(backend: &dyn Backend, most: usize) -> Result<QueueSnapshot, String> {
    let view = backend.queue().await?;
    let mut snapshot = QueueSnapshot { view, failed: Vec::new(), has_more: false };
    let (mut after, mut bytes) = (None::<String>, 0);
    while snapshot.view.failed > 0 {
        let wanted = PAGE.min(most - snapshot.failed.len());
        let page = backend.failed(after.as_deref(), wanted).await?;
        bytes += page.items.iter().map(|i| i.body.len() + i.reason.len()).sum::<usize>();
        snapshot.failed.extend(page.items);
        snapshot.failed.truncate(most);
        after = page.next;
        snapshot.has_more = after.is_some();
        if after.is_none() || snapshot.failed.len() >= most || bytes >= MAX_SNAPSHOT_BYTES {
            break;
        }
    }
    Ok(snapshot)
}

/// Does it with any number of failed events.
async fn change(backend: &dyn Backend, change: Change, ids: &[String]) -> Result<u64, String> {
    let mut changed = 0;
    for part in ids.chunks(MAX_PAGE) {
        changed += backend.change(change, part).await.map_err(|reason| match changed {
            0 => reason,
            done => format!("{reason}; {done} were done before"),
        })?;
    }
    Ok(changed)
}
