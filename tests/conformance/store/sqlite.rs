//! The embedded store: the suite, and tests specific to the file.

use std::path::Path;
use std::time::{Duration, Instant};

use bklit_adapters::sqlite::store::SqliteStore;
use bklit_pipeline::store::{Batch, Inserted, QueryLimits, Store, StoreError, schema};
use bklit_wire::sql::MAX_BYTES;
use rusqlite::Connection;
use serde_json::json;

use super::{Fixture, LIMITS, count, insert, key, row, rows, store_suite};
use crate::support::events::{at, end, full_view, view};

async fn open() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("store.db")).unwrap();
    Fixture { store: Box::new(store), cases: 100, _keep: Box::new(dir) }
}

store_suite!(on_sqlite, super::open);

fn open_in(dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(&dir.join("store.db"))
}

#[tokio::test]
async fn stored_events_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let events = [full_view("p", "1"), view("p", "2", "s", 0, "/")];
    insert(&open_in(dir.path()).unwrap(), "b", &events).await;

    let store = open_in(dir.path()).unwrap();
    assert_eq!(count(&store, "page_view_event").await, 2);
    assert_eq!(insert(&store, "b", &events).await, Inserted::default());
    insert(&store, "c", &[end("p", "3", "s", 4)]).await;
    assert_eq!(
        row(&store, "SELECT duration FROM tracked_session WHERE session_id = 's'").await,
        [json!(4)]
    );
}

#[tokio::test]
async fn others_can_read_the_file_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).unwrap();
    insert(&store, "1", &[view("p", "1", "s", 0, "/")]).await;
    let other = Connection::open(dir.path().join("store.db")).unwrap();
    let mode: String = other.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");

    // An open read transaction does not block writes, and keeps its snapshot.
    other.execute_batch("BEGIN").unwrap();
    let seen = || -> i64 {
        other.query_row("SELECT count(*) FROM page_view_event", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(seen(), 1);
    insert(&store, "2", &[view("p", "2", "s", 1, "/")]).await;
    assert_eq!(seen(), 1);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(seen(), 2);
}

#[tokio::test]
async fn two_processes_may_open_a_new_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let opened: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| open_in(dir.path()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    });
    for (n, store) in opened.iter().enumerate() {
        insert(store, &format!("{n}"), &[view("p", &format!("{n}"), "s", 0, "/")]).await;
    }
    assert_eq!(count(&opened[0], "page_view_event").await, 4);
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_in(dir.path()).unwrap());
    let raw = Connection::open(dir.path().join("store.db")).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    let error = open_in(dir.path()).err().unwrap().to_string();
    assert!(error.contains("version 99") && error.contains("newer"), "{error}");
}

#[tokio::test]
async fn errors_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let error = open_in(&dir.path().join("missing")).err().unwrap().to_string();
    assert!(error.contains("missing/store.db"), "{error}");
    std::fs::write(dir.path().join("store.db"), "x".repeat(10_000)).unwrap();
    let error = open_in(dir.path()).err().unwrap().to_string();
    assert!(error.contains("store.db") && error.contains("not a database"), "{error}");
}

#[tokio::test]
async fn the_tables_match_the_contract() {
    let fixture = open().await;
    for table in schema::TABLES {
        let sql = format!("SELECT * FROM {}", table.name);
        let result = fixture.store.query(&sql, LIMITS).await.unwrap();
        let names: Vec<_> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(result.columns, names);
        assert!(table.order.iter().all(|column| names.contains(column)));
    }
}

