//! Which lines are on which rows of the screen.
//!
//! A line has one row, or several if long lines are wrapped. How many is measured only near the
//! reader, after each message: nothing depends on the rows of other lines.

use std::collections::VecDeque;
use std::ops::Range;

use super::{Pane, Position};
use crate::model::layout::columns::Columns;
use crate::model::line::OwnedLine;
use crate::model::line_ring::LineRing;

/// The most rows of a wrapped line; one that is longer is cut off with a mark.
pub const MAX_ROWS: usize = 6;
/// How many screens of lines are measured on each side of the reader: as many as a key moves by, and
/// what is visible then.
const SCREENS: usize = 3;

/// The part of the index that is on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Positions in the index.
    pub range: Range<usize>,
    /// The reader's position in the index; `None` if nothing is shown.
    pub cursor: Option<usize>,
    /// How many rows of the first line are above the screen.
    pub skip: usize,
    /// The first row of the reader's line.
    pub row: usize,
}

/// What a pane showed when the display was paused, in case the ring drops it.
#[derive(Clone, Debug)]
pub struct Held {
    position: Position,
    /// The lines.
    pub lines: Vec<HeldLine>,
    /// How many rows of the first one are above the screen.
    pub skip: usize,
}

/// A line that was shown.
#[derive(Clone, Debug)]
pub struct HeldLine {
    /// Its number.
    pub number: u64,
    /// The line.
    pub line: OwnedLine,
    /// How many rows it has.
    rows: usize,
}

impl Held {
    /// The number of the line on a row of the screen.
    pub fn number_at(&self, row: usize) -> Option<u64> {
        let mut end = 0;
        let mut lines = self.lines.iter();
        let line = lines.find(|line| {
            end += line.rows;
            end > row + self.skip
        });
        line.map(|line| line.number)
    }
}

/// How many rows lines have.
#[derive(Clone, Debug, Default)]
pub(super) struct Heights {
    /// The columns of message and details, and the most rows.
    size: (usize, usize),
    /// Numbers of lines in order, and their rows.
    lines: VecDeque<(u64, usize)>,
}

impl Heights {
    fn of(&self, number: u64) -> Option<usize> {
        let place = self.lines.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.lines[place].1)
    }
}

impl Pane {
    /// Whether long lines are wrapped.
    pub fn wraps(&self) -> bool {
        self.wraps
    }

    /// Wraps long lines, or cuts them off.
    pub(crate) fn set_wraps(&mut self, wraps: bool) {
        (self.wraps, self.shift) = (wraps, 0);
    }

    /// The columns by which lines are scrolled to the right.
    pub fn shift(&self) -> usize {
        self.shift
    }

    /// Scrolls by half of the space for message and details, as far as a visible line goes. Returns
    /// whether that is possible.
    pub(crate) fn scroll_sideways(
        &mut self,
        right: bool,
        ring: &LineRing,
        width: usize,
        height: usize,
    ) -> bool {
        let room = Columns::of(width, self.folds).body;
        let shown = self.index.range(self.window(height).range);
        let widths = shown.filter_map(|&number| Some(ring.get(number)?.body_width()));
        let most = widths.max().unwrap_or(0).saturating_sub(room / 2);
        let before = self.shift;
        self.shift = if right {
            before.max((before + room / 2).min(most))
        } else {
            before.saturating_sub(room / 2)
        };
        self.shift != before
    }

    /// The most rows of a line on a screen of this height.
    pub fn most_rows(&self, height: usize) -> usize {
        if self.wraps { MAX_ROWS.min(height.max(1)) } else { 1 }
    }

    /// How many rows the line at a position of the index has.
    pub fn rows(&self, place: usize) -> usize {
        if !self.wraps {
            return 1;
        }
        self.index.get(place).and_then(|&number| self.heights.of(number)).unwrap_or(1)
    }

