//! The port `Store`. To add an adapter, add one [`store_suite!`] line.

mod clickhouse;
mod folding;
mod queries;
mod sessions;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::local::LocalDebugBus;
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_pipeline::event_lookup;
use bklit_pipeline::event_lookup::Sources;
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::store::live_view::live_view;
use bklit_pipeline::store::{Batch, Inserted, QueryLimits, Store, StoreError};
use bklit_wire::event::{Payload, QueuedEvent};
use bklit_wire::live_view::{LiveView, MINUTES};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};

use self::queries::*;
use self::sessions::*;
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
            an_end_in_the_far_future_is_limited
            later_events_reopen_an_ended_session
            a_fast_clock_does_not_keep_a_session_open
            a_session_begins_with_a_page_view
            the_sweep_ends_idle_sessions_as_of_their_last_event
            the_sweep_ends_no_more_sessions_than_requested
            sessions_are_separate_for_each_project
            updated_at_follows_what_a_row_shows
            late_events_do_not_open_an_ended_session
            the_first_page_view_of_a_session_is_known
            a_wrong_clock_does_not_stretch_a_session
            concurrent_batches_are_stored_once
            a_query_counts_as_clickhouse_does
            a_query_only_reads
            an_invalid_query_is_explained
            a_query_has_a_row_limit
            a_query_has_a_time_limit
            a_query_shows_every_type_of_value
            a_query_has_a_size_limit
            the_columns_of_all_tables_are_listed
            built_in_queries_run
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

const LIMITS: QueryLimits = QueryLimits::new(1000, Duration::from_secs(30));

/// Completes what is stored and writes the rows of sessions, as the worker does.
async fn write_sessions(store: &dyn Store) -> Result<Vec<(SessionKey, UtcMillis)>, StoreError> {
    store.settle().await?;
    let mut closed = Vec::new();
    loop {
        let written = store.write_sessions().await?;
        closed.extend(written.closed);
        if !written.more {
            return Ok(closed);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn rows(store: &dyn Store, sql: &str) -> Vec<Vec<Value>> {
    write_sessions(store).await.unwrap();
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
    let batch =
        Batch { id: id.to_owned(), events: events.to_vec().into(), is_first_attempt: false };
    let inserted = store.insert(&batch).await.unwrap();
    store.settle().await.unwrap();
    inserted
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
    let sent = r#"{"n":1.50,"order":12345678901234567890123,"x":[1e400,0.1234567890123456789],"a":{"ø":null}}"#;
    event.metadata = serde_json::from_str(sent).unwrap();
    insert(store, "b", &[with, custom("p", "without", "s", 2)]).await;
    let sql = "SELECT id, event_definition_id, project_id, session_id, timestamp, created_at, \
               metadata FROM tracked_event ORDER BY timestamp";
    let found = rows(store, sql).await;
    let fixed = |id, time| [id, "signup", "p", "s", time, time].map(Value::from);
    assert_eq!(found[0][..6], fixed("with", "2026-01-31 12:00:01"));
    assert_eq!(found[1][..6], fixed("without", "2026-01-31 12:00:02"));
    let expected = sent.replace("null}}", r#"null},"eventType":"click"}"#);
    assert_eq!(found[0][6], expected, "as it was sent, digit by digit");
    assert_eq!(found[1][6], r#"{"eventType":"click"}"#);
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
    assert_eq!(first.rows, 2);
    let before = rows(store, &format!("SELECT * FROM {SESSIONS}")).await;
    // Whether its own rows count as known depends on the store; the worker does not ask then.
    assert_eq!(insert(store, "b", &events).await.rows, 0);
    assert_eq!(count(store, "page_view_event").await, 1);
    assert_eq!(count(store, "tracked_event").await, 1);
    assert_eq!(rows(store, &format!("SELECT * FROM {SESSIONS}")).await, before);
}

async fn the_same_event_in_another_batch_is_stored_once(store: &dyn Store) {
    let known = view("p", "1", "s", 0, "/");
    insert(store, "b1", std::slice::from_ref(&known)).await;
    let inserted = insert(store, "b2", &[known.clone(), known, view("p", "2", "t", 0, "/")]).await;
    assert_eq!(inserted.rows, 1);
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

async fn concurrent_batches_are_stored_once(store: &dyn Store) {
    let events: Vec<_> = (0..50).map(|n| view("p", &format!("{n}"), "s", n, "/")).collect();
    let insert_as = |id: &'static str| insert(store, id, &events);
    let all = tokio::join!(insert_as("a"), insert_as("b"), insert_as("a"), insert_as("c"));
    let inserted = [all.0, all.1, all.2, all.3];
    assert_eq!(inserted.iter().map(|one| one.rows).sum::<u64>(), 50);
    assert_eq!(count(store, "page_view_event").await, 50);
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
        // Of visitors whose clocks are fast.
        view("p", "future", "s5", 90, page),
        custom("p", "far future", "s6", 80 * 365 * 24 * 3600),
        view("r", "only future", "s7", 3600, page),
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
