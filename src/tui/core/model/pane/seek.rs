//! Jumps to the next line of a kind, in slices as for filtering: it may be a million lines further
//! on, or not exist.

use super::{Direction, Jump, Pane};
use crate::model::line::LineRef;
use crate::model::line_ring::LineRing;
use bklit_wire::debug_log::Level;

/// The kind of line to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A line of this level or above.
    Level(Level),
    /// A line about this event.
    Event(String),
    /// A line that matches the search; wraps around if necessary.
    Found,
}

impl Wanted {
    fn is(&self, line: LineRef<'_>) -> bool {
        match self {
            Self::Level(level) => line.level() >= *level,
            Self::Event(event) => line.event_id() == Some(event),
            Self::Found => false,
        }
    }
}

/// A jump in progress.
#[derive(Clone, Debug)]
pub struct Seek {
    wanted: Wanted,
    direction: Direction,
    start: u64,
    /// The boundary of the lines still to examine: they start at this one, or end before it.
    at: u64,
}

impl Seek {
    /// The kind of line to find.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The direction of the jump.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// How much has been examined of the lines from `first` to `limit` (exclusive), in percent.
    pub fn progress(&self, first: u64, limit: u64) -> u8 {
        let (done, left) = match self.direction {
            Direction::Older => (self.start - self.at, self.at.saturating_sub(first)),
            Direction::Newer => (self.at - self.start, limit.saturating_sub(self.at)),
        };
        (done.saturating_mul(100) / done.saturating_add(left).max(1)).min(99) as u8
    }
}

impl Pane {
    /// Starts a jump from the reader's line; `None` if no line is shown.
    pub fn seek(&self, wanted: Wanted, direction: Direction) -> Option<Seek> {
        let cursor = self.cursor_line()?;
        // When following, the reader has not selected a line, so the newest line counts too.
        let counts = self.follows() && matches!(wanted, Wanted::Level(_));
        let at = match direction {
            Direction::Older if !counts => cursor,
            _ => cursor + 1,
        };
        Some(Seek { wanted, direction, start: at, at })
    }

    /// Examines one more slice. Returns the result when the jump is over.
    pub fn seek_on(
        &mut self,
        seek: &mut Seek,
        ring: &LineRing,
        limit: u64,
        height: usize,
    ) -> Option<Jump> {
        if seek.wanted == Wanted::Found {
            return self.seek_found(seek, ring, limit, height);
        }
        if let Some(place) = self.seek_shown(seek, ring) {
            self.go_to(place, height);
            return Some(Jump::Done);
        }
        let (ends, is_known) = match seek.direction {
            Direction::Older => (
                self.index.front().is_none_or(|&n| n >= seek.at),
                self.filtered.low <= self.first(ring),
            ),
            Direction::Newer => {
                (self.index.back().is_none_or(|&n| n < seek.at), self.filtered.high >= limit)
            }
        };
        match (ends, is_known) {
            (true, true) => Some(Jump::Nowhere),
            // The filter has not been applied there yet.
            (true, false) => {
                self.work(ring, limit, height);
                None
            }
            (false, _) => None,
        }
    }

    /// Examines the next lines of the index; returns the position of the first match.
    fn seek_shown(&self, seek: &mut Seek, ring: &LineRing) -> Option<usize> {
        let slice = usize::try_from(self.slice).unwrap_or(usize::MAX);
        let matches =
            |&place: &usize| ring.get(self.index[place]).is_some_and(|line| seek.wanted.is(line));
        let border = self.index.partition_point(|&number| number < seek.at);
        match seek.direction {
            Direction::Older => {
                let from = border.saturating_sub(slice);
                let found = (from..border).rev().find(matches);
                seek.at = self.index.get(from).map_or(seek.at, |&number| number.min(seek.at));
                found
            }
            Direction::Newer => {
                let to = border.saturating_add(slice).min(self.index.len());
                let found = (border..to).find(matches);
                let last = to.checked_sub(1).and_then(|place| self.index.get(place));
                seek.at = last.map_or(seek.at, |&number| seek.at.max(number + 1));
                found
            }
        }
    }

    /// Goes to the nearest match, once no nearer one is possible.
    fn seek_found(
        &mut self,
        seek: &Seek,
        ring: &LineRing,
        limit: u64,
        height: usize,
    ) -> Option<Jump> {
        let border = self.found.partition_point(|&number| number < seek.at);
        let (next, around, is_known) = match seek.direction {
            Direction::Older => {
                let next = border.checked_sub(1).and_then(|place| self.found.get(place));
                (next, self.found.back(), self.searched.high >= seek.at)
            }
            Direction::Newer => {
                (self.found.get(border), self.found.front(), self.searched.low <= seek.at)
            }
        };
        let has_work = self.has_work(ring, limit);
        let (line, jump) = match next {
            Some(&line) if is_known || !has_work => (Some(line), Jump::Done),
            _ if has_work => {
                self.work(ring, limit, height);
                return None;
            }
            _ => (around.copied(), Jump::Wrapped),
        };
        let place = line.and_then(|line| self.index.binary_search(&line).ok());
        let Some(place) = place else { return Some(Jump::Nowhere) };
        self.go_to(place, height);
        Some(jump)
    }
}
