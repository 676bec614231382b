//! Pauses between tries that grow and are random, so that many workers do not try as one.

use std::time::Duration;

/// The longest first pause.
const FIRST: Duration = Duration::from_millis(100);

/// Exponential backoff with full jitter.
pub(super) struct Backoff {
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// No pause is longer than `longest`.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, next: FIRST.min(longest) }
    }

    /// It worked: the next pause is a short one again.
    pub(super) fn reset(&mut self) {
        self.next = FIRST.min(self.longest);
    }

    /// Waits.
    pub(super) async fn pause(&mut self) {
        let pause = self.draw();
        tokio::time::sleep(pause).await;
    }

    fn draw(&mut self) -> Duration {
        let most = self.next;
        self.next = most.saturating_mul(2).min(self.longest);
        most.mul_f64(fastrand::f64())
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
            assert!(backoff.draw() <= bound);
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
}
