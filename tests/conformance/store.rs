//! The port `Store`. To add an adapter, add one [`store_suite!`] line.

mod clickhouse;
mod folding;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::local::LocalDebugBus;
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_pipeline::event_lookup;
use bklit_pipeline::event_lookup::Sources;
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::store::live::live_view;
use bklit_pipeline::store::{Batch, Inserted, QueryLimits, QueryResult, Store, StoreError};
use bklit_wire::event::{Payload, QueuedEvent};
use bklit_wire::live::{LiveView, MINUTES};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};

use crate::support::events::{at, custom, end, full_view, text_columns, text_of, view};

/// An empty store, and what must outlive it.
pub struct Fixture {
    pub store: Box<dyn Store>,
    /// Number of random cases; fewer for a server, which is slower.
    pub cases: u32,
    pub _keep: Box<dyn std::any::Any>,
}

/// Runs the suite on stores created by `$open`.
macro_rules! store_suite {
    ($adapter:ident, $open:path) => {
        store_suite! { $adapter, $open,
            every_field_is_stored_in_its_column
            a_custom_event_keeps_its_metadata_and_type
            absent_fields_are_null
            the_same_batch_twice_is_stored_once
            the_same_event_in_another_batch_is_stored_once
            a_reused_batch_id_hides_no_other_events
            event_ids_are_unique_per_project
            a_session_has_entry_exit_and_bounce
            a_session_end_gives_it_a_duration
            details_are_from_the_first_view_that_has_them
            events_out_of_order_make_the_same_session
            a_replayed_view_is_still_a_bounce
            later_events_reopen_an_ended_session
            a_fast_clock_does_not_keep_a_session_open
            a_session_begins_with_a_page_view
            the_sweep_ends_idle_sessions_as_of_their_last_event
            the_sweep_ends_no_more_sessions_than_requested
            sessions_are_separate_for_each_project
            updated_at_rises_with_every_change
            concurrent_batches_are_stored_once
            a_query_counts_as_clickhouse_does
            a_query_only_reads
            an_invalid_query_is_explained
            a_query_has_a_row_limit
            a_query_has_a_time_limit
            a_query_shows_every_type_of_value
            an_empty_store_can_be_queried
            the_live_view_counts_current_visitors
            an_event_is_found_by_its_id
        }

        mod folding_on {
            #[test]
            fn $adapter() {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                let fixture = runtime.block_on(async { $open().await });
                crate::conformance::store::folding::run(&runtime, &*fixture.store, fixture.cases);
            }
        }
    };
    ($adapter:ident, $open:path, $($test:ident)+) => {
        mod $adapter {
            $(
                #[tokio::test]
                async fn $test() {
                    let fixture = $open().await;
                    crate::conformance::store::$test(&*fixture.store).await;
                }
            )+
        }
    };
}
use store_suite;

const LIMITS: QueryLimits = QueryLimits { rows: 1000, time: Duration::from_secs(30) };

async fn rows(store: &dyn Store, sql: &str) -> Vec<Vec<Value>> {
    let result = store.query(sql, LIMITS).await.unwrap();
    assert!(!result.truncated);
    result.rows
}

/// The only row of a result.
async fn row(store: &dyn Store, sql: &str) -> Vec<Value> {
    let mut rows = rows(store, sql).await;
    assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
    rows.remove(0)
}

async fn count(store: &dyn Store, table: &str) -> Value {
    row(store, &format!("SELECT count() FROM {table}")).await.remove(0)
}

async fn insert(store: &dyn Store, id: &str, events: &[QueuedEvent]) -> Inserted {
    let batch = Batch { id: id.to_owned(), events: events.to_vec().into() };
    store.insert(&batch).await.unwrap()
}

fn key(project: &str, session: &str) -> SessionKey {
    SessionKey { project_id: project.to_owned(), session_id: session.to_owned() }
}

/// The latest version of each session, which is its state.
const SESSIONS: &str = "(SELECT * FROM tracked_session WHERE (project_id, session_id, updated_at) IN \
                        (SELECT project_id, session_id, max(updated_at) FROM tracked_session \
                        GROUP BY project_id, session_id)) AS latest";

