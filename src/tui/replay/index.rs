//! Positions from which a recording can be read without what comes before, collected during the
//! first read. The console needs only the lines that it keeps and the period that the figures
//! cover.

use super::reader::Passed;
use bklit_wire::time::UtcMillis;

/// Initial distance between two positions, in bytes.
const STRIDE: u64 = 1 << 20;
/// The most positions. When reached, every other one is dropped and the distance doubles.
const MAX_PLACES: usize = 4096;
/// The period that figures and alerts cover, with a margin, in milliseconds.
const LOOK_BACK: i64 = 90_000;

/// The positions found so far.
#[derive(Debug)]
pub(super) struct Index {
    places: Vec<Passed>,
    stride: u64,
    max_places: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self { places: Vec::new(), stride: STRIDE, max_places: MAX_PLACES }
    }
}

impl Index {
    /// Records that everything up to this position has been read.
    pub(super) fn note(&mut self, passed: &Passed) {
        let last = self.places.last().map_or(0, |place| place.offset);
        if passed.offset < last + self.stride {
            return;
        }
        self.places.push(passed.clone());
        if self.places.len() >= self.max_places {
            let mut nth = 0;
            self.places.retain(|_| {
                nth += 1;
                nth % 2 == 0
            });
            self.stride *= 2;
        }
    }

    /// Where to start reading to show the state at a time, with this many messages before it;
    /// `None` means from the beginning.
    pub(super) fn before(&self, at: UtcMillis, messages: u64) -> Option<&Passed> {
        let by = |at| self.places.partition_point(|place| place.at.is_some_and(|then| then <= at));
        let needed = self.places[..by(at)].last()?.messages.checked_sub(messages)?;
        let earlier = UtcMillis::from_epoch_millis(at.epoch_millis().saturating_sub(LOOK_BACK));
        self.places[..by(earlier)].iter().rfind(|place| place.messages <= needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One message of 100 bytes per second.
    fn passed(messages: u64) -> Passed {
        let at = Some(UtcMillis::from_epoch_millis(messages as i64 * 1000));
        Passed { offset: messages * 100, messages, at, ..Passed::default() }
    }

    #[test]
    fn index_positions_are_early_enough_and_bounded() {
        let mut index = Index { places: Vec::new(), stride: 500, max_places: 64 };
        for messages in 1..=100_000 {
            index.note(&passed(messages));
            assert!(index.places.len() < 64);
        }
        let at = |second: i64| UtcMillis::from_epoch_millis(second * 1000);
        for (second, messages) in [(50_000, 100), (50_000, 20), (99_999, 40_000), (100_000, 1)] {
            let place = index.before(at(second), messages).unwrap();
            let enough = (messages as i64).max(LOOK_BACK / 1000);
            let missing = second - enough - place.messages as i64;
            assert!((0..10_000).contains(&missing), "{second} {messages}: {place:?}");
        }
        for (second, messages) in [(0, 0), (50_000, 50_000), (80, 1)] {
            assert!(index.before(at(second), messages).is_none());
        }
    }
}
