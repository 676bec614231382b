//! How many of a pane's lines there are at each time, for the timeline.
//!
//! Counts are kept by second, in blocks of lines with neighbouring numbers. The ring drops the
//! oldest lines, so their counts go with whole blocks; of a block that is dropped in part, the rest
//! is counted again when the counts are read. A second of a block takes 16 bytes: at most that for
//! each line.

use std::collections::VecDeque;
use std::ops::Range;

use super::cover::End;
use crate::model::line::LineRef;
use bklit_wire::debug_log::Level;
use bklit_wire::time::UtcMillis;

/// How many line numbers a block covers: few enough to recount on demand.
const BLOCK: u64 = 1024;

/// The second in which a line was written.
pub(crate) fn second(time: UtcMillis) -> i64 {
    time.epoch_millis().div_euclid(1000)
}

/// Lines of one second by level; a block has at most [`BLOCK`].
type Levels = [u16; Level::ALL.len()];

#[derive(Clone, Debug)]
struct Block {
    /// Its first number, divided by [`BLOCK`].
    nth: u64,
    /// In order of time.
    seconds: Vec<(i64, Levels)>,
}

impl Block {
    fn numbers(&self) -> Range<u64> {
        self.nth * BLOCK..(self.nth + 1) * BLOCK
    }

    /// The counts of a second. Lines are almost in order of time.
    fn at(&mut self, second: i64) -> &mut Levels {
        let place = match self.seconds.last() {
            Some((last, _)) if *last == second => self.seconds.len() - 1,
            Some((last, _)) if *last > second => {
                match self.seconds.binary_search_by_key(&second, |(second, _)| *second) {
                    Ok(place) => place,
                    Err(place) => {
                        self.seconds.insert(place, (second, Levels::default()));
                        place
                    }
                }
            }
            _ => {
                self.seconds.push((second, Levels::default()));
                self.seconds.len() - 1
            }
        };
        &mut self.seconds[place].1
    }

    fn merge(&mut self, other: &Self) {
        for (second, levels) in &other.seconds {
            let own = self.at(*second);
            own.iter_mut().zip(levels).for_each(|(own, more)| *own = own.saturating_add(*more));
        }
    }
}

/// The counts of lines examined together, in order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Piece {
    blocks: Vec<Block>,
    /// The times of the newest second of the last block, in milliseconds.
    last: Range<i64>,
}

impl Piece {
    /// Counts a line. Most are of the newest second.
    pub(super) fn add(&mut self, number: u64, line: LineRef<'_>) {
        let (nth, time) = (number / BLOCK, line.time());
        let millis = time.epoch_millis();
        if self.blocks.last().is_none_or(|block| block.nth != nth) {
            self.blocks.push(Block { nth, seconds: Vec::new() });
        }
        let Some(block) = self.blocks.last_mut() else { return };
        let levels = match block.seconds.last_mut() {
            Some((_, levels)) if self.last.contains(&millis) => levels,
            newest => {
                let second = second(time);
                let newest = newest.map_or(second, |(newest, _)| second.max(*newest));
                self.last = newest * 1000..(newest + 1) * 1000;
                block.at(second)
            }
        };
        let count = &mut levels[line.level() as usize];
        *count = count.saturating_add(1);
    }
}

/// The counts of a pane.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    blocks: VecDeque<Block>,
    /// The first line that counts.
    first: u64,
    /// Whether the oldest block has counts of dropped lines.
    is_stale: bool,
    /// Changes whenever a count does.
    version: u64,
}

impl Tally {
    /// A number that changes whenever a count does.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The oldest second of the oldest lines, and the newest one of the newest lines.
    pub fn ends(&self) -> Option<(i64, i64)> {
        let oldest = self.blocks.front()?.seconds.first()?.0;
        let newest = self.blocks.back()?.seconds.last()?.0;
        Some((oldest, newest.max(oldest)))
    }

    /// Calls `count` with each second, in no particular order, and its lines by level.
    pub fn each(&self, mut count: impl FnMut(i64, [u64; Level::ALL.len()])) {
        for (second, levels) in self.blocks.iter().flat_map(|block| &block.seconds) {
            count(*second, levels.map(u64::from));
        }
    }

    /// The numbers among which the first line of these seconds is, if there is one.
    pub(super) fn first_in(&self, seconds: &Range<i64>) -> Option<Range<u64>> {
        let has_some = |block: &&Block| {
            let from = block.seconds.partition_point(|(second, _)| *second < seconds.start);
            block.seconds.get(from).is_some_and(|(second, _)| *second < seconds.end)
        };
        self.blocks.iter().find(has_some).map(Block::numbers)
    }

    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        (self.first, self.is_stale) = (0, false);
        self.version += 1;
    }

    /// Removes the counts of lines before this one.
    pub(super) fn forget(&mut self, first: u64) {
        if first <= self.first {
            return;
        }
        self.first = first;
        while self.blocks.front().is_some_and(|block| block.numbers().end <= first) {
            self.blocks.pop_front();
            self.is_stale = false;
            self.version += 1;
        }
        if self.blocks.front().is_some_and(|block| block.numbers().start < first) {
            self.is_stale = true;
            self.version += 1;
        }
    }

    /// The numbers of the block that has to be counted again, if any.
    pub(super) fn stale(&self) -> Option<Range<u64>> {
        self.blocks.front().filter(|_| self.is_stale).map(Block::numbers)
    }

    /// Replaces the counts of that block.
    pub(super) fn count_again(&mut self, piece: Piece) {
        self.blocks.pop_front();
        piece.blocks.into_iter().rev().for_each(|block| self.blocks.push_front(block));
        self.is_stale = false;
    }

    /// Adds the counts of lines at an end; those of older lines start at `first`.
    pub(super) fn extend(&mut self, piece: Piece, end: End, first: u64) {
        self.version += u64::from(!piece.blocks.is_empty());
        match end {
            End::Newer => {
                for block in piece.blocks {
                    match self.blocks.back_mut() {
                        Some(last) if last.nth == block.nth => last.merge(&block),
                        _ => self.blocks.push_back(block),
                    }
                }
            }
            End::Older => {
                self.first = self.first.min(first);
                for block in piece.blocks.into_iter().rev() {
                    match self.blocks.front_mut() {
                        Some(front) if front.nth == block.nth => front.merge(&block),
                        _ => self.blocks.push_front(block),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