/// Entry, exit, bounce, start, end and duration of the only session.
async fn session(store: &dyn Store) -> Value {
    const COLUMNS: &str = "entry_page, exit_page, did_bounce, started_at, ended_at, duration";
    row(store, &format!("SELECT {COLUMNS} FROM {SESSIONS}")).await.into()
}

async fn every_field_is_stored_in_its_column(store: &dyn Store) {
    let inserted = insert(store, "b", &[full_view("p", "evt_1")]).await;
    assert_eq!(inserted.rows, 1);
    let result = store.query("SELECT * FROM page_view_event", LIMITS).await.unwrap();
    let value = |column: &str| {
        let index = result.columns.iter().position(|name| name == column);
        result.rows[0][index.unwrap_or_else(|| panic!("no column {column}"))].clone()
    };
    let texts: Vec<_> = text_columns().collect();
    for column in &texts {
        assert_eq!(value(column), json!(text_of(column)), "{column}");
    }
    let others = [
        ("id", json!("evt_1")),
        ("project_id", json!("p")),
        ("url", json!("https://example.com/?q=ø'\";--")),
        ("timestamp", json!("2026-01-31 11:59:58")),
        ("created_at", json!("2026-01-31 12:00:01")),
        ("is_new_visitor", json!(1)),
        ("mobile", json!(1)),
        ("lat", json!(59.91)),
        ("lon", json!(-10.75)),
    ];
    for (column, expected) in &others {
        assert_eq!(&value(column), expected, "{column}");
    }
    assert_eq!(result.columns.len(), texts.len() + others.len());
}

async fn a_custom_event_keeps_its_metadata_and_type(store: &dyn Store) {
    let mut with = custom("p", "with", "s", 1);
    let Payload::Event(event) = &mut with.payload else { unreachable!() };
    event.metadata = json!({ "n": 1.5, "deep": { "ø": [null] } }).as_object().cloned();
    insert(store, "b", &[with, custom("p", "without", "s", 2)]).await;
    let sql = "SELECT id, event_definition_id, project_id, session_id, timestamp, created_at, \
               metadata FROM tracked_event ORDER BY timestamp";
    let found = rows(store, sql).await;
    let fixed = |id, time| [id, "signup", "p", "s", time, time].map(Value::from);
    assert_eq!(found[0][..6], fixed("with", "2026-01-31 12:00:01"));
    assert_eq!(found[1][..6], fixed("without", "2026-01-31 12:00:02"));
    let metadata =
        |row: &[Value]| -> Value { serde_json::from_str(row[6].as_str().unwrap()).unwrap() };
    let expected = json!({ "n": 1.5, "deep": { "ø": [null] }, "eventType": "click" });
    assert_eq!(metadata(&found[0]), expected);
    assert_eq!(metadata(&found[1]), json!({ "eventType": "click" }));
}

async fn absent_fields_are_null(store: &dyn Store) {
    insert(store, "b", &[view("p", "1", "s", 0, "/")]).await;
    let result = store.query("SELECT * FROM page_view_event", LIMITS).await.unwrap();
    let present = result.columns.iter().zip(&result.rows[0]).filter(|(_, value)| !value.is_null());
    let mut present: Vec<_> = present.map(|(name, _)| name.as_str()).collect();
    present.sort_unstable();
    let expected =
        ["created_at", "id", "is_new_visitor", "project_id", "session_id", "timestamp", "url"];
    assert_eq!(present, expected);
}

async fn the_same_batch_twice_is_stored_once(store: &dyn Store) {
    let events = [view("p", "1", "s", 0, "/"), custom("p", "2", "s", 1), end("p", "3", "s", 2)];
    let first = insert(store, "b", &events).await;
    let sessions = [key("p", "s")];
    assert_eq!(first.rows, 2);
    assert_eq!(first.new_sessions, sessions.clone().into());
    assert_eq!(first.ended_sessions, sessions.into());
    let before = rows(store, &format!("SELECT * FROM {SESSIONS}")).await;
    assert_eq!(insert(store, "b", &events).await, Inserted::default());
    assert_eq!(count(store, "page_view_event").await, 1);
    assert_eq!(count(store, "tracked_event").await, 1);
    assert_eq!(rows(store, &format!("SELECT * FROM {SESSIONS}")).await, before);
}

