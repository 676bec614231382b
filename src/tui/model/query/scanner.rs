//! Asks a query of many lines that lie behind each other. A literal is looked for in the text of
//! all of them at once, as far as the next place where it stands: lines before that are done with
//! by a comparison.

use super::Query;
use crate::tui::model::line::LineRef;

/// Where a literal was found last.
#[derive(Clone, Copy, Debug)]
enum Cursor {
    /// It was not looked for yet.
    Unknown,
    /// There, the end after the start.
    At(usize, usize),
    /// From here on it does not stand anywhere.
    Nowhere,
}

/// A query at work.
#[derive(Debug)]
pub struct Scanner<'q> {
    query: &'q Query,
    cursors: Vec<Cursor>,
}

impl<'q> Scanner<'q> {
    /// Begins.
    pub fn new(query: &'q Query) -> Self {
        Self { query, cursors: vec![Cursor::Unknown; query.compiled.slots] }
    }

    /// The lines that come now lie in another text.
    pub fn enter(&mut self) {
        self.cursors.fill(Cursor::Unknown);
    }

    /// Whether a line, whose text starts at `start` of the text in which all lie, is what the
    /// query asks for. Lines come in the order of the text.
    pub fn matches(&mut self, all: &str, start: usize, line: LineRef<'_>) -> bool {
        let end = start + line.text().len();
        let cursors = &mut self.cursors;
        self.query.compiled.matches(line, |slotted| {
            let cursor = &mut cursors[slotted.slot];
            loop {
                let from = match *cursor {
                    Cursor::Nowhere => return false,
                    Cursor::At(found, found_end) if found >= start => {
                        if found >= end {
                            return false;
                        }
                        if found_end <= end {
                            return true;
                        }
                        // It reaches into the next line; another may stand in this one.
                        let next = all[found..].chars().next().map_or(1, char::len_utf8);
                        found + next
                    }
                    Cursor::At(..) | Cursor::Unknown => start,
                };
                *cursor = match slotted.literal.find_from(all, from) {
                    Some(range) => Cursor::At(range.start, range.end),
                    None => Cursor::Nowhere,
                };
            }
        })
    }
}
