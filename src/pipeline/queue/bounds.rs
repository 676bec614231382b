//! How much a queue may hold, and why it does not do as asked.

use super::{ClaimId, QueueStats};

/// Failed items from which on no more events are accepted, unless set otherwise.
pub const DEFAULT_MAX_FAILED: u64 = 100_000;

/// How much a queue may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Items that may wait.
    pub depth: u64,
    /// Failed items from which on no more events are accepted. Rejects of what waits or is in
    /// flight by then are still added, so those are the most that there can be above this.
    pub failed: u64,
}

impl From<u64> for Bounds {
    /// The given depth, and the default for failed items.
    fn from(depth: u64) -> Self {
        Self { depth, failed: DEFAULT_MAX_FAILED }
    }
}

impl Bounds {
    /// Whether there is room for one more event.
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

    pub fn full(self, depth: u64) -> QueueError {
        QueueError::Full { depth, bound: self.depth }
    }

    pub fn failed_full(self, failed: u64) -> QueueError {
        QueueError::FailedFull { failed, bound: self.failed }
    }
}

/// Why the queue did not do as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// It holds as many items as it may; the producer should come back later.
    #[error("the queue is full: {depth} events wait, the bound is {bound}")]
    Full {
        /// Items waiting.
        depth: u64,
        /// The most that may wait.
        bound: u64,
    },
    /// Too many failed items wait for somebody to repair them.
    #[error(
        "the failed queue is full: {failed} events have failed, the bound is {bound}; look at them \
         with `bklit-tui queue list`, then retry, export or delete them with \
         `bklit-tui queue retry|export|delete`"
    )]
    FailedFull {
        /// Items failed.
        failed: u64,
        /// The number from which on no more events are accepted.
        bound: u64,
    },
    /// Another consumer has taken the batch over; what this one stored counts, but the
    /// acknowledgement is the other's now.
    #[error("batch {} has been taken over by another worker", .0.batch)]
    Stale(ClaimId),
    /// The queue cannot be reached or used.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// The same while it was pushed to: the event may be in it, or come into it later.
    /// [`Queue::settle`](super::Queue::settle) tells.
    #[error("the queue is unavailable: {reason}")]
    InDoubt {
        /// Why there was no answer.
        reason: String,
        /// What to ask by.
        ticket: String,
    },
}
