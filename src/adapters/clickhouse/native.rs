//! Rows as one block in ClickHouse's columnar format (`Native`).
//!
//! The block names its columns and their types, and the server converts values of a column whose
//! type has changed in the meantime, so an altered table cannot store garbage. A NULL in a column
//! that cannot store one stands for the column's default. The bytes depend only on the rows and the
//! table's columns.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::column_type::{push_length, push_text};
use super::table_schema::{SchemaColumn, TableSchema};
use bklit_pipeline::store::rows::Cell;

/// A block that rows are added to.
pub(super) struct Block<'s> {
    schema: &'s TableSchema,
    columns: Vec<Values>,
    rows: usize,
    /// Values that were left out because the column cannot store them: how many by column, and why
    /// the first one.
    dropped: BTreeMap<&'static str, (u64, String)>,
    /// Whether a row with a required value that its column cannot store is an error.
    strict: bool,
}

/// The values of a column.
#[derive(Default)]
struct Values {
    /// For each row, whether the value is NULL. Empty in a column that is not nullable until the
    /// first value that the server is to replace with the column's default.
    nulls: Vec<u8>,
    bytes: Vec<u8>,
    /// How many NULLs follow those values. Most columns of a page view have nothing else.
    trailing_nulls: usize,
}

impl<'s> Block<'s> {
    /// An empty block. Optional values that do not fit their column are left out; required ones make
    /// the row an error if `strict`, and are left out as well otherwise.
    pub(super) fn new(schema: &'s TableSchema, strict: bool) -> Self {
        let columns = schema.columns.iter().map(|_| Values::default()).collect();
        Self { schema, columns, rows: 0, dropped: BTreeMap::new(), strict }
    }

    /// Adds a row. The cells must be in the order of the table's columns. After an error the block
    /// cannot be used any more.
    ///
    /// # Errors
    /// Which value does not fit, and why.
    pub(super) fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), String> {
        for (column, values) in self.schema.columns.iter().zip(&mut self.columns) {
            let Some(cell) = cells.get(column.cell) else { continue };
            let Err(reason) = values.push(column, cell, self.rows) else { continue };
            if self.strict && !column.optional {
                return Err(format!("{}: {reason}", column.name));
            }
            values.trailing_nulls += 1;
            self.dropped.entry(column.name).or_insert((0, reason)).0 += 1;
        }
        self.rows += 1;
        Ok(())
    }

    /// Whether some columns that are not nullable have NULLs, which stand for their defaults.
    pub(super) fn has_defaults(&self) -> bool {
        let mut columns = self.schema.columns.iter().zip(&self.columns);
        columns.any(|(column, values)| {
            let at_end = column.has_default && values.trailing_nulls > 0;
            !column.nullable && (at_end || !values.nulls.is_empty())
        })
    }

    /// What was left out, one text for each column.
    pub(super) fn dropped(&self) -> impl Iterator<Item = String> {
        self.dropped.iter().map(|(column, (rows, reason))| {
            format!("{rows} values of {column} were left out: {reason}")
        })
    }

    /// The encoded block.
    pub(super) fn finish(mut self) -> Bytes {
        for (column, values) in self.schema.columns.iter().zip(&mut self.columns) {
            values.push_trailing_nulls(column, self.rows);
        }
        let values: usize =
            self.columns.iter().map(|values| values.nulls.len() + values.bytes.len()).sum();
        let mut block = Vec::with_capacity(values + 64 * self.columns.len());
        push_length(self.columns.len(), &mut block);
        push_length(self.rows, &mut block);
        for (column, values) in self.schema.columns.iter().zip(self.columns) {
            push_text(column.name, &mut block);
            if column.nullable || !values.nulls.is_empty() {
                push_text(&format!("Nullable({})", column.type_name), &mut block);
            } else {
                push_text(&column.type_name, &mut block);
            }
            block.extend(values.nulls);
            block.extend(values.bytes);
        }
        block.into()
    }
}

impl Values {
    fn push(&mut self, column: &SchemaColumn, cell: &Cell<'_>, row: usize) -> Result<(), String> {
        if *cell == Cell::Null {
            self.trailing_nulls += 1;
            return Ok(());
        }
        self.push_trailing_nulls(column, row);
        column.value.push(cell, &mut self.bytes)?;
        if column.nullable || !self.nulls.is_empty() {
            self.nulls.push(0);
        }
        Ok(())
    }

    /// Adds the NULLs before this row. Without a default of its own, a column that is not nullable gets
    /// that of its type.
    fn push_trailing_nulls(&mut self, column: &SchemaColumn, row: usize) {
        let count = std::mem::take(&mut self.trailing_nulls);
        if count == 0 {
            return;
        }
        column.value.push_defaults(count, &mut self.bytes);
        if column.nullable || column.has_default {
            self.nulls.resize(row - count, 0);
            self.nulls.resize(row, 1);
        }
    }
}
