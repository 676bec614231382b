//! Completes the sessions of processes that ended before they had written all rows.
//!
//! Each process keeps three marks with the session states, under keys that no session has: when its
//! first states were inserted, when its last ones were, and up to which time the rows of all its
//! sessions are written. All states count, those of batches and those that precede a version. If a
//! process is silent although its last states are later than that, every sweep completes the
//! sessions whose states were touched in between, by any process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::clickhouse::Row;
use serde::Deserialize;

use super::session_state::{self, STATE, StateRows};
use super::sessions::{self, AT_ONCE};
use super::{ClickHouseStore, foreign_starts, session_writes, sql};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::session::Session;
use bklit_wire::session::SessionKey;

/// No project has an empty id.
const NO_PROJECT: &str = "";

const FIRST_STATES: &str = "first";
const LAST_STATES: &str = "last";
const WRITTEN: &str = "written";

/// How long a process must have been silent, in seconds.
const SILENT: u32 = 60;

/// The longest a sweep may spend on this.
const LONGEST: Duration = Duration::from_secs(15);

/// Subtracted from the time up to which all rows are written, in seconds: the server's clock has
/// whole seconds, and is read shortly before the oldest pending session is determined.
const SLACK: u32 = 2;

/// The writer of states and rows.
pub(super) struct Writer {
    id: String,
    /// Whether the first states have been inserted.
    has_begun: AtomicBool,
    /// The last session completed for each other process and the time of its last states, if that
    /// was interrupted.
    recovered: Mutex<HashMap<(String, u32), SessionKey>>,
}

impl Default for Writer {
    fn default() -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        Self { id, has_begun: AtomicBool::new(false), recovered: Mutex::default() }
    }
}

impl Writer {
    fn recovered(&self) -> MutexGuard<'_, HashMap<(String, u32), SessionKey>> {
        self.recovered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, name: &str) -> SessionKey {
        mark(name, &self.id)
    }

    /// Adds the marks that states are inserted with.
    pub(super) fn mark_states(&self, states: &mut StateRows) {
        let nothing = Session::default();
        if !self.has_begun.load(Relaxed) {
            states.add(&self.mark(FIRST_STATES), &nothing, 0);
        }
        states.add(&self.mark(LAST_STATES), &nothing, 0);
    }

    /// The first states have been inserted.
    pub(super) fn begun(&self) {
        self.has_begun.store(true, Relaxed);
    }
}

fn mark(name: &str, writer: &str) -> SessionKey {
    SessionKey { project_id: NO_PROJECT.to_owned(), session_id: format!("{name}:{writer}") }
}

/// Adds the mark that all rows are written up to `clock`, less the age of the oldest pending session.
pub(super) fn mark_written(store: &ClickHouseStore, clock: u32, states: &mut StateRows) {
    let age = u32::try_from(store.pending.age().as_secs()).unwrap_or(u32::MAX);
    let until = clock.saturating_sub(age).saturating_sub(SLACK);
    let written = Session { last_seen: Some(i64::from(until) * 1000), ..Session::default() };
    states.add(&store.writer.mark(WRITTEN), &written, 0);
}

/// Marks that nothing is pending, if that is the case and not marked yet.
pub(super) async fn mark_idle(store: &ClickHouseStore) -> Result<(), StoreError> {
    if store.pending.unmarked().is_none() {
        return Ok(());
    }
    // Read before checking again: then nothing older is pending.
    let clock = foreign_starts::clock(store).await?;
    let Some(begun) = store.pending.unmarked() else { return Ok(()) };
    let written = Session { last_seen: Some(millis(clock)), ..Session::default() };
    insert_mark(store, &store.writer.mark(WRITTEN), &written).await?;
    store.pending.mark(begun);
    Ok(())
}

async fn insert_mark(
    store: &ClickHouseStore,
    mark: &SessionKey,
    state: &Session,
) -> Result<(), StoreError> {
    let mut states = StateRows::default();
    states.add(mark, state, 0);
    session_writes::insert(store, &session_state::insert_into(), states.finish()).await
}

/// A mark as it is stored.
#[derive(Row, Deserialize)]
struct Mark {
    name: String,
    touched: u32,
    until: Option<i64>,
    clock: u32,
}

/// The marks of one process, in seconds since the epoch.
#[derive(Default)]
struct Marks {
    first: u32,
    last: u32,
    /// In milliseconds since the epoch.
    written: Option<i64>,
    /// The latest sign of life.
    alive: u32,
    clock: u32,
}

