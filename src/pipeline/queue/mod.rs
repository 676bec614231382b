//! The port `Queue`: accepted events wait here, in order, until they are stored.
//!
//! Consumers *claim* a batch under a lease, store it, then *acknowledge* it. A claim whose lease
//! runs out is taken over with a higher epoch and the same id and items; whoever held it before
//! is refused from then on. So a batch is delivered at least once, and the store drops repeats.

pub mod api;
mod bounds;
mod settings;
pub mod spool;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use bklit_wire::event::QueuedEvent;
use bklit_wire::queue::BatchInFlight;
use bklit_wire::time::UtcMillis;

pub use bounds::{Bounds, DEFAULT_MAX_FAILED, QueueError};
pub use settings::QueueSettings;

/// Bytes of a batch's items at which no more are added, apart from what the last item is larger. A
/// worker holds up to three batches in memory: claimed, being stored, being told of.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What the names of a queue on a server begin with, as the other parts of Bklit know them.
pub const DEFAULT_PREFIX: &str = "analytics:queue";

/// When an event counts as kept by a queue on a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once the server has it in its append-only file, which the server syncs as it is set up to:
    /// every second, mostly. A power failure may lose that second.
    #[default]
    Everysec,
    /// Once the server's disk has it.
    Always,
}

/// An event on its way into the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NewItem {
    /// The event.
    pub event: Arc<QueuedEvent>,
    /// The client chose the id, so a second event of the project with it is a retry.
    pub client_id: bool,
}

/// What became of a pushed event. Either way it is kept durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the queue.
    Queued,
    /// The project sent this id within the last 24 hours; nothing was added.
    Duplicate,
}

/// Names one claim of a batch. The epoch rises each time the batch changes hands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimId {
    /// The batch; the same however often it is claimed.
    pub batch: String,
    /// Fences off earlier holders.
    pub epoch: u64,
}

/// A batch, claimed under a lease.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The claim.
    pub id: ClaimId,
    /// Its items, oldest first. Never empty.
    pub items: Vec<ClaimedItem>,
}

/// A member of the queue as it lies there: not necessarily an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedItem {
    /// Tells it from the batch's other items.
    pub seq: i64,
    /// What was queued: the JSON of a `QueuedEvent`, if all is well.
    pub body: String,
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
    /// Names it within the failed queue.
    pub id: String,
    /// What was queued.
    pub body: String,
    /// Why it failed.
    pub reason: String,
    /// When it failed, as far as that is known.
    pub failed_at: Option<UtcMillis>,
}

/// An item that waits for a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingItem {
    /// Names it for [`Queue::delete_waiting`].
    pub id: String,
    /// What was queued.
    pub body: String,
}

/// Some of a list, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items; there may be none although more follow.
    pub items: Vec<T>,
    /// Where the next page begins; none after the last one.
    pub next: Option<String>,
}

/// From which end to look at what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The next one to be claimed first.
    OldestFirst,
    /// The one that was pushed last first.
    NewestFirst,
}

/// How full the queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Items that wait for a claim.
    pub depth: u64,
    /// Items claimed and not yet acknowledged.
    pub in_flight: u64,
    /// Items in the failed queue.
    pub failed: u64,
    /// Items accepted that wait in this process's spool for the queue to come back.
    pub spooled: u64,
}

