//! One event that the store never accepts, in a batch of ten thousand.

use rustix::process::Signal;
use serde_json::json;

use super::load::{DEADLINE, drained, stored};
use crate::support::servers::{ClickHouse, Kind, RedisServer, settings_on};
use crate::support::{Daemon, eventually};

const EVENTS: usize = 10_000;
/// Members of one `LPUSH`.
const CHUNK: usize = 200;
const QUEUE: &str = "analytics:queue";
const BAD: &str = "https://example.com/4711";

fn member(n: usize) -> String {
    let url = format!("https://example.com/{n}");
    json!({
        "id": format!("evt_{n:08}"),
        "type": "pageview",
        "payload": { "url": url, "title": "t", "projectId": "default", "timestamp": "2026-01-02T03:04:05.678Z" },
        "queuedAt": "2026-01-02T03:04:06.000Z",
        "projectId": "default",
    })
    .to_string()
}

#[test]
fn one_bad_row_in_ten_thousand_fails_alone_and_is_stored_once_when_fixed() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let clickhouse = ClickHouse::own();
    let daemon = Daemon::with_settings(&format!(
        "{}[worker]\nbatch_size = {EVENTS}",
        settings_on(&redis, &clickhouse)
    ));
    eventually(DEADLINE, "the table is there", || {
        daemon.cli(&["migrate", "--dry-run"]).contains("up to date")
    });
    clickhouse.query(&format!(
        "ALTER TABLE analytics.page_view_event ADD CONSTRAINT no_bad CHECK url != '{BAD}'"
    ));
    // While the worker is suspended, all of them wait, so they become one batch.
    daemon.signal(Signal::STOP);
    let members: Vec<_> = (0..EVENTS).map(member).collect();
    for chunk in members.chunks(CHUNK) {
        let push = ["LPUSH", QUEUE].into_iter().chain(chunk.iter().map(String::as_str));
        redis.cli(&push.collect::<Vec<_>>());
    }
    daemon.signal(Signal::CONT);
    drained(&daemon);
    assert_eq!(stored(&daemon).len(), EVENTS - 1);
    let failed = redis.cli(&["LRANGE", "analytics:queue:failed", "0", "-1"]);
    assert_eq!(failed.lines().count(), 1, "{failed}");
    assert!(failed.contains(BAD) && failed.contains("no_bad"), "{failed}");

    let listed = daemon.cli(&["queue", "list"]);
    assert!(listed.contains("evt_00004711") && listed.contains("no_bad"), "{listed}");
    clickhouse.query("ALTER TABLE analytics.page_view_event DROP CONSTRAINT no_bad");
    daemon.cli(&["queue", "retry", "--all"]);
    drained(&daemon);
    let mut urls: Vec<_> = stored(&daemon).into_iter().map(|row| row.url).collect();
    urls.sort_unstable();
    urls.dedup();
    assert_eq!((urls.len(), stored(&daemon).len()), (EVENTS, EVENTS));
    assert_eq!(redis.cli(&["LLEN", "analytics:queue:failed"]), "0");
}
