//! Bounds what is added to the stream of the last lines while nobody listens.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

/// Lines a second that are added while nobody listens: warnings and errors are not sampled, and a
/// flood of them must not be one for Redis.
const MOST_A_SECOND: u64 = 2_000;

/// Counts what is added.
pub(super) struct RateLimit {
    began: Instant,
    second: AtomicU64,
    added: AtomicU64,
}

impl RateLimit {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), second: AtomicU64::new(0), added: AtomicU64::new(0) }
    }

    /// Whether one more may be added now.
    pub(super) fn allows(&self) -> bool {
        let second = self.began.elapsed().as_secs();
        if self.second.swap(second, Relaxed) != second {
            self.added.store(0, Relaxed);
        }
        self.added.fetch_add(1, Relaxed) < MOST_A_SECOND
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_added_in_part() {
        let rate_limit = RateLimit::new();
        let added = || (0..5_000).filter(|_| rate_limit.allows()).count() as u64;
        assert_eq!(added(), MOST_A_SECOND);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(added(), MOST_A_SECOND);
    }
}
