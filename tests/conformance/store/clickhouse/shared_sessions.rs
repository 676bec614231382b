//! Sessions that Bklit's services write as well: their starts, pages and ends are kept.

use std::time::{Duration, Instant};

use bklit_adapters::clickhouse::ClickHouseStore;
use bklit_pipeline::store::session::key_of;
use bklit_pipeline::store::{Inserted, Store};
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};

use super::super::{key, session};
use super::{
    LIMITS, SESSIONS, batch, count, insert, own, process, row, rows, shared, store, write_sessions,
};
use crate::support::events::{at, custom, end, view};
use crate::support::servers::{ClickHouse, Database};

/// `tracked_session` as Bklit's services create it.
pub const THEIR_SESSIONS: &str = "CREATE TABLE tracked_session (id String, session_id String, \
    started_at DateTime, ended_at Nullable(DateTime), duration Nullable(Int32), \
    did_bounce Bool DEFAULT false, visitor_id Nullable(String), entry_page String, \
    exit_page Nullable(String), user_agent Nullable(String), country Nullable(String), \
    city Nullable(String), project_id String, updated_at DateTime DEFAULT now(), \
    country_code Nullable(String)) ENGINE = MergeTree() PARTITION BY toYYYYMM(started_at) \
    ORDER BY (project_id, started_at, session_id) SETTINGS index_granularity = 8192";

/// The statements of Bklit's services. Each writes a copy of the latest version with a change.
pub struct Theirs<'a>(pub &'a Database);

impl Theirs<'_> {
    pub fn has(&self, session: &str) -> bool {
        let sql = format!("SELECT count() FROM tracked_session WHERE session_id = '{session}'");
        self.0.query(&sql) != "0"
    }

    /// Whether the latest version has ended.
    pub fn has_ended(&self, session: &str) -> bool {
        let sql = format!(
            "SELECT argMax(isNotNull(ended_at), updated_at) FROM tracked_session \
             WHERE session_id = '{session}'"
        );
        self.0.query(&sql) == "1"
    }

    pub fn start(&self, session: &str, seconds: i64, url: &str) {
        let moment = at(seconds).epoch_seconds();
        self.0.query(&format!(
            "INSERT INTO tracked_session (id, session_id, started_at, did_bounce, visitor_id, \
             entry_page, exit_page, country, project_id, updated_at) VALUES ('sess_{session}', \
             '{session}', {moment}, true, 'visitor', '{url}', '{url}', 'Norway', 'p', {moment})"
        ));
    }

    pub fn view(&self, session: &str, seconds: i64, url: &str) {
        let sql = format!("ended_at, '{url}' AS exit_page");
        self.copy(session, seconds, &sql);
    }

    pub fn end(&self, session: &str, seconds: i64) {
        let moment = at(seconds).epoch_seconds();
        self.copy(session, seconds, &format!("toDateTime({moment}) AS ended_at, exit_page"));
    }

    fn copy(&self, session: &str, seconds: i64, changed: &str) {
        let moment = at(seconds).epoch_seconds();
        self.0.query(&format!(
            "INSERT INTO tracked_session (ended_at, exit_page, id, session_id, started_at, \
             duration, did_bounce, visitor_id, entry_page, user_agent, country, country_code, city, \
             project_id, updated_at) SELECT {changed}, id, session_id, started_at, duration, \
             did_bounce, visitor_id, entry_page, user_agent, country, country_code, city, \
             project_id, toDateTime({moment}) FROM (SELECT *, row_number() OVER \
             (PARTITION BY session_id ORDER BY updated_at DESC) AS nth FROM tracked_session \
             WHERE session_id = '{session}') WHERE nth = 1"
        ));
    }
}

/// A store whose `tracked_session` Bklit's services have created.
async fn theirs() -> (Database, ClickHouseStore) {
    let database = ClickHouse::shared();
    database.query(THEIR_SESSIONS);
    let store = store(&database.url(), |options| options.database = database.name().to_owned());
    store.migrate(false).await.unwrap();
    (database, store)
}

const START: &str = "2026-01-31 12:00:00";

