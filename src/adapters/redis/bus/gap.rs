//! Which lines of the history were missed while the connection was lost.

use std::collections::{HashMap, VecDeque};

use super::history::Kept;
use crate::local::history::OVERLAP;
use bklit_wire::time::UtcMillis;

/// Lines missed while the connection was lost.
pub(super) struct Gap {
    /// Whether the connection is lost.
    pub(super) is_open: bool,
    /// Whether the current reading is for the gap.
    pub(super) is_read: bool,
    /// Identities of the last lines, up to [`OVERLAP`], the latest last.
    seen: VecDeque<u64>,
    /// When the subscription began.
    since: UtcMillis,
}

impl Gap {
    pub(super) fn new() -> Self {
        let since = UtcMillis::now();
        Self { is_open: false, is_read: false, seen: VecDeque::new(), since }
    }

    pub(super) fn saw(&mut self, identity: u64) {
        if self.seen.len() == OVERLAP {
            self.seen.pop_front();
        }
        self.seen.push_back(identity);
    }

    /// Of the lines in the stream, those that are newer than the oldest known one and not known.
    pub(super) fn missed(&self, mut newest_first: Vec<Kept>) -> Vec<Kept> {
        let mut seen: HashMap<u64, u32> = HashMap::new();
        for identity in &self.seen {
            *seen.entry(*identity).or_default() += 1;
        }
        let is_known = |kept: &Kept| seen.contains_key(&kept.line.identity());
        match newest_first.iter().rposition(is_known) {
            Some(oldest) => newest_first.truncate(oldest),
            None => newest_first.retain(|kept| kept.line.timestamp >= self.since),
        }
        newest_first.retain(|kept| {
            let count = seen.get_mut(&kept.line.identity()).filter(|count| **count > 0);
            count.map(|count| *count -= 1).is_none()
        });
        newest_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::debug_log::{DebugLog, Level, Stage};
    use std::sync::Arc;

    fn line(at: i64) -> Arc<DebugLog> {
        let timestamp = UtcMillis::from_epoch_millis(at);
        Arc::new(DebugLog { timestamp, ..DebugLog::new(Stage::Queue, Level::Info, "x") })
    }

    #[test]
    fn missed_lines_are_those_between_known_ones_and_after_them() {
        let kept = |at| Kept { line: line(at), process: "p".to_owned(), number: 0 };
        let stream = || (1..=9).rev().map(kept).collect::<Vec<_>>();
        let times = |missed: Vec<Kept>| {
            missed.iter().map(|kept| kept.line.timestamp.epoch_millis()).collect::<Vec<_>>()
        };
        let mut gap = Gap { since: UtcMillis::from_epoch_millis(8), ..Gap::new() };
        assert_eq!(
            times(gap.missed(stream())),
            [9, 8],
            "before the subscription, nothing is missed"
        );
        for at in [3, 4, 6] {
            gap.saw(line(at).identity());
        }
        assert_eq!(times(gap.missed(stream())), [9, 8, 7, 5]);
        // Two lines may be the same; one of them is known.
        let twice = vec![kept(7), kept(7), kept(6)];
        gap.saw(line(7).identity());
        assert_eq!(times(gap.missed(twice)), [7]);
        for at in 0..OVERLAP as i64 {
            gap.saw(line(1_000 + at).identity());
        }
        assert_eq!(gap.seen.len(), OVERLAP);
    }
}
