//! Message and details of a line in full: in rows of a width, or in one endless row. Of a warning or
//! an error, the reason comes first.

use std::ops::Range;

use super::LineRef;
use bklit_wire::debug_log::Level;
use bklit_wire::text;

/// The columns between two parts.
const GAP: usize = 2;
/// The most bytes of a column: a character and its combining marks.
const COLUMN_BYTES: usize = 20;

/// A part of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Why something failed.
    Reason,
    /// The message.
    Message,
    /// The details.
    Details,
}

/// A text in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is part of.
    pub part: Part,
    /// Its place in [`LineRef::text`].
    pub text: Range<usize>,
    /// Its column.
    pub x: usize,
}

/// A body in rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The rows.
    pub rows: Vec<Vec<Piece>>,
    /// Whether there would be more rows.
    pub is_cut: bool,
}

impl LineRef<'_> {
    /// The parts of the body, in order.
    fn parts(&self) -> impl Iterator<Item = (Part, Range<usize>)> {
        let reason = self.reason().filter(|_| self.level() > Level::Info);
        let (reason, rest) = reason.unwrap_or((0..0, self.fields_start()));
        let end = self.fields_start() + self.fields().len();
        let message = 0..self.message().len();
        let parts =
            [(Part::Reason, reason), (Part::Message, message), (Part::Details, rest.min(end)..end)];
        parts.into_iter().filter(|(_, text)| !text.is_empty())
    }

    /// The columns of the body in one row.
    pub fn body_width(&self) -> usize {
        let widths = self.parts().map(|(_, range)| text::width(&self.text()[range]) + GAP);
        widths.sum::<usize>().saturating_sub(GAP)
    }

    /// The body in one row.
    pub fn body_row(&self) -> Vec<Piece> {
        let mut x = 0;
        let piece = |(part, text): (Part, Range<usize>)| {
            let wide = text::width(&self.text()[text.clone()]);
            let piece = Piece { part, text, x };
            x += wide + GAP;
            piece
        };
        self.parts().map(piece).collect()
    }

    /// The body in rows of a width, broken after spaces where possible; at most `most`, at least
    /// one.
    pub fn body_rows(&self, width: usize, most: usize) -> Rows {
        let width = width.max(2);
        let (mut rows, mut row, mut x) = (Vec::new(), Vec::new(), 0);
        for (part, range) in self.parts() {
            if x > 0 {
                x += GAP;
            }
            let mut at = range.start;
            while at < range.end {
                if x == 0 && at > range.start && self.text()[at..].starts_with(' ') {
                    at += 1;
                    continue;
                }
                let taken = taken(&self.text()[at..range.end], width.saturating_sub(x), x == 0);
                if taken > 0 {
                    let text = at..at + taken;
                    let wide = text::width(&self.text()[text.clone()]);
                    row.push(Piece { part, text, x });
                    (at, x) = (at + taken, x + wide);
                }
                if at < range.end {
                    if rows.len() + 1 >= most {
                        rows.push(row);
                        return Rows { rows, is_cut: true };
                    }
                    rows.push(std::mem::take(&mut row));
                    x = 0;
                }
            }
        }
        rows.push(row);
        Rows { rows, is_cut: false }
    }

    /// How many rows [`LineRef::body_rows`] has.
    pub fn body_height(&self, width: usize, most: usize) -> usize {
        // No character has more columns than bytes.
        let bytes: usize = self.parts().map(|(_, text)| text.len() + GAP).sum();
        if bytes <= width { 1 } else { self.body_rows(width, most).rows.len() }
    }
}

/// How many bytes of a text go into the rest of a row; at least a character of it into a new row.
/// A long word starts in a new row.
fn taken(rest: &str, room: usize, is_new: bool) -> usize {
    let near = text::fit_bytes(rest, room.saturating_mul(COLUMN_BYTES));
    let fitting = text::fit(near, room);
    if fitting.len() == rest.len() {
        return rest.len();
    }
    match fitting.rfind(' ') {
        Some(space) => space + 1,
        None if !is_new => 0,
        None if fitting.is_empty() => rest.chars().next().map_or(0, char::len_utf8),
        None => fitting.len(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::line::OwnedLine;
    use bklit_wire::debug_log::{DebugLog, Stage};

    fn line(level: Level, message: &str, data: &serde_json::Value) -> OwnedLine {
        let mut log = DebugLog::new(Stage::Worker, level, message.to_owned());
        log.data = data.as_object().cloned().unwrap_or_default();
        OwnedLine::of(&log)
    }

    fn shown(line: LineRef<'_>, rows: &Rows) -> Vec<String> {
        let row = |row: &Vec<Piece>| {
            let mut out = String::new();
            for piece in row {
                out.push_str(&" ".repeat(piece.x - text::width(&out)));
                out.push_str(&line.text()[piece.text.clone()]);
            }
            out
        };
        rows.rows.iter().map(row).collect()
    }

    #[test]
    fn a_body_breaks_after_spaces_and_says_if_it_continues() {
        let data = serde_json::json!({ "error": "refused", "url": "/a/long/path", "n": 1 });
        let line = line(Level::Error, "Batch failed", &data);
        let line = line.as_ref();
        let rows = line.body_rows(16, 6);
        assert_eq!(shown(line, &rows), ["refused  Batch ", "failed", "url=/a/long/path", "n=1"]);
        assert!(!rows.is_cut);
        let cut = line.body_rows(16, 2);
        assert_eq!((cut.rows.len(), cut.is_cut), (2, true));
        let whole = Rows { rows: vec![line.body_row()], is_cut: false };
        assert_eq!(shown(line, &whole), ["refused  Batch failed  url=/a/long/path n=1"]);
        assert_eq!(line.body_width(), text::width(&shown(line, &whole)[0]));
    }

    proptest! {
        /// Nothing is lost, nothing is wider than the row, and the height is that of the rows.
        #[test]
        fn rows_contain_all_of_the_body(
            message in "\\PC{0,60}",
            value in "\\PC{0,60}",
            width in 2..50_usize,
            most in 1..8_usize,
            level in prop::sample::select(Level::ALL.to_vec()),
        ) {
            let line = line(level, &message, &serde_json::json!({ "reason": value, "n": 1 }));
            let line = line.as_ref();
            let all = line.body_rows(width, usize::MAX);
            let mut text = String::new();
            for row in &all.rows {
                for piece in row {
                    text.push_str(&line.text()[piece.text.clone()]);
                    let end = piece.x + text::width(&line.text()[piece.text.clone()]);
                    prop_assert!(end <= width.max(2));
                }
            }
            let parts: String = line.parts().map(|(_, range)| &line.text()[range]).collect();
            prop_assert_eq!(text.replace(' ', ""), parts.replace(' ', ""));
            let some = line.body_rows(width, most);
            prop_assert_eq!(some.rows.len(), all.rows.len().min(most));
            prop_assert_eq!(some.is_cut, all.rows.len() > most);
            prop_assert_eq!(line.body_height(width, most), some.rows.len());
        }
    }
}
