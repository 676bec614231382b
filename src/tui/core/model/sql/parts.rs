//! The parts of the screen of queries: title, query, state, labels, rows.

use std::borrow::Cow;
use std::ops::Range;

use ratatui::layout::Rect;
use unicode_segmentation::UnicodeSegmentation;

use crate::model::Model;
use crate::model::layout::below;
use bklit_wire::text;

/// The most rows of the query that are shown.
const MAX_INPUT_ROWS: usize = 6;
/// The largest fraction of the height that the query takes, as a divisor.
const INPUT_SHARE: usize = 3;
/// Columns before and after the query.
const INPUT_MARGINS: u16 = 5;
/// The column where the query starts.
pub const INPUT_START: u16 = 3;

/// The parts below the title, from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlParts {
    /// The query.
    pub input: Rect,
    /// The state of the query.
    pub divider: Rect,
    /// The names of the columns.
    pub labels: Rect,
    /// The rows.
    pub list: Rect,
}

impl SqlParts {
    /// The parts of a view with a query of this many rows.
    pub fn of(view: Rect, input_rows: usize) -> Self {
        let inner = below(view, 1);
        let most = (usize::from(inner.height) / INPUT_SHARE).clamp(1, MAX_INPUT_ROWS);
        let rows = u16::try_from(input_rows.clamp(1, most)).unwrap_or(1);
        let input = Rect { height: rows.min(inner.height), ..inner };
        let rest = below(inner, rows);
        let divider = Rect { height: rest.height.min(1), ..rest };
        let rest = below(rest, 1);
        let labels = Rect { height: rest.height.min(1), ..rest };
        Self { input, divider, labels, list: below(rest, 1) }
    }

    /// The columns of a row of the table.
    pub fn table_width(self) -> usize {
        usize::from(self.list.width).saturating_sub(2)
    }
}

/// The characters of a query as they are shown, each with its position in bytes: line ends and tabs as
/// signs, and what cannot be shown escaped.
pub fn shown(query: &str) -> impl Iterator<Item = (usize, Cow<'_, str>)> {
    query.grapheme_indices(true).map(|(at, grapheme)| match grapheme {
        "\n" => (at, "⏎".into()),
        "\t" => (at, "⇥".into()),
        grapheme => (at, text::safe(grapheme)),
    })
}

/// A query in rows of at most `width` columns as it is shown, as ranges of bytes.
pub fn wrapped(query: &str, width: usize) -> Vec<Range<usize>> {
    let mut rows = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, character) in shown(query) {
        let columns = text::width(&character);
        // What is wider than a row has one of its own.
        if at > start && used + columns > width {
            rows.push(start..at);
            (start, used) = (at, 0);
        }
        used += columns;
    }
    rows.push(start..query.len());
    rows
}

impl Model {
    /// The rows of the query, as ranges of bytes, in a view of this width.
    pub fn sql_input_rows(&self, view: Rect) -> Vec<Range<usize>> {
        let width = usize::from(view.width.saturating_sub(INPUT_MARGINS));
        wrapped(self.panels.sql.input.value(), width)
    }

    /// The parts of the screen of queries.
    pub fn sql_parts(&self) -> SqlParts {
        let view = self.layout().map_or(Rect::ZERO, |layout| layout.overlay());
        SqlParts::of(view, self.sql_input_rows(view).len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_view_and_leave_rows() {
        for height in 0..80 {
            for rows in [0, 1, 3, 100] {
                let view = Rect::new(1, 2, 78, height);
                let parts = SqlParts::of(view, rows);
                assert_eq!(parts.divider.y, parts.input.bottom());
                assert_eq!(parts.labels.y, parts.divider.bottom());
                assert_eq!(parts.list.y, parts.labels.bottom());
                assert_eq!(parts.list.bottom(), view.bottom());
                if height >= 10 {
                    assert!(parts.list.height >= 4, "{height} {rows}");
                }
            }
        }
    }

    #[test]
    fn a_query_is_wrapped_without_losing_anything() {
        for width in 1..20 {
            for text in [
                "",
                "SELECT 1",
                "SELECT '東京' FROM größe",
                "a\u{301}bc",
                "a\n\tb\u{200b}❤\u{fe0f}",
            ] {
                let rows = wrapped(text, width);
                assert_eq!(rows.iter().map(|row| &text[row.clone()]).collect::<String>(), text);
                for row in rows {
                    let shown: Vec<_> = shown(&text[row]).map(|(_, shown)| shown).collect();
                    let columns = text::width(&shown.concat());
                    assert!(columns <= width || shown.len() == 1, "{shown:?} in {width}");
                    assert!(shown.iter().all(|shown| text::is_safe(shown)), "{shown:?}");
                }
            }
        }
    }
}