async fn the_same_event_in_another_batch_is_stored_once(store: &dyn Store) {
    let known = view("p", "1", "s", 0, "/");
    insert(store, "b1", std::slice::from_ref(&known)).await;
    let inserted = insert(store, "b2", &[known.clone(), known, view("p", "2", "t", 0, "/")]).await;
    assert_eq!(inserted.rows, 1);
    assert_eq!(inserted.new_sessions, [key("p", "t")].into());
    assert_eq!(count(store, "page_view_event").await, 2);
}

async fn a_reused_batch_id_hides_no_other_events(store: &dyn Store) {
    insert(store, "b", &[view("p", "1", "s", 0, "/")]).await;
    assert_eq!(insert(store, "b", &[view("p", "2", "s", 0, "/")]).await.rows, 1);
    assert_eq!(count(store, "page_view_event").await, 2);
}

async fn event_ids_are_unique_per_project(store: &dyn Store) {
    let events = [view("p1", "1", "s", 0, "/a"), view("p2", "1", "s", 0, "/b")];
    assert_eq!(insert(store, "b", &events).await.rows, 2);
    let found = rows(store, "SELECT project_id, url FROM page_view_event ORDER BY 1").await;
    assert_eq!(found, [[json!("p1"), json!("/a")], [json!("p2"), json!("/b")]]);
}

async fn a_session_has_entry_exit_and_bounce(store: &dyn Store) {
    let inserted = insert(store, "1", &[view("p", "1", "s", 0, "/in")]).await;
    assert_eq!(inserted.new_sessions, [key("p", "s")].into());
    let start = "2026-01-31 12:00:00";
    assert_eq!(session(store).await, json!(["/in", "/in", 1, start, null, null]));
    let inserted = insert(store, "2", &[view("p", "2", "s", 9, "/out")]).await;
    assert!(inserted.new_sessions.is_empty() && inserted.ended_sessions.is_empty());
    assert_eq!(session(store).await, json!(["/in", "/out", 0, start, null, null]));
}

async fn a_session_end_gives_it_a_duration(store: &dyn Store) {
    insert(store, "1", &[view("p", "1", "s", 0, "/")]).await;
    let inserted = insert(store, "2", &[end("p", "2", "s", 90)]).await;
    assert_eq!((inserted.rows, inserted.ended_sessions.len()), (0, 1));
    let (start, stop) = ("2026-01-31 12:00:00", "2026-01-31 12:01:30");
    assert_eq!(session(store).await, json!(["/", "/", 1, start, stop, 90]));
    // A second end changes nothing.
    assert!(insert(store, "3", &[end("p", "2", "s", 90)]).await.ended_sessions.is_empty());
}

async fn details_are_from_the_first_view_that_has_them(store: &dyn Store) {
    let with = |id, seconds, agent: &str, city: Option<&str>| {
        let mut event = view("p", id, "s", seconds, "/");
        let Payload::Pageview(view) = &mut event.payload else { unreachable!() };
        view.user_agent = Some(agent.to_owned());
        view.city = city.map(str::to_owned);
        event
    };
    insert(store, "1", &[with("3", 3, "third", Some("Rome"))]).await;
    insert(store, "2", &[with("1", 1, "first", None), with("2", 2, "second", Some("Oslo"))]).await;
    let found =
        row(store, &format!("SELECT user_agent, city, country, visitor_id FROM {SESSIONS}")).await;
    assert_eq!(found, [json!("first"), json!("Oslo"), Value::Null, Value::Null]);
}

