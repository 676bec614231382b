//! What the workers of a process are doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The batches being processed.
#[derive(Default)]
pub(super) struct ActiveBatches {
    now: AtomicUsize,
    begun: AtomicU64,
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
