//! What the program's own log says of servers that are away: when it begins and when it is over.

use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{DEADLINE, Daemon, eventually};

fn lines(daemon: &Daemon, text: &str) -> usize {
    daemon.stderr().lines().filter(|line| line.contains(text)).count()
}

/// More figures have been published since, each of which finds the server away.
#[track_caller]
fn seconds_pass(daemon: &Daemon, seconds: u64) {
    let uptime = || daemon.get("/health").json()["uptimeSeconds"].as_u64().unwrap();
    let until = uptime() + seconds;
    eventually(DEADLINE, "time passes", || uptime() >= until);
}

#[test]
fn an_outage_is_told_once_and_its_end_too() {
    let mut redis = RedisServer::start(Kind::Valkey, &[]);
    let mut clickhouse = ClickHouse::own();
    let daemon = Daemon::with_settings(&format!(
        "redis_url = '{}'\nclickhouse_url = '{}'\n[worker]\nmax_backoff = '200ms'",
        redis.url(),
        clickhouse.url()
    ));
    daemon.track("https://a.example/");
    eventually(DEADLINE, "all is there", || {
        let (health, queue) = (daemon.get("/health").json(), daemon.queue());
        let done = |figure: &str| queue[figure] == 0;
        health["health"]["store"] == "ok" && done("waiting") && done("inFlight")
    });
    // Nothing is left to do, so that nothing but the worker's own look tells that Redis is back.
    let stored = "SELECT count() FROM analytics.page_view_event";
    assert_eq!(clickhouse.query(stored), "1");
    redis.kill9();
    for begin in ["Cannot claim a batch", "the queue's depth is unknown"] {
        eventually(DEADLINE, begin, || lines(&daemon, begin) > 0);
    }
    seconds_pass(&daemon, 4);
    redis.restart();
    for end in ["the worker works again", "the queue's depth is known again"] {
        eventually(DEADLINE, end, || lines(&daemon, end) > 0);
    }
    clickhouse.kill9();
    daemon.track("https://a.example/");
    eventually(DEADLINE, "the store is away", || {
        lines(&daemon, "Cannot store a batch") + lines(&daemon, "Store is not available") > 0
    });
    seconds_pass(&daemon, 4);
    clickhouse.restart();
    let end = "the store works again";
    eventually(DEADLINE, end, || lines(&daemon, end) > 0);
    let once = ["Cannot claim a batch", "the queue's depth is unknown", end];
    let counts = once.map(|text| lines(&daemon, text));
    // The store is also away before its database is made.
    assert!(counts[..2] == [1, 1] && counts[2] <= 2, "{counts:?} {}", daemon.stderr());
    // While servers come back, one part may be there before the other.
    let errors = lines(&daemon, "\"ERROR\"");
    assert!(errors <= 5, "{}", daemon.stderr());
}
