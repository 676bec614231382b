//! Asks a query of many lines that lie behind each other. A needle is looked for in the text of
//! all of them at once, as far as the next place where it stands: lines before that are done with
//! by a comparison, or passed over without being looked at where all terms must be true.

use super::Query;
use super::compiled::Slotted;
use super::literal::Needle;
use crate::model::line::LineRef;
use crate::model::line_ring::Run;

/// Where a needle was found last.
#[derive(Clone, Copy, Debug)]
enum Cursor {
    /// It was not looked for yet.
    Unknown,
    /// There, the end after the start; of a regular expression only the end is known.
    At(usize, usize),
    /// From here on it does not stand anywhere.
    Nowhere,
}

impl Cursor {
    /// Goes on to where the needle stands first from `start` on.
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

/// A query at work.
#[derive(Debug)]
pub struct Scanner<'q> {
    query: &'q Query,
    required: Option<&'q Slotted>,
    cursors: Vec<Cursor>,
}

impl<'q> Scanner<'q> {
    /// Begins.
    pub fn new(query: &'q Query) -> Self {
        let cursors = vec![Cursor::Unknown; query.compiled.slots];
        Self { query, required: query.compiled.required(), cursors }
    }

    /// The lines that come now lie in another text.
    pub fn enter(&mut self) {
        self.cursors.fill(Cursor::Unknown);
    }

    /// The first line of a run, from `place` on, that may be what the query asks for. Those before
    /// it are not.
    pub fn skip(&mut self, run: &Run<'_>, place: usize) -> Option<usize> {
        let Some(Slotted { needle, slot }) = self.required else { return Some(place) };
        let (start, _) = run.get(place)?;
        let (found, _) = self.cursors[*slot].advance(needle, run.text(), start)?;
        Some(run.place_of(place, found))
    }

    /// Whether a line, whose text starts at `start` of the text in which all lie, is what the
    /// query asks for. Lines come in the order of the text.
    pub fn matches(&mut self, all: &str, start: usize, line: LineRef<'_>) -> bool {
        let cursors = &mut self.cursors;
        self.query.compiled.matches(line, |slotted| {
            stands_in(slotted, &mut cursors[slotted.slot], all, start, line.text())
        })
    }
}

fn stands_in(slotted: &Slotted, cursor: &mut Cursor, all: &str, start: usize, line: &str) -> bool {
    let (needle, end) = (&slotted.needle, start + line.len());
    match needle {
        Needle::Regex { knows_lines: false, .. } => needle.is_in(line),
        Needle::Regex { .. } => {
            // No line that ends before has it. It may have begun in a line before this one.
            let found = cursor.advance(needle, all, start);
            found.is_some_and(|(found, _)| found <= end) && needle.is_in(line)
        }
        Needle::Exact(_) | Needle::Folded(_) | Needle::FoldedRegex(_) => {
            let found = cursor.advance(needle, all, start);
            found.is_some_and(|(_, found_end)| found_end <= end)
        }
    }
}
