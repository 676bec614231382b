//! Queries: only reading, with limits, and the same results from every store.

use std::collections::BTreeMap;
use std::time::Duration;

use bklit_console_core::model::sql::saved::saved;
use bklit_pipeline::sql;
use bklit_pipeline::store::schema::TABLES;
use bklit_pipeline::store::{QueryLimits, QueryResult, Store, StoreError};
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};

use super::{LIMITS, count, insert, row, rows};
use crate::support::events::{NOON, custom, view};

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

pub async fn a_query_has_a_size_limit(store: &dyn Store) {
    let long = "x".repeat(1000);
    let events: Vec<_> = (0..50).map(|n| view("p", &format!("{n}"), "s", n, &long)).collect();
    insert(store, "1", &events).await;
    let query = "SELECT url FROM page_view_event";
    let limits = QueryLimits { bytes: 10_000, ..LIMITS };
    let result = store.query(query, limits).await.unwrap();
    assert!(result.truncated && (5..20).contains(&result.rows.len()), "{}", result.rows.len());
    assert!(!store.query(query, LIMITS).await.unwrap().truncated);
}

pub async fn the_columns_of_all_tables_are_listed(store: &dyn Store) {
    let schema = sql::Queries::default().schema(Some(store)).await.unwrap();
    assert_eq!(schema.engine, store.dialect().engine);
    for table in TABLES {
        let found = schema.tables.iter().find(|found| found.name == table.name);
        let columns = &found.unwrap_or_else(|| panic!("{}: {schema:?}", table.name)).columns;
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, table.columns.iter().map(|column| column.name).collect::<Vec<_>>());
        assert!(columns.iter().all(|column| !column.r#type.is_empty()), "{columns:?}");
    }
}

/// The queries that the console has built in, with events of now and of long ago.
pub async fn built_in_queries_run(store: &dyn Store) {
    let now = (UtcMillis::now().epoch_millis() - NOON) / 1000;
    let events = [
        view("p", "new", "s", now - 60, "https://a.example/new"),
        custom("p", "custom", "s", now - 60),
        view("p", "old", "t", now - 3 * 24 * 3600, "https://a.example/old"),
    ];
    insert(store, "1", &events).await;
    let found = rows(store, "SELECT count(*) FROM tracked_session").await;
    assert!(!found.is_empty());
    for query in saved(store.dialect().engine, &BTreeMap::new()) {
        let result = store.query(&query.query, LIMITS).await;
        let result = result.unwrap_or_else(|error| panic!("{}: {error}", query.name));
        let text = format!("{:?}", result.rows);
        assert!(!text.contains("old"), "{}: {text}", query.name);
        let expected = match query.name.as_str() {
            "rate" => vec![json!("p"), json!(2)],
            "projects" => vec![json!("p"), json!(1), json!(1)],
            "pages" | "sessions" | "latest" => vec![json!("https://a.example/new")],
            "slowest" => vec![json!(0), json!("new")],
            "events" => vec![json!(1)],
            "referrers" => vec![],
            other => panic!("{other} is not tested"),
        };
        assert_eq!(result.rows.len(), usize::from(!expected.is_empty()), "{}: {text}", query.name);
        for value in expected {
            assert!(result.rows[0].contains(&value), "{}: {value} in {text}", query.name);
        }
    }
}
