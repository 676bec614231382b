//! Checks a query against many joined lines. A needle is searched in the whole text up to its next
//! match: earlier lines then need only a comparison, or are skipped if every match must contain the
//! needle.

use super::Query;
use super::compiled::Slotted;
use super::literal::Needle;
use crate::model::line::LineRef;
use crate::model::line_ring::Run;

/// Where a needle was last found.
#[derive(Clone, Copy, Debug)]
enum Cursor {
    /// Not searched yet.
    Unknown,
    /// The start and end of a match; for a regular expression only the end is known.
    At(usize, usize),
    /// No further match.
    Nowhere,
}

impl Cursor {
    /// Advances to the needle's first match from `start` on.
    fn advance(&mut self, needle: &Needle, all: &str, start: usize) -> Option<(usize, usize)> {
        match *self {
            Self::Nowhere => return None,
            Self::At(found, end) if found >= start => return Some((found, end)),
            Self::At(..) | Self::Unknown => {}
        }
        let found = needle.find_from(all, start).map(|range| (range.start, range.end));
        *self = found.map_or(Self::Nowhere, |(start, end)| Self::At(start, end));
        found
    }
}

/// A query being checked against lines in order.
#[derive(Debug)]
pub struct Scanner<'q> {
    query: &'q Query,
    required: Option<&'q Slotted>,
    /// The slot of the only needle, if a line matches wherever it is found.
    only: Option<usize>,
    cursors: Vec<Cursor>,
}

impl<'q> Scanner<'q> {
    /// Begins.
    pub fn new(query: &'q Query) -> Self {
        let cursors = vec![Cursor::Unknown; query.compiled.slots];
        let (required, only) = (query.compiled.required(), query.compiled.only_slot());
        Self { query, required, only, cursors }
    }

    /// Starts a new joined text.
    pub fn enter(&mut self) {
        self.cursors.fill(Cursor::Unknown);
    }

    /// The first line of a run, from `place` on, that may match. Those before it do not.
    pub fn skip(&mut self, run: &Run<'_>, place: usize) -> Option<usize> {
        let Some(Slotted { needle, slot }) = self.required else { return Some(place) };
        let start = run.start(place)?;
        let (found, _) = self.cursors[*slot].advance(needle, run.text(), start)?;
        Some(run.place_of(place, found))
    }

    /// Whether a line matches; its text starts at `start` of the joined text. Lines must be passed
    /// in order.
    pub fn matches(&mut self, all: &str, start: usize, line: LineRef<'_>) -> bool {
        let cursors = &mut self.cursors;
        if let Some(slot) = self.only
            && let Cursor::At(found, end) = cursors[slot]
            && found >= start
        {
            return end <= start + line.text().len();
        }
        self.query.compiled.matches(line, |slotted| {
            stands_in(slotted, &mut cursors[slotted.slot], all, start, line.text())
        })
    }
}

fn stands_in(slotted: &Slotted, cursor: &mut Cursor, all: &str, start: usize, line: &str) -> bool {
    let (needle, end) = (&slotted.needle, start + line.len());
    if !needle.can_skip() {
        return needle.is_in(line);
    }
    let found = cursor.advance(needle, all, start);
    let is_near = found.is_some_and(|(_, found_end)| found_end <= end);
    is_near && (!needle.must_be_checked() || needle.is_in(line))
}
