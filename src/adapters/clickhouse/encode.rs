//! Rows of this program's own tables, in ClickHouse's binary format (`RowBinary`).
//!
//! The bytes depend only on the rows, so a batch that is sent again is the same block, which the
//! server can recognise.

use bytes::Bytes;

use super::column_type::{push_length, push_text};

/// Encodes rows one after the other.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Adds a text.
    pub(super) fn text(&mut self, text: &str) {
        push_text(text, &mut self.bytes);
    }

    /// Adds a nullable text, in parts.
    pub(super) fn optional_texts<const N: usize>(&mut self, parts: Option<[&str; N]>) {
        self.bytes.push(u8::from(parts.is_none()));
        if let Some(parts) = parts {
            push_length(parts.iter().map(|part| part.len()).sum(), &mut self.bytes);
            parts.iter().for_each(|part| self.bytes.extend(part.as_bytes()));
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

    /// The encoded rows.
    pub(super) fn finish(self) -> Bytes {
        self.bytes.into()
    }
}
