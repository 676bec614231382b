//! kill -9 at the critical moments, each verified: between a request and its execution, and between
//! its execution and the response.

use std::time::Duration;

use serde_json::json;

use super::load::{DEADLINE, Target, answers, drained, steady_load, stored};
use super::oracle::violations;
use crate::support::proxy::{Hold, Proxy};
use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{Daemon, eventually};

/// A script as the program sends it.
macro_rules! script {
    ($file:literal) => {
        concat!(
            include_str!("../../src/adapters/redis/queue/scripts/allowed.lua"),
            include_str!(concat!("../../src/adapters/redis/queue/scripts/", $file))
        )
    };
}
const PUSH: &str = script!("push.lua");
const CLAIM: &str = script!("claim.lua");
const ACKNOWLEDGE: &str = script!("acknowledge.lua");
const INSERT: &str = "INSERT INTO page_view_event";

/// Where the process is killed.
enum Point {
    /// A request to Redis that contains this.
    Redis(String, Hold),
    /// An insert, and its outcome.
    Insert(&'static str),
}

#[test]
fn kill_9_at_every_step_loses_nothing_and_stores_nothing_twice() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let clickhouse = ClickHouse::own();
    let proxy = Proxy::before(redis.port());
    let script = |source: &str| redis.cli(&["SCRIPT", "LOAD", source]);
    let (push, claim, acknowledge) = (script(PUSH), script(CLAIM), script(ACKNOWLEDGE));
    let points = [
        ("before an event is queued", Point::Redis(push.clone(), Hold::Request)),
        ("after an event is queued", Point::Redis(push, Hold::Answer)),
        ("before a claim", Point::Redis(claim.clone(), Hold::Request)),
        ("after a claim", Point::Redis(claim, Hold::Answer)),
        ("before an insert", Point::Insert("hang")),
        ("after an insert", Point::Insert("hang_after_commit")),
        ("before an acknowledgement", Point::Redis(acknowledge.clone(), Hold::Request)),
        ("after an acknowledgement", Point::Redis(acknowledge, Hold::Answer)),
    ];
    let daemon = Daemon::with_settings(&format!(
        "redis_url = 'redis://127.0.0.1:{}'\nclickhouse_url = '{}'\n[worker]\nlease = '1s'",
        proxy.port(),
        clickhouse.url()
    ));
    let targets = [Target::of(&daemon, &daemon.token())];
    let mut daemon = Some(daemon);
    let sent = steady_load(&targets, "points", Duration::ZERO, |progress| {
        for (name, point) in &points {
            answers(&progress.kept, 50);
            match point {
                Point::Redis(pattern, hold) => {
                    proxy.hold(pattern.as_bytes(), *hold);
                    proxy.holds();
                }
                Point::Insert(kind) => {
                    clickhouse.fault(json!({ "match": INSERT, "kind": kind, "times": 1 }));
                    let hit = || clickhouse.faults()[0]["hits"] == 1;
                    eventually(DEADLINE, name, hit);
                }
            }
            let mut killed = daemon.take().unwrap();
            killed.kill9();
            proxy.release();
            clickhouse.heal();
            let restarted = daemon.insert(killed.restart());
            targets[0].moved(restarted);
        }
        answers(&progress.kept, 50);
    });
    let daemon = daemon.unwrap();
    drained(&daemon);
    let stored = stored(&daemon);
    assert_eq!(violations(&sent, &stored), Vec::<String>::new());
    println!("{} points, {} requests, {} stored", points.len(), sent.len(), stored.len());
}
