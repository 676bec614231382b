//! The console's requests to the pipeline: the queue and its repair, events, and live visitors. The
//! loop runs them as tasks with timeouts; the model only says what it needs.
//!
//! - `export`: writes failed events to a file
//! - `tasks`: the pending requests

mod export;
mod tasks;

use bklit_console_core::model::history::Shift;
use bklit_console_core::requests::{HistoryWindow, QueueSnapshot};
use bklit_wire::backend::{Backend, Change};
use bklit_wire::history::HistoryQuery;
use bklit_wire::queue::MAX_PAGE;

pub(super) use tasks::Tasks;

/// Items per page; small enough for a slow connection.
const PAGE: usize = 100;
/// The most bytes of failed items that are kept, not counting the last page.
pub const MAX_SNAPSHOT_BYTES: usize = 16 * 1024 * 1024;

/// The queue with its newest failed events: `most`, or fewer if they are large.
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

/// The history in a window, and in earlier ones as far as they can be read.
async fn history(backend: &dyn Backend, query: HistoryQuery) -> Result<HistoryWindow, String> {
    let now = backend.history(query).await?;
    let mut before = [const { None }; Shift::ALL.len()];
    for (history, shift) in before.iter_mut().zip(Shift::ALL) {
        *history = backend.history(query.earlier(shift.millis())).await.ok();
    }
    Ok(HistoryWindow { now, before })
}

/// Applies a change to any number of failed events.
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
