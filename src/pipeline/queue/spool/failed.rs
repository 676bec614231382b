//! The failed items of a spool and of its queue as one list.

use crate::queue::{FailedItem, Page, Queue, QueueError};
use bklit_wire::queue::{Edit, Edited};

/// The prefix of the ids of the spool's failed items, and of its pages after the first.
const OF_SPOOL: &str = "spool:";
/// The prefix of the pages with the queue's own failed items.
const QUEUE_BEGINS: &str = "queue:";

/// A page of the spool's failed items, which come first, or of the queue's.
pub(super) async fn page(
    queue: &dyn Queue,
    spool: &dyn Queue,
    after: Option<&str>,
    most: usize,
) -> Result<Page<FailedItem>, QueueError> {
    let after_in_spool = match after {
        None => None,
        Some(QUEUE_BEGINS) => return queue.failed(None, most).await,
        Some(after) => match after.strip_prefix(OF_SPOOL) {
            Some(after) => Some(after),
            None => return queue.failed(Some(after), most).await,
        },
    };
    let Page { mut items, next } = spool.failed(after_in_spool, most).await?;
    if items.is_empty() && next.is_none() {
        return queue.failed(None, most).await;
    }
    items.iter_mut().for_each(|item| item.id.insert_str(0, OF_SPOOL));
    let next = next.map_or_else(|| QUEUE_BEGINS.to_owned(), |next| format!("{OF_SPOOL}{next}"));
    Ok(Page { items, next: Some(next) })
}

/// Puts edited items back, each where it failed. Returns whether any may be in the spool now.
pub(super) async fn retry_edited(
    queue: &dyn Queue,
    spool: &dyn Queue,
    edits: &[Edit],
) -> Result<(Edited, bool), QueueError> {
    let (mut spools, mut queues) = (Vec::new(), Vec::new());
    for edit in edits {
        match edit.id.strip_prefix(OF_SPOOL) {
            Some(id) => spools.push(Edit { id: id.to_owned(), body: edit.body.clone() }),
            None => queues.push(edit.clone()),
        }
    }
    let mut all = Edited::default();
    if !spools.is_empty() {
        all = spool.retry_edited(&spools).await?;
        all.invalid.iter_mut().for_each(|invalid| invalid.id.insert_str(0, OF_SPOOL));
    }
    if !queues.is_empty() {
        let Edited { changed, invalid } = queue.retry_edited(&queues).await?;
        all.changed += changed;
        all.invalid.extend(invalid);
    }
    Ok((all, !spools.is_empty()))
}

/// Splits ids into those of the spool's failed items, without the prefix, and those of the queue's.
pub(super) fn by_owner(ids: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut spools, mut queues) = (Vec::new(), Vec::new());
    for id in ids {
        match id.strip_prefix(OF_SPOOL) {
            Some(id) => spools.push(id.to_owned()),
            None => queues.push(id.clone()),
        }
    }
    (spools, queues)
}