async fn events_out_of_order_make_the_same_session(store: &dyn Store) {
    let events = [
        end("p", "4", "s", 30),
        view("p", "3", "s", 20, "/last"),
        view("p", "1", "s", 0, "/first"),
        view("p", "2", "s", 10, "/middle"),
    ];
    for (n, event) in events.iter().enumerate() {
        insert(store, &format!("b{n}"), std::slice::from_ref(event)).await;
    }
    let (start, stop) = ("2026-01-31 12:00:00", "2026-01-31 12:00:30");
    assert_eq!(session(store).await, json!(["/first", "/last", 0, start, stop, 30]));
}

async fn a_replayed_view_is_still_a_bounce(store: &dyn Store) {
    let only = view("p", "1", "s", 0, "/");
    for n in 0..3 {
        insert(store, &format!("b{n}"), std::slice::from_ref(&only)).await;
    }
    assert_eq!(session(store).await[2], json!(1));
}

async fn later_events_reopen_an_ended_session(store: &dyn Store) {
    insert(store, "1", &[view("p", "1", "s", 0, "/"), end("p", "2", "s", 10)]).await;
    // An event from before the end that arrives late.
    insert(store, "2", &[view("p", "3", "s", 5, "/late")]).await;
    assert_eq!(session(store).await[5], json!(10));
    let inserted = insert(store, "3", &[view("p", "4", "s", 20, "/back")]).await;
    assert!(inserted.new_sessions.is_empty());
    let found = session(store).await;
    assert_eq!((&found[1], &found[4], &found[5]), (&json!("/back"), &Value::Null, &Value::Null));
    let inserted = insert(store, "4", &[end("p", "5", "s", 60)]).await;
    assert_eq!(inserted.ended_sessions.len(), 1);
    assert_eq!(session(store).await[5], json!(60));
}

async fn a_fast_clock_does_not_keep_a_session_open(store: &dyn Store) {
    let mut early = view("p", "1", "s", 0, "/");
    let Payload::Pageview(payload) = &mut early.payload else { unreachable!() };
    payload.timestamp = Some(at(3600));
    insert(store, "1", &[early, end("p", "2", "s", 10)]).await;
    let hour = "2026-01-31 13:00:00";
    assert_eq!(session(store).await, json!(["/", "/", 1, hour, hour, 0]));
}

async fn a_session_begins_with_a_page_view(store: &dyn Store) {
    let inserted = insert(store, "1", &[end("p", "1", "s", 5), custom("p", "2", "t", 5)]).await;
    assert_eq!(inserted, Inserted { rows: 1, ..Inserted::default() });
    assert_eq!(count(store, SESSIONS).await, 0);
    assert!(store.end_idle_sessions(at(9), 10).await.unwrap().is_empty());
    let inserted = insert(store, "2", &[view("p", "3", "s", 5, "/")]).await;
    assert_eq!(inserted.new_sessions, [key("p", "s")].into());
}

async fn the_sweep_ends_idle_sessions_as_of_their_last_event(store: &dyn Store) {
    let events = [
        view("p", "1", "idle", 0, "/"),
        custom("p", "2", "idle", 7),
        view("p", "3", "busy", 8, "/"),
    ];
    insert(store, "1", &events).await;
    assert!(store.end_idle_sessions(at(7), 10).await.unwrap().is_empty());
    assert_eq!(store.end_idle_sessions(at(8), 10).await.unwrap(), [key("p", "idle")]);
    assert!(store.end_idle_sessions(at(8), 10).await.unwrap().is_empty());
    let sql = &format!("SELECT session_id, ended_at, duration FROM {SESSIONS} ORDER BY 1");
    let idle = [json!("idle"), json!("2026-01-31 12:00:07"), json!(7)];
    assert_eq!(rows(store, sql).await, [[json!("busy"), Value::Null, Value::Null], idle]);
    // The visitor returns, and leaves again without an end event.
    insert(store, "2", &[view("p", "4", "idle", 50, "/")]).await;
    let mut ended = store.end_idle_sessions(at(51), 10).await.unwrap();
    ended.sort();
    assert_eq!(ended, [key("p", "busy"), key("p", "idle")]);
    assert_eq!(rows(store, sql).await[1][2], json!(50));
}

