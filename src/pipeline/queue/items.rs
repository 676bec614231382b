//! What is put into a queue, and what comes out of it.

use std::sync::Arc;

use bklit_wire::event::QueuedEvent;
use bklit_wire::time::UtcMillis;

/// An event to push. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// The event.
    pub event: Arc<QueuedEvent>,
    /// Whether the client chose the id, so that a second event with it, of the same project, kind and
    /// content, is a retry.
    pub client_id: bool,
}

/// The result of a push. Either way the event is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the queue.
    Queued,
    /// The project sent this event with this id within the last 24 hours; nothing was added.
    Duplicate,
}

/// Identifies one claim of a batch. The epoch increases with each claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimId {
    /// The batch; the same however often it is claimed. A UUID of version 7, which contains the time
    /// of its first claim; of a queue with several shards, `@` and the shard may follow.
    pub batch: String,
    /// Fences off previous holders.
    pub epoch: u64,
}

impl ClaimId {
    /// When the batch was claimed for the first time, so the same at each delivery. Ids of batches
    /// contain it (UUID v7); of any other id nothing is known, and it is now.
    pub fn first_claimed(&self) -> UtcMillis {
        let id = self.batch.split('@').next().and_then(|id| uuid::Uuid::try_parse(id).ok());
        let at = id.and_then(|id| id.get_timestamp()).map(|at| at.to_unix());
        at.map_or_else(UtcMillis::now, |(seconds, nanos)| {
            let millis = seconds.saturating_mul(1000).saturating_add(u64::from(nanos / 1_000_000));
            UtcMillis::from_epoch_millis(i64::try_from(millis).unwrap_or(i64::MAX))
        })
    }
}

/// A batch, claimed under a lease.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The claim.
    pub id: ClaimId,
    /// Its items, oldest first. Never empty.
    pub items: Vec<ClaimedItem>,
}

/// An item of the queue as it was queued: not necessarily a valid event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedItem {
    /// Identifies it within the batch.
    pub seq: i64,
    /// What was queued: normally the JSON of a `QueuedEvent`.
    pub body: String,
    /// The position of the first byte that is not UTF-8, if there is one. In `body`, such bytes are
    /// replaced by U+FFFD, as JavaScript consumers do.
    pub invalid_utf8: Option<usize>,
}

/// An item that cannot be stored, for the failed queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// [`ClaimedItem::seq`].
    pub seq: i64,
    /// Why, for the operator.
    pub reason: String,
}

/// A failed event with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedItem {
    /// Identifies it within the failed queue.
    pub id: String,
    /// What was queued.
    pub body: String,
    /// Why it failed.
    pub reason: String,
    /// When it failed, if known.
    pub failed_at: Option<UtcMillis>,
}

/// An item waiting to be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingItem {
    /// Identifies it for [`Queue::delete_waiting`](super::Queue::delete_waiting).
    pub id: String,
    /// What was queued.
    pub body: String,
}

/// A page of a list, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items; may be empty although more follow.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<String>,
}

/// The order in which to list waiting items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The next one to be claimed comes first.
    OldestFirst,
    /// The one pushed last comes first.
    NewestFirst,
}

/// How full the queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Items waiting to be claimed.
    pub depth: u64,
    /// Items claimed and not yet acknowledged.
    pub in_flight: u64,
    /// Items in the failed queue.
    pub failed: u64,
    /// Accepted items in this process's spool, waiting for the queue to become available again.
    pub spooled: u64,
}
