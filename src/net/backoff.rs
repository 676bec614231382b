//! Pauses between tries that grow and are random, so that many processes do not try as one.

use std::time::Duration;

use tokio::time::Instant;

/// The longest first pause.
const FIRST: Duration = Duration::from_millis(100);

/// Exponential backoff; a pause is between half and all of its bound.
#[derive(Clone, Debug)]
pub struct Backoff {
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// No pause is longer than `longest`.
    pub fn new(longest: Duration) -> Self {
        Self { longest, next: FIRST.min(longest) }
    }

    /// It worked: the next pause is a short one again.
    pub fn reset(&mut self) {
        self.next = FIRST.min(self.longest);
    }

    /// Waits.
    pub async fn pause(&mut self) {
        let pause = self.draw();
        tokio::time::sleep(pause).await;
    }

    fn draw(&mut self) -> Duration {
        let most = self.next;
        self.next = most.saturating_mul(2).min(self.longest);
        most.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// Keeps those who need a server from trying to reach it again too soon after a failure.
#[derive(Debug)]
pub struct Reach {
    backoff: Backoff,
    /// Why it could not be reached, and until when nobody tries.
    failed: Option<(String, Instant)>,
}

impl Reach {
    /// It may be tried; after failures, at least every `longest`.
    pub fn new(longest: Duration) -> Self {
        Self { backoff: Backoff::new(longest), failed: None }
    }

    /// Why not to try now: the last failure's reason.
    pub fn refusal(&self) -> Option<&str> {
        let (reason, until) = self.failed.as_ref()?;
        (Instant::now() < *until).then_some(reason)
    }

    /// It could not be reached, for this reason.
    pub fn failed(&mut self, reason: String) {
        self.failed = Some((reason, Instant::now() + self.backoff.draw()));
    }

    /// It was reached.
    pub fn succeeded(&mut self) {
        self.backoff.reset();
        self.failed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_over() {
        let longest = Duration::from_secs(10);
        let mut backoff = Backoff::new(longest);
        let mut bound = FIRST;
        for _ in 0..100 {
            let pause = backoff.draw();
            assert!(bound / 2 <= pause && pause <= bound);
            bound = (bound * 2).min(longest);
        }
        assert_eq!(backoff.next, longest);
        backoff.reset();
        assert!(backoff.draw() <= FIRST);
    }

    #[test]
    fn a_short_bound_holds_from_the_start() {
        let mut backoff = Backoff::new(Duration::from_millis(3));
        assert!((0..20).all(|_| backoff.draw() <= Duration::from_millis(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_nobody_tries_for_a_while() {
        let mut reach = Reach::new(Duration::from_secs(2));
        assert_eq!(reach.refusal(), None);
        reach.failed("refused".to_owned());
        assert_eq!(reach.refusal(), Some("refused"));
        tokio::time::sleep(FIRST).await;
        assert_eq!(reach.refusal(), None, "it may be tried again");
        for _ in 0..10 {
            reach.failed("refused".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(999)).await;
        assert!(reach.refusal().is_some(), "pauses grow");
        reach.succeeded();
        assert_eq!(reach.refusal(), None);
    }
}
