//! The bounds of a queue, and its errors.

use bklit_wire::pause::Pause;
use bklit_wire::queue::Edited;

use super::{ClaimId, DEFAULT_MAX_CLIENT_IDS, QueueStats};

/// The default limit of failed items. Once it is reached, new events are refused.
pub const DEFAULT_MAX_FAILED: u64 = 100_000;

/// The bounds of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most items that may wait.
    pub depth: u64,
    /// Once this many items have failed, new events are refused. Items waiting or in flight
    /// by then may still fail and are added, so the number can exceed this by as many.
    pub failed: u64,
    /// The most event ids chosen by clients that are remembered, approximately.
    pub client_ids: u64,
}

impl From<u64> for Bounds {
    /// The given depth, and the defaults of the others.
    fn from(depth: u64) -> Self {
        Self { depth, failed: DEFAULT_MAX_FAILED, client_ids: DEFAULT_MAX_CLIENT_IDS }
    }
}

impl Bounds {
    /// Checks that there is room for one more event.
    ///
    /// # Errors
    /// [`QueueError::Full`], [`QueueError::FailedFull`].
    pub fn check(self, stats: QueueStats) -> Result<(), QueueError> {
        match stats {
            QueueStats { failed, .. } if failed >= self.failed => Err(self.failed_full(failed)),
            QueueStats { depth, .. } if depth >= self.depth => Err(self.full(depth)),
            _ => Ok(()),
        }
    }

    /// The error about a full queue in which `depth` items wait.
    pub fn full(self, depth: u64) -> QueueError {
        QueueError::Full { depth, bound: self.depth }
    }

    /// The error about a full failed queue with `failed` items.
    pub fn failed_full(self, failed: u64) -> QueueError {
        QueueError::FailedFull { failed, bound: self.failed }
    }
}

/// Why an operation of the queue failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// The queue is full; the producer should retry later.
    #[error("the queue is full: {depth} events wait, the bound is {bound}")]
    Full {
        /// Items waiting.
        depth: u64,
        /// The most items that may wait.
        bound: u64,
    },
    /// There are too many failed items, which must be retried or deleted first.
    #[error(
        "the failed queue is full: {failed} events have failed, the bound is {bound}; show them \
        with `bklit-tui queue list`, then retry, export or delete them with \
         `bklit-tui queue retry|export|delete`"
    )]
    FailedFull {
        /// Failed items.
        failed: u64,
        /// The limit that was reached.
        bound: u64,
    },
    /// An operator has paused accepting events.
    #[error("accepting events is paused {0}")]
    Paused(Pause),
    /// The client chose an id that it has already used for an event with another content.
    #[error(
        "eventId: already used for a different event within the last 24 hours; choose a new id"
    )]
    IdTaken,
    /// Another consumer has taken over the batch and must acknowledge it. What this one stored stays
    /// stored.
    #[error("batch {} has been taken over by another worker", .0.batch)]
    Stale(ClaimId),
    /// The queue cannot be reached, or cannot be used.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// A part of the queue became unavailable while several items were changed. The others can be
    /// changed by calling again.
    #[error("{} events were changed, then the queue was unavailable: {reason}", .done.changed)]
    Partly {
        /// What was done, and stays done.
        done: Edited,
        /// Why not the rest.
        reason: String,
    },
    /// The queue became unavailable during a push: the event may be in it, or be added later.
    /// [`Queue::settle`](super::Queue::settle) resolves this.
    #[error("the queue is unavailable: {reason}")]
    InDoubt {
        /// Why there was no response.
        reason: String,
        /// Identifies the push.
        ticket: String,
    },
}