#[tokio::test]
async fn queries_cannot_access_other_files_or_settings() {
    let fixture = open().await;
    let refused = [
        "ATTACH '/tmp/elsewhere.db' AS e",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA query_only = 0",
        "PRAGMA query_only",
        "SELECT * FROM pragma_query_only",
        "PRAGMA user_version = 7",
        "VACUUM INTO '/tmp/elsewhere.db'",
        "SELECT load_extension('x')",
        "SELECT * FROM pragma_database_list",
        "EXPLAIN DELETE FROM tracked_event",
    ];
    for sql in refused {
        let error = fixture.store.query(sql, LIMITS).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{sql}: {error}");
    }
    assert!(!rows(&*fixture.store, "EXPLAIN SELECT 1").await.is_empty());
    assert_eq!(rows(&*fixture.store, "VALUES (1), (2)").await.len(), 2);
    let found = row(&*fixture.store, "SELECT x'00ff', 9e999, CAST(x'ff41' AS TEXT)").await;
    assert_eq!(found, [json!("00ff"), json!("inf"), json!("\u{fffd}A")]);
}

#[tokio::test]
async fn a_query_with_a_huge_result_is_truncated() {
    let fixture = open().await;
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000)";
    let sql = format!("{numbers} SELECT hex(zeroblob(4000000)) FROM n");
    let result = fixture.store.query(&sql, LIMITS).await.unwrap();
    assert!(result.truncated && result.rows.len() < 20, "{} rows", result.rows.len());
    let error = fixture.store.query("SELECT hex(zeroblob(400000000))", LIMITS).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
}

#[tokio::test]
async fn a_batch_waits_for_another_process_and_then_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).unwrap();
    let other = Connection::open(dir.path().join("store.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let batch = Batch {
        id: "b".into(),
        events: vec![view("p", "1", "s", 0, "/")].into(),
        is_first_attempt: false,
    };
    let inserting = store.insert(&batch);
    tokio::pin!(inserting);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut inserting).await;
    assert!(early.is_err());
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(inserting.await.unwrap().rows, 1);
}

#[tokio::test]
async fn a_cancelled_insert_is_complete_or_absent() {
    let fixture = open().await;
    let events: Vec<_> = (0..500).map(|n| view("p", &format!("{n}"), "s", n, "/")).collect();
    let batch = Batch { id: "b".into(), events: events.into(), is_first_attempt: false };
    let dropped = tokio::time::timeout(Duration::ZERO, fixture.store.insert(&batch)).await;
    assert!(dropped.is_err());
    // Whether or not it was started: sent again, it is stored once.
    fixture.store.insert(&batch).await.unwrap();
    assert_eq!(count(&*fixture.store, "page_view_event").await, 500);
    let began = Instant::now();
    assert!(fixture.store.end_idle_sessions(at(1000), 10).await.unwrap() == [key("p", "s")]);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_row_cannot_be_larger_than_the_result_may_be() {
    let fixture = open().await;
    let limits = QueryLimits { bytes: 8 << 20, ..LIMITS };
    let large = "hex(zeroblob(900000))";
    let sql = format!("SELECT {}", [large; 10].join(", "));
    let result = fixture.store.query(&sql, limits).await.unwrap();
    assert!(result.truncated && result.rows.is_empty(), "{} rows", result.rows.len());
    let many = format!("SELECT {}", ["1"; 300].join(", "));
    for sql in ["SELECT hex(zeroblob(1500000))", &many] {
        let error = fixture.store.query(sql, limits).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
    }
}

/// The store stops a query when nobody waits for its result any more, so that others can run.
#[tokio::test]
async fn a_query_ends_with_its_caller() {
    let fixture = open().await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   SELECT count(*) FROM n";
    let limits = QueryLimits { time: Duration::from_secs(600), ..LIMITS };
    for _ in 0..3 {
        let run = || fixture.store.query(endless, limits);
        // As many as may run at a time.
        let all = async { tokio::join!(run(), run(), run(), run()) };
        assert!(tokio::time::timeout(Duration::from_millis(100), all).await.is_err());
    }
    let limits = QueryLimits { time: Duration::from_secs(60), ..LIMITS };
    assert_eq!(fixture.store.query("SELECT 1", limits).await.unwrap().rows, [[json!(1)]]);
}

/// SQLite does not check the time limit within a function call, so none may take long.
#[tokio::test]
async fn no_function_call_outlasts_the_time_limit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).unwrap();
    let limits = QueryLimits { bytes: MAX_BYTES, ..QueryLimits::new(10, Duration::from_secs(2)) };
    let run_of = |c: char, count: usize| format!("printf('%.*c', {count}, '{c}')");
    let (most, half, some) = (run_of('a', 2_000_000), run_of('a', 1_000_000), run_of('b', 100_000));
    for (query, refused) in [
        (format!("SELECT length(trim({0}, {0} || 'é'))", run_of('b', 100_000)), false),
        (format!("SELECT length(trim({some}, replace({some}, 'b', 'c') || 'b'))"), false),
        (format!("SELECT length(ltrim({some}, replace({some}, 'b', 'c') || 'b'))"), false),
        (format!("SELECT length(rtrim({some}, replace({some}, 'b', 'c') || 'b'))"), false),
        (format!("SELECT instr({most}, {half} || 'b')"), false),
        (format!("SELECT length(replace({most}, {half} || 'b', 'c'))"), false),
        (format!("SELECT {most} LIKE '%' || {} || 'b'", run_of('a', 40_000)), true),
        (format!("SELECT {most} GLOB '*' || {} || 'b'", run_of('a', 40_000)), true),
        (format!("SELECT unhex('00', {some})"), true),
        ("SELECT json_patch('{}', '{}')".to_owned(), true),
        ("SELECT json_pretty('[1]', 'x')".to_owned(), true),
        (format!("SELECT 1 {}", "OR url LIKE 'a' ".repeat(101)), true),
    ] {
        let began = Instant::now();
        let result = store.query(&query, limits).await;
        assert_eq!(matches!(result, Err(StoreError::Refused(_))), refused, "{query}: {result:?}");
        assert!(refused || result.is_ok(), "{query}: {result:?}");
        assert!(began.elapsed() < Duration::from_secs(6), "{query}: {:?}", began.elapsed());
    }
}