    /// Measures the lines near the reader, for a screen of this size.
    pub(crate) fn measure(&mut self, ring: &LineRing, width: usize, height: usize) {
        if !self.wraps {
            self.heights.lines.clear();
            return;
        }
        let size = (Columns::of(width, self.folds).body, self.most_rows(height));
        if self.heights.size != size {
            self.heights = Heights { size, lines: VecDeque::new() };
        }
        let at = match self.position {
            Position::Follow => self.index.len(),
            Position::At { line, .. } => self.nearest(line).unwrap_or(0),
        };
        let reach = height * SCREENS;
        let near = at.saturating_sub(reach)..self.index.len().min(at + reach);
        let rows = |number: u64| {
            let known = self.heights.of(number);
            known.or_else(|| Some(ring.get(number)?.body_height(size.0, size.1)))
        };
        let lines = self.index.range(near).map(|&number| (number, rows(number).unwrap_or(1)));
        self.heights.lines = lines.collect();
        if let Some(held) = &mut self.held {
            for line in &mut held.lines {
                line.rows = line.line.as_ref().body_height(size.0, size.1);
            }
        }
    }

    /// Where the rows before a position of the index start: the first line, and how many of its rows
    /// are above.
    fn above(&self, place: usize, rows: usize) -> (usize, usize) {
        if !self.wraps {
            return (place.saturating_sub(rows), 0);
        }
        let (mut at, mut left) = (place, rows);
        while left > 0 && at > 0 {
            at -= 1;
            let rows = self.rows(at);
            if rows > left {
                return (at, rows - left);
            }
            left -= rows;
        }
        (at, 0)
    }

    /// How many rows the lines in a part of the index have.
    pub(super) fn rows_of(&self, range: Range<usize>) -> usize {
        if self.wraps { range.map(|place| self.rows(place)).sum() } else { range.len() }
    }

    /// The part of the index shown on a screen of this height.
    pub fn window(&self, height: usize) -> Window {
        let count = self.index.len();
        let last = self.above(count, height);
        let ((start, skip), cursor) = match self.position {
            Position::Follow => (last, count.checked_sub(1)),
            Position::At { line, row } => {
                let cursor = self.nearest(line);
                let place = cursor.unwrap_or(0);
                let row = row.min(height.saturating_sub(self.rows(place)));
                (self.above(place, row).min(last), cursor)
            }
        };
        let mut end = start;
        if self.wraps {
            let mut rows = 0;
            while end < count && rows < height + skip {
                rows += self.rows(end);
                end += 1;
            }
        } else {
            end = count.min(start + height);
        }
        let above = cursor.map_or(0, |cursor| self.rows_of(start..cursor.max(start)));
        Window { range: start..end, cursor, skip, row: above.saturating_sub(skip) }
    }

    /// The number of the line on a row of a screen of this height.
    pub fn number_at(&self, row: usize, height: usize) -> Option<u64> {
        let window = self.window(height);
        let mut end = 0;
        let place = window.range.clone().find(|&place| {
            end += self.rows(place);
            end > row + window.skip
        });
        self.index.get(place?).copied()
    }

    /// Records the row on which the reader's line is really shown. Otherwise new lines could move a
    /// view that is not full.
    pub fn settle(&mut self, height: usize) {
        let window = self.window(height);
        if let (Position::At { line, .. }, Some(_)) = (self.position, window.cursor) {
            self.position = Position::At { line, row: window.row };
        }
    }

    /// Keeps a copy of what is on the screen, see [`Pane::held`].
    pub fn hold(&mut self, ring: &LineRing, height: usize) {
        let Window { range, skip, .. } = self.window(height);
        let lines = range.filter_map(|place| {
            let number = self.index[place];
            let line = ring.get(number)?.to_owned();
            Some(HeldLine { number, line, rows: self.rows(place) })
        });
        self.held = Some(Held { position: self.position, lines: lines.collect(), skip });
    }

    /// Drops that copy.
    pub fn release(&mut self) {
        self.held = None;
    }

    /// What was on the screen when the display was paused, if the reader has not moved since and
    /// the ring has dropped some of it.
    pub fn held(&self, ring: &LineRing) -> Option<&Held> {
        let held = self.held.as_ref().filter(|held| held.position == self.position)?;
        ring.get(held.lines.first()?.number).is_none().then_some(held)
    }
}
