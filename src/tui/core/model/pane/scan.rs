//! Applies filter and search in slices.
//!
//! The examined lines are one range, see [`Cover`]. It starts at the reader and grows by one slice
//! per [`Pane::work`] until it covers the ring; new lines are a slice of their own. The visible
//! lines are correct after the first slices. Every change of the filter starts over.

use std::collections::VecDeque;
use std::ops::Range;

use super::Pane;
use super::cover::{Cover, End};
use super::tally::Piece;
use crate::model::filter::{Condition, Filter, FilterScanner, Hidden};
use crate::model::grouping::is_same;
use crate::model::line_ring::LineRing;
use crate::model::pane::Position;
use crate::model::query::Query;
use crate::model::query::scanner::Scanner;

impl Pane {
    /// Sets how many lines are examined per slice.
    pub fn set_slice(&mut self, lines: u64) {
        self.slice = lines.max(1);
    }

    /// Examines lines up to `limit` (exclusive), at most one slice, and removes those that the ring
    /// has dropped.
    pub fn update(&mut self, ring: &LineRing, limit: u64) {
        self.forget(self.first(ring));
        self.catch_up(limit);
        let new = self.filtered.high..limit;
        if !new.is_empty() && limit - new.start <= self.slice {
            self.filter_lines(&new, End::Newer, ring);
        }
    }

    /// The first of the lines to examine. Of warnings and errors, older ones are kept.
    pub(super) fn first(&self, ring: &LineRing) -> u64 {
        ring.first_of(self.filter.level)
    }

    fn forget(&mut self, first: u64) {
        let gone = self.index.partition_point(|&number| number < first);
        self.index.drain(..gone);
        self.repeats.drain(..gone.min(self.repeats.len()));
        let gone = self.found.partition_point(|&number| number < first);
        self.found.drain(..gone);
        self.filtered.forget(first);
        self.searched.forget(first);
        self.tally.forget(first);
    }

    /// When following, the newest lines come first.
    fn catch_up(&mut self, limit: u64) {
        if self.follows() && limit.saturating_sub(self.filtered.high) > self.slice {
            self.begin_at(limit);
        }
    }

    fn begin_at(&mut self, line: u64) {
        self.index.clear();
        self.repeats.clear();
        self.found.clear();
        self.hidden = Hidden::default();
        self.tally.clear();
        self.filtered = Cover::at(line);
        self.searched = self.filtered;
    }

    /// Changes the filter; the reader stays in place.
    pub fn set_filter(&mut self, filter: Filter, ring: &LineRing, limit: u64, height: usize) {
        self.filter = filter;
        self.before_visit = None;
        self.restart(ring, limit, height);
    }

    /// Folds repeats into one line, or shows all lines again.
    pub fn set_folds(&mut self, folds: bool, ring: &LineRing, limit: u64, height: usize) {
        self.folds = folds;
        self.restart(ring, limit, height);
    }

    fn restart(&mut self, ring: &LineRing, limit: u64, height: usize) {
        self.held = None;
        let start = match self.position {
            Position::Follow => limit,
            // Half a slice newer, so that the reader is in the middle of the first slice.
            Position::At { line, .. } => line.saturating_add(self.slice / 2).min(limit),
        };
        // The lines held back may all have been dropped already.
        self.begin_at(start.max(self.first(ring)));
        // The visible lines are correct at once; with a small ring, all lines are.
        self.work(ring, limit, height);
        self.work(ring, limit, height);
    }

    /// Changes what is highlighted.
    pub fn set_search(
        &mut self,
        search: Option<Query>,
        ring: &LineRing,
        limit: u64,
        height: usize,
    ) {
        self.search = search;
        self.found.clear();
        if self.search.is_none() {
            self.searched = self.filtered;
            return;
        }
        let start = match self.position {
            Position::Follow => limit,
            Position::At { line, .. } => line.saturating_add(self.slice / 2),
        };
        self.searched = Cover::at(start.clamp(self.filtered.low, self.filtered.high));
        self.work(ring, limit, height);
        self.work(ring, limit, height);
    }

    /// Whether there are lines left to examine.
    pub fn has_work(&self, ring: &LineRing, limit: u64) -> bool {
        !self.filtered.is_all_of(&(self.first(ring)..limit)) || self.searched != self.filtered
    }

    /// How much of the ring has been examined, in percent; `None` when done.
    pub fn progress(&self, ring: &LineRing, limit: u64) -> Option<u8> {
        let first = self.first(ring);
        let all = limit.saturating_sub(first);
        if all == 0 || !self.has_work(ring, limit) {
            return None;
        }
        let done = self.searched.high.saturating_sub(self.searched.low.max(first));
        Some((done.saturating_mul(100) / all).min(99) as u8)
    }

    /// Examines one more slice, the nearest to the reader.
    pub fn work(&mut self, ring: &LineRing, limit: u64, height: usize) {
        self.forget(self.first(ring));
        self.catch_up(limit);
        let reader = match self.position {
            Position::Follow => None,
            Position::At { line, .. } => Some(line),
        };
        let filtered = self.filtered.low..self.filtered.high;
        let all = self.first(ring)..limit;
        if let Some((lines, end)) = self.searched.next(&filtered, reader, self.slice) {
            self.search_lines(&widened(lines, end, &filtered, ring), end, ring);
        } else if let Some((lines, end)) = self.filtered.next(&all, reader, self.slice) {
            self.filter_lines(&widened(lines, end, &all, ring), end, ring);
        }
        if !self.has_work(ring, limit) {
            self.settle(height);
        }
    }