/// The deadline is checked often enough if each row takes long.
#[tokio::test]
async fn slow_rows_do_not_outlast_the_time_limit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).unwrap();
    let limits = QueryLimits { bytes: MAX_BYTES, ..QueryLimits::new(10, Duration::from_secs(1)) };
    let slow = ["length(hex(zeroblob(900000 + i % 2)))"; 10].join(" + ");
    let query = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
         SELECT i FROM n WHERE {slow} = 0"
    );
    let began = Instant::now();
    let error = store.query(&query, limits).await.unwrap_err();
    assert!(error.to_string().contains("took longer than 1s"), "{error}");
    // The thread's permit is free again, too.
    let other = || store.query("SELECT 1", limits);
    let others = tokio::try_join!(other(), other(), other(), other());
    others.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn replaced_functions_answer_as_those_of_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).unwrap();
    let plain = Connection::open_in_memory().unwrap();
    let values =
        ["NULL", "''", "'a'", "'aa'", "'ab'", "'babab'", "'éaé'", "'é'", "121", "1", "x'61'"];
    for x in values {
        for y in values {
            for call in [
                format!("trim({x}, {y})"),
                format!("ltrim({x}, {y})"),
                format!("rtrim({x}, {y})"),
                format!("instr({x}, {y})"),
                format!("replace({x}, {y}, 'é')"),
                format!("replace({x}, {y}, NULL)"),
                format!("replace('xaba', {x}, {y})"),
            ] {
                let query = format!("SELECT quote({call})");
                let expected: String = plain.query_row(&query, [], |row| row.get(0)).unwrap();
                assert_eq!(row(&store, &query).await, [json!(expected)], "{call}");
            }
        }
    }
    let error = store.query("SELECT replace(1.5, '.', ',')", LIMITS).await.unwrap_err();
    assert!(error.to_string().contains("CAST"), "{error}");
    let bomb = "SELECT replace(printf('%.*c', 1000000, 'a'), 'a', printf('%.*c', 1000000, 'b'))";
    assert!(matches!(store.query(bomb, LIMITS).await, Err(StoreError::Refused(_))));
}
