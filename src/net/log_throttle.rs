//! What fails for a while is told in the program's own log when it begins, once a minute while it
//! lasts, and when it is over: whoever reads the log later wants to know from when to when.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time between two lines while it lasts.
const REMIND: Duration = Duration::from_secs(60);

/// One thing that works or not.
#[derive(Debug, Default)]
pub struct Outage(Mutex<Option<Lasting>>);

#[derive(Debug)]
struct Lasting {
    since: Instant,
    told: Instant,
}

impl Outage {
    /// It failed once more. For how long it has been failing, if that is to be told now.
    pub fn failed(&self) -> Option<Duration> {
        let mut lasting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some(known) = lasting.as_mut() else {
            *lasting = Some(Lasting { since: now, told: now });
            return Some(Duration::ZERO);
        };
        if now - known.told < REMIND {
            return None;
        }
        known.told = now;
        Some(now - known.since)
    }

    /// It works. For how long it failed, if it did.
    pub fn over(&self) -> Option<Duration> {
        let mut lasting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lasting.take().map(|lasting| lasting.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_told_at_its_begin_each_minute_and_at_its_end() {
        let outage = Outage::default();
        assert_eq!(outage.over(), None, "nothing was wrong");
        let mut told = Vec::new();
        for _ in 0..300 {
            told.extend(outage.failed().map(|lasting| lasting.as_secs()));
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        assert_eq!(told, [0, 60, 120]);
        assert_eq!(outage.over(), Some(Duration::from_secs(150)));
        assert_eq!(outage.over(), None);
        assert_eq!(outage.failed(), Some(Duration::ZERO), "another one");
    }
}
