//! Queries on the store: the query being typed, the running one, and the last result. They outlive the
//! screen.
//!
//! - `completion`: completes what is typed
//! - `parts`: the parts of the screen
//! - `saved`: saved queries
//! - `table`: a result as a table
//! - `tokens`: the parts of a statement

pub mod completion;
pub mod parts;
pub mod saved;
pub mod table;
pub mod tokens;

use std::sync::Arc;

use tui_input::Input;

use self::completion::{Completion, Sources};
use self::saved::{SavedQuery, saved};
use self::table::ResultTable;
use super::Model;
use super::cursor::Cursor;
use super::panels::Polled;
use super::query::ast::SQLITE;
use crate::histories::{History, Recall};
use bklit_wire::sql::{Engine, SqlAnswer, SqlSchema};
use bklit_wire::time::UtcMillis;

/// How soon the tables are requested again after they could not be read, in milliseconds.
const SCHEMA_EVERY: i64 = 30_000;
/// The most characters in a query that is typed.
pub const MAX_CHARS: usize = 4_000;

/// The content below the query.
#[derive(Debug, Default)]
pub enum Outcome {
    /// The saved queries: none was run yet.
    #[default]
    Saved,
    /// The result.
    Rows(Arc<ResultTable>),
    /// Why there is none.
    Failed(String),
}

/// A query that is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number, which its answer has as well.
    pub number: u64,
    /// Since when.
    pub since: UtcMillis,
}

/// The state of the screen.
#[derive(Debug)]
pub struct SqlPanel {
    /// The query being typed.
    pub input: Input,
    /// The completions of its word at the cursor.
    pub completion: Completion,
    /// The tables.
    pub schema: Polled<SqlSchema>,
    /// The content below the query.
    pub outcome: Outcome,
    /// The selected row, or saved query.
    pub cursor: Cursor,
    /// The first column that is shown.
    pub first_column: usize,
    /// Whether what was inserted last did not fit and is missing.
    pub(crate) is_cut: bool,
    running: Option<Running>,
    started: u64,
    recall: Recall,
}

impl Default for SqlPanel {
    fn default() -> Self {
        Self {
            input: Input::default(),
            completion: Completion::default(),
            schema: Polled::new(SCHEMA_EVERY),
            outcome: Outcome::Saved,
            cursor: Cursor::default(),
            first_column: 0,
            is_cut: false,
            running: None,
            started: 0,
            recall: Recall::default(),
        }
    }
}

impl SqlPanel {
    /// The query that is running.
    pub fn running(&self) -> Option<Running> {
        self.running
    }

    /// The result, if there is one.
    pub fn table(&self) -> Option<&Arc<ResultTable>> {
        match &self.outcome {
            Outcome::Rows(table) => Some(table),
            Outcome::Saved | Outcome::Failed(_) => None,
        }
    }

    /// The store, if known.
    pub fn engine(&self) -> Option<Engine> {
        self.schema.data().map(|schema| schema.engine)
    }

    /// The cursor's position in the input, in bytes.
    pub fn cursor_byte(&self) -> usize {
        let value = self.input.value();
        value.char_indices().nth(self.input.cursor()).map_or(value.len(), |(at, _)| at)
    }

    /// Replaces the input; the cursor is at its end.
    pub(crate) fn set_input(&mut self, query: String) {
        self.input = Input::new(query);
        self.is_cut = false;
        self.completion = Completion::default();
    }

    /// Recomputes the completions; without a word at the cursor only if `always`.
    pub(crate) fn complete(&mut self, saved: &[SavedQuery], always: bool) {
        let sources = Sources { schema: self.schema.data(), saved };
        let (value, cursor) = (self.input.value(), self.cursor_byte());
        self.completion = Completion::of(value, cursor, sources, always);
    }

    /// Inserts the next or previous completion.
    pub(crate) fn choose(&mut self, forward: bool) {
        let cursor = self.cursor_byte();
        let Some((query, end)) = self.completion.choose(self.input.value(), cursor, forward) else {
            return;
        };
        let chars = query[..end].chars().count();
        self.input = Input::new(query).with_cursor(chars);
        self.is_cut = false;
    }

    /// Shows the older or newer query of the history. Returns whether there is one.
    pub(crate) fn recall(&mut self, history: &History, older: bool) -> bool {
        let before = self.input.value().to_owned();
        let query = self.recall.step(history, &before, older);
        let has_changed = query != before;
        if has_changed {
            self.set_input(query);
        }
        has_changed
    }

    /// Starts a query; returns its number.
    pub(crate) fn begin(&mut self, now: UtcMillis) -> u64 {
        self.started += 1;
        self.running = Some(Running { number: self.started, since: now });
        self.recall = Recall::default();
        self.completion = Completion::default();
        self.started
    }

    /// Forgets the running query. Returns whether there was one.
    pub(crate) fn stop(&mut self) -> bool {
        self.running.take().is_some()
    }

    /// Shows why there is no result.
    pub(crate) fn fail(&mut self, reason: String) {
        self.outcome = Outcome::Failed(reason);
        (self.cursor, self.first_column) = (Cursor::default(), 0);
    }

    /// Applies the answer to the running query. Returns whether it was that one's.
    pub(crate) fn take(&mut self, number: u64, answer: Result<SqlAnswer, String>) -> bool {
        if self.running.is_none_or(|running| running.number != number) {
            return false;
        }
        self.running = None;
        match answer {
            Ok(answer) => {
                self.outcome = Outcome::Rows(ResultTable::new(answer));
                (self.cursor, self.first_column) = (Cursor::default(), 0);
            }
            Err(reason) => self.fail(reason),
        }
        true
    }
}

impl Model {
    /// The saved queries, for the store that is queried.
    pub fn saved_queries(&self) -> Vec<SavedQuery> {
        let seen = match self.figures.store() {
            Some(SQLITE) => Engine::Sqlite,
            _ => Engine::Clickhouse,
        };
        saved(self.panels.sql.engine().unwrap_or(seen), &self.options.shell.queries)
    }

    /// The number of rows, or of saved queries.
    pub(crate) fn sql_rows(&self) -> usize {
        match &self.panels.sql.outcome {
            Outcome::Saved => self.saved_queries().len(),
            Outcome::Rows(table) => table.rows().len(),
            Outcome::Failed(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_running_query_counts() {
        let mut panel = SqlPanel::default();
        let now = UtcMillis::from_epoch_millis(0);
        let first = panel.begin(now);
        let second = panel.begin(now);
        assert!(!panel.take(first, Err("late".to_owned())) && panel.running().is_some());
        assert!(panel.take(second, Err("no such table".to_owned())));
        assert!(matches!(&panel.outcome, Outcome::Failed(reason) if reason == "no such table"));
        let third = panel.begin(now);
        assert!(panel.stop() && !panel.stop());
        assert!(!panel.take(third, Ok(SqlAnswer::default())));
        assert!(panel.table().is_none());
    }
}