impl Marks {
    /// The time from which on its sessions may lack rows, if it is silent.
    fn incomplete_since(&self) -> Option<u32> {
        let is_silent = self.clock.saturating_sub(self.alive) > SILENT;
        let written = self.written.map(|until| u32::try_from(until / 1000).unwrap_or(u32::MAX));
        let from = written.unwrap_or(self.first);
        (is_silent && self.last >= from).then_some(from)
    }
}

/// Completes the sessions of processes that have ended, for a while: the next call continues.
pub(super) async fn recover(store: &ClickHouseStore) {
    let failure = match tokio::time::timeout(LONGEST, recover_all(store)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not done after {LONGEST:?}"),
    };
    tracing::warn!(reason = failure, "sessions of ended processes are not complete yet");
}

async fn recover_all(store: &ClickHouseStore) -> Result<(), StoreError> {
    for (writer, marks) in read(store).await? {
        let Some(from) = marks.incomplete_since() else { continue };
        tracing::info!(from, until = marks.last, "completing the sessions of a process that ended");
        let mark = mark(WRITTEN, &writer);
        let interrupted = (writer, marks.last);
        complete(store, &interrupted, from).await?;
        store.writer.recovered().remove(&interrupted);
        let written = Session { last_seen: Some(millis(marks.last) + 1000), ..Session::default() };
        insert_mark(store, &mark, &written).await?;
    }
    Ok(())
}

async fn read(store: &ClickHouseStore) -> Result<HashMap<String, Marks>, StoreError> {
    let query = format!(
        "SELECT session_id AS name, toUInt32(max({STATE}.touched)) AS touched, \
         max({STATE}.last_seen) AS until, toUInt32(toUnixTimestamp(now())) AS clock FROM {STATE} \
         WHERE project_id = {} AND session_id != '' GROUP BY session_id",
        sql::literal(NO_PROJECT)
    );
    let found: Vec<Mark> = store.connection.rows(store.connection.statement(&query)).await?;
    let mut writers: HashMap<String, Marks> = HashMap::new();
    for Mark { name, touched, until, clock } in found {
        let Some((name, writer)) = name.split_once(':') else { continue };
        let marks = writers.entry(writer.to_owned()).or_default();
        marks.alive = marks.alive.max(touched);
        marks.clock = clock;
        match name {
            FIRST_STATES => marks.first = touched,
            LAST_STATES => marks.last = touched,
            WRITTEN => marks.written = until,
            _ => {}
        }
    }
    Ok(writers)
}

/// Completes the sessions whose states were last touched between `from` and the last states of a
/// process, from where the last attempt stopped.
async fn complete(
    store: &ClickHouseStore,
    interrupted: &(String, u32),
    from: u32,
) -> Result<(), StoreError> {
    let until = interrupted.1;
    let first = || SessionKey { project_id: NO_PROJECT.to_owned(), session_id: String::new() };
    let mut after = store.writer.recovered().get(interrupted).cloned().unwrap_or_else(first);
    loop {
        let query = format!(
            "SELECT project_id, session_id FROM {STATE} WHERE touched >= toDateTime({from}) \
             AND touched <= toDateTime({until}) AND project_id != {} \
             AND (project_id, session_id) > ({}, {}) GROUP BY project_id, session_id \
             ORDER BY project_id, session_id LIMIT {AT_ONCE}",
            sql::literal(NO_PROJECT),
            sql::literal(&after.project_id),
            sql::literal(&after.session_id)
        );
        let found: Vec<(String, String)> =
            store.connection.rows(store.connection.statement(&query)).await?;
        let is_last = found.len() < AT_ONCE;
        let keys: Vec<_> = found
            .into_iter()
            .map(|(project_id, session_id)| SessionKey { project_id, session_id })
            .collect();
        let Some(last) = keys.last() else { return Ok(()) };
        after = last.clone();
        sessions::complete(store, &keys).await?;
        store.writer.recovered().insert(interrupted.clone(), after.clone());
        if is_last {
            return Ok(());
        }
    }
}

fn millis(seconds: u32) -> i64 {
    i64::from(seconds) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_silent_process_with_later_states_is_incomplete() {
        let marks =
            |first, last, written, alive| Marks { first, last, written, alive, clock: 1000 };
        let since = |marks: Marks| marks.incomplete_since();
        assert_eq!(since(marks(500, 900, Some(890_000), 900)), Some(890));
        assert_eq!(since(marks(500, 900, Some(890_000), 950)), None, "it is alive");
        assert_eq!(since(marks(500, 900, Some(901_000), 901)), None, "all is written");
        assert_eq!(since(marks(500, 900, Some(900_000), 901)), Some(900), "of the same second");
        assert_eq!(since(marks(500, 500, None, 500)), Some(500), "nothing was ever written");
    }
}
