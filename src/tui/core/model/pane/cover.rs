//! Which lines have been examined: one range that grows at both ends.

use std::ops::Range;

/// An end of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum End {
    /// The older lines.
    Older,
    /// The newer lines.
    Newer,
}

/// The range of examined lines, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::model) struct Cover {
    pub(in crate::model) low: u64,
    pub(in crate::model) high: u64,
}

impl Cover {
    /// An empty range at a line.
    pub(in crate::model) fn at(line: u64) -> Self {
        Self { low: line, high: line }
    }

    /// Removes lines that are no longer kept.
    pub(in crate::model) fn forget(&mut self, first: u64) {
        self.low = self.low.max(first);
        self.high = self.high.max(first);
    }

    /// Whether all of these lines have been examined.
    pub(in crate::model) fn is_all_of(&self, wanted: &Range<u64>) -> bool {
        wanted.is_empty() || self.low <= wanted.start && self.high >= wanted.end
    }

    /// The part of `wanted` to examine next: newer lines first if `reader` is `None` (following),
    /// otherwise those nearest to the reader's line.
    pub(in crate::model) fn next(
        &self,
        wanted: &Range<u64>,
        reader: Option<u64>,
        slice: u64,
    ) -> Option<(Range<u64>, End)> {
        let older = self.low.saturating_sub(slice).max(wanted.start)..self.low;
        let newer = self.high..self.high.saturating_add(slice).min(wanted.end);
        let newer_first = reader
            .is_none_or(|line| self.high.saturating_sub(line) <= line.saturating_sub(self.low));
        match (older.is_empty(), newer.is_empty()) {
            (true, true) => None,
            (false, true) => Some((older, End::Older)),
            (true, false) => Some((newer, End::Newer)),
            (false, false) if newer_first => Some((newer, End::Newer)),
            (false, false) => Some((older, End::Older)),
        }
    }

    /// Adds these lines to the range.
    pub(in crate::model) fn grow(&mut self, range: &Range<u64>, end: End) {
        match end {
            End::Older => self.low = range.start,
            End::Newer => self.high = range.end,
        }
    }
}
