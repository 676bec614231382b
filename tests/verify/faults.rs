//! The effect of store failures on verification and on senders.

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::{ALL, VERIFY, run};
use crate::support::servers::ClickHouse;
use crate::support::{DEADLINE, Daemon, eventually};

fn daemon_on(clickhouse: &ClickHouse) -> Daemon {
    let daemon =
        Daemon::with_settings(&format!("clickhouse_url = '{}'\n{VERIFY}", clickhouse.url()));
    eventually(DEADLINE, "the tables are there", || {
        daemon.cli(&["migrate", "--dry-run"]).contains("up to date")
    });
    daemon
}

#[test]
fn an_unavailable_store_is_not_a_success() {
    let mut clickhouse = ClickHouse::own();
    let daemon = daemon_on(&clickhouse);
    daemon.track("https://a.example/");
    eventually(DEADLINE, "all match", || run(&daemon, &ALL).code == 0);
    // It fails halfway.
    clickhouse.fault(json!({ "match": "FROM tracked_event_baseline", "kind": "error" }));
    let said = run(&daemon, &ALL);
    assert_eq!(said.code, 2, "{}", said.error);
    clickhouse.heal();
    assert_eq!(run(&daemon, &ALL).code, 0);
    clickhouse.kill9();
    let said = run(&daemon, &ALL);
    assert_eq!(said.code, 2, "{}", said.error);
    assert!(said.error.contains("not verified"), "{}", said.error);
}

/// The baseline's inserts hang: events are accepted as before, those that do not fit are counted,
/// and none of them is taken for a mismatch.
#[test]
fn a_hung_baseline_does_not_slow_senders() {
    let clickhouse = ClickHouse::own();
    let daemon = daemon_on(&clickhouse);
    clickhouse.fault(json!({ "match": "INSERT INTO tracked_event_baseline", "kind": "hang" }));
    // Large events, so that the space is soon used up.
    let body = json!({
        "projectId": "default", "trackingId": "t", "eventType": "e",
        "metadata": { "text": "x".repeat(60_000) }
    });
    let metrics = || daemon.get("/metrics").text();
    let counted = |outcome: &str| {
        let begin = format!("bklit_verified_events_total{{outcome=\"{outcome}\"}} ");
        let text = metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(&begin).map(str::to_owned));
        line.unwrap().parse::<u64>().unwrap()
    };
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut sent = 0;
    while counted("not_written") == 0 {
        for _ in 0..50 {
            let began = Instant::now();
            assert_eq!(daemon.post("/track-event", &body).status, 200);
            slowest = slowest.max(began.elapsed());
            sent += 1;
        }
        assert!(began.elapsed() < DEADLINE * 2, "after {sent} events none is dropped");
    }
    // No request waits as long as the insert.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let not_written = counted("not_written");
    clickhouse.heal();
    eventually(DEADLINE * 2, "the others are written and match", || {
        counted("matched") == sent - not_written
    });
    for outcome in ["missing_in_queue_path", "missing_in_baseline", "different"] {
        assert_eq!(counted(outcome), 0, "{outcome}");
    }
    // Afterwards, too, they are distinguished from missing ones, and the result is not a success.
    eventually(DEADLINE, "the gap is noted", || {
        run(&daemon, &ALL).summary["notWritten"] == json!(not_written)
    });
    let said = run(&daemon, &ALL);
    assert_eq!((said.code, said.mismatches.len()), (2, 0), "{}", said.error);
    assert!(said.error.contains("not written to the baseline"), "{}", said.error);
}

/// Rows are inserted into ClickHouse by kind, so the newest row may be younger than an event that
/// was not written.
#[test]
fn events_in_progress_in_a_killed_process_are_not_mismatches() {
    let clickhouse = ClickHouse::own();
    let mut daemon = daemon_on(&clickhouse);
    daemon.track("https://a.example/first");
    eventually(DEADLINE, "it matches", || run(&daemon, &ALL).code == 0);
    let views = "INSERT INTO page_view_event_baseline";
    clickhouse.fault(json!({ "match": views, "kind": "slow", "delay_ms": 6_000, "times": 1 }));
    clickhouse.fault(json!({ "match": "INSERT INTO tracked_event_baseline", "kind": "hang" }));
    daemon.track("https://a.example/slow");
    let hits = |fault: usize| clickhouse.faults()[fault]["hits"].as_u64().unwrap();
    eventually(DEADLINE, "the first batch is under way", || hits(0) == 1);
    // The second batch: a custom event, and a page view that is younger.
    let custom = json!({ "projectId": "default", "trackingId": "t", "eventType": "e" });
    assert_eq!(daemon.post("/track-event", &custom).status, 200);
    let began = SystemTime::now();
    eventually(DEADLINE, "seconds pass", || began.elapsed().unwrap() > Duration::from_secs(2));
    daemon.track("https://a.example/last");
    let written = "SELECT count() FROM analytics.page_view_event_baseline";
    eventually(DEADLINE, "half of the batch is written", || {
        clickhouse.query(written) == "3" && hits(1) == 1
    });
    daemon.kill9();
    clickhouse.heal();
    let daemon = daemon.restart();
    for (table, count) in [("tracked_event", "1"), ("page_view_event", "3")] {
        let stored = format!("SELECT count() FROM analytics.{table}");
        eventually(DEADLINE, "all is stored by the queue", || clickhouse.query(&stored) == count);
    }
    eventually(DEADLINE, "all has settled", || {
        let said = run(&daemon, &ALL);
        said.summary["matched"] == json!(3) && said.summary["notSettled"] == json!(0)
    });
    let said = run(&daemon, &ALL);
    assert_eq!((said.code, said.mismatches.len()), (2, 0), "{:?}", said.mismatches);
    assert_eq!(said.summary["notWritten"], json!(1));
}
