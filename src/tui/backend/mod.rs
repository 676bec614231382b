//! The console's requests to the pipeline: the queue and its repair, events, and live visitors. The
//! loop runs them as tasks with timeouts; the model only says what it needs.
//!
//! - `bulk`: changes of many failed events
//! - `export`: writes failed events to a file
//! - `tasks`: the pending requests

mod bulk;
mod export;
mod tasks;

use std::path::Path;

use tokio::task::spawn_blocking;

use crate::originals;
use bklit_console_core::model::history::Shift;
use bklit_console_core::requests::{HistoryWindow, KeptEdit, QueueSnapshot};
use bklit_wire::backend::Backend;
use bklit_wire::history::HistoryQuery;
use bklit_wire::queue::{ChangeError, Edit, EditRequest, FailedView};

pub(super) use bulk::BulkTask;
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

/// Keeps failed events as they are in a file, and then puts other bodies into the queue instead of
/// them.
async fn keep_and_edit(
    backend: &dyn Backend,
    data_dir: &Path,
    originals: Vec<FailedView>,
    edits: Vec<Edit>,
) -> Result<KeptEdit, ChangeError> {
    let dir = data_dir.to_owned();
    let kept = spawn_blocking(move || originals::keep(&dir, &originals)).await;
    let kept = kept.map_err(|error| error.to_string())??.display().to_string();
    let edited = backend.edit(&EditRequest { edits, dry_run: false }).await?;
    Ok(KeptEdit { edited, kept })
}
