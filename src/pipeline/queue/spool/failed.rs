//! The failed items of a spool and of its queue as one list.

use super::Shared;
use crate::queue::{FailedItem, Page, Queue, QueueError, changes};
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

/// What is done in the spool and in the queue. If one of them fails, the result says what was done in
/// the other one.
impl Shared {
    pub(super) async fn retry_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        let (spools, queues) = by_owner(ids);
        let mut parts = Vec::new();
        if !spools.is_empty() {
            parts.push(self.spool.retry_failed(&spools).await);
            self.filled.notify_one();
        }
        if !queues.is_empty() {
            parts.push(self.queue.retry_failed(&queues).await);
        }
        changes::total_count(parts)
    }

    /// Puts edited items back, each where it failed.
    pub(super) async fn retry_edited(&self, edits: &[Edit]) -> Result<Edited, QueueError> {
        let (mut spools, mut queues) = (Vec::new(), Vec::new());
        for edit in edits {
            match edit.id.strip_prefix(OF_SPOOL) {
                Some(id) => spools.push(Edit { id: id.to_owned(), body: edit.body.clone() }),
                None => queues.push(edit.clone()),
            }
        }
        let mut parts = Vec::new();
        if !spools.is_empty() {
            let edited = self.spool.retry_edited(&spools).await;
            self.filled.notify_one();
            parts.push(changes::with_ids(edited, |id| id.insert_str(0, OF_SPOOL)));
        }
        if !queues.is_empty() {
            parts.push(self.queue.retry_edited(&queues).await);
        }
        changes::total(parts)
    }

    pub(super) async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        let (spools, queues) = by_owner(ids);
        let mut parts = Vec::new();
        if !spools.is_empty() {
            parts.push(self.spool.delete_failed(&spools).await);
        }
        if !queues.is_empty() {
            parts.push(self.queue.delete_failed(&queues).await);
        }
        changes::total_count(parts)
    }
}

/// Splits ids into those of the spool's failed items, without the prefix, and those of the queue's.
fn by_owner(ids: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut spools, mut queues) = (Vec::new(), Vec::new());
    for id in ids {
        match id.strip_prefix(OF_SPOOL) {
            Some(id) => spools.push(id.to_owned()),
            None => queues.push(id.clone()),
        }
    }
    (spools, queues)
}
