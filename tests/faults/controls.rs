//! Proof that the other runs would notice: what breaks the promise on purpose is found.

use std::time::Duration;

use super::load::{Target, answers, drained, steady_load, stored};
use super::oracle::violations;
use crate::support::servers::{ClickHouse, Kind, RedisServer, settings_on};
use crate::support::{DEADLINE, Daemon, eventually};

/// As a worker that acknowledges before it stores, and dies between.
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

/// As a retry that nothing deduplicates.
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

fn start(redis: &RedisServer, clickhouse: &ClickHouse) -> Daemon {
    Daemon::with_settings(&format!(
        "{}[worker]\nmax_backoff = '500ms'",
        settings_on(redis, clickhouse)
    ))
}
