//! Queries that operators run on the store, within the bounds of [`bklit_wire::sql`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::store::live_view::NO_STORE;
use crate::store::{QueryLimits, QueryResult, Store, StoreError};
use bklit_net::timeout::within;
use bklit_wire::sql::{
    MAX_BYTES, MAX_ROWS, SqlAnswer, SqlColumn, SqlRequest, SqlSchema, SqlTable, TIME_LIMIT,
};

/// The most queries at a time, so that others (of the live view, for example) find the store free.
pub const MOST_QUERIES: usize = 2;
/// The most columns of all tables that are listed.
const MOST_COLUMNS: usize = 10_000;
/// Extra time for the store to report that the time limit has passed.
const GRACE: Duration = Duration::from_secs(3);

const LIMITS: QueryLimits = QueryLimits { rows: MAX_ROWS, time: TIME_LIMIT, bytes: MAX_BYTES };

/// Why a query has no result.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The store refuses it, in its own words: it has an error, or does not only read.
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

/// The running queries of a process.
#[derive(Debug, Default)]
pub struct Queries {
    running: Mutex<Vec<Running>>,
}

#[derive(Debug)]
struct Running {
    id: Option<String>,
    stop: CancellationToken,
}

/// A place among the running queries, which is free again when this is dropped.
struct Place<'q> {
    queries: &'q Queries,
    stop: CancellationToken,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.stop.cancel();
        self.queries.running().retain(|running| !running.stop.is_cancelled());
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

    /// Stops the query with this id. Returns whether it was running.
    pub fn stop(&self, id: &str) -> bool {
        let running = self.running();
        let found = running.iter().find(|running| running.id.as_deref() == Some(id));
        found.inspect(|running| running.stop.cancel()).is_some()
    }

    fn begin(&self, id: Option<String>) -> Result<Place<'_>, SqlError> {
        let mut running = self.running();
        if running.len() >= MOST_QUERIES {
            return Err(SqlError::Busy);
        }
        let stop = CancellationToken::new();
        running.push(Running { id, stop: stop.clone() });
        Ok(Place { queries: self, stop })
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tables and views of the store, with their columns.
///
/// # Errors
/// Why they could not be read.
pub async fn schema(store: Option<&dyn Store>) -> Result<SqlSchema, SqlError> {
    let store = store.ok_or(SqlError::NoStore)?;
    let dialect = store.dialect();
    let limits = QueryLimits { rows: MOST_COLUMNS, ..LIMITS };
    let found = limited(store, dialect.columns, limits).await?;
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
    Ok(SqlSchema { engine: dialect.engine, tables })
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
mod tests {
    use super::*;

    #[test]
    fn queries_have_places_and_are_stopped_by_their_ids() {
        let queries = Queries::default();
        let begin = |id: &str| queries.begin(Some(id.to_owned()));
        let first = begin("a").unwrap();
        let second = begin("b").unwrap();
        assert_eq!(begin("c").err(), Some(SqlError::Busy));
        assert!(queries.stop("b") && !queries.stop("c"));
        assert!(second.stop.is_cancelled() && !first.stop.is_cancelled());
        drop(second);
        assert!(!queries.stop("b") && queries.stop("a"));
        drop(first);
        assert!(queries.running().is_empty());
        let unnamed = queries.begin(None).unwrap();
        assert!(!queries.stop(""));
        drop(unnamed);
    }

    #[tokio::test]
    async fn a_process_without_a_store_says_so() {
        let request = SqlRequest { query: "SELECT 1".to_owned(), id: None };
        let error = Queries::default().run(None, &request).await.unwrap_err();
        assert_eq!(error.to_string(), NO_STORE);
        assert_eq!(schema(None).await, Err(SqlError::NoStore));
    }
}