#[tokio::test]
async fn a_session_that_they_started_is_continued() {
    for (database, store) in [theirs().await, shared().await] {
        Theirs(&database).start("s", 0, "/in");
        let inserted = insert(&store, "1", &[view("p", "1", "s", 10, "/second")]).await;
        assert_eq!(inserted, Inserted { rows: 1, ..Inserted::default() });
        let expected = json!(["/in", "/second", 0, START, null, null]);
        assert_eq!(session(&store).await, expected);
        let kept = format!("SELECT id, visitor_id, country FROM {SESSIONS}");
        assert_eq!(row(&store, &kept).await, [json!("sess_s"), json!("visitor"), json!("Norway")]);
        // Nothing visible changes with these.
        insert(&store, "2", &[custom("p", "2", "s", 20)]).await;
        insert(&store, "3", &[view("p", "1", "s", 10, "/second")]).await;
        assert_eq!(count(&store, "tracked_session").await, 2);
        // The sweep ends it as of its last event.
        assert_eq!(store.end_idle_sessions(at(21), 10).await.unwrap(), [key("p", "s")]);
        assert_eq!(session(&store).await[5], json!(20));
    }
}

#[tokio::test]
async fn the_first_page_view_of_a_session_may_be_in_both_systems() {
    let (database, store) = theirs().await;
    Theirs(&database).start("s", 0, "/in");
    let mut same = view("p", "1", "s", 0, "/in");
    same.queued_at = UtcMillis::from_epoch_millis(same.queued_at.epoch_millis() + 300);
    insert(&store, "1", &[same.clone()]).await;
    let first = store.first_views(&[key("p", "s")]).await.unwrap();
    assert_ne!(first[&key("p", "s")], key_of(&same), "they have announced it");
    assert_eq!(session(&store).await, json!(["/in", "/in", 1, START, null, null]));
    assert_eq!(count(&store, "tracked_session").await, 1);
}

#[tokio::test]
async fn an_end_that_they_wrote_is_kept() {
    for (database, store) in [theirs().await, shared().await] {
        process(&store, &batch("1", &[view("p", "1", "s", 0, "/")])).await.unwrap();
        Theirs(&database).end("s", 50);
        let ended = json!("2026-01-31 12:00:50");
        // An earlier end, and an event that is delivered late.
        insert(&store, "2", &[end("p", "2", "s", 40)]).await;
        assert_eq!(count(&store, "tracked_session").await, 2);
        insert(&store, "3", &[view("p", "3", "s", 30, "/late")]).await;
        let closed = write_sessions(&store).await.unwrap();
        assert_eq!(closed.last().map(|(session, _)| session), Some(&key("p", "s")));
        let found = session(&store).await;
        assert_eq!((&found[1], &found[2], &found[4]), (&json!("/late"), &json!(0), &ended));
        assert_eq!(found[5], json!(50));
        assert_eq!(store.end_idle_sessions(at(1000), 10).await.unwrap(), []);
        assert_eq!(session(&store).await[4], ended);
        assert_eq!(count(&store, "tracked_session").await, 3);
        // The visitor returns.
        insert(&store, "4", &[view("p", "4", "s", 70, "/back")]).await;
        assert_eq!(session(&store).await[4], Value::Null);
        assert_eq!(store.end_idle_sessions(at(2000), 10).await.unwrap(), [key("p", "s")]);
        assert_eq!(session(&store).await[5], json!(70));
        assert_eq!(count(&store, "tracked_session").await, 5);
    }
}

/// Their service read the version from before the last page view, and wrote the end after it.
#[tokio::test]
async fn an_end_that_hides_the_last_page_is_completed_by_the_sweep() {
    let (database, store) = theirs().await;
    process(&store, &batch("1", &[view("p", "1", "s", 0, "/")])).await.unwrap();
    process(&store, &batch("2", &[view("p", "2", "s", 45, "/last")])).await.unwrap();
    database.query(&format!(
        "INSERT INTO tracked_session (id, session_id, started_at, ended_at, did_bounce, \
         entry_page, exit_page, project_id, updated_at) SELECT id, session_id, started_at, \
         toDateTime({0}), did_bounce, entry_page, exit_page, project_id, toDateTime({0}) \
         FROM tracked_session WHERE exit_page = '/'",
        at(50).epoch_seconds()
    ));
    assert_eq!(session(&store).await[1], json!("/"));
    assert_eq!(store.end_idle_sessions(at(1000), 10).await.unwrap(), []);
    let expected = json!(["/", "/last", 0, START, "2026-01-31 12:00:50", 50]);
    assert_eq!(session(&store).await, expected);
    let versions = count(&store, "tracked_session").await;
    assert_eq!(store.end_idle_sessions(at(2000), 10).await.unwrap(), []);
    assert_eq!(count(&store, "tracked_session").await, versions);
}

