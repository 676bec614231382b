//! One view of the ring: what it shows, and where in it the reader is.
//!
//! The reader is at a line (its number in the ring) on a row of the screen. Nothing else is kept,
//! so lines that come and go, filters and resizes leave the reader at that line, or at the one
//! nearest to it that is still shown.

use std::collections::VecDeque;
use std::ops::Range;

use super::filter::{Filter, TextQuery};
use super::ring::Ring;
use crate::pipeline::debug_log::Level;

/// Where the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At the newest line.
    Follow,
    /// At a line.
    At {
        /// Its number.
        line: u64,
        /// On which row of the pane it stands.
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

/// Where a jump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// At a line in the direction.
    Done,
    /// At a line from the other end.
    Wrapped,
    /// Nowhere: there is no such line.
    Nowhere,
}

/// What of the index is on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Places in the index.
    pub range: Range<usize>,
    /// The reader's place in the index; `None` when nothing is shown.
    pub cursor: Option<usize>,
}

/// A view of the ring.
#[derive(Debug)]
pub struct Pane {
    filter: Filter,
    search: Option<TextQuery>,
    /// Numbers of the lines that the filter shows, in order.
    index: VecDeque<u64>,
    /// Of these, the ones that the search finds.
    found: VecDeque<u64>,
    /// The number of the first line not looked at yet.
    scanned: u64,
    position: Position,
}

impl Default for Pane {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            search: None,
            index: VecDeque::new(),
            found: VecDeque::new(),
            scanned: 0,
            position: Position::Follow,
        }
    }
}

impl Pane {
    /// Which lines are shown.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What is highlighted.
    pub fn search(&self) -> Option<&TextQuery> {
        self.search.as_ref()
    }

    /// Where the reader is.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether it keeps to the newest line.
    pub fn follows(&self) -> bool {
        self.position == Position::Follow
    }

    /// The numbers of the lines shown, oldest first.
    pub fn index(&self) -> &VecDeque<u64> {
        &self.index
    }

    /// The numbers of the lines found, oldest first.
    pub fn found(&self) -> &VecDeque<u64> {
        &self.found
    }

    /// Which place among those found the reader's line has, if it is one.
    pub fn found_place(&self) -> Option<usize> {
        self.found.binary_search(&self.cursor_line()?).ok()
    }

    /// Takes in lines up to `limit` (exclusive), and lets go of those that the ring forgot.
    pub fn update(&mut self, ring: &Ring, limit: u64) {
        self.scan(ring, limit);
        self.forget(ring.first());
    }

    fn scan(&mut self, ring: &Ring, limit: u64) {
        for (number, line) in ring.lines(self.scanned..limit) {
            if self.filter.shows(line) {
                self.index.push_back(number);
                if self.search.as_ref().is_some_and(|search| search.matches(line)) {
                    self.found.push_back(number);
                }
            }
        }
        self.scanned = self.scanned.max(limit.min(ring.next()));
    }

    fn forget(&mut self, first: u64) {
        for numbers in [&mut self.index, &mut self.found] {
            let gone = numbers.partition_point(|&number| number < first);
            numbers.drain(..gone);
        }
    }

    /// Shows other lines, from the same place.
    pub fn set_filter(&mut self, filter: Filter, ring: &Ring, limit: u64, height: usize) {
        self.filter = filter;
        self.index.clear();
        self.found.clear();
        self.scanned = ring.first();
        self.scan(ring, limit);
        self.settle(height);
    }

    /// Highlights something else, or nothing.
    pub fn set_search(&mut self, search: Option<TextQuery>, ring: &Ring) {
        self.search = search;
        self.found.clear();
        let Some(search) = &self.search else { return };
        // Most lines stand behind each other: one pass over the ring is faster than one look for
        // each line.
        let (Some(&first), Some(&last)) = (self.index.front(), self.index.back()) else { return };
        let mut shown = self.index.iter().peekable();
        for (number, line) in ring.lines(first..last + 1) {
            if shown.next_if(|&&next| next == number).is_some() && search.matches(line) {
                self.found.push_back(number);
            }
        }
    }

    /// The place in the index that is nearest to a line.
    fn nearest(&self, line: u64) -> Option<usize> {
        let after = self.index.partition_point(|&number| number < line);
        let Some(&newer) = self.index.get(after) else { return self.index.len().checked_sub(1) };
        let Some(before) = after.checked_sub(1) else { return Some(after) };
        let older = self.index[before];
        Some(if newer - line <= line - older { after } else { before })
    }

    /// What is on a screen of so many rows.
    pub fn window(&self, height: usize) -> Window {
        let last_start = self.index.len().saturating_sub(height);
        let (start, cursor) = match self.position {
            Position::Follow => (last_start, self.index.len().checked_sub(1)),
            Position::At { line, row } => {
                let cursor = self.nearest(line);
                let row = row.min(height.saturating_sub(1));
                (cursor.unwrap_or(0).saturating_sub(row).min(last_start), cursor)
            }
        };
        Window { range: start..self.index.len().min(start + height), cursor }
    }

    /// The number of the line that the reader is at.
    pub fn cursor_line(&self) -> Option<u64> {
        self.index.get(self.window(1).cursor?).copied()
    }

