//! Older warnings and errors: kept when the other lines of their time are dropped, within limits of
//! their own, so that a flood of other lines does not take them along.

use std::collections::VecDeque;
use std::ops::Range;

use super::lines::{Lines, Numbers, Run};
use crate::model::line::LineRef;

/// The cost of a line's number.
const NUMBER: usize = size_of::<u64>();

#[derive(Debug, Default)]
struct Chunk {
    /// The numbers of its lines.
    numbers: Vec<u64>,
    lines: Lines,
    /// How many of them are dropped.
    dropped: usize,
}

impl Chunk {
    /// The number of its last line.
    fn last(&self) -> u64 {
        self.numbers.last().copied().unwrap_or(0)
    }

    fn first(&self) -> Option<u64> {
        self.numbers.get(self.dropped).copied()
    }
}

/// The lines, with the numbers that they had among all lines.
#[derive(Debug, Default)]
pub(super) struct Kept {
    chunks: VecDeque<Chunk>,
    count: usize,
    bytes: usize,
    max_lines: usize,
    max_bytes: usize,
    /// Whether any were dropped.
    has_dropped: bool,
}

impl Kept {
    pub(super) fn new(max_lines: usize, max_bytes: usize) -> Self {
        Self { max_lines, max_bytes, ..Self::default() }
    }

    /// The number of the oldest one.
    pub(super) fn first(&self) -> Option<u64> {
        self.chunks.front().and_then(Chunk::first)
    }

    /// How many there are before a number.
    pub(super) fn count_before(&self, number: u64) -> u64 {
        let before = |chunk: &Chunk| {
            chunk.numbers.partition_point(|&kept| kept < number).saturating_sub(chunk.dropped)
        };
        self.chunks.iter().map(before).sum::<usize>() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_dropped(&self) -> bool {
        self.has_dropped
    }

    /// Adds a line that is newer than all others.
    pub(super) fn push(&mut self, number: u64, line: LineRef<'_>) {
        if self.max_lines == 0 {
            return;
        }
        if self.chunks.back().is_none_or(|chunk| chunk.lines.is_full()) {
            if let Some(chunk) = self.chunks.back_mut() {
                chunk.lines.shrink();
            }
            self.chunks.push_back(Chunk::default());
        }
        let Some(chunk) = self.chunks.back_mut() else { return };
        chunk.numbers.push(number);
        self.bytes += chunk.lines.push_copy(line) + NUMBER;
        self.count += 1;
        while self.count > self.max_lines || self.bytes > self.max_bytes {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(chunk) = self.chunks.front_mut() else { return };
        self.bytes -= chunk.lines.cost(chunk.dropped) + NUMBER;
        self.count -= 1;
        self.has_dropped = true;
        chunk.dropped += 1;
        if chunk.dropped == chunk.lines.len() {
            self.chunks.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max_lines, self.max_bytes);
    }

    /// The lines in a range of numbers.
    pub(super) fn runs(&self, range: Range<u64>) -> impl Iterator<Item = Run<'_>> {
        let from = self.chunks.partition_point(|chunk| chunk.last() < range.start);
        let in_range = move |chunk: &&Chunk| chunk.first().is_some_and(|first| first < range.end);
        self.chunks.range(from..).take_while(in_range).map(move |chunk| {
            let place = |number| chunk.numbers.partition_point(|&other| other < number);
            let start = place(range.start).max(chunk.dropped);
            let end = place(range.end).max(start);
            chunk.lines.run(Numbers::Listed(&chunk.numbers[start..end]), start..end)
        })
    }

    /// The start of a range that ends with `end` and has at most a chunk's lines.
    pub(super) fn older_than(&self, end: u64) -> Option<u64> {
        let after = self.chunks.partition_point(|chunk| chunk.first().is_some_and(|n| n < end));
        self.chunks.get(after.checked_sub(1)?)?.first()
    }

    /// The end of a range that starts with `start` and has at most a chunk's lines; `None` if all
    /// lines are older.
    pub(super) fn newer_than(&self, start: u64) -> Option<u64> {
        let at = self.chunks.partition_point(|chunk| chunk.last() < start);
        Some(self.chunks.get(at)?.last() + 1)
    }
}