/// Accepted events, until they are stored. All methods are safe to call concurrently.
///
/// # Guarantees
///
/// - An event whose push was answered `Ok` is in the queue until its batch is acknowledged or
///   somebody deletes it, and it is there once.
/// - Each method is one step. When any part of it is refused, such as by a full disk, a full
///   memory, a missing permission or a key of the wrong type, it returns an error and nothing has
///   changed: nothing is removed, and nothing counts as done, before all of it can be done. It can
///   be called again. Where a method works on several items, that holds for each of them.
/// - An error says that nothing was done, except [`QueueError::InDoubt`], which
///   [`Queue::settle`] resolves, and except [`QueueError::Unavailable`] from a queue on a server,
///   whose connection may break after the step was made; then calling again adds nothing twice,
///   and an acknowledgement that had been made is [`QueueError::Stale`].
/// - It is bounded ([`Bounds`]): at most `depth` items wait, and once `failed` items have failed no
///   more events are accepted. What waits or is in flight by then may still fail, and nothing else.
///   A refused event is not lost: its producer gets the error.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds an event; when this returns `Ok`, it is durable.
    ///
    /// # Errors
    /// [`QueueError::Full`], [`QueueError::FailedFull`], [`QueueError::Unavailable`]: the event was
    /// not accepted. [`QueueError::InDoubt`]: it is not known to be.
    async fn push(&self, item: NewItem) -> Result<Pushed, QueueError>;

    /// Settles a push that ended in doubt: whether its event is in the queue, or was; if not, it
    /// never will be by that push. The answer stays the same.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn settle(&self, _ticket: &str) -> Result<bool, QueueError> {
        Ok(false)
    }

    /// Adds events one after the other, each as if its client had chosen its id, so that doing it
    /// again adds nothing again. Returns how many of the first are in; the others found no room.
    ///
    /// # Errors
    /// [`QueueError::FailedFull`], [`QueueError::Unavailable`]: any number of the first may be in.
    /// Do it again.
    async fn push_in_order(&self, events: &[QueuedEvent]) -> Result<usize, QueueError> {
        for (pushed, event) in events.iter().enumerate() {
            match self.push(NewItem { event: Arc::new(event.clone()), client_id: true }).await {
                Ok(_) => {}
                Err(QueueError::Full { .. }) => return Ok(pushed),
                Err(error) => return Err(error),
            }
        }
        Ok(events.len())
    }

    /// Claims the next batch: first one whose lease has run out, with its epoch raised, else up
    /// to `most` (at least 1) of the oldest items, fewer when they are large
    /// ([`MAX_BATCH_BYTES`]). `None` when nothing waits.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn claim(&self, most: usize, lease: Duration) -> Result<Option<Claim>, QueueError>;

    /// Holds the claim for another `lease` from now.
    ///
    /// # Errors
    /// [`QueueError::Stale`], [`QueueError::Unavailable`].
    async fn renew(&self, claim: &ClaimId, lease: Duration) -> Result<(), QueueError>;

    /// Gives the batch back unfinished: whoever claims next gets it at once.
    ///
    /// # Errors
    /// [`QueueError::Stale`], [`QueueError::Unavailable`].
    async fn release(&self, claim: &ClaimId) -> Result<(), QueueError>;

    /// Removes the batch, in one step moving `rejected` to the failed queue, however full that is.
    ///
    /// # Errors
    /// [`QueueError::Stale`], [`QueueError::Unavailable`]: nothing was removed.
    async fn acknowledge(&self, claim: &ClaimId, rejected: &[Rejected]) -> Result<(), QueueError>;

    /// Waits until the queue may have something to claim: at once when it has, else upon a push
    /// or a lease's end. May return early; safe to cancel.
    async fn ready(&self);

    /// Waits until a part of it has ended by itself, which only a bug does: it does not do its
    /// work any more then. Safe to cancel.
    async fn ended(&self);

    /// How full it is.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn stats(&self) -> Result<QueueStats, QueueError>;

    /// Whether an event would be accepted now. Adds none.
    ///
    /// # Errors
    /// [`QueueError::Full`], [`QueueError::FailedFull`], [`QueueError::Unavailable`].
    async fn accepts(&self) -> Result<(), QueueError>;

    /// Items accepted that wait in this process for the queue to come back; known also while it
    /// is away.
    fn spooled(&self) -> u64 {
        0
    }

    /// Batches that are claimed and not acknowledged, those whose lease ends first before the
    /// others, at most `most`.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn batches(&self, most: usize) -> Result<Vec<BatchInFlight>, QueueError>;

    /// What is in a batch in flight, oldest first: at most `most` items, fewer when they are large.
    /// `None` when there is no such batch, or no more.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn batch_items(
        &self,
        batch: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, QueueError>;

    /// A page of the items that wait, without taking them: at most `most`, fewer when they are
    /// large. `after` is the [`Page::next`] of the page before.
    ///
    /// Others take items meanwhile. A walk from the newest to the oldest shows each item that was
    /// there at its start and still is, some of them perhaps twice; a walk from the oldest may
    /// leave some out.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn waiting(
        &self,
        order: Order,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<WaitingItem>, QueueError>;

    /// Removes waiting items for good; returns how many were there. What is claimed meanwhile is
    /// its holder's, and left alone.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: some may be removed.
    async fn delete_waiting(&self, ids: &[String]) -> Result<u64, QueueError>;

    /// A page of the failed items, newest first: at most `most`, fewer when they are large. `after`
    /// is the [`Page::next`] of the page before. A walk over all pages leaves none out that was
    /// there at its start and still is, also when it retries or deletes what it was shown.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn failed(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<FailedItem>, QueueError>;

    /// Puts failed items back at the end of the queue, each in one step; returns how many were
    /// there.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: some may be back.
    async fn retry_failed(&self, ids: &[String]) -> Result<u64, QueueError>;

    /// Removes failed items for good; returns how many were there.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: some may be removed.
    async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError>;
}

/// Names this process to those who look at what it has claimed: `host:pid`.
pub fn owner_name() -> String {
    format!("{}:{}", host_name(), std::process::id())
}

/// This machine's name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
