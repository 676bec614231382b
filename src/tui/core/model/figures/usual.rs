//! What is usual for a stage, to compare its current figures with.

use std::collections::VecDeque;

use super::SERIES;

/// The number of seconds that one value covers.
pub(super) const SPAN: i64 = 10;
/// The number of values kept: ten minutes.
const VALUES: usize = 60;
/// With fewer values than this, nothing counts as usual yet.
const MIN_VALUES: usize = 6;

/// The p95 of each series in each ten seconds of the last ten minutes, and when each last did
/// something.
#[derive(Debug, Default)]
pub(super) struct Usual {
    values: VecDeque<[Option<u64>; SERIES]>,
    /// When the next value is due.
    due: Option<i64>,
    /// The last second with a step.
    steps: [Option<i64>; SERIES],
}

impl Usual {
    /// Whether a value is due. A clock that was set back starts a new span.
    pub(super) fn is_due(&mut self, now: i64) -> bool {
        let due = *self.due.get_or_insert(now + SPAN);
        let is_due = now >= due;
        if is_due || now < due - SPAN {
            self.due = Some(now + SPAN);
        }
        is_due
    }

    /// Adds the values of the last ten seconds; a series without steps has none.
    pub(super) fn take(&mut self, p95: [Option<u64>; SERIES]) {
        if p95.iter().all(Option::is_none) {
            return;
        }
        self.values.push_back(p95);
        if self.values.len() > VALUES {
            self.values.pop_front();
        }
    }

    /// The median; `None` until there are enough values.
    pub(super) fn p95(&self, series: usize) -> Option<u64> {
        let mut known: Vec<u64> = self.values.iter().filter_map(|p95| p95[series]).collect();
        if known.len() < MIN_VALUES {
            return None;
        }
        let middle = known.len() / 2;
        Some(*known.select_nth_unstable(middle).1)
    }

    /// Records a second with steps.
    pub(super) fn stepped(&mut self, series: usize, second: i64) {
        let last = &mut self.steps[series];
        *last = Some(last.map_or(second, |last| last.max(second)));
    }

    /// The last second with steps; never in the future of a clock that was set back.
    pub(super) fn last_step(&self, series: usize, now: i64) -> Option<i64> {
        self.steps[series].map(|second| second.min(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_ten_minutes_is_usual() {
        let mut usual = Usual::default();
        let of = |value| [Some(value); SERIES];
        (1..MIN_VALUES as u64).for_each(|value| usual.take(of(value)));
        assert_eq!(usual.p95(0), None);
        usual.take(of(6));
        assert_eq!(usual.p95(0), Some(4));
        // A spike changes nothing; what lasts for long becomes usual.
        usual.take(of(1_000_000));
        assert_eq!(usual.p95(0), Some(4));
        (0..1_000).for_each(|_| usual.take(of(50)));
        assert_eq!((usual.p95(0), usual.values.len()), (Some(50), VALUES));
        // Without steps there is nothing to compare, and what was usual stays.
        usual.take([None; SERIES]);
        assert_eq!(usual.p95(0), Some(50));
    }

    #[test]
    fn a_value_is_due_every_ten_seconds_whatever_the_clock_does() {
        let mut usual = Usual::default();
        let due: Vec<i64> = (100..140).filter(|&now| usual.is_due(now)).collect();
        assert_eq!(due, [110, 120, 130]);
        assert!(!usual.is_due(50));
        let due: Vec<i64> = (51..75).filter(|&now| usual.is_due(now)).collect();
        assert_eq!(due, [60, 70]);
        usual.stepped(1, 90);
        assert_eq!((usual.last_step(1, 60), usual.last_step(0, 60)), (Some(60), None));
    }
}
