//! What the workers of a process are doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The batches being processed.
#[derive(Default)]
pub(super) struct InHand {
    now: AtomicUsize,
    begun: AtomicU64,
}

/// A batch, counted until dropped.
pub(super) struct Held(Arc<InHand>);

impl InHand {
    pub(super) fn hold(self: &Arc<Self>) -> Held {
        self.now.fetch_add(1, Relaxed);
        self.begun.fetch_add(1, Relaxed);
        Held(Arc::clone(self))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.now.load(Relaxed) == 0
    }

    /// How many there were so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Relaxed);
    }
}
