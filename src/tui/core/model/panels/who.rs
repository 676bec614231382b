//! Where events come from: what they are counted by, and the last answer.

use super::Polled;
use crate::model::cursor::Cursor;
use bklit_wire::time::UtcMillis;
use bklit_wire::who::{WhoQuery, WhoRow, WhoView};

/// The polling interval while the screen is open, in milliseconds.
const WHO_EVERY: i64 = 2_000;

/// Where events come from, and the selected row.
#[derive(Debug)]
pub struct WhoPanel {
    /// The last answer to the query.
    pub polled: Polled<WhoView>,
    query: WhoQuery,
    /// The selected row.
    pub(crate) cursor: Cursor,
}

impl Default for WhoPanel {
    fn default() -> Self {
        let (query, cursor) = (WhoQuery::default(), Cursor::default());
        Self { polled: Polled::new(WHO_EVERY), query, cursor }
    }
}

impl WhoPanel {
    /// What is shown.
    pub fn query(&self) -> WhoQuery {
        self.query
    }

    /// The rows.
    pub fn rows(&self) -> &[WhoRow] {
        self.polled.data().map_or(&[], |view| view.rows.as_slice())
    }

    /// The selected row.
    pub fn selected(&self) -> Option<&WhoRow> {
        self.rows().get(self.cursor.selected())
    }

    /// The position of the selected row, and the number of rows scrolled off at the top.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Shows something else, which is requested soon.
    pub(crate) fn show(&mut self, query: WhoQuery) {
        *self = Self { query, ..Self::default() };
    }

    /// Applies an answer, unless something else is shown meanwhile. The selection stays at the same
    /// value; one of the first row stays there.
    pub(crate) fn take(&mut self, answer: Result<WhoView, String>, now: UtcMillis) {
        if answer.as_ref().is_ok_and(|view| view.query != self.query) {
            return;
        }
        let before = self.selected().map(|row| row.value.clone());
        let before = before.filter(|_| self.cursor.selected() > 0);
        self.polled.take(answer, now);
        let rows = self.rows();
        let same = before.and_then(|value| rows.iter().position(|row| row.value == value));
        let count = rows.len();
        self.cursor.follow(same, count);
    }
}