/// Of two versions of the same second, readers see either.
#[tokio::test]
async fn versions_of_the_same_second_are_followed_by_one_with_both() {
    let (database, store) = theirs().await;
    process(&store, &batch("1", &[view("p", "1", "s", 0, "/")])).await.unwrap();
    database.query(&format!(
        "INSERT INTO tracked_session (id, session_id, started_at, ended_at, did_bounce, \
         entry_page, exit_page, project_id, updated_at) SELECT id, session_id, started_at, \
         toDateTime({}), did_bounce, entry_page, exit_page, project_id, updated_at \
         FROM tracked_session",
        at(9).epoch_seconds()
    ));
    insert(&store, "2", &[custom("p", "2", "s", 3)]).await;
    assert_eq!(session(&store).await[4], json!("2026-01-31 12:00:09"));
    assert_eq!(store.end_idle_sessions(at(1000), 10).await.unwrap(), []);
}

/// Writes versions of now until one has to wait for the next second; returns what it shows.
async fn postpone(store: &ClickHouseStore) -> String {
    for n in 0..100 {
        let (id, url) = (format!("{n}"), format!("/{n}"));
        let mut event = view("p", &id, "s", 0, &url);
        event.queued_at = UtcMillis::now();
        *event.payload.timestamp_mut() = Some(event.queued_at);
        insert(store, &id, &[event]).await;
        let more = store.write_sessions().await.unwrap().more;
        assert!(latest_version(store).await <= UtcMillis::now().epoch_millis());
        if more {
            return url;
        }
    }
    panic!("no version was postponed");
}

/// Without writing sessions.
async fn only(store: &ClickHouseStore, sql: &str) -> Value {
    store.query(sql, LIMITS).await.unwrap().rows[0][0].clone()
}

/// Milliseconds since the epoch of the latest version of the only session.
async fn latest_version(store: &ClickHouseStore) -> i64 {
    let sql = "SELECT toUnixTimestamp(max(updated_at)) FROM tracked_session";
    only(store, sql).await.as_i64().unwrap() * 1000
}

async fn exit_page(store: &ClickHouseStore) -> Value {
    only(store, &format!("SELECT exit_page FROM {SESSIONS}")).await
}

#[tokio::test]
async fn no_version_is_ahead_of_the_clock_or_of_the_same_second_as_another() {
    let (_database, store) = theirs().await;
    let url = postpone(&store).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while exit_page(&store).await != json!(url) {
        assert!(Instant::now() < deadline, "the version is not written");
        store.write_sessions().await.unwrap();
        assert!(latest_version(&store).await <= UtcMillis::now().epoch_millis());
    }
    let seconds = "SELECT count() = count(DISTINCT updated_at) FROM tracked_session";
    assert_eq!(row(&store, seconds).await, [json!(1)]);
    let versions = count(&store, "tracked_session").await;
    assert!(!store.write_sessions().await.unwrap().more);
    assert_eq!(count(&store, "tracked_session").await, versions);
}

const TWO_MINUTES_PASS: &str = "UPDATE touched = touched - 120, \
    last_seen = last_seen - (project_id = '') * 120000 WHERE 1 SETTINGS mutations_sync = 1";

/// Moves everything that the processes have stored into the past.
fn two_minutes_pass(database: &Database) {
    database.query(&format!("ALTER TABLE bklit_session_state {TWO_MINUTES_PASS}"));
}