    /// Notes on which row the reader's line really stands. Without it, lines that come later
    /// could move a view that was cut short at its end.
    pub fn settle(&mut self, height: usize) {
        let window = self.window(height);
        if let (Position::At { line, .. }, Some(cursor)) = (self.position, window.cursor) {
            self.position = Position::At { line, row: cursor - window.range.start };
        }
    }

    /// Keeps to the newest line.
    pub fn follow(&mut self) {
        self.position = Position::Follow;
    }

    /// Goes to the oldest line.
    pub fn go_to_oldest(&mut self) {
        if let Some(&line) = self.index.front() {
            self.position = Position::At { line, row: 0 };
        }
    }

    /// Moves by lines, up or down, and the view with them where they would leave it.
    pub fn move_lines(&mut self, direction: Direction, lines: usize, height: usize) {
        let window = self.window(height);
        let Some(cursor) = window.cursor else { return };
        if self.follows() && direction == Direction::Newer {
            return;
        }
        let to = self.stepped(cursor, direction, lines);
        self.go_to(to, height);
    }

    /// Moves by screens: the view moves, and the reader stays on its row where there is room.
    pub fn move_view(&mut self, direction: Direction, lines: usize, height: usize) {
        let window = self.window(height);
        let Some(cursor) = window.cursor else { return };
        if self.follows() && direction == Direction::Newer {
            return;
        }
        let row = cursor.saturating_sub(window.range.start);
        let to = self.stepped(cursor, direction, lines);
        self.position = Position::At { line: self.index[to], row };
        self.settle(height);
    }

    fn stepped(&self, place: usize, direction: Direction, lines: usize) -> usize {
        match direction {
            Direction::Older => place.saturating_sub(lines),
            Direction::Newer => (place + lines).min(self.index.len().saturating_sub(1)),
        }
    }

    /// Goes to the line shown before or after a line, which need not be shown itself any more.
    pub fn go_beside(&mut self, line: u64, direction: Direction, height: usize) {
        let place = match direction {
            Direction::Older => self.index.partition_point(|&number| number < line).checked_sub(1),
            Direction::Newer => Some(self.index.partition_point(|&number| number <= line)),
        };
        let place = place.unwrap_or(0).min(self.index.len().saturating_sub(1));
        self.go_to(place, height);
    }

    /// Goes to a place of the index; the view moves no more than it must, and where it must jump,
    /// the line comes to stand with some before it.
    fn go_to(&mut self, place: usize, height: usize) {
        let Range { start, end } = self.window(height).range;
        let near = height.max(1);
        let row = if (start..end).contains(&place) {
            place - start
        } else if place < start && start - place <= near {
            0
        } else if place >= end && place - end < near {
            height.saturating_sub(1)
        } else {
            height / 3
        };
        if let Some(&line) = self.index.get(place) {
            self.position = Position::At { line, row };
            self.settle(height);
        }
    }

    /// Goes to the next line found in a direction, around the end if need be.
    pub fn jump_to_found(&mut self, direction: Direction, height: usize) -> Jump {
        let Some(line) = self.cursor_line() else { return Jump::Nowhere };
        let newer = self.found.partition_point(|&number| number <= line);
        let older = self.found.partition_point(|&number| number < line);
        let (next, around) = match direction {
            Direction::Newer => (self.found.get(newer), self.found.front()),
            Direction::Older => {
                (older.checked_sub(1).and_then(|i| self.found.get(i)), self.found.back())
            }
        };
        let jump = if next.is_some() { Jump::Done } else { Jump::Wrapped };
        let Some(place) = next.or(around).and_then(|line| self.index.binary_search(line).ok())
        else {
            return Jump::Nowhere;
        };
        self.go_to(place, height);
        jump
    }

    /// After a search was typed: goes to the found line nearest above, or else below, unless one
    /// is on the screen already.
    pub fn reveal_found(&mut self, height: usize) {
        let Range { start, end } = self.window(height).range;
        let first = self.index.get(start).copied().unwrap_or(0);
        let on_screen = self.found.partition_point(|&number| number < first);
        let last = end.checked_sub(1).and_then(|i| self.index.get(i)).copied().unwrap_or(0);
        if self.found.get(on_screen).is_some_and(|&number| number <= last) {
            return;
        }
        let above = on_screen.checked_sub(1).and_then(|i| self.found.get(i));
        let place = above.or(self.found.get(on_screen));
        if let Some(place) = place.and_then(|line| self.index.binary_search(line).ok()) {
            self.go_to(place, height);
        }
    }

    /// Goes to the next line of a level or above in a direction.
    pub fn jump_to_level(
        &mut self,
        direction: Direction,
        level: Level,
        ring: &Ring,
        height: usize,
    ) -> Jump {
        let Some(cursor) = self.window(height).cursor else { return Jump::Nowhere };
        let is_it =
            |&place: &usize| ring.get(self.index[place]).is_some_and(|line| line.level() >= level);
        let found = match direction {
            Direction::Newer => (cursor + 1..self.index.len()).find(is_it),
            // Who follows looks at nothing in particular: the newest line counts too.
            Direction::Older if self.follows() => (0..=cursor).rev().find(is_it),
            Direction::Older => (0..cursor).rev().find(is_it),
        };
        let Some(place) = found else { return Jump::Nowhere };
        self.go_to(place, height);
        Jump::Done
    }
}

#[cfg(test)]
mod tests;
