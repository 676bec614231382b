//! Moves the reader through the lines shown.

use std::ops::Range;

use super::tally::second;
use super::{Direction, Pane, Position};
use crate::model::line_ring::LineRing;

impl Pane {
    /// Follows the newest line.
    pub fn follow(&mut self) {
        self.position = Position::Follow;
    }

    /// Goes to the oldest line.
    pub fn go_to_oldest(&mut self) {
        if let Some(&line) = self.index.front() {
            self.position = Position::At { line, row: 0 };
        }
    }

    /// Moves by lines, up or down. The view scrolls when the reader would leave it.
    pub fn move_lines(&mut self, direction: Direction, lines: usize, height: usize) {
        let window = self.window(height);
        let Some(cursor) = window.cursor else { return };
        if self.follows() && direction == Direction::Newer {
            return;
        }
        let to = self.stepped(cursor, direction, lines);
        self.go_to(to, height);
    }

    /// Moves by screens: the view scrolls, and the reader stays on its row if possible.
    pub fn move_view(&mut self, direction: Direction, lines: usize, height: usize) {
        let window = self.window(height);
        let Some(cursor) = window.cursor else { return };
        if self.follows() && direction == Direction::Newer {
            return;
        }
        let to = self.scrolled(cursor, direction, lines);
        self.position = Position::At { line: self.index[to], row: window.row };
        self.settle(height);
    }

    fn stepped(&self, place: usize, direction: Direction, lines: usize) -> usize {
        match direction {
            Direction::Older => place.saturating_sub(lines),
            Direction::Newer => (place + lines).min(self.index.len().saturating_sub(1)),
        }
    }

    /// The position that comes to a line's row when the view scrolls by at most this many rows, but
    /// by a line at least.
    fn scrolled(&self, place: usize, direction: Direction, rows: usize) -> usize {
        if !self.wraps {
            return self.stepped(place, direction, rows);
        }
        let (mut at, mut passed) = (place, 0);
        loop {
            let next = self.stepped(at, direction, 1);
            passed += self.rows(at.min(next));
            if next == at || (passed > rows && at != place) {
                return at;
            }
            at = next;
        }
    }

    /// Goes to the line shown before or after a given one, which may itself be hidden.
    pub fn go_to_adjacent(&mut self, line: u64, direction: Direction, height: usize) {
        let place = match direction {
            Direction::Older => self.index.partition_point(|&number| number < line).checked_sub(1),
            Direction::Newer => Some(self.index.partition_point(|&number| number <= line)),
        };
        let place = place.unwrap_or(0).min(self.index.len().saturating_sub(1));
        self.go_to(place, height);
    }

    /// Moves to a position of the index, scrolling as little as possible. After a jump, some lines
    /// before it are shown as well.
    pub(super) fn go_to(&mut self, place: usize, height: usize) {
        let window = self.window(height);
        let Range { start, end } = window.range;
        let (near, own) = (height.max(1), self.rows(place));
        let above = self.rows_of(start..place.clamp(start, end));
        let is_whole = above >= window.skip && above - window.skip + own <= height;
        let row = if (start..end).contains(&place) && is_whole {
            above - window.skip
        } else if place <= start && start - place <= near {
            0
        } else if place + 1 >= end && place + 1 - end <= near {
            height.saturating_sub(own)
        } else {
            height / 3
        };
        if let Some(&line) = self.index.get(place) {
            self.position = Position::At { line, row };
            self.settle(height);
        }
    }

    /// After typing a search: goes to the nearest match above the cursor, or else below, so that
    /// the next action applies to a match.
    pub fn reveal_found(&mut self, height: usize) {
        let cursor = self.cursor_line().unwrap_or(u64::MAX);
        let after = self.found.partition_point(|&number| number <= cursor);
        let above = after.checked_sub(1).and_then(|i| self.found.get(i));
        let line = above.or(self.found.get(after));
        if let Some(place) = line.and_then(|line| self.index.binary_search(line).ok()) {
            self.go_to(place, height);
        }
    }

    /// Goes to a line, or to the nearest one shown. Returns whether the line itself is shown.
    pub fn go_to_line(&mut self, line: u64, height: usize) -> bool {
        if let Some(place) = self.nearest(line) {
            self.go_to(place, height);
        }
        self.cursor_line() == Some(line)
    }

    /// Goes to the first line of these seconds. Returns whether there is one among the lines
    /// examined so far.
    pub fn go_to_time(&mut self, seconds: &Range<i64>, ring: &LineRing, height: usize) -> bool {
        let Some(numbers) = self.tally.first_in(seconds) else { return false };
        let is_then = |number: u64| {
            ring.get(number).is_some_and(|line| seconds.contains(&second(line.time())))
        };
        let from = self.index.partition_point(|&number| number < numbers.start);
        let mut here = self.index.range(from..).take_while(|number| **number < numbers.end);
        // Of folded repeats, the line that stands for it may be newer.
        let place = from + here.position(|&number| is_then(number)).unwrap_or(0);
        self.go_to(place.min(self.index.len().saturating_sub(1)), height);
        true
    }
}
