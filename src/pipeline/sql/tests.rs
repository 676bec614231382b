//! The slots of queries.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;

use super::*;
use crate::store::{Batch, Dialect, Inserted};
use bklit_wire::session::SessionKey;
use bklit_wire::sql::Engine;
use bklit_wire::time::UtcMillis;

/// A store that only answers queries, and counts how many run at once.
#[derive(Default)]
struct Asked {
    running: AtomicUsize,
    most: AtomicUsize,
}

const DIALECT: Dialect = Dialect {
    engine: Engine::Sqlite,
    columns: "columns",
    text: |text| text.to_owned(),
    moment: |seconds| seconds.to_string(),
    seconds: |column| column.to_owned(),
};

#[async_trait]
impl Store for Asked {
    async fn insert(&self, _: &Batch) -> Result<Inserted, StoreError> {
        unreachable!()
    }

    async fn first_views(
        &self,
        _: &[SessionKey],
    ) -> Result<HashMap<SessionKey, String>, StoreError> {
        unreachable!()
    }

    async fn end_idle_sessions(
        &self,
        _: UtcMillis,
        _: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        unreachable!()
    }

    async fn query(&self, _: &str, _: QueryLimits) -> Result<QueryResult, StoreError> {
        self.most.fetch_max(self.running.fetch_add(1, SeqCst) + 1, SeqCst);
        tokio::task::yield_now().await;
        self.running.fetch_sub(1, SeqCst);
        let row = ["t", "a", "TEXT"].map(serde_json::Value::from).to_vec();
        Ok(QueryResult { rows: vec![row], ..QueryResult::default() })
    }

    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    async fn ping(&self) -> Result<(), StoreError> {
        unreachable!()
    }
}

#[test]
fn queries_are_limited_in_number_and_stopped_by_id() {
    let queries = Queries::default();
    let begin = |id: &str| queries.begin(Some(id.to_owned()));
    let first = begin("a").unwrap();
    let second = begin("b").unwrap();
    assert_eq!(begin("c").err(), Some(SqlError::Busy));
    assert!(queries.stop("b") && !queries.stop("d"));
    assert!(second.stop.is_cancelled() && !first.stop.is_cancelled());
    drop(second);
    assert!(!queries.stop("b") && queries.stop("a"));
    drop(first);
    assert!(queries.state().running.is_empty());
    let unnamed = queries.begin(None).unwrap();
    assert!(!queries.stop(""));
    drop(unnamed);
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_its_query_is_remembered_for_a_while() {
    let queries = Queries::default();
    let begin = |id: &str| queries.begin(Some(id.to_owned())).map(|_| ());
    assert!(!queries.stop("a"));
    assert_eq!(begin("b"), Ok(()));
    assert_eq!(begin("a"), Err(SqlError::Stopped));
    assert_eq!(begin("a"), Ok(()), "only once");
    queries.stop("a");
    tokio::time::advance(STOPPED_FOR).await;
    assert_eq!(begin("a"), Ok(()));
    // The newest ones are remembered.
    let ids: Vec<_> = (0..=MOST_STOPPED).map(|nth| nth.to_string()).collect();
    ids.iter().for_each(|id| _ = queries.stop(id));
    assert_eq!(queries.state().stopped.len(), MOST_STOPPED);
    assert_eq!(begin(&ids[0]), Ok(()));
    assert_eq!(begin(&ids[1]), Err(SqlError::Stopped));
    assert_eq!(begin(&ids[MOST_STOPPED]), Err(SqlError::Stopped));
}

#[tokio::test]
async fn the_schema_is_read_once_at_a_time_and_takes_no_slot_of_a_query() {
    let (queries, store) = (Queries::default(), Asked::default());
    let _places = [queries.begin(None).unwrap(), queries.begin(None).unwrap()];
    let read = || queries.schema(Some(&store));
    let (one, two, three) = tokio::join!(read(), read(), read());
    assert_eq!(one.as_ref().unwrap().tables[0].columns[0].name, "a");
    assert_eq!((&one, &one), (&two, &three));
    assert_eq!(store.most.load(SeqCst), 1);
}

#[tokio::test]
async fn a_process_without_a_store_says_so() {
    let request = SqlRequest { query: "SELECT 1".to_owned(), id: None };
    let error = Queries::default().run(None, &request).await.unwrap_err();
    assert_eq!(error.to_string(), NO_STORE);
    assert_eq!(Queries::default().schema(None).await, Err(SqlError::NoStore));
}
