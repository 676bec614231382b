//! Queries: only reading, with limits, and the same results from every store.

use std::time::Duration;

use bklit_pipeline::store::{QueryLimits, QueryResult, Store, StoreError};
use serde_json::{Value, json};

use super::{LIMITS, count, insert, row};
use crate::support::events::view;

pub async fn a_query_counts_as_clickhouse_does(store: &dyn Store) {
    let events =
        [view("p1", "1", "s", 0, "/"), view("p1", "2", "s", 1, "/"), view("p2", "1", "s", 0, "/")];
    insert(store, "1", &events).await;
    let sql = "SELECT count() FROM page_view_event WHERE project_id = 'p1'";
    for sql in [sql.to_owned(), format!(" {sql} ;\n-- done"), format!("/* */{sql}")] {
        let result = store.query(&sql, LIMITS).await.unwrap();
        let expected = QueryResult {
            columns: vec!["count()".into()],
            rows: vec![vec![json!(2)]],
            truncated: false,
        };
        assert_eq!(result, expected);
    }
    let with = "WITH v AS (SELECT url FROM page_view_event) SELECT count() FROM v";
    assert_eq!(row(store, with).await, [json!(3)]);
}

pub async fn a_query_only_reads(store: &dyn Store) {
    insert(store, "1", &[view("p", "1", "s", 0, "/")]).await;
    let refused = [
        "DELETE FROM page_view_event",
        "INSERT INTO tracked_event SELECT * FROM tracked_event",
        "UPDATE page_view_event SET url = ''",
        "DROP TABLE page_view_event",
        "CREATE TABLE t (a TEXT)",
        "SELECT 1; DELETE FROM page_view_event",
        "SELECT 1; SELECT 2",
        "WITH v AS (SELECT 1) DELETE FROM page_view_event",
        "BEGIN",
        "",
        " -- nothing",
    ];
    for sql in refused {
        let error = store.query(sql, LIMITS).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{sql}: {error}");
    }
    assert_eq!(count(store, "page_view_event WHERE url = '/'").await, 1);
}

pub async fn an_invalid_query_is_explained(store: &dyn Store) {
    for (sql, hint) in [
        ("SELECT * FROM page_views", "page_views"),
        ("SELECT nothing", "nothing"),
        ("SELECT 1 FROM FROM", "FROM"),
    ] {
        let error = store.query(sql, LIMITS).await.unwrap_err();
        let StoreError::Refused(reason) = &error else { panic!("{sql}: {error}") };
        assert!(reason.contains(hint), "{sql}: {reason}");
    }
}

pub async fn a_query_has_a_row_limit(store: &dyn Store) {
    let events: Vec<_> = (0..5).map(|n| view("p", &format!("{n}"), "s", n, "/")).collect();
    insert(store, "1", &events).await;
    for (limit, expected, truncated) in [(0, 0, true), (4, 4, true), (5, 5, false), (6, 5, false)] {
        let limits = QueryLimits { rows: limit, ..LIMITS };
        let result = store.query("SELECT id FROM page_view_event", limits).await.unwrap();
        assert_eq!((result.rows.len(), result.truncated), (expected, truncated));
    }
}

pub async fn a_query_has_a_time_limit(store: &dyn Store) {
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   SELECT count(*) FROM n";
    let limits = QueryLimits { time: Duration::from_millis(50), ..LIMITS };
    let began = std::time::Instant::now();
    let error = store.query(endless, limits).await.unwrap_err();
    assert!(error.to_string().contains("took longer than 50ms"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(row(store, "SELECT 1").await, [json!(1)]);
}

pub async fn a_query_shows_every_type_of_value(store: &dyn Store) {
    let found = row(store, "SELECT NULL, 1, 1.5, 'ø', 9223372036854775807").await;
    assert_eq!(found, [Value::Null, json!(1), json!(1.5), json!("ø"), json!(i64::MAX)]);
}
