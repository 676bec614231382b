//! Exponential backoff with jitter, so that many processes do not retry at the same moment.

use std::time::Duration;

use tokio::time::Instant;

/// The upper bound of the first pause.
const FIRST: Duration = Duration::from_millis(100);

/// Exponential backoff; each pause is between half of its bound and the bound.
#[derive(Clone, Debug)]
pub struct Backoff {
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses of at most `longest`.
    pub fn new(longest: Duration) -> Self {
        Self { longest, next: FIRST.min(longest) }
    }

    /// Starts over with short pauses, after a success.
    pub fn reset(&mut self) {
        self.next = FIRST.min(self.longest);
    }

    /// Waits for the next pause.
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

/// Prevents connection attempts to a server too soon after a failure.
#[derive(Debug)]
pub struct Reach {
    backoff: Backoff,
    /// Why the last attempt failed, and until when no other is made.
    failed: Option<(String, Instant)>,
}

impl Reach {
    /// Allows an attempt at once; after failures, at least every `longest`.
    pub fn new(longest: Duration) -> Self {
        Self { backoff: Backoff::new(longest), failed: None }
    }

    /// The last failure's reason, if no attempt should be made now.
    pub fn refusal(&self) -> Option<&str> {
        let (reason, until) = self.failed.as_ref()?;
        (Instant::now() < *until).then_some(reason)
    }

    /// Records a failed attempt.
    pub fn failed(&mut self, reason: String) {
        self.failed = Some((reason, Instant::now() + self.backoff.draw()));
    }

    /// Records a successful attempt.
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
    async fn after_a_failure_there_is_no_attempt_for_a_while() {
        let mut reach = Reach::new(Duration::from_secs(2));
        assert_eq!(reach.refusal(), None);
        reach.failed("refused".to_owned());
        assert_eq!(reach.refusal(), Some("refused"));
        tokio::time::sleep(FIRST).await;
        assert_eq!(reach.refusal(), None, "an attempt may be made again");
        for _ in 0..10 {
            reach.failed("refused".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(999)).await;
        assert!(reach.refusal().is_some(), "pauses grow");
        reach.succeeded();
        assert_eq!(reach.refusal(), None);
    }
}
