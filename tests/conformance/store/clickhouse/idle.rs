//! Sweeps of idle sessions: how much they read, and that they miss none.

use std::time::Duration;

use bklit_adapters::clickhouse::ClickHouseStore;
use bklit_pipeline::store::Store;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;
use serde_json::json;

use super::super::key;
use super::{SESSIONS, batch, insert, own, process, row, shared, store};
use crate::support::events::{NOON, at, view};
use crate::support::servers::ClickHouse;

/// Ended sessions in the server of a test.
const CROWD: u64 = 300_000;

/// Rows that a sweep may read in addition to what it finds: a few granules of each table.
const FEW: u64 = CROWD / 10;

/// The time `minutes` ago, in the seconds of [`at`].
fn ago(minutes: i64) -> i64 {
    (UtcMillis::now().epoch_millis() - NOON) / 1000 - minutes * 60
}

async fn sweep(store: &ClickHouseStore, minutes: i64) -> Vec<SessionKey> {
    let mut ended = store.end_idle_sessions(at(ago(minutes)), 1000).await.unwrap();
    ended.sort();
    ended
}

async fn visit(store: &ClickHouseStore, session: &str, minutes: i64) {
    let id = format!("{session}-{minutes}");
    process(store, &batch(&id, &[view("p", &id, session, ago(minutes), "/")])).await.unwrap();
}

/// Ended visits of the last two days, with the activity that batches record.
fn crowd(server: &ClickHouse) {
    let visits = format!(
        "(SELECT lower(hex(sipHash64(number))) AS session, \
         toUnixTimestamp64Milli(now64(3)) - 3600000 - number * 576 AS seen FROM numbers({CROWD}))"
    );
    server.query(&format!(
        "INSERT INTO analytics.bklit_session_state (project_id, session_id, entry, exit, last_at, \
         last_seen, end_at, end_seen, version) SELECT 'crowd', session, '1', '1', seen, seen, \
         seen, seen, 1 FROM {visits}"
    ));
    server.query(&format!(
        "INSERT INTO analytics.bklit_session_activity (seen, project_id, session_id, touched) \
         SELECT seen, 'crowd', session, toDateTime(intDiv(seen, 1000)) FROM {visits}"
    ));
}

