//! The port `Queue`: holds accepted events, in order, until they are stored.
//!
//! Consumers *claim* a batch under a lease, store it, then *acknowledge* it. A batch whose lease has
//! expired can be claimed again, with the same id and items and a higher epoch; the previous holder is
//! rejected from then on. So a batch is delivered at least once, and the store drops duplicates.
//!
//! - `api`: the views of the queue for people
//! - `bounds`: the bounds of a queue, and its errors
//! - `changes`: results of changes that are made in parts
//! - `client_ids`: recognises a client's retry
//! - `edit`: checks edited items
//! - `items`: what is put into a queue, and what comes out of it
//! - `pausable`: a queue that an operator can pause
//! - `settings`: the queue's settings
//! - `spool`: accepts events while the queue is unavailable

pub mod api;
mod bounds;
pub mod changes;
mod client_ids;
pub mod edit;
mod items;
mod pausable;
mod settings;
pub mod spool;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use bklit_wire::event::QueuedEvent;
use bklit_wire::pause::{Pausable, Pause, Paused};
use bklit_wire::queue::{BatchInFlight, Edit, Edited};

pub use bounds::{Bounds, DEFAULT_MAX_FAILED, QueueError};
pub use client_ids::{CLIENT_ID_MEMORY, ClientId, DEFAULT_MAX_CLIENT_IDS};
pub use items::{
    Claim, ClaimId, ClaimedItem, FailedItem, NewItem, Order, Page, Pushed, QueueStats, Rejected,
    WaitingItem,
};
pub use pausable::{PausableQueue, PauseStore};
pub use settings::QueueSettings;

/// Once a batch has this many bytes, no more items are added. A worker holds up to three batches in
/// memory: claimed, being stored and being published.
pub const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// The most events that can be pushed at once.
pub const MAX_PUSHED: usize = 500;

/// The most shards over which a queue on a server spreads events.
pub const MAX_SHARDS: u32 = 64;

/// The prefix of the queue's keys on a server, as used by the other parts of Bklit.
pub const DEFAULT_PREFIX: &str = "analytics:queue";

/// When an event counts as durable in a queue on a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once the server has written it to its append-only file, which it syncs as configured, usually
    /// every second. A power failure may lose that second.
    #[default]
    Everysec,
    /// Once the server has synced it to disk.
    Always,
}

