//! Redis and ClickHouse crash under load: events are accepted throughout, and stored once.

use std::time::Instant;

use bklit_pipeline::auth::TTL;
use serde_json::json;

use super::load::{DEADLINE, answers, drained, stored, under_load};
use super::oracle::{Sent, violations};
use crate::support::servers::{ClickHouse, Kind, RedisServer, settings_on};
use crate::support::{Daemon, eventually};

const CRASHES: usize = 3;
const SOME: usize = 200;

fn start(redis: &RedisServer, clickhouse: &ClickHouse) -> Daemon {
    Daemon::with_settings(&format!(
        "{}[queue]\ndurability = 'always'\n\
         [worker]\nlease = '2s'\nmax_backoff = '500ms'",
        settings_on(redis, clickhouse)
    ))
}

#[track_caller]
fn assert_kept(daemon: &Daemon, sent: &[Sent]) {
    drained(daemon);
    assert!(sent.iter().all(|request| request.answered.is_some()), "a request had no answer");
    assert_eq!(violations(sent, &stored(daemon)), Vec::<String>::new());
}

#[test]
fn while_redis_is_unavailable_events_are_spooled_under_load() {
    for kind in Kind::ALL {
        let mut redis = RedisServer::start(kind, &[("appendfsync", "always")]);
        let clickhouse = ClickHouse::own();
        let mut daemon = start(&redis, &clickhouse);
        let sent = under_load(&mut daemon, "redis", |daemon, answered| {
            for _ in 0..CRASHES {
                answers(answered, SOME);
                redis.kill9();
                answers(answered, SOME);
                let spooled = || daemon.get("/health").json()["spooled"].as_u64();
                eventually(DEADLINE, "events are spooled", || spooled() > Some(0));
                redis.restart();
            }
            answers(answered, SOME);
            // Longer than a cached token is used without another lookup.
            redis.kill9();
            let away = Instant::now();
            eventually(DEADLINE, "a long outage", || away.elapsed() > TTL * 3 / 2);
            answers(answered, SOME);
            redis.restart();
            answers(answered, SOME);
        });
        assert_kept(&daemon, &sent);
    }
}

#[test]
fn while_clickhouse_is_unavailable_events_wait() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let mut clickhouse = ClickHouse::own();
    let mut daemon = start(&redis, &clickhouse);
    let sent = under_load(&mut daemon, "clickhouse", |_, answered| {
        for _ in 0..CRASHES {
            answers(answered, SOME);
            clickhouse.kill9();
            answers(answered, SOME);
            clickhouse.restart();
        }
        answers(answered, SOME);
    });
    assert_kept(&daemon, &sent);
}

#[test]
fn an_answer_that_is_lost_after_the_commit_stores_nothing_twice() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let clickhouse = ClickHouse::own();
    let mut daemon = start(&redis, &clickhouse);
    let sent = under_load(&mut daemon, "lost", |_, answered| {
        let insert = "INSERT INTO page_view_event";
        clickhouse.fault(json!({ "match": insert, "kind": "drop_after_commit", "times": 3 }));
        let hits =
            || clickhouse.faults().first().map_or(3, |fault| fault["hits"].as_u64().unwrap());
        eventually(DEADLINE, "three answers are lost", || hits() >= 3);
        answers(answered, SOME);
    });
    assert_kept(&daemon, &sent);
}
