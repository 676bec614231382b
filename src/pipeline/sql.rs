//! Queries that operators run on the store, within the bounds of [`bklit_wire::sql`].

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::live_view::NO_STORE;
use crate::store::{QueryLimits, QueryResult, Store, StoreError};
use bklit_net::timeout::within;
use bklit_wire::sql::{
    MAX_BYTES, MAX_ROWS, SqlAnswer, SqlColumn, SqlRequest, SqlSchema, SqlTable, TIME_LIMIT,
};

/// The most queries at a time, so that the store has capacity for others (those of the live view,
/// for example).
pub const MOST_QUERIES: usize = 2;
/// The most columns of all tables that are listed.
const MOST_COLUMNS: usize = 10_000;
/// Extra time for the store to report that the time limit has passed.
const GRACE: Duration = Duration::from_secs(3);

/// The most ids of stopped queries that are remembered; the oldest is forgotten.
const MOST_STOPPED: usize = 64;
/// How long they are remembered: a query that arrives later than its stop was hardly slower.
const STOPPED_FOR: Duration = Duration::from_secs(5);

const LIMITS: QueryLimits = QueryLimits { rows: MAX_ROWS, time: TIME_LIMIT, bytes: MAX_BYTES };

/// Why a query has no result.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The store rejects it, with its own message: it has an error, or does not only read.
    #[error("{0}")]
    Refused(String),
    /// The store is unavailable, or the query took too long.
    #[error("{0}")]
    Unavailable(String),
    /// This process has no store.
    #[error("{NO_STORE}")]
    NoStore,
    /// Too many queries are running.
    #[error("{MOST_QUERIES} queries are running, which is the limit; try again later")]
    Busy,
    /// It was stopped by [`Queries::stop`].
    #[error("the query was stopped")]
    Stopped,
}

impl From<StoreError> for SqlError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(reason) => Self::Refused(reason),
            StoreError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

/// The running queries of a process, which share its slots.
#[derive(Debug, Default)]
pub struct Queries {
    state: Mutex<State>,
    /// Held while the tables are read: one reader at a time, in addition to the queries.
    schema: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    running: Vec<Running>,
    /// Queries to be stopped before they ran, and when: a stop may overtake its query.
    stopped: VecDeque<(String, Instant)>,
}

impl State {
    /// Whether the query was stopped before it arrived; forgets that.
    fn was_stopped(&mut self, id: &str) -> bool {
        self.stopped.retain(|(_, at)| at.elapsed() < STOPPED_FOR);
        let place = self.stopped.iter().position(|(stopped, _)| stopped == id);
        place.and_then(|place| self.stopped.remove(place)).is_some()
    }
}

#[derive(Debug)]
struct Running {
    id: Option<String>,
    stop: CancellationToken,
}

/// A slot for a running query, which is free again when this is dropped.
struct Place<'q> {
    queries: &'q Queries,
    stop: CancellationToken,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.stop.cancel();
        self.queries.state().running.retain(|running| !running.stop.is_cancelled());
    }
}

impl Queries {
    /// Runs a query. Dropping the future stops it.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn run(
        &self,
        store: Option<&dyn Store>,
        request: &SqlRequest,
    ) -> Result<SqlAnswer, SqlError> {
        let store = store.ok_or(SqlError::NoStore)?;
        let place = self.begin(request.id.clone())?;
        let began = Instant::now();
        let result = tokio::select! {
            result = limited(store, &request.query, LIMITS) => result?,
            () = place.stop.cancelled() => return Err(SqlError::Stopped),
        };
        let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(SqlAnswer { result, elapsed_ms })
    }

    /// Stops the query with this id, also if it arrives a little later. Returns whether it was running.
    pub fn stop(&self, id: &str) -> bool {
        let mut state = self.state();
        if let Some(running) = state.running.iter().find(|one| one.id.as_deref() == Some(id)) {
            running.stop.cancel();
            return true;
        }
        state.stopped.truncate(MOST_STOPPED - 1);
        state.stopped.push_front((id.to_owned(), Instant::now()));
        false
    }

    /// The tables and views of the store, with their columns.
    ///
    /// # Errors
    /// Why they could not be read.
    pub async fn schema(&self, store: Option<&dyn Store>) -> Result<SqlSchema, SqlError> {
        let store = store.ok_or(SqlError::NoStore)?;
        let dialect = store.dialect();
        let limits = QueryLimits { rows: MOST_COLUMNS, ..LIMITS };
        let read = async {
            let _turn = self.schema.lock().await;
            limited(store, dialect.columns, limits).await
        };
        let found = within(limits.time + GRACE, read, SqlError::Unavailable).await?;
        Ok(SqlSchema { engine: dialect.engine, tables: tables(&found) })
    }

    fn begin(&self, id: Option<String>) -> Result<Place<'_>, SqlError> {
        let mut state = self.state();
        if id.as_deref().is_some_and(|id| state.was_stopped(id)) {
            return Err(SqlError::Stopped);
        }
        if state.running.len() >= MOST_QUERIES {
            return Err(SqlError::Busy);
        }
        let stop = CancellationToken::new();
        state.running.push(Running { id, stop: stop.clone() });
        Ok(Place { queries: self, stop })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tables in rows of table, column and type.
fn tables(found: &QueryResult) -> Vec<SqlTable> {
    let mut tables: Vec<SqlTable> = Vec::new();
    for row in &found.rows {
        let [table, name, kind] = row.as_slice() else { continue };
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let column = SqlColumn { name: text(name), r#type: text(kind) };
        match tables.last_mut().filter(|last| Some(last.name.as_str()) == table.as_str()) {
            Some(last) => last.columns.push(column),
            None => tables.push(SqlTable { name: text(table), columns: vec![column] }),
        }
    }
    tables
}

async fn limited(
    store: &dyn Store,
    query: &str,
    limits: QueryLimits,
) -> Result<QueryResult, SqlError> {
    let query = async { Ok(store.query(query, limits).await?) };
    within(limits.time + GRACE, query, SqlError::Unavailable).await
}

#[cfg(test)]
mod tests;
