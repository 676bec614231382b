//! The result of a query as a table: the widths of its columns, and which of them are shown.

use std::borrow::Cow;
use std::sync::Arc;

use bklit_wire::sql::{SqlAnswer, cell, row_json, unique};
use bklit_wire::text;
use serde_json::Value;

/// The most columns of a cell where not all columns of the table fit: an event's id.
const MAX_WIDTH: usize = 36;
/// The most columns of a cell that are measured.
const MEASURED: usize = 400;
/// Columns between two columns of the table.
const GAP: usize = 2;

/// A result. Cheap to share.
#[derive(Debug)]
pub struct ResultTable {
    answer: SqlAnswer,
    /// Names without repetitions.
    names: Vec<String>,
    widths: Vec<usize>,
    numeric: Vec<bool>,
}

/// A column's place in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which column.
    pub column: usize,
    /// Where it starts.
    pub x: usize,
    /// How wide it is shown.
    pub width: usize,
}

impl ResultTable {
    /// The table of an answer.
    pub fn new(answer: SqlAnswer) -> Arc<Self> {
        let result = &answer.result;
        let widest = |column: usize| {
            let cells = result.rows.iter().filter_map(|row| row.get(column));
            let cells = cells.map(|value| text::width(&shown(value)));
            let name = text::width(&text::safe(&result.columns[column]));
            cells.fold(name.min(MEASURED), usize::max).max(1)
        };
        let is_numeric = |column: usize| {
            let mut cells = result.rows.iter().filter_map(|row| row.get(column));
            cells.all(|value| value.is_number() || value.is_null())
        };
        let columns = 0..result.columns.len();
        Arc::new(Self {
            names: unique(&result.columns),
            widths: columns.clone().map(widest).collect(),
            numeric: columns.map(is_numeric).collect(),
            answer,
        })
    }

    /// The names of the columns; some may be the same.
    pub fn columns(&self) -> &[String] {
        &self.answer.result.columns
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<Value>] {
        &self.answer.result.rows
    }

    /// Whether there are more rows than were returned.
    pub fn is_truncated(&self) -> bool {
        self.answer.result.truncated
    }

    /// How long the query ran, in milliseconds.
    pub fn elapsed_ms(&self) -> u64 {
        self.answer.elapsed_ms
    }

    /// Whether a column has only numbers.
    pub fn is_numeric(&self, column: usize) -> bool {
        self.numeric.get(column).copied().unwrap_or(false)
    }

    /// A row as JSON.
    pub fn json(&self, row: usize) -> Option<String> {
        Some(row_json(&self.names, self.rows().get(row)?))
    }

    /// The text of a row in the column with this name.
    pub fn named(&self, row: usize, name: &str) -> Option<&str> {
        let column = self.columns().iter().position(|column| column == name)?;
        self.rows().get(row)?.get(column)?.as_str()
    }

    /// The columns that are shown from column `first` on in this width; the last one may be cut.
    pub fn places(&self, first: usize, width: usize) -> Vec<Place> {
        let mut places = Vec::new();
        let mut x = 0;
        for (column, shown) in self.fitted(width).enumerate().skip(first) {
            if x >= width {
                break;
            }
            places.push(Place { column, x, width: shown.min(width - x) });
            x += shown + GAP;
        }
        places
    }

    /// The last column from which on all others are shown, so that there is nothing to scroll to.
    pub fn last_first(&self, width: usize) -> usize {
        let widths: Vec<_> = self.fitted(width).collect();
        let mut used = 0;
        let fitting = widths.iter().rev().take_while(|shown| {
            used += *shown + if used > 0 { GAP } else { 0 };
            used <= width
        });
        widths.len() - fitting.count().clamp(1.min(widths.len()), widths.len())
    }

    /// The widths of all columns: as wide as their cells if all fit.
    fn fitted(&self, width: usize) -> impl Iterator<Item = usize> {
        let gaps = GAP * self.widths.len().saturating_sub(1);
        let fits = self.widths.iter().sum::<usize>() + gaps <= width;
        let most = if fits { usize::MAX } else { MAX_WIDTH.min(width.max(1)) };
        self.widths.iter().map(move |&widest| widest.min(most))
    }
}

/// A value as it is shown in a cell.
pub fn shown(value: &Value) -> String {
    let whole = cell(value);
    let start = text::fit_bytes(&whole, 4 * MEASURED);
    let safe: Cow<'_, str> = text::safe(start);
    text::clip(&safe, MEASURED).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::sql::QueryResult;
    use serde_json::json;

    fn table(columns: &[&str], rows: Vec<Vec<Value>>) -> Arc<ResultTable> {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        let result = QueryResult { columns, rows, truncated: false };
        ResultTable::new(SqlAnswer { result, elapsed_ms: 1 })
    }

    #[test]
    fn columns_are_as_wide_as_their_cells_where_all_fit() {
        let rows = vec![
            vec![json!("東京"), json!(7), json!("x".repeat(50))],
            vec![json!("a\n"), Value::Null, json!(null)],
        ];
        let table = table(&["city", "n", "note"], rows);
        assert_eq!([0, 1, 2].map(|column| table.is_numeric(column)), [false, true, false]);
        let widths = |width| {
            let places = table.places(0, width).into_iter();
            places.map(|place| (place.x, place.width)).collect::<Vec<_>>()
        };
        assert_eq!(widths(100), [(0, 4), (6, 4), (12, 50)]);
        assert_eq!(widths(60), [(0, 4), (6, 4), (12, 36)]);
        assert_eq!(widths(20), [(0, 4), (6, 4), (12, 8)], "the last one is cut");
        assert_eq!((table.last_first(100), table.last_first(60), table.last_first(20)), (0, 0, 2));
        assert_eq!(table.places(2, 20), [Place { column: 2, x: 0, width: 20 }]);
        assert_eq!(table.json(1).unwrap(), r#"{"city":"a\n","n":null,"note":null}"#);
        assert_eq!((table.named(0, "city"), table.named(0, "id")), (Some("東京"), None));
    }

    #[test]
    fn every_column_can_be_reached_and_none_is_beyond_the_width() {
        let columns: Vec<_> = (0..30).map(|nth| format!("column_{nth}")).collect();
        let names: Vec<_> = columns.iter().map(String::as_str).collect();
        let rows = vec![(0..30).map(|nth| json!("y".repeat(nth * 3))).collect()];
        let table = table(&names, rows);
        for width in [1, 10, 58, 78, 198, 10_000] {
            let last = table.last_first(width);
            for first in 0..=last {
                let places = table.places(first, width);
                assert_eq!(places[0].column, first);
                assert!(places.iter().all(|place| place.x + place.width <= width), "{places:?}");
            }
            assert_eq!(table.places(last, width).last().unwrap().column, 29, "{width}");
        }
        assert_eq!(self::table(&[], vec![]).places(0, 80), []);
        assert_eq!(self::table(&[], vec![]).last_first(80), 0);
    }

    #[test]
    fn a_huge_cell_is_not_measured_whole() {
        let huge = "\u{1b}".repeat(1 << 20);
        assert!(text::width(&shown(&json!(huge))) <= MEASURED);
    }
}
