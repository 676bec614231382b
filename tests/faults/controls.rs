//! Shows that the other tests would fail: deliberate violations of the guarantee are detected.

use std::time::Duration;

use super::connection::{Answer, Connection};
use super::load::{Target, answers, drained, steady_load, stored};
use super::oracle::violations;
use super::sessions::{states, versions, wrong_states, wrong_versions};
use super::traffic::{EVENTS, Mix, Traffic};
use crate::support::servers::{ClickHouse, Kind, RedisServer, settings_on};
use crate::support::{DEADLINE, Daemon, eventually};

/// Like a worker that acknowledges before it stores, and crashes in between.
#[test]
fn an_event_taken_out_before_it_is_stored_is_found() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let mut clickhouse = ClickHouse::own();
    let daemon = start(&redis, &clickhouse);
    let target = [Target::of(&daemon, &daemon.token())];
    let sent = steady_load(&target, "early", Duration::ZERO, |progress| {
        clickhouse.kill9();
        // A worker may claim it first.
        let taken = || redis.cli(&["RPOP", "analytics:queue"]).contains("evt_");
        eventually(DEADLINE, "an event is taken out", taken);
        clickhouse.restart();
        answers(&progress.kept, 100);
    });
    drained(&daemon);
    let found = violations(&sent, &stored(&daemon));
    assert!(found.len() == 1 && found[0].starts_with("lost: "), "{found:?}");
}

/// Like a retry without deduplication.
#[test]
fn an_event_stored_again_is_found() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let clickhouse = ClickHouse::own();
    let daemon = start(&redis, &clickhouse);
    let target = [Target::of(&daemon, &daemon.token())];
    let sent = steady_load(&target, "again", Duration::ZERO, |progress| {
        answers(&progress.kept, 100);
    });
    drained(&daemon);
    assert_eq!(violations(&sent, &stored(&daemon)), Vec::<String>::new());
    clickhouse.query(
        "INSERT INTO analytics.page_view_event SELECT * FROM analytics.page_view_event LIMIT 1",
    );
    let found = violations(&sent, &stored(&daemon)).join("\n");
    assert!(found.contains("stored 2 times"), "{found}");
}

/// Like a process that writes a version from an incomplete set of events, or adds to a state twice.
#[test]
fn a_wrong_session_is_found() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let clickhouse = ClickHouse::own();
    let daemon = start(&redis, &clickhouse);
    let mut connection = Connection::open(daemon.addr, &daemon.token()).unwrap();
    let mut events = Traffic::new("session".to_owned(), Mix::Sessions, false).next(EVENTS);
    for event in &mut events {
        let answer = connection.send(std::slice::from_ref(event)).unwrap().pop();
        let Some(Answer::Kept(id)) = answer else { panic!("{event:?} was refused") };
        event.answered = Some(id);
    }
    drained(&daemon);
    let stored = stored(&daemon);
    let wrong_versions = || wrong_versions(&events, &stored, &versions(&clickhouse));
    eventually(DEADLINE, "the row is written", || wrong_versions().is_empty());
    clickhouse.query(
        "INSERT INTO analytics.tracked_session SELECT * REPLACE (NOT did_bounce AS did_bounce, \
         updated_at + 10 AS updated_at) FROM analytics.tracked_session \
         ORDER BY updated_at DESC LIMIT 1",
    );
    assert_eq!(wrong_versions().len(), 1, "{:?}", wrong_versions());

    let wrong_states = || wrong_states(&events, &stored, states(&clickhouse));
    assert_eq!(wrong_states(), Vec::<String>::new());
    clickhouse.query(
        "INSERT INTO analytics.bklit_session_state (project_id, session_id, last_at) \
         SELECT project_id, session_id, last_at + 1 FROM analytics.bklit_session_state \
         WHERE last_at IS NOT NULL ORDER BY last_at DESC LIMIT 1",
    );
    assert_eq!(wrong_states().len(), 1, "{:?}", wrong_states());
}

fn start(redis: &RedisServer, clickhouse: &ClickHouse) -> Daemon {
    Daemon::with_settings(&format!(
        "{}[worker]\nmax_backoff = '500ms'",
        settings_on(redis, clickhouse)
    ))
}
