//! The program's own log about unavailable servers: the start and the end of an outage.

use crate::support::servers::{ClickHouse, Kind, RedisServer, settings_on};
use crate::support::{DEADLINE, Daemon, eventually};

fn lines(daemon: &Daemon, text: &str) -> usize {
    daemon.stderr().lines().filter(|line| line.contains(text)).count()
}

/// Waits until gauges were published this many more times, with the server still down.
#[track_caller]
fn seconds_pass(daemon: &Daemon, seconds: u64) {
    let uptime = || daemon.get("/health").json()["uptimeSeconds"].as_u64().unwrap();
    let until = uptime() + seconds;
    eventually(DEADLINE, "time passes", || uptime() >= until);
}

#[test]
fn the_start_and_end_of_an_outage_are_logged_once() {
    let mut redis = RedisServer::start(Kind::Valkey, &[]);
    let mut clickhouse = ClickHouse::own();
    let daemon = Daemon::with_settings(&format!(
        "{}[worker]\nmax_backoff = '200ms'",
        settings_on(&redis, &clickhouse)
    ));
    daemon.track("https://a.example/");
    eventually(DEADLINE, "all servers are available", || {
        let (health, queue) = (daemon.get("/health").json(), daemon.queue());
        let done = |figure: &str| queue[figure] == 0;
        health["health"]["store"] == "ok" && done("waiting") && done("inFlight")
    });
    // With no events left, only the worker's own check notices that Redis is back.
    let stored = "SELECT count() FROM analytics.page_view_event";
    assert_eq!(clickhouse.query(stored), "1");
    redis.kill9();
    for start in ["Cannot claim a batch", "the queue's depth is unknown"] {
        eventually(DEADLINE, start, || lines(&daemon, start) > 0);
    }
    seconds_pass(&daemon, 4);
    redis.restart();
    for end in ["the worker works again", "the queue's depth is known again"] {
        eventually(DEADLINE, end, || lines(&daemon, end) > 0);
    }
    clickhouse.kill9();
    daemon.track("https://a.example/");
    eventually(DEADLINE, "the store is away", || {
        lines(&daemon, "Cannot store a batch") + lines(&daemon, "Store is unavailable") > 0
    });
    seconds_pass(&daemon, 4);
    clickhouse.restart();
    let end = "the store works again";
    eventually(DEADLINE, end, || lines(&daemon, end) > 0);
    let once = ["Cannot claim a batch", "the queue's depth is unknown", end];
    let counts = once.map(|text| lines(&daemon, text));
    // The store is also unavailable before its database is created.
    assert!(counts[..2] == [1, 1] && counts[2] <= 2, "{counts:?} {}", daemon.stderr());
    // While servers restart, one part may recover before the other.
    let errors = lines(&daemon, "\"ERROR\"");
    assert!(errors <= 5, "{}", daemon.stderr());
}