    fn filter_lines(&mut self, lines: &Range<u64>, end: End, ring: &LineRing) {
        let together = self.searched == self.filtered;
        let (mut shown, mut found) = (Vec::new(), Vec::new());
        let (mut hidden, mut counts) = (self.hidden, Piece::default());
        {
            let mut filter = FilterScanner::new(&self.filter);
            let mut search = self.search.as_ref().filter(|_| together).map(Scanner::new);
            for run in ring.runs(lines.clone()) {
                filter.enter();
                if let Some(search) = &mut search {
                    search.enter();
                }
                let (mut place, mut skipped) = (0, run.len());
                while let Some(next) = filter.skip(&run, place)
                    && let Some((start, line)) = run.get(next)
                {
                    match filter.hides(run.text(), start, line) {
                        Some(condition) => hidden.add(condition, 1),
                        None => {
                            let (search, number) = (search.as_mut(), run.number(next));
                            if search.is_some_and(|s| s.matches(run.text(), start, line)) {
                                found.push(number);
                            }
                            counts.add(number, line);
                            shown.push(number);
                        }
                    }
                    place = next + 1;
                    skipped -= 1;
                }
                hidden.add(Condition::Query, skipped as u64);
            }
        }
        self.hidden = hidden;
        if end == End::Older {
            self.freshen_tally(ring);
        }
        self.tally.extend(counts, end, lines.start);
        match (self.folds, end) {
            (false, End::Newer) => {
                self.index.extend(shown);
                self.found.extend(found);
            }
            (false, End::Older) => {
                prepend(&mut self.index, shown);
                prepend(&mut self.found, found);
            }
            (true, End::Newer) => self.fold_newer(shown, &found, ring),
            (true, End::Older) => self.fold_older(shown, &found, ring),
        }
        self.filtered.grow(lines, end);
        if together {
            self.searched = self.filtered;
        }
    }

    /// Completes the counts by time after lines were dropped.
    pub(crate) fn freshen_tally(&mut self, ring: &LineRing) {
        let Some(block) = self.tally.stale() else { return };
        let lines = block.start.max(self.filtered.low)..block.end.min(self.filtered.high);
        let mut counts = Piece::default();
        for (number, line) in ring.lines(lines) {
            if self.filter.shows(line) {
                counts.add(number, line);
            }
        }
        self.tally.count_again(counts);
    }

    /// Adds newer lines; of repeats, the newest one stays.
    fn fold_newer(&mut self, shown: Vec<u64>, found: &[u64], ring: &LineRing) {
        for number in shown {
            let is_found = found.binary_search(&number).is_ok();
            match (self.index.back_mut(), self.repeats.back_mut()) {
                (Some(last), Some(count)) if repeats(ring, *last, number) => {
                    if self.found.back() == Some(last) {
                        self.found.pop_back();
                    }
                    *last = number;
                    *count = count.saturating_add(1);
                }
                _ => {
                    self.index.push_back(number);
                    self.repeats.push_back(1);
                }
            }
            self.found.extend(is_found.then_some(number));
        }
    }

    /// Adds older lines; of repeats, the newest one stays.
    fn fold_older(&mut self, shown: Vec<u64>, found: &[u64], ring: &LineRing) {
        for number in shown.into_iter().rev() {
            match (self.index.front(), self.repeats.front_mut()) {
                (Some(first), Some(count)) if repeats(ring, *first, number) => {
                    *count = count.saturating_add(1);
                }
                _ => {
                    self.index.push_front(number);
                    self.repeats.push_front(1);
                    if found.binary_search(&number).is_ok() {
                        self.found.push_front(number);
                    }
                }
            }
        }
    }

    fn search_lines(&mut self, lines: &Range<u64>, end: End, ring: &LineRing) {
        if let Some(search) = &self.search {
            let mut search = Scanner::new(search);
            let from = self.index.partition_point(|&number| number < lines.start);
            let mut shown = self.index.range(from..).copied().peekable();
            let mut found = Vec::new();
            for run in ring.runs(lines.clone()) {
                search.enter();
                let mut place = 0;
                while let Some(next) = search.skip(&run, place)
                    && let Some((start, line)) = run.get(next)
                {
                    let number = run.number(next);
                    while shown.next_if(|&shown| shown < number).is_some() {}
                    let is_shown = shown.peek() == Some(&number);
                    if is_shown && search.matches(run.text(), start, line) {
                        found.push(number);
                    }
                    place = next + 1;
                }
            }
            match end {
                End::Newer => self.found.extend(found),
                End::Older => prepend(&mut self.found, found),
            }
        }
        self.searched.grow(lines, end);
    }
}

fn prepend(numbers: &mut VecDeque<u64>, older: Vec<u64>) {
    numbers.reserve(older.len());
    older.into_iter().rev().for_each(|number| numbers.push_front(number));
}

/// A slice, made longer where lines are few.
fn widened(lines: Range<u64>, end: End, all: &Range<u64>, ring: &LineRing) -> Range<u64> {
    let wide = match end {
        End::Older => ring.older(lines),
        End::Newer => ring.newer(lines),
    };
    wide.start.max(all.start)..wide.end.min(all.end)
}

/// Whether two lines are repeats: they say the same about the same project.
fn repeats(ring: &LineRing, one: u64, other: u64) -> bool {
    let (Some(one), Some(other)) = (ring.get(one), ring.get(other)) else { return false };
    one.project_id() == other.project_id() && is_same(one, other)
}
