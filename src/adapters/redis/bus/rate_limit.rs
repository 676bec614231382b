//! Limits how many lines are added to the stream of the last lines while there are no subscribers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

/// Lines per second without subscribers: warnings and errors are not sampled, and a flood of them
/// must not overload Redis.
const MAX_PER_SECOND: u64 = 2_000;

/// Counts the lines of the current second.
pub(super) struct RateLimit {
    began: Instant,
    second: AtomicU64,
    added: AtomicU64,
}

impl RateLimit {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), second: AtomicU64::new(0), added: AtomicU64::new(0) }
    }

    /// Counts one more line; whether it may be added.
    pub(super) fn allows(&self) -> bool {
        let second = self.began.elapsed().as_secs();
        if self.second.swap(second, Relaxed) != second {
            self.added.store(0, Relaxed);
        }
        self.added.fetch_add(1, Relaxed) < MAX_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_added_partially() {
        let rate_limit = RateLimit::new();
        let added = || (0..5_000).filter(|_| rate_limit.allows()).count() as u64;
        assert_eq!(added(), MAX_PER_SECOND);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(added(), MAX_PER_SECOND);
    }
}
