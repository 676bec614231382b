//! Sessions that several workers update at the same time.

use bklit_pipeline::store::{Batch, Store};
use bklit_wire::event::QueuedEvent;
use serde_json::json;

use super::{SESSIONS, count};
use super::{
    batch, insert, own, process, process_until_done, row, rows, shared, store, verify,
    verify_sessions,
};
use crate::support::events::{at, end, view};

/// Concurrent batches of the same sessions, through stores of different processes.
#[tokio::test]
async fn workers_of_several_processes_agree() {
    let (database, first) = shared().await;
    let others: Vec<_> = (0..3)
        .map(|_| store(&database.url(), |options| options.database = database.name().to_owned()))
        .collect();
    let stores: Vec<&dyn Store> =
        std::iter::once(&first).chain(&others).map(|store| store as &dyn Store).collect();
    let event = |n: i64| view("p", &format!("{n:03}"), &format!("s{}", n % 5), n, &format!("/{n}"));
    let events: Vec<QueuedEvent> = (0..120).map(event).collect();
    for round in events.chunks(24) {
        let batches: Vec<_> =
            (0..4).map(|n| round.iter().skip(n).step_by(4).cloned().collect::<Vec<_>>()).collect();
        let name = &round[0].id;
        let send = |n: usize| {
            let batch = batch(&format!("{name}.{n}"), &batches[n]);
            let store = stores[n];
            async move { process_until_done(store, &batch).await }
        };
        tokio::join!(send(0), send(1), send(2), send(3));
    }
    verify(&first, &events).await.unwrap();
    let versions =
        format!("SELECT DISTINCT session_id, entry_page, exit_page FROM {SESSIONS} ORDER BY 1");
    let expected: Vec<_> = (0..5)
        .map(|n| {
            vec![json!(format!("s{n}")), json!(format!("/{n}")), json!(format!("/{}", 115 + n))]
        })
        .collect();
    assert_eq!(rows(&first, &versions).await, expected);
}

#[tokio::test]
async fn concurrent_sweeps_end_a_session_identically() {
    let (database, first) = shared().await;
    let second = store(&database.url(), |options| options.database = database.name().to_owned());
    let events: Vec<_> =
        (0..40).map(|n| view("p", &format!("{n}"), &format!("s{n}"), n, "/")).collect();
    insert(&first, "b", &events).await;
    let (one, two) = tokio::join!(
        first.end_idle_sessions(at(1000), 100),
        second.end_idle_sessions(at(1000), 100)
    );
    assert!(one.unwrap().len() + two.unwrap().len() >= 40);
    assert!(first.end_idle_sessions(at(1000), 100).await.unwrap().is_empty());
    let open = format!("SELECT count(DISTINCT session_id) FROM {SESSIONS} WHERE duration = 0");
    assert_eq!(row(&first, &open).await, [json!(40)]);
}

#[tokio::test]
async fn the_versions_of_a_session_are_a_history() {
    let (_database, store) = shared().await;
    for (id, event) in [
        ("1", view("p", "1", "s", 0, "/in")),
        ("2", view("p", "2", "s", 60, "/out")),
        ("3", end("p", "3", "s", 90)),
    ] {
        process(&store, &batch(id, &[event])).await.unwrap();
    }
    let sql = "SELECT exit_page, did_bounce, duration, updated_at FROM tracked_session ORDER BY updated_at";
    let expected = [
        vec![json!("/in"), json!(1), json!(null), json!("2026-01-31 12:00:00")],
        vec![json!("/out"), json!(0), json!(null), json!("2026-01-31 12:01:00")],
        vec![json!("/out"), json!(0), json!(90), json!("2026-01-31 12:01:30")],
    ];
    assert_eq!(rows(&store, sql).await, expected);
    // Repeats add no version.
    insert(&store, "4", &[view("p", "2", "s", 60, "/out"), end("p", "3", "s", 90)]).await;
    assert_eq!(count(&store, "tracked_session").await, 3);
    verify_sessions(&store).await;
}

/// Of a visit of an hour there may be thousands.
#[tokio::test]
async fn few_versions_of_a_continuing_session_are_read() {
    const VIEWS: i64 = 40;
    let (server, store) = own(|_| {}).await;
    for n in 0..VIEWS {
        let event = view("p", &n.to_string(), "s", n, &format!("/{n}"));
        process(&store, &batch(&event.id.clone(), &[event])).await.unwrap();
    }
    assert_eq!(count(&store, "tracked_session").await, json!(VIEWS));
    let log = server.log();
    let statements = log.iter().filter_map(|entry| entry["sql"].as_str());
    let mut reading = statements.filter(|sql| sql.contains("AS updated FROM"));
    let read = server.query(&format!(
        "SELECT count() FROM ({})",
        reading
            .next_back()
            .unwrap()
            .replace("FROM tracked_session", "FROM analytics.tracked_session")
    ));
    assert_eq!(read, "2");
    verify_sessions(&store).await;
}

