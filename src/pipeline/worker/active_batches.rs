//! What the workers of a process are doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

/// The batches being processed.
#[derive(Default)]
pub(super) struct ActiveBatches {
    now: AtomicUsize,
    begun: AtomicU64,
    large_stored: Notify,
}

/// A batch, counted until dropped.
pub(super) struct ActiveBatch(Arc<ActiveBatches>);

impl ActiveBatches {
    pub(super) fn begin(self: &Arc<Self>) -> ActiveBatch {
        self.now.fetch_add(1, Relaxed);
        self.begun.fetch_add(1, Relaxed);
        ActiveBatch(Arc::clone(self))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.now.load(Relaxed) == 0
    }

    /// A large batch was stored: there may be a backlog.
    pub(super) fn stored_large(&self) {
        self.large_stored.notify_waiters();
    }

    /// Waits until a large batch is stored. Cancel-safe.
    pub(super) async fn large_stored(&self) {
        self.large_stored.notified().await;
    }

    /// How many there were so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }
}

impl Drop for ActiveBatch {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Relaxed);
    }
}