/// Holds accepted events until they are stored. All methods are safe to call concurrently.
///
/// # Guarantees
///
/// - An event whose push returned `Ok` is in the queue exactly once, until its batch is
///   acknowledged or it is deleted by an operator.
/// - Each method is atomic. If any part of it is rejected, for example because of a full disk, full
///   memory, a missing permission or a key of the wrong type, it returns an error and nothing has
///   changed. It can be called again. For methods on several items, this holds for each item.
/// - An error means that nothing was done. The exceptions are [`QueueError::InDoubt`], which
///   [`Queue::settle`] resolves, and [`QueueError::Unavailable`] from a queue on a server, whose
///   connection may break after the operation was made: calling again adds nothing twice, and a
///   repeated acknowledgement is [`QueueError::Stale`].
/// - It is bounded ([`Bounds`]): at most `depth` items wait, and once `failed` items have failed, no
///   more events are accepted. Only items that are waiting or in flight by then can still fail. A
///   rejected event is not lost: its producer gets the error.
/// - Ids that clients chose are remembered for at least [`CLIENT_ID_MEMORY`]. When there are too
///   many, the oldest are forgotten first: a later retry of such an event is queued again, and the
///   store, which keeps each id once, ignores it.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds an event, which is durable once this returns `Ok`.
    ///
    /// # Errors
    /// [`QueueError::Full`], [`QueueError::FailedFull`], [`QueueError::IdTaken`],
    /// [`QueueError::Unavailable`]: the event was not accepted. [`QueueError::InDoubt`]: it is not
    /// known whether it was.
    async fn push(&self, item: NewItem) -> Result<Pushed, QueueError>;

    /// Adds up to [`MAX_PUSHED`] events in order, with one write where the queue can. Returns one result
    /// for each, in order; what holds for the result of [`Queue::push`] holds for each of them.
    async fn push_many(&self, items: Vec<NewItem>) -> Vec<Result<Pushed, QueueError>> {
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            results.push(self.push(item).await);
        }
        results
    }

    /// Settles a push that ended in doubt: returns whether its event is or was in the queue. If not,
    /// that push will never add it. Repeated calls return the same result.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn settle(&self, _ticket: &str) -> Result<bool, QueueError> {
        Ok(false)
    }

    /// Adds events in order, each as if its client had chosen its id, so that a repeated call adds
    /// nothing twice. Returns how many were added, from the first on; there was no room for the
    /// others.
    ///
    /// # Errors
    /// [`QueueError::FailedFull`], [`QueueError::Unavailable`]: any number of events, from the first
    /// on, may have been added. Call it again. [`QueueError::IdTaken`]: push them one by one, to
    /// learn which event it is.
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

    /// Claims the next batch: preferably one whose lease has expired, with an increased epoch, else
    /// up to `most` (at least 1) of the oldest items, or fewer if they are large
    /// ([`MAX_BATCH_BYTES`]). `None` if nothing waits.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn claim(&self, most: usize, lease: Duration) -> Result<Option<Claim>, QueueError>;

    /// Extends the claim to `lease` from now.
    ///
    /// # Errors
    /// [`QueueError::Stale`], [`QueueError::Unavailable`].
    async fn renew(&self, claim: &ClaimId, lease: Duration) -> Result<(), QueueError>;

    /// Releases the batch unfinished: the next claim gets it immediately.
    ///
    /// # Errors
    /// [`QueueError::Stale`], [`QueueError::Unavailable`].
    async fn release(&self, claim: &ClaimId) -> Result<(), QueueError>;

    /// Removes the batch and atomically moves `rejected` to the failed queue, even if that is full.
    ///
    /// # Errors
    /// [`QueueError::Stale`], [`QueueError::Unavailable`]: nothing was removed.
    async fn acknowledge(&self, claim: &ClaimId, rejected: &[Rejected]) -> Result<(), QueueError>;

    /// Waits until there may be something to claim: returns at once if there is, else after a push
    /// or when a lease expires. May return early; cancel-safe.
    async fn ready(&self);

    /// Waits until a background task of the queue has ended, which only a bug causes: the queue does
    /// not work any more then. Cancel-safe.
    async fn ended(&self);

    /// How full it is.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn stats(&self) -> Result<QueueStats, QueueError>;

    /// The part of the queue that events of a project go to, below [`MAX_SHARDS`]. One may be
    /// unavailable while others are not.
    fn lane(&self, _project: &str) -> u32 {
        0
    }

    /// How full each shard was at the last [`Queue::stats`]; empty for a queue that is one list.
    fn shards(&self) -> Vec<QueueStats> {
        Vec::new()
    }

    /// Checks whether an event would be accepted now, without adding one. With several shards, whether
    /// all of them would accept one.
    ///
    /// # Errors
    /// [`QueueError::Full`], [`QueueError::FailedFull`], [`QueueError::Unavailable`].
    async fn accepts(&self) -> Result<(), QueueError>;

    /// The same, given the result of [`Queue::stats`] from just now, which may save reading it again.
    ///
    /// # Errors
    /// Those of [`Queue::accepts`].
    async fn accepts_at(&self, _stats: QueueStats) -> Result<(), QueueError> {
        self.accepts().await
    }

    /// Accepted items in this process's spool; also known while the queue is unavailable.
    fn spooled(&self) -> u64 {
        0
    }

    /// What an operator has paused.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn paused(&self) -> Result<Paused, QueueError> {
        Ok(Paused::default())
    }

    /// Pauses accepting events or handing them to workers, for all processes of the queue; with
    /// `None`, resumes it.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: nothing has changed, or the response was lost.
    async fn pause(&self, part: Pausable, _pause: Option<&Pause>) -> Result<(), QueueError> {
        Err(QueueError::Unavailable(format!("the {} cannot be paused here", part.as_str())))
    }

    /// Up to `most` batches that are claimed and not acknowledged, by lease expiry.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn batches(&self, most: usize) -> Result<Vec<BatchInFlight>, QueueError>;

    /// Up to `most` items of a batch in flight, oldest first; fewer if they are large. `None` if the
    /// batch does not exist, or no longer does.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn batch_items(
        &self,
        batch: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, QueueError>;

    /// A page of up to `most` waiting items, without claiming them; fewer if they are large. `after`
    /// is the [`Page::next`] of the previous page.
    ///
    /// Items are claimed meanwhile. Paging from the newest to the oldest shows every item that waits
    /// from its start to its end, perhaps twice; paging from the oldest may miss some.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn waiting(
        &self,
        order: Order,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<WaitingItem>, QueueError>;

    /// Deletes waiting items permanently; returns how many existed. Items claimed meanwhile are not
    /// deleted.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: some may have been deleted. [`QueueError::Partly`]: how many were.
    async fn delete_waiting(&self, ids: &[String]) -> Result<u64, QueueError>;

    /// A page of up to `most` failed items, newest first; fewer if they are large. `after` is the
    /// [`Page::next`] of the previous page. Paging shows every item that exists from its start to
    /// its end, even if the caller retries or deletes shown items meanwhile.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn failed(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<FailedItem>, QueueError>;

    /// Moves failed items to the end of the queue, each atomically; returns how many existed.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: some may have been moved. [`QueueError::Partly`]: how many were.
    async fn retry_failed(&self, ids: &[String]) -> Result<u64, QueueError>;

    /// Moves failed items to the end of the queue with other bodies, each atomically, unless
    /// [`edit::check`] finds something wrong with the body.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: some may have been moved. [`QueueError::Partly`]: how many were.
    async fn retry_edited(&self, _edits: &[Edit]) -> Result<Edited, QueueError> {
        Err(QueueError::Unavailable("events cannot be edited here".to_owned()))
    }

    /// Deletes failed items permanently; returns how many existed.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: some may have been deleted. [`QueueError::Partly`]: how many were.
    async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError>;
}

/// Identifies this process as the owner of its claims: `host:pid`.
pub fn owner_name() -> String {
    format!("{}:{}", host_name(), std::process::id())
}

/// This machine's name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