/// The version from before it started at another time, where the next one is not looked for.
#[tokio::test]
async fn a_page_view_that_arrives_late_becomes_the_entry() {
    let (_database, store) = shared().await;
    let views = [
        view("p", "2", "s", 120, "/second"),
        view("p", "1", "s", 60, "/first"),
        view("p", "0", "s", 0, "/in"),
    ];
    for event in views {
        process(&store, &batch(&event.id.clone(), &[event])).await.unwrap();
        verify_sessions(&store).await;
    }
    let times = "SELECT count() = uniqExact(updated_at) FROM tracked_session";
    assert_eq!(row(&store, times).await, [json!(1)]);
    let ended = store.end_idle_sessions(at(1000), 10).await.unwrap();
    assert_eq!((ended.len(), count(&store, "tracked_session").await), (1, json!(4)));
    verify_sessions(&store).await;
}

/// The server's merges aggregate states like the queries do.
#[tokio::test]
async fn merges_do_not_change_sessions() {
    let (database, store) = shared().await;
    for n in 0..20 {
        let id = format!("{n}");
        insert(&store, &id, &[view("p", &id, &format!("s{}", n % 3), n, &format!("/{n}"))]).await;
    }
    let latest = format!("SELECT * FROM {SESSIONS} ORDER BY session_id");
    let before = rows(&store, &latest).await;
    database.query("OPTIMIZE TABLE bklit_session_state FINAL");
    let states = "SELECT count() FROM bklit_session_state WHERE project_id != ''";
    assert_eq!(database.query(states), "3");
    let ends: Vec<_> = (0..3).map(|n| end("p", &format!("e{n}"), &format!("s{n}"), 30)).collect();
    insert(&store, "ends", &ends).await;
    assert_eq!(count(&store, &format!("{SESSIONS} WHERE duration > 0")).await, 3);
    let after = rows(&store, &latest).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before[7..9], after[7..9]);
    }
    assert_eq!(after.len(), 3);
}

/// Page views of five sessions, in three batches.
fn batches_of_five_sessions() -> Vec<Batch> {
    let event = |n: i64| view("p", &format!("{n:02}"), &format!("s{}", n % 5), n, &format!("/{n}"));
    let events: Vec<QueuedEvent> = (0..30).map(event).collect();
    events.chunks(10).map(|some| batch(&some[0].id, some)).collect()
}

#[tokio::test]
async fn states_of_several_batches_are_one_insert_that_is_repeated_until_it_succeeds() {
    for kind in ["error", "drop_before", "error_after_commit", "drop_after_commit"] {
        let (server, store) = own(|_| {}).await;
        for batch in batches_of_five_sessions() {
            store.insert(&batch).await.unwrap();
            assert_eq!(store.unsettled(), 5);
        }
        let into = "INSERT INTO bklit_session_state";
        server.fault(json!({ "match": into, "kind": kind, "times": 2 }));
        for _ in 0..2 {
            assert!(store.settle().await.is_err(), "{kind}");
            assert_eq!(store.unsettled(), 5);
        }
        store.settle().await.unwrap();
        assert_eq!(store.unsettled(), 0);
        store.settle().await.unwrap();
        let log = server.log();
        let inserts = log.iter().filter(|one| one["sql"].as_str().unwrap().starts_with(into));
        assert_eq!(inserts.count(), 3, "{kind}");
        verify_sessions(&store).await;
    }
}

/// Also shows that a batch must not be acknowledged before: without its delivery, nothing brings back
/// what a process that has ended knew of its sessions.
#[tokio::test]
async fn states_that_were_not_inserted_follow_when_their_batches_are_delivered_again() {
    let (database, first) = shared().await;
    let batches = batches_of_five_sessions();
    first.insert(&batches[0]).await.unwrap();
    first.settle().await.unwrap();
    for batch in &batches[1..] {
        first.insert(batch).await.unwrap();
    }
    drop(first);
    let second = store(&database.url(), |options| options.database = database.name().to_owned());
    let last_pages = format!("SELECT DISTINCT exit_page FROM {SESSIONS} ORDER BY 1");
    let pages = |range: std::ops::Range<i64>| -> Vec<Vec<serde_json::Value>> {
        range.map(|n| vec![json!(format!("/{n}"))]).collect()
    };
    write_all(&second, &batches[..1]).await;
    assert_eq!(rows(&second, &last_pages).await, pages(5..10));
    write_all(&second, &batches[1..]).await;
    assert_eq!(rows(&second, &last_pages).await, pages(25..30));
    verify_sessions(&second).await;
}

async fn write_all(store: &dyn Store, batches: &[Batch]) {
    for batch in batches {
        assert_eq!(store.insert(batch).await.unwrap().rows, 0, "its events are stored");
    }
    store.settle().await.unwrap();
}
