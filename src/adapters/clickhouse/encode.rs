//! Rows in ClickHouse's binary format (`RowBinary`).
//!
//! The bytes depend only on the rows, so a batch that is sent again is the same block, which the
//! server can recognise.

use bytes::Bytes;

use super::table_schema::{SchemaColumn, TableSchema};
use bklit_pipeline::store::rows::Cell;
use bklit_pipeline::store::schema::ColumnType;

/// Encodes rows one after the other.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Starts with the columns' names and types, so that the server detects a mismatch.
    pub(super) fn with_header(schema: &TableSchema) -> Self {
        let mut encoder = Self::default();
        encoder.length(schema.columns.len());
        schema.columns.iter().for_each(|column| encoder.text(column.name));
        schema.columns.iter().for_each(|column| encoder.text(&column.type_name));
        encoder
    }

    /// Adds a row. The cells must be in the order of the columns.
    pub(super) fn row(&mut self, schema: &TableSchema, cells: &[Cell<'_>]) {
        for (column, cell) in schema.columns.iter().zip(cells) {
            self.cell(column, cell);
        }
    }

    fn cell(&mut self, column: &SchemaColumn, cell: &Cell<'_>) {
        if column.nullable {
            self.bytes.push(u8::from(*cell == Cell::Null));
        }
        match cell {
            Cell::Null if column.nullable => {}
            // The server's own default for a missing value in a column that is not nullable.
            Cell::Null => match column.kind {
                ColumnType::Text => self.text(""),
                ColumnType::DateTime | ColumnType::Int32 => self.bytes.extend([0; 4]),
                ColumnType::Float64 => self.bytes.extend([0; 8]),
                ColumnType::Bool => self.bytes.push(0),
            },
            Cell::Text(text) => self.text(text),
            Cell::Real(number) => self.bytes.extend(number.to_le_bytes()),
            Cell::Bool(yes) => self.bytes.push((*yes).into()),
            Cell::Int(number) => self.bytes.extend(number.to_le_bytes()),
            Cell::Millis(number) => self.bytes.extend(number.to_le_bytes()),
            Cell::Moment(moment) => {
                let seconds = u32::try_from(moment.epoch_seconds()).unwrap_or(u32::MAX);
                self.seconds(seconds);
            }
        }
    }

    /// Makes room for this many times what has been added so far.
    pub(super) fn reserve(&mut self, times: usize) {
        self.bytes.reserve(self.bytes.len().saturating_mul(times));
    }

    /// Adds a text.
    pub(super) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes.extend(text.as_bytes());
    }

    /// Adds a nullable text.
    pub(super) fn optional_text(&mut self, text: Option<&str>) {
        self.bytes.push(u8::from(text.is_none()));
        if let Some(text) = text {
            self.text(text);
        }
    }

    /// Adds a nullable integer.
    pub(super) fn optional_number(&mut self, number: Option<i64>) {
        self.bytes.push(u8::from(number.is_none()));
        if let Some(number) = number {
            self.bytes.extend(number.to_le_bytes());
        }
    }

    /// Adds an integer.
    pub(super) fn number(&mut self, number: i64) {
        self.bytes.extend(number.to_le_bytes());
    }

    /// Adds seconds since the epoch.
    pub(super) fn seconds(&mut self, seconds: u32) {
        self.bytes.extend(seconds.to_le_bytes());
    }

    fn length(&mut self, mut length: usize) {
        while length >= 0x80 {
            self.bytes.push(0x80 | (length & 0x7f) as u8);
            length >>= 7;
        }
        self.bytes.push(length as u8);
    }

    /// The encoded rows.
    pub(super) fn finish(self) -> Bytes {
        self.bytes.into()
    }
}
