//! Which timestamps are plausible.
//!
//! A wrong clock must not create partitions of 1970 or 2099, sessions of many years, or visitors who
//! stay in the live view until the year of their clock.

use std::time::Duration;

use bklit_wire::time::UtcMillis;

/// 2026-01-01, in milliseconds since the epoch. A clock that is behind this was never set: nothing
/// can be judged by it.
const CLOCK_IS_SET: i64 = 1_767_225_600_000;

/// How far a timestamp may differ from the time at which the event arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeBounds {
    ahead: i64,
    age: i64,
}

impl TimeBounds {
    /// Allows up to `max_ahead` later and up to `max_age` earlier.
    pub fn new(max_ahead: Duration, max_age: Duration) -> Self {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self { ahead: millis(max_ahead), age: millis(max_age) }
    }

    /// Whether `moment` is plausible for an event that arrived at `arrived`.
    pub fn include(self, moment: UtcMillis, arrived: UtcMillis) -> bool {
        let (moment, arrived) = (moment.epoch_millis(), arrived.epoch_millis());
        let since = moment.saturating_sub(arrived);
        arrived < CLOCK_IS_SET || (self.age.saturating_neg()..=self.ahead).contains(&since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_are_included() {
        let bounds = TimeBounds::new(Duration::from_secs(10), Duration::from_secs(20));
        let arrived = 1_800_000_000_000;
        let at = UtcMillis::from_epoch_millis;
        for (offset, plausible) in
            [(0, true), (10_000, true), (10_001, false), (-20_000, true), (-20_001, false)]
        {
            assert_eq!(bounds.include(at(arrived + offset), at(arrived)), plausible, "{offset}");
        }
        assert!(!bounds.include(UtcMillis::MIN, at(arrived)));
        assert!(!bounds.include(UtcMillis::MAX, at(arrived)));
        let unbounded = TimeBounds::new(Duration::MAX, Duration::MAX);
        assert!(unbounded.include(UtcMillis::MAX, at(arrived)));
        assert!(unbounded.include(UtcMillis::MIN, at(arrived)));
    }

    #[test]
    fn no_time_is_rejected_while_the_clock_is_unset() {
        let bounds = TimeBounds::new(Duration::ZERO, Duration::ZERO);
        let today = UtcMillis::from_epoch_millis(1_800_000_000_000);
        assert!(bounds.include(today, UtcMillis::from_epoch_millis(3_600_000)));
    }
}