async fn the_sweep_ends_no_more_sessions_than_requested(store: &dyn Store) {
    let events: Vec<_> =
        (0..25).map(|n| view("p", &format!("{n}"), &format!("s{n:02}"), n, "/")).collect();
    insert(store, "1", &events).await;
    let mut swept = Vec::new();
    for expected in [10, 10, 5, 0] {
        let ended = store.end_idle_sessions(at(1000), 10).await.unwrap();
        assert_eq!(ended.len(), expected);
        swept.extend(ended);
    }
    swept.dedup();
    assert_eq!(swept.len(), 25);
    assert_eq!(count(store, &format!("{SESSIONS} WHERE ended_at IS NULL")).await, 0);
}

async fn sessions_are_separate_for_each_project(store: &dyn Store) {
    let events =
        [view("p1", "1", "s", 0, "/a"), view("p2", "2", "s", 0, "/b"), end("p2", "3", "s", 1)];
    let inserted = insert(store, "1", &events).await;
    assert_eq!(inserted.new_sessions, [key("p1", "s"), key("p2", "s")].into());
    assert_eq!(inserted.ended_sessions, [key("p2", "s")].into());
    assert_eq!(count(store, &format!("{SESSIONS} WHERE did_bounce = 1")).await, 2);
    assert_eq!(row(store, &format!("SELECT count(DISTINCT id) FROM {SESSIONS}")).await, [json!(2)]);
}

async fn updated_at_rises_with_every_change(store: &dyn Store) {
    let sql = &format!("SELECT id, updated_at FROM {SESSIONS}");
    let mut last: Vec<Value> = vec![];
    for n in 0..4 {
        insert(store, &format!("{n}"), &[view("p", &format!("{n}"), "s", n, "/")]).await;
        let now = row(store, sql).await;
        if !last.is_empty() {
            assert_eq!(now[0], last[0]);
            assert!(now[1].as_str() > last[1].as_str(), "{now:?} after {last:?}");
        }
        last = now;
    }
}

async fn concurrent_batches_are_stored_once(store: &dyn Store) {
    let events: Vec<_> = (0..50).map(|n| view("p", &format!("{n}"), "s", n, "/")).collect();
    let insert_as = |id: &'static str| insert(store, id, &events);
    let all = tokio::join!(insert_as("a"), insert_as("b"), insert_as("a"), insert_as("c"));
    let inserted = [all.0, all.1, all.2, all.3];
    assert_eq!(inserted.iter().map(|one| one.rows).sum::<u64>(), 50);
    assert_eq!(inserted.iter().map(|one| one.new_sessions.len()).sum::<usize>(), 1);
    assert_eq!(count(store, "page_view_event").await, 50);
}

