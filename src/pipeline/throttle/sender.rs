//! What one project or token has sent: its rate, its count of today, and its events in the queue.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::limit::{Limit, Throttled};
use bklit_wire::time::UtcMillis;

/// Seconds of its rate that a sender may send at once.
pub(super) const BURST_SECONDS: u32 = 10;

const MILLIS_PER_DAY: i64 = 24 * 60 * 60 * 1000;
/// Digits of [`Sender::today`] for the count; those above are the day.
const COUNT_BITS: u32 = 40;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// The limits of a sender: of the rate and of the day. 0 is none.
#[derive(Clone, Copy)]
pub(super) struct Most {
    pub per_second: u32,
    pub per_day: u64,
    /// Events in the queue.
    pub waiting: u64,
}

/// A project or a token.
pub(super) struct Sender {
    most: Most,
    rate: Option<DefaultDirectRateLimiter>,
    /// The day since the epoch and the events accepted on it.
    today: AtomicU64,
    /// Accepted events that still wait in the queue, estimated.
    waiting: AtomicU64,
    /// When it last sent an event, in milliseconds since the epoch.
    last: AtomicU64,
}

/// A limiter for `per_second` events, with bursts; `None` for 0.
pub(super) fn limiter(per_second: u32) -> Option<Quota> {
    let rate = NonZeroU32::new(per_second)?;
    Some(Quota::per_second(rate).allow_burst(rate.saturating_mul(burst())))
}

fn burst() -> NonZeroU32 {
    NonZeroU32::new(BURST_SECONDS).unwrap_or(NonZeroU32::MIN)
}

impl Sender {
    pub(super) fn new(most: Most) -> Self {
        Self {
            most,
            rate: limiter(most.per_second).map(RateLimiter::direct),
            today: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }

    /// Counts an event at `now`, unless it is over the rate or the day's limit.
    pub(super) fn admit(&self, now: UtcMillis, [rate, quota]: [Limit; 2]) -> Result<(), Throttled> {
        self.last.store(now.epoch_millis().unsigned_abs(), Relaxed);
        if let Some(limiter) = &self.rate
            && let Err(early) = limiter.check()
        {
            let wait = early.wait_time_from(DefaultClock::default().now());
            return Err(Throttled::new(rate, self.most.per_second.into(), wait));
        }
        if self.most.per_day > 0 && !self.count(now) {
            let left = MILLIS_PER_DAY - now.epoch_millis().rem_euclid(MILLIS_PER_DAY);
            let wait = Duration::from_millis(left.unsigned_abs());
            return Err(Throttled::new(quota, self.most.per_day, wait));
        }
        Ok(())
    }

    /// Counts an event of today; false if there were enough.
    fn count(&self, now: UtcMillis) -> bool {
        let day = day(now);
        let next = |today: u64| {
            let count = if today >> COUNT_BITS == day { today & COUNT_MASK } else { 0 };
            (count < self.most.per_day.min(COUNT_MASK)).then_some(day << COUNT_BITS | (count + 1))
        };
        self.today.fetch_update(Relaxed, Relaxed, next).is_ok()
    }

    /// Takes back the count of an event that was not queued.
    pub(super) fn give_back(&self, now: UtcMillis) {
        if self.most.per_day > 0 {
            let is_today = |today: &u64| today >> COUNT_BITS == day(now) && today & COUNT_MASK > 0;
            let less = |today: u64| is_today(&today).then(|| today - 1);
            let _ = self.today.fetch_update(Relaxed, Relaxed, less);
        }
    }

    /// Counts an event that was added to the queue.
    pub(super) fn queued(&self) {
        self.waiting.fetch_add(1, Relaxed);
    }

    /// Its events in the queue, estimated.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    /// The most of its events that may wait while others are sending, too.
    pub(super) fn most_waiting(&self) -> u64 {
        self.most.waiting
    }

    /// Scales its events in the queue, as workers have taken some.
    pub(super) fn scale(&self, depth: u64, all: u64) {
        let scaled = |waiting: u64| {
            let scaled = u128::from(waiting) * u128::from(depth) / u128::from(all.max(1));
            u64::try_from(scaled).ok()
        };
        let _ = self.waiting.fetch_update(Relaxed, Relaxed, scaled);
    }

    /// Whether it has sent an event within `span` before `now`.
    pub(super) fn sent_within(&self, span: Duration, now: UtcMillis) -> bool {
        let ago = now.epoch_millis().unsigned_abs().saturating_sub(self.last.load(Relaxed));
        u128::from(ago) <= span.as_millis()
    }
}

fn day(now: UtcMillis) -> u64 {
    now.epoch_millis().div_euclid(MILLIS_PER_DAY).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: [Limit; 2] = [Limit::ProjectRate, Limit::ProjectQuota];

    fn sender(per_second: u32, per_day: u64) -> Sender {
        Sender::new(Most { per_second, per_day, waiting: 0 })
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let sender = sender(5, 0);
        let now = UtcMillis::now();
        let passed = (0..1_000).filter(|_| sender.admit(now, LIMITS).is_ok()).count();
        assert!((50..60).contains(&passed), "{passed}");
        let refused = sender.admit(now, LIMITS).unwrap_err();
        assert_eq!((refused.limit, refused.most), (Limit::ProjectRate, 5));
        assert_eq!(refused.retry_after, Duration::from_secs(1));
    }

    #[test]
    fn a_quota_is_for_one_day_in_utc() {
        let sender = sender(0, 3);
        let late = UtcMillis::from_epoch_millis(20_000 * MILLIS_PER_DAY - 1_500);
        assert!((0..3).all(|_| sender.admit(late, LIMITS).is_ok()));
        let refused = sender.admit(late, LIMITS).unwrap_err();
        assert_eq!((refused.limit, refused.retry_after.as_secs()), (Limit::ProjectQuota, 2));
        sender.give_back(late);
        assert!(sender.admit(late, LIMITS).is_ok() && sender.admit(late, LIMITS).is_err());
        let next = UtcMillis::from_epoch_millis(20_000 * MILLIS_PER_DAY);
        assert!((0..3).all(|_| sender.admit(next, LIMITS).is_ok()));
        assert!(sender.admit(next, LIMITS).is_err());
        sender.give_back(late);
        assert!(sender.admit(next, LIMITS).is_err(), "of yesterday");
    }
}
