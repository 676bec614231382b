//! One view of the ring: which lines it shows, and where the reader is.
//!
//! The reader is at a line (its number in the ring) on a row of the pane. Nothing else is stored,
//! so the reader stays at that line, or at the nearest one still shown, when lines come and go, the
//! filter changes or the window is resized.
//!
//! The lines to show are determined in slices, see `scan`; lines around the reader come first.
//!
//! - `cover`: the range of lines examined so far
//! - `moving`: moves the reader
//! - `rows`: which lines are on which rows, also if long ones are wrapped
//! - `scan`: applies filter and search in slices
//! - `seek`: jumps to the next line of a kind
//! - `tally`: counts lines by time

pub(super) mod cover;
mod moving;
mod rows;
mod scan;
mod seek;
pub(crate) mod tally;

use std::collections::VecDeque;

use self::cover::Cover;
use self::rows::Heights;
pub use self::rows::{Held, HeldLine, MAX_ROWS, Window};
pub use self::seek::{Seek, Wanted};
pub use self::tally::Tally;
use super::filter::{Filter, Hidden};
use super::grouping::GroupKey;
use super::line_ring::LineRing;
use super::query::Query;

/// Where the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At the newest line.
    Follow,
    /// At a line.
    At {
        /// Its number.
        line: u64,
        /// The row of the pane on which it is shown.
        row: usize,
    },
}

/// Towards older or newer lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Up.
    Older,
    /// Down.
    Newer,
}

/// The result of a jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// Reached a line in the direction.
    Done,
    /// Reached a line after wrapping around.
    Wrapped,
    /// There is no matching line.
    Nowhere,
}

/// A visit to other lines, after which the pane returns to its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// All lines around one.
    Context,
    /// The lines of a group.
    Group,
}

/// A view of the ring.
#[derive(Clone, Debug)]
pub struct Pane {
    filter: Filter,
    search: Option<Query>,
    /// Numbers of the lines that pass the filter, in order; of repeats only the newest.
    index: VecDeque<u64>,
    /// Whether repeats are shown as one line.
    folds: bool,
    /// For each line of the index, how many lines it represents; empty while repeats are not
    /// folded.
    repeats: VecDeque<u32>,
    /// The lines of the index that match the search.
    found: VecDeque<u64>,
    /// The lines to which the filter has been applied.
    filtered: Cover,
    /// Those of them to which the search has been applied.
    searched: Cover,
    /// The lines to which the filter has been applied, by time.
    tally: Tally,
    position: Position,
    /// Lines examined per slice.
    slice: u64,
    /// How many lines each condition of the filter has hidden.
    hidden: Hidden,
    /// The state to restore when leaving a visit.
    before_visit: Option<Box<(Visit, Filter, Position)>>,
    held: Option<Held>,
    /// Whether long lines are wrapped.
    wraps: bool,
    /// The columns by which lines that are not wrapped are scrolled to the right.
    shift: usize,
    /// How many rows the lines near the reader have, if long lines are wrapped.
    heights: Heights,
}

/// Lines examined per slice; takes some milliseconds with an expensive query.
pub const SLICE: u64 = 20_000;

impl Default for Pane {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            search: None,
            index: VecDeque::new(),
            folds: false,
            repeats: VecDeque::new(),
            found: VecDeque::new(),
            filtered: Cover::default(),
            searched: Cover::default(),
            tally: Tally::default(),
            position: Position::Follow,
            slice: SLICE,
            hidden: Hidden::default(),
            before_visit: None,
            held: None,
            wraps: false,
            shift: 0,
            heights: Heights::default(),
        }
    }
}

impl Pane {
    /// Which lines are shown.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What is highlighted.
    pub fn search(&self) -> Option<&Query> {
        self.search.as_ref()
    }

    /// Where the reader is.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether it follows the newest line.
    pub fn follows(&self) -> bool {
        self.position == Position::Follow
    }

    /// The numbers of the lines shown, oldest first.
    pub fn index(&self) -> &VecDeque<u64> {
        &self.index
    }

    /// The numbers of the lines that match the search, oldest first.
    pub fn found(&self) -> &VecDeque<u64> {
        &self.found
    }

    /// Whether repeats are shown as one line.
    pub fn folds(&self) -> bool {
        self.folds
    }

    /// How many lines the one at a position of the index represents, including dropped ones.
    pub fn repeats(&self, place: usize) -> u32 {
        self.repeats.get(place).copied().unwrap_or(1)
    }

    /// The position of the reader's line among the search's matches, if it is one.
    pub fn found_place(&self) -> Option<usize> {
        self.found.binary_search(&self.cursor_line()?).ok()
    }

    /// How many lines each condition of the filter has hidden since it was set.
    pub fn hidden(&self) -> Hidden {
        self.hidden
    }

    /// How many of its lines there are at each time.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The filter that it has after a visit.
    pub fn own_filter(&self) -> &Filter {
        self.before_visit.as_ref().map_or(&self.filter, |before| &before.1)
    }

    /// What it shows instead of its filter's lines, if anything.
    pub fn visit(&self) -> Option<Visit> {
        self.before_visit.as_ref().map(|before| before.0)
    }

    /// Shows the reader's line among all lines.
    pub fn visit_context(&mut self, ring: &LineRing, limit: u64, height: usize) {
        let before = (Visit::Context, self.filter.clone(), self.position);
        let window = self.window(height);
        if let Some(cursor) = window.cursor {
            self.position = Position::At { line: self.index[cursor], row: window.row };
        }
        self.visit_with(before, Filter::default(), ring, limit, height);
    }

    /// Shows the lines of a group, the newest first.
    pub fn visit_group(&mut self, key: GroupKey, ring: &LineRing, limit: u64, height: usize) {
        let before = (Visit::Group, self.filter.clone(), self.position);
        self.position = Position::Follow;
        self.visit_with(before, Filter::of_group(key), ring, limit, height);
    }

    fn visit_with(
        &mut self,
        before: (Visit, Filter, Position),
        filter: Filter,
        ring: &LineRing,
        limit: u64,
        height: usize,
    ) {
        // From one visit to another, the state before the first one is kept.
        let (visit, ..) = before;
        let before = self.before_visit.take().unwrap_or_else(|| Box::new(before));
        self.set_filter(filter, ring, limit, height);
        self.before_visit = Some(Box::new((visit, before.1, before.2)));
    }

    /// Returns from a visit, if this is one.
    pub fn end_visit(&mut self, ring: &LineRing, limit: u64, height: usize) -> Option<Visit> {
        let (visit, filter, position) = *self.before_visit.take()?;
        self.position = position;
        self.set_filter(filter, ring, limit, height);
        Some(visit)
    }

    /// The position in the index that is nearest to a line.
    fn nearest(&self, line: u64) -> Option<usize> {
        let after = self.index.partition_point(|&number| number < line);
        let Some(&newer) = self.index.get(after) else { return self.index.len().checked_sub(1) };
        let Some(before) = after.checked_sub(1).filter(|_| !self.folds) else { return Some(after) };
        let older = self.index[before];
        Some(if newer - line <= line - older { after } else { before })
    }

    /// The number of the line at which the reader is.
    pub fn cursor_line(&self) -> Option<u64> {
        self.index.get(self.window(1).cursor?).copied()
    }
}

#[cfg(test)]
mod tests;
