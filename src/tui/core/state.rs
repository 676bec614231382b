//! How a value compares with what is normal for it.

/// A value this many times as high as usual is high.
const HIGH: u64 = 2;
/// A value this many times as high as usual is critical.
const CRITICAL: u64 = 10;
/// Latencies below this are never high, in microseconds: doubling means nothing there.
const HIGH_LATENCY: u64 = 1_000;
/// A share that is high, and one that is critical, in percent.
const HIGH_SHARE: u64 = 10;
const CRITICAL_SHARE: u64 = 50;
/// Fewer than this are never high, whatever their share.
const LEAST_PART: u64 = 10;
/// This many errors in a minute are critical, whatever their share.
const CRITICAL_ERRORS: u64 = 600;
/// Latencies below this are never critical, in microseconds.
const CRITICAL_LATENCY: u64 = 10_000;

/// The state of a value or of a part of the pipeline, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not known.
    #[default]
    Unknown,
    /// Nothing happens, and nothing is expected to.
    Idle,
    /// As usual, or nothing to compare with.
    Normal,
    /// Above normal.
    High,
    /// Far above normal, stalled or failing.
    Critical,
}

impl State {
    /// Compares a latency with its usual value, both in microseconds.
    pub fn latency(now: u64, usual: Option<u64>) -> Self {
        let Some(usual) = usual else { return Self::Normal };
        let above = |times: u64, least: u64| now > usual.saturating_mul(times) && now >= least;
        if above(CRITICAL, CRITICAL_LATENCY) {
            Self::Critical
        } else if above(HIGH, HIGH_LATENCY) {
            Self::High
        } else {
            Self::Normal
        }
    }

    /// Compares a number with its alarm threshold: high from half of it.
    pub fn depth(depth: u64, alarm: u64) -> Self {
        if depth > alarm {
            Self::Critical
        } else if depth > alarm / 2 {
            Self::High
        } else {
            Self::Normal
        }
    }

    /// Rates a share that should be small, such as that of refused events.
    pub fn share(part: u64, whole: u64) -> Self {
        let reaches =
            |percent: u64| u128::from(part) * 100 >= u128::from(whole) * u128::from(percent);
        match part {
            ..LEAST_PART => Self::Normal,
            _ if reaches(CRITICAL_SHARE) => Self::Critical,
            _ if reaches(HIGH_SHARE) => Self::High,
            _ => Self::Normal,
        }
    }

    /// Rates errors among the steps of a minute: any is high.
    pub fn errors(errors: u64, steps: u64) -> Self {
        match Self::share(errors, steps) {
            _ if errors == 0 => Self::Normal,
            _ if errors >= CRITICAL_ERRORS => Self::Critical,
            share => share.max(Self::High),
        }
    }

    /// The sign of a state, so that it does not depend on colour; empty if all is well.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Unknown => "?",
            Self::Idle | Self::Normal => "",
            Self::High => "▲",
            Self::Critical => "✗",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_values_have_no_colour() {
        let latency = |now, usual| State::latency(now, Some(usual));
        assert_eq!(latency(4_000, 2_000), State::Normal);
        assert_eq!(latency(4_001, 2_000), State::High);
        assert_eq!(latency(20_000, 2_000), State::High);
        assert_eq!(latency(20_001, 2_000), State::Critical);
        // Small values may vary.
        assert_eq!((latency(999, 3), latency(9_999, 3)), (State::Normal, State::High));
        assert_eq!(State::latency(u64::MAX, None), State::Normal);
        assert_eq!(latency(u64::MAX, u64::MAX), State::Normal);
        let depth = |depth| State::depth(depth, 1_000);
        assert_eq!([500, 501, 1_000].map(depth), [State::Normal, State::High, State::High]);
        assert_eq!(depth(1_001), State::Critical);
        let share = |part| State::share(part, 100);
        assert_eq!([9, 10, 49, 50].map(share)[..2], [State::Normal, State::High]);
        assert_eq!([share(49), share(50)], [State::High, State::Critical]);
        assert_eq!(State::share(9, 9), State::Normal);
        let errors = |errors| State::errors(errors, 3_000);
        assert_eq!([0, 1, 599].map(errors), [State::Normal, State::High, State::High]);
        assert_eq!([errors(600), State::errors(10, 20)], [State::Critical; 2]);
    }

    #[test]
    fn states_are_ordered_and_have_signs() {
        assert!(State::Critical > State::High && State::High > State::Normal);
        assert_ne!(State::Critical.sign(), State::High.sign());
        assert_eq!(State::Normal.sign(), "");
    }
}