async fn a_query_counts_as_clickhouse_does(store: &dyn Store) {
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

async fn a_query_only_reads(store: &dyn Store) {
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

async fn an_invalid_query_is_explained(store: &dyn Store) {
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

async fn a_query_has_a_row_limit(store: &dyn Store) {
    let events: Vec<_> = (0..5).map(|n| view("p", &format!("{n}"), "s", n, "/")).collect();
    insert(store, "1", &events).await;
    for (limit, expected, truncated) in [(0, 0, true), (4, 4, true), (5, 5, false), (6, 5, false)] {
        let limits = QueryLimits { rows: limit, ..LIMITS };
        let result = store.query("SELECT id FROM page_view_event", limits).await.unwrap();
        assert_eq!((result.rows.len(), result.truncated), (expected, truncated));
    }
}

async fn a_query_has_a_time_limit(store: &dyn Store) {
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   SELECT count(*) FROM n";
    let limits = QueryLimits { time: Duration::from_millis(50), ..LIMITS };
    let began = std::time::Instant::now();
    let error = store.query(endless, limits).await.unwrap_err();
    assert!(error.to_string().contains("took longer than 50ms"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(row(store, "SELECT 1").await, [json!(1)]);
}

async fn a_query_shows_every_type_of_value(store: &dyn Store) {
    let found = row(store, "SELECT NULL, 1, 1.5, 'ø', 9223372036854775807").await;
    assert_eq!(found, [Value::Null, json!(1), json!(1.5), json!("ø"), json!(i64::MAX)]);
}

async fn an_empty_store_can_be_queried(store: &dyn Store) {
    store.ping().await.unwrap();
    for table in ["page_view_event", "tracked_event", "tracked_session"] {
        assert_eq!(count(store, table).await, 0);
    }
    assert_eq!(insert(store, "b", &[]).await, Inserted::default());
    assert!(store.end_idle_sessions(at(0), 10).await.unwrap().is_empty());
}

/// The live view is the same with every store.
async fn the_live_view_counts_current_visitors(store: &dyn Store) {
    let now = at(0);
    assert_eq!(live_view(store, None, now).await.unwrap(), LiveView::default());
    let page = "https://example.com/";
    let events = [
        view("p", "a", "s1", -10, page),
        view("p", "b", "s2", -70, page),
        view("p", "c", "s3", -600, page),
        view("p", "too old", "s4", -7200, page),
        custom("p", "d", "s1", -20),
        view("q", "e", "s1", -30, page),
    ];
    insert(store, "live", &events).await;
    let found = live_view(store, None, now).await.unwrap();
    let projects: Vec<_> =
        found.projects.iter().map(|p| (p.project_id.as_str(), p.visitors)).collect();
    assert_eq!(projects, [("p", 2), ("q", 1)]);
    let p = &found.projects[0];
    assert_eq!((p.page_views.len(), p.page_views.iter().sum::<u64>()), (MINUTES, 3));
    assert_eq!(p.events.iter().sum::<u64>(), 1);
    assert_eq!(found.projects[1].page_views[MINUTES - 2], 1, "{:?}", found.projects[1]);
    assert_eq!(found.top_pages.iter().map(|page| page.views).sum::<u64>(), 4);
    let last: Vec<_> = found.last_events.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(last, ["a", "d", "e", "b", "c"]);
    assert_eq!(found.last_events[0].at.unwrap().epoch_millis(), now.epoch_millis() - 10_000);
    assert_eq!(found.last_events[1].r#type, "event");
}

async fn an_event_is_found_by_its_id(store: &dyn Store) {
    let dir = tempfile::tempdir().unwrap();
    let queue = SqliteQueue::open(&dir.path().join("queue.db"), 10).unwrap();
    let bus = LocalDebugBus::new(Arc::new(Metrics::new()));
    let hostile = "it's a \\ \"strange\" {id:String}? \u{fc} -- ";
    let events = vec![
        view("mine", "evt_1", "s", 10, "/"),
        view("another", "evt_1", "s", 40, "/"),
        custom("mine", "evt_2", "s", 20),
        view("mine", hostile, "s", 30, "/"),
    ];
    insert(store, "b1", &events).await;
    let found = async |id: &str| {
        let sources = Sources { queue: &queue, store: Some(store), bus: &bus };
        let found = event_lookup::find(sources, id).await;
        assert_eq!(found.gaps, [""; 0], "{id}");
        let mut rows = found.stored;
        rows.sort_by(|a, b| a.project_id.cmp(&b.project_id));
        rows
    };
    let rows = found("evt_1").await;
    let projects: Vec<_> = rows.iter().map(|row| row.project_id.as_str()).collect();
    assert_eq!(projects, ["another", "mine"]);
    assert!(rows.iter().all(|row| row.table == "page_view_event"), "{rows:?}");
    let second = |time: UtcMillis| time.epoch_seconds();
    assert_eq!(rows[1].at.map(second), Some(second(events[0].timestamp())));
    assert_eq!(rows[1].accepted_at.map(second), Some(second(events[0].queued_at)));
    assert_eq!(found("evt_2").await[0].table, "tracked_event");
    assert_eq!(found(hostile).await.len(), 1, "an unusual id is found, and has no other effect");
    assert_eq!(found("evt_").await, []);
    assert_eq!(found("' OR '1'='1").await, []);
}
