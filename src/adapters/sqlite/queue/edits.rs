//! Puts edited failed events back. Reading and checking many of them takes long, and all other
//! callers wait for the writer, so it is done outside its transactions, and some events at a time.

use std::collections::HashMap;

use super::writer::Command;
use super::{SqliteQueue, unavailable};
use bklit_pipeline::queue::{QueueError, changes, edit};
use bklit_wire::queue::{Edit, Edited, InvalidEdit};

/// Events edited in one transaction.
const MAX_EDITS: usize = 50;
/// A transaction ends with the event that exceeds this size, in bytes.
const MAX_EDIT_BYTES: usize = 1024 * 1024;

/// The replacement of a failed item.
pub(super) struct CheckedEdit {
    /// The failed item.
    pub(super) id: i64,
    /// What to queue instead.
    pub(super) body: String,
}

impl SqliteQueue {
    pub(super) async fn retry_in_parts(&self, edits: &[Edit]) -> Result<Edited, QueueError> {
        let (mut parts, mut left) = (Vec::new(), edits);
        while !left.is_empty() {
            let (some, rest) = left.split_at(first_part(left));
            let part = self.retry_part(some).await;
            let has_failed = part.is_err();
            parts.push(part);
            if has_failed {
                break;
            }
            left = rest;
        }
        changes::total(parts)
    }

    async fn retry_part(&self, edits: &[Edit]) -> Result<Edited, QueueError> {
        // Ids that are not numbers do not exist here.
        let number = |edit: &Edit| Some((edit.id.parse::<i64>().ok()?, edit.body.clone()));
        let edits: Vec<_> = edits.iter().filter_map(number).collect();
        let ids: Vec<_> = edits.iter().map(|(id, _)| *id).collect();
        let originals = self.call(|reply| Command::FailedBodies { ids, reply }).await?;
        let checking = tokio::task::spawn_blocking(move || checked(edits, &originals));
        let (edits, invalid) = checking.await.map_err(unavailable)?;
        // An id is never used again and its item never changes, so what was checked is what is
        // replaced, unless it is gone.
        let changed = self.call(|reply| Command::RetryEdited { edits, reply }).await?;
        Ok(Edited { changed, invalid })
    }
}

/// How many of the edits to make in one transaction.
fn first_part(edits: &[Edit]) -> usize {
    let mut bytes = 0;
    let full = edits.iter().position(|edit| {
        bytes += edit.body.len();
        bytes >= MAX_EDIT_BYTES
    });
    full.map_or(edits.len(), |last| last + 1).min(MAX_EDITS)
}

/// Separates valid edits of existing items from those that are not valid.
fn checked(
    edits: Vec<(i64, String)>,
    originals: &HashMap<i64, String>,
) -> (Vec<CheckedEdit>, Vec<InvalidEdit>) {
    let (mut valid, mut invalid) = (Vec::new(), Vec::new());
    for (id, body) in edits {
        match originals.get(&id).map(|original| edit::check(original, &body)) {
            None => {}
            Some(Ok(())) => valid.push(CheckedEdit { id, body }),
            Some(Err(error)) => invalid.push(InvalidEdit { id: id.to_string(), error }),
        }
    }
    (valid, invalid)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::tests::item;
    use super::*;
    use bklit_pipeline::queue::{Queue as _, Rejected};

    #[test]
    fn a_part_ends_by_number_or_size() {
        let edit = |bytes: usize| Edit { id: "1".into(), body: "x".repeat(bytes) };
        assert_eq!(first_part(&vec![edit(1); 3]), 3);
        assert_eq!(first_part(&vec![edit(1); 500]), MAX_EDITS);
        assert_eq!(first_part(&[edit(1), edit(MAX_EDIT_BYTES), edit(1)]), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn events_are_accepted_while_many_edits_are_checked() {
        const FAILED: usize = 80;
        let dir = tempfile::tempdir().unwrap();
        let queue = SqliteQueue::open(&dir.path().join("queue.db"), 10_000).unwrap();
        for n in 0..FAILED {
            queue.push(item(n)).await.unwrap();
        }
        let batch = queue.claim(FAILED, Duration::from_secs(60)).await.unwrap().unwrap();
        let reject = |seq| Rejected { seq, reason: "bad".into() };
        let rejected: Vec<_> = batch.items.iter().map(|item| reject(item.seq)).collect();
        queue.acknowledge(&batch.id, &rejected).await.unwrap();
        // Slow to read: many small values.
        let more = format!("{{\"x\":[{}0],\"id\"", "0,".repeat(40_000));
        let failed = queue.failed(None, FAILED).await.unwrap().items;
        let edited = |body: &str| body.replacen("{\"id\"", &more, 1);
        let edits: Vec<_> = failed
            .into_iter()
            .map(|failed| Edit { body: edited(&failed.body), id: failed.id })
            .collect();
        let queue = Arc::new(queue);
        let editing = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.retry_edited(&edits).await }
        });
        let mut accepted = 0;
        while !editing.is_finished() {
            queue.push(item(FAILED + accepted)).await.unwrap();
            accepted += 1;
        }
        assert_eq!(editing.await.unwrap().unwrap().changed, FAILED as u64);
        // One could slip in before the edits, and one after them.
        assert!(accepted > 5, "{accepted}");
        let stats = queue.stats().await.unwrap();
        assert_eq!((stats.depth, stats.failed), ((FAILED + accepted) as u64, 0));
    }
}
