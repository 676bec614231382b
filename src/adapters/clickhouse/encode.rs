//! Rows in ClickHouse's binary format.
//!
//! The bytes depend on the rows and nothing else: sent again, a batch is the same block, which is
//! what lets the server recognise it.

use bytes::Bytes;

use super::table_schema::{SchemaColumn, TableSchema};
use bklit_pipeline::store::rows::Cell;
use bklit_pipeline::store::schema::ColumnType;

/// Rows, encoded one after the other.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Begins with the names and types of the columns, so that the server notices when they are
    /// not what it has.
    pub(super) fn with_header(schema: &TableSchema) -> Self {
        let mut encoder = Self::default();
        encoder.length(schema.columns.len());
        schema.columns.iter().for_each(|column| encoder.text(column.name));
        schema.columns.iter().for_each(|column| encoder.text(&column.type_name));
        encoder
    }

    /// Adds a row, its cells in the order of the columns.
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
            // What the server itself puts where nothing is and NULL cannot be.
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

    /// Adds a text.
    pub(super) fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes.extend(text.as_bytes());
    }

    /// Adds a text that may be absent.
    pub(super) fn optional_text(&mut self, text: Option<&str>) {
        self.bytes.push(u8::from(text.is_none()));
        if let Some(text) = text {
            self.text(text);
        }
    }

    /// Adds a whole number that may be absent.
    pub(super) fn optional_number(&mut self, number: Option<i64>) {
        self.bytes.push(u8::from(number.is_none()));
        if let Some(number) = number {
            self.bytes.extend(number.to_le_bytes());
        }
    }

    /// Adds a whole number.
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

    /// What was encoded.
    pub(super) fn finish(self) -> Bytes {
        self.bytes.into()
    }
}
