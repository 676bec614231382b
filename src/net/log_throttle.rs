//! Throttled logging of a failure that lasts: it is logged when it begins, once a minute while it
//! lasts, and when it ends, so that the log shows from when to when it lasted.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time between two log lines about the same failure.
const INTERVAL: Duration = Duration::from_secs(60);

/// Decides when to log about one thing that works or fails.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<Option<Failing>>);

#[derive(Debug)]
struct Failing {
    since: Instant,
    logged: Instant,
}

impl LogThrottle {
    /// Records a failure. If it should be logged now, returns for how long it has been failing.
    pub fn failure(&self) -> Option<Duration> {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some(known) = failing.as_mut() else {
            *failing = Some(Failing { since: now, logged: now });
            return Some(Duration::ZERO);
        };
        if now - known.logged < INTERVAL {
            return None;
        }
        known.logged = now;
        Some(now - known.since)
    }

    /// Records a success. If it failed before, returns for how long.
    pub fn recovered(&self) -> Option<Duration> {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failing.take().map(|failing| failing.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_logged_when_it_begins_each_minute_and_when_it_ends() {
        let throttle = LogThrottle::default();
        assert_eq!(throttle.recovered(), None, "nothing was wrong");
        let mut logged = Vec::new();
        for _ in 0..300 {
            logged.extend(throttle.failure().map(|lasting| lasting.as_secs()));
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        assert_eq!(logged, [0, 60, 120]);
        assert_eq!(throttle.recovered(), Some(Duration::from_secs(150)));
        assert_eq!(throttle.recovered(), None);
        assert_eq!(throttle.failure(), Some(Duration::ZERO), "another failure");
    }
}