#[tokio::test]
async fn the_sessions_of_a_killed_process_are_completed_by_another() {
    let (database, first) = theirs().await;
    insert(&first, "1", &[view("p", "1", "s", 0, "/first")]).await;
    write_sessions(&first).await.unwrap();
    insert(&first, "2", &[view("p", "2", "s", 9, "/last"), view("p", "3", "t", 9, "/t")]).await;
    drop(first);
    let next = store(&database.url(), |options| options.database = database.name().to_owned());
    let sweep = async |seconds| next.end_idle_sessions(at(seconds), 10).await.unwrap();
    assert_eq!(sweep(-1000).await, []);
    assert_eq!(exit_page(&next).await, json!("/first"), "it may still be alive");
    two_minutes_pass(&database);
    assert_eq!(sweep(-999).await, []);
    let latest = format!("SELECT session_id, exit_page FROM {SESSIONS} ORDER BY 1");
    let expected = [["s", "/last"], ["t", "/t"]].map(|row| row.map(Value::from).to_vec());
    assert_eq!(rows(&next, &latest).await, expected);
    // Not again by each sweep.
    let versions = count(&next, "tracked_session").await;
    database.query("ALTER TABLE tracked_session DELETE WHERE 1 SETTINGS mutations_sync = 1");
    assert_eq!(sweep(-998).await, []);
    assert_eq!((versions, count(&next, "tracked_session").await), (json!(3), json!(0)));
}

/// Its state says which version follows, but the version is missing.
#[tokio::test]
async fn a_version_that_a_killed_process_could_not_write_is_written() {
    let (server, first) = own(|_| {}).await;
    process(&first, &batch("1", &[view("p", "1", "s", 0, "/first")])).await.unwrap();
    insert(&first, "2", &[view("p", "2", "s", 9, "/last")]).await;
    let fault = json!({ "match": "INSERT INTO tracked_session", "kind": "error", "code": 252 });
    server.fault(fault);
    // In a later second than the batch.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(first.write_sessions().await.is_err());
    server.heal();
    drop(first);
    server.query("OPTIMIZE TABLE analytics.bklit_session_state FINAL");
    server.query(&format!("ALTER TABLE analytics.bklit_session_state {TWO_MINUTES_PASS}"));
    let next = store(&server.url(), |_| {});
    assert_eq!(next.end_idle_sessions(at(-1000), 10).await.unwrap(), []);
    assert_eq!(exit_page(&next).await, json!("/last"));
}

/// The state already says that the session has ended, so no other sweep would find it.
#[tokio::test]
async fn a_sweep_that_fails_half_way_is_completed() {
    let (server, store) = own(|_| {}).await;
    process(&store, &batch("1", &[view("p", "1", "s", 0, "/")])).await.unwrap();
    server.fault(json!({
        "match": "INSERT INTO tracked_session", "kind": "error", "code": 252, "times": 1
    }));
    assert!(store.end_idle_sessions(at(1000), 10).await.is_err());
    let ended = format!("SELECT ended_at IS NOT NULL FROM {SESSIONS}");
    assert_eq!(only(&store, &ended).await, json!(0));
    // In the next second: the version that failed may still arrive.
    write_sessions(&store).await.unwrap();
    assert_eq!(only(&store, &ended).await, json!(1));
}

/// It was killed before it had written any.
#[tokio::test]
async fn the_sessions_of_a_process_that_wrote_none_are_completed() {
    let (database, first) = theirs().await;
    insert(&first, "1", &[view("p", "1", "s", 0, "/")]).await;
    drop(first);
    two_minutes_pass(&database);
    let next = store(&database.url(), |options| options.database = database.name().to_owned());
    assert_eq!(next.end_idle_sessions(at(-1000), 10).await.unwrap(), []);
    assert_eq!(count(&next, "tracked_session").await, 1);
}

/// What a broken service may have written must not stop the worker.
#[tokio::test]
async fn any_row_of_another_program_can_be_read() {
    let (database, store) = theirs().await;
    database.query(
        "INSERT INTO tracked_session (id, session_id, started_at, ended_at, duration, entry_page, \
         exit_page, project_id) SELECT unhex('ff'), 's', toDateTime(4294967295), \
         toDateTime(4294967295), -5, unhex('fffe'), NULL, 'p'",
    );
    insert(&store, "1", &[view("p", "1", "s", 0, "/")]).await;
    assert_eq!(rows(&store, "SELECT id FROM page_view_event").await, [[json!("1")]]);
}
