//! Text tables for a terminal: each column as wide as its widest cell, all cells made safe to show.

use std::fmt;

use super::text::{safe, width};

/// Spaces between columns.
const GAP: &str = "  ";

/// A header and rows of cells.
#[derive(Clone, Debug, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    /// By column.
    right_aligned: Vec<bool>,
    ruled: bool,
}

impl Table {
    /// An empty table with these column names.
    pub fn new(header: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let header = cells(header);
        Self { right_aligned: vec![false; header.len()], header, ..Self::default() }
    }

    /// Aligns a column to the right, as numbers are; columns count from 0.
    #[must_use]
    pub fn right_aligned(mut self, column: usize) -> Self {
        if let Some(aligned) = self.right_aligned.get_mut(column) {
            *aligned = true;
        }
        self
    }

    /// Draws a line under the header.
    #[must_use]
    pub fn ruled(mut self) -> Self {
        self.ruled = true;
        self
    }

    /// Adds a row; cells beyond the header are left out.
    pub fn push(&mut self, row: impl IntoIterator<Item = impl AsRef<str>>) {
        self.rows.push(cells(row));
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<_> = self.header.iter().map(|cell| width(cell)).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(cell));
            }
        }
        widths
    }

    fn write_row(
        &self,
        f: &mut fmt::Formatter<'_>,
        row: &[String],
        widths: &[usize],
    ) -> fmt::Result {
        let mut line = String::new();
        for ((cell, column), right) in row.iter().zip(widths).zip(&self.right_aligned) {
            let padding = " ".repeat(column.saturating_sub(width(cell)));
            let parts = if *right { [&padding, cell] } else { [cell, &padding] };
            parts.into_iter().for_each(|part| line.push_str(part));
            line.push_str(GAP);
        }
        writeln!(f, "{}", line.trim_end())
    }
}

fn cells(row: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    row.into_iter().map(|cell| safe(cell.as_ref()).into_owned()).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        self.write_row(f, &self.header, &widths)?;
        if self.ruled {
            let rules: Vec<_> = widths.iter().map(|&width| "─".repeat(width)).collect();
            writeln!(f, "{}", rules.join(GAP))?;
        }
        self.rows.iter().try_for_each(|row| self.write_row(f, row, &widths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_terminals_show() {
        let mut table = Table::new(["CITY", "N", "NOTE"]).right_aligned(1).ruled();
        table.push(["東京", "7", ""]);
        table.push(["Oslo", "1234.5", "a\nb\u{1b}[31m\u{202e}", "beyond the header"]);
        let expected = "\
CITY       N  NOTE
────  ──────  ──────────────────────
東京       7
Oslo  1234.5  a\\nb\\u{1b}[31m\\u{202e}
";
        assert_eq!(table.to_string(), expected);
        assert_eq!(Table::new(["ID"]).to_string(), "ID\n");
    }
}