/// Rows read after the first `statements` statements.
fn read_since(server: &ClickHouse, statements: usize) -> u64 {
    server.log()[statements..].iter().map(|entry| entry["read"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn a_sweep_reads_only_sessions_that_may_have_ended() {
    let (server, store) = own(|_| {}).await;
    crowd(&server);
    let before = server.log().len();
    assert_eq!(sweep(&store, 40).await, []);
    assert!(read_since(&server, before) >= CROWD, "the first sweep reads all sessions");

    visit(&store, "idle", 35).await;
    visit(&store, "busy", 35).await;
    visit(&store, "busy", 3).await;
    let before = server.log().len();
    assert_eq!(sweep(&store, 30).await, [key("p", "idle")]);
    assert_eq!(sweep(&store, 29).await, []);
    let read = read_since(&server, before);
    assert!(read < FEW, "{read} rows were read");
    let ended = format!("SELECT ended_at IS NOT NULL FROM {SESSIONS} WHERE session_id = 'idle'");
    assert_eq!(row(&store, &ended).await, [json!(1)]);

    // A new process continues where the last one stopped, even after a long outage.
    let next = super::store(&server.url(), |_| {});
    let before = server.log().len();
    assert_eq!(sweep(&next, 2).await, [key("p", "busy")]);
    let read = read_since(&server, before);
    assert!(read < FEW, "{read} rows were read");
}

#[tokio::test]
async fn events_that_arrive_after_the_sweep_of_their_time_are_swept() {
    let (database, first) = shared().await;
    let second = store(&database.url(), |options| options.database = database.name().to_owned());
    assert_eq!(sweep(&first, 31).await, []);
    assert_eq!(sweep(&second, 30).await, []);
    // Events delayed by an hour's outage: one is stored by a process that swept before the other
    // one, the other by a process that has just started.
    visit(&first, "late", 90).await;
    let third = store(&database.url(), |options| options.database = database.name().to_owned());
    visit(&third, "later", 60).await;
    drop(third);
    assert_eq!(sweep(&second, 29).await, [key("p", "late"), key("p", "later")]);
    assert_eq!(sweep(&first, 28).await, []);
}

/// A process that was idle does not sweep. What it stores then must not depend on its own sweeps.
#[tokio::test]
async fn late_events_stored_after_an_idle_time_are_swept_by_others() {
    let (database, idle) = shared().await;
    let busy = store(&database.url(), |options| options.database = database.name().to_owned());
    assert_eq!(sweep(&idle, 90).await, []);
    assert_eq!(sweep(&busy, 30).await, []);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3 * 60)).await;
    tokio::time::resume();
    visit(&idle, "late", 80).await;
    drop(idle);
    assert_eq!(sweep(&busy, 29).await, [key("p", "late")]);
}

#[tokio::test]
async fn a_sweep_in_steps_misses_none() {
    let (_database, store) = shared().await;
    assert_eq!(sweep(&store, 60).await, []);
    let events: Vec<_> = (0..25)
        .map(|n| view("p", &format!("{n}"), &format!("s{n:02}"), ago(50) + n % 3, "/"))
        .collect();
    insert(&store, "b", &events).await;
    let since = at(ago(30));
    for expected in [10, 10, 5, 0] {
        assert_eq!(store.end_idle_sessions(since, 10).await.unwrap().len(), expected);
    }
    // The next sweep completes one that stopped early.
    let events: Vec<_> =
        (0..25).map(|n| view("p", &format!("b{n}"), &format!("t{n:02}"), ago(29), "/")).collect();
    insert(&store, "c", &events).await;
    assert_eq!(store.end_idle_sessions(at(ago(28)), 10).await.unwrap().len(), 10);
    assert_eq!(sweep(&store, 27).await.len(), 15);
}

#[tokio::test]
async fn a_wrong_clock_of_one_process_does_not_affect_others() {
    let (database, fast) = shared().await;
    let right = store(&database.url(), |options| options.database = database.name().to_owned());
    assert_eq!(sweep(&right, 40).await, []);
    let in_ten_years = at(ago(0) + 10 * 365 * 24 * 3600);
    assert!(fast.end_idle_sessions(in_ten_years, 10).await.unwrap().is_empty());
    visit(&right, "one", 35).await;
    assert_eq!(sweep(&right, 30).await, [key("p", "one")]);
    // Also in a process that starts with that mark.
    let fresh = store(&database.url(), |options| options.database = database.name().to_owned());
    visit(&fresh, "two", 32).await;
    assert_eq!(sweep(&fresh, 30).await, [key("p", "two")]);
    // And in that process, once its clock is correct.
    visit(&fast, "three", 31).await;
    assert_eq!(sweep(&fast, 29).await, [key("p", "three")]);
}

/// Older versions record no activity.
#[tokio::test]
async fn sessions_of_an_older_version_are_ended_by_the_first_sweep() {
    let (database, store) = shared().await;
    visit(&store, "old", 50).await;
    database.query("TRUNCATE TABLE bklit_session_activity");
    assert_eq!(sweep(&store, 30).await, [key("p", "old")]);
}

/// As if there were too many sessions for the server's memory.
#[tokio::test]
async fn a_failed_scan_of_all_sessions_does_not_delay_sweeps() {
    let (server, store) = own(|_| {}).await;
    visit(&store, "before", 50).await;
    let all = "FROM bklit_session_state GROUP BY";
    server.fault(json!({ "match": all, "kind": "error", "code": 241, "message": "too many" }));
    assert!(store.end_idle_sessions(at(ago(40)), 10).await.is_err());
    visit(&store, "after", 35).await;
    assert_eq!(sweep(&store, 30).await, [key("p", "after")]);
    // Sessions that it did not read are left to the next process.
    server.heal();
    let next = super::store(&server.url(), |_| {});
    assert_eq!(sweep(&next, 29).await, [key("p", "before")]);
}
