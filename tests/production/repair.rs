//! The `queue` commands on Redis and ClickHouse.

use bklit_wire::queue::MAX_PAGE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{NOWHERE, QUEUE, VIEWS};
use crate::support::servers::{ClickHouse, Database, Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon, eventually};

const FAILED: &str = "analytics:queue:failed";

fn event(id: &str) -> String {
    json!({
        "id": id, "type": "pageview", "payload": { "url": "https://ts.example/" },
        "queuedAt": "2026-01-02T03:04:06.000Z", "projectId": "default",
    })
    .to_string()
}

/// Waiting events with the ids `from` up to `to`.
fn fill(redis: &RedisServer, list: &str, from: u32, to: u32) {
    let event = event("<id>").replace("<id>", "' .. i .. '").replace('"', "\\\"");
    let script =
        format!("for i = {from}, {} do redis.call('LPUSH', KEYS[1], '{event}') end", to - 1);
    redis.cli(&["EVAL", &script, "1", list]);
}

fn settings(redis: &RedisServer, database: &Database) -> String {
    let (url, name) = (database.url(), database.name());
    let redis = redis.url();
    format!("redis_url = '{redis}'\nclickhouse_url = '{url}'\nclickhouse_database = '{name}'\n")
}

fn cli_on(redis: &RedisServer, database: &Database) -> Cli {
    Cli::new()
        .env("REDIS_URL", &redis.url())
        .env("CLICKHOUSE_HOST", &database.url())
        .env("CLICKHOUSE_DATABASE", database.name())
}

fn status(cli: &Cli) -> Value {
    serde_json::from_str(&cli.run(&["queue", "status", "--json"]).ok()).unwrap()
}

fn list(cli: &Cli) -> Vec<Value> {
    let lines = cli.run(&["queue", "list", "--json", "--limit", "1000"]).ok();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn foreign_items_in_the_failed_list_are_listed_exported_retried_and_deleted() {
    let redis = RedisServer::start(Kind::Redis, &[]);
    let database = ClickHouse::shared();
    let cli = cli_on(&redis, &database);
    let record = json!({ "reason": "theirs", "body": event("in_record") }).to_string();
    let odd = json!({ "reason": 7, "body": "x" }).to_string();
    redis.cli(&["LPUSH", FAILED, &event("bare"), "garbage", "", "[1]", &odd, &record]);
    let listed = list(&cli);
    let ids: Vec<_> = listed.iter().map(|item| item["eventId"].as_str()).collect();
    assert_eq!(ids, [Some("in_record"), None, None, None, None, Some("bare")]);
    assert_eq!(listed[0]["reason"], "theirs");
    assert_eq!(listed[4]["body"], "garbage");
    let table = cli.run(&["queue", "list"]).ok();
    assert!(table.contains("theirs") && table.contains("bare"), "{table}");
    let exported = cli.run(&["queue", "export", "-"]).ok();
    assert_eq!(exported.lines().count(), 6);
    // Retried without a fix: events are stored, the rest fails again with its reason.
    assert!(cli.run(&["queue", "retry", "--all"]).ok().contains(": 6\n"));
    assert_eq!(status(&cli)["waiting"], 6);
    cli.run(&["queue", "drain", "--timeout", "25s"]).ok();
    assert_eq!(database.query(VIEWS), "2");
    let left = list(&cli);
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(left.iter().all(|item| item["failedAt"].is_string()), "{left:?}");
    let one = left[0]["id"].as_str().unwrap();
    cli.run(&["queue", "delete", "--yes", one]).ok();
    cli.run(&["queue", "delete", "--yes", "--all"]).ok();
    assert_eq!(redis.cli(&["KEYS", "*"]), "", "no keys are left");
}

#[test]
fn a_retry_after_the_fix_stores_each_event_once() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let database = ClickHouse::shared();
    let daemon = Daemon::with_settings(&settings(&redis, &database));
    eventually(DEADLINE, "the table exists", || {
        daemon.cli(&["migrate", "--dry-run"]).contains("up to date")
    });
    redis.cli(&["LPUSH", QUEUE, &event("old")]);
    eventually(DEADLINE, "it is stored", || database.query(VIEWS) == "1");
    // Another worker moved stored and unstored events to the failed list.
    redis.cli(&["LPUSH", FAILED, &event("old"), &event("new"), &event("new")]);
    let retried = daemon.cli(&["queue", "retry", "--all"]);
    assert!(retried.contains(": 3\n"), "{retried}");
    eventually(DEADLINE, "all have left the queue", || {
        let queue = &daemon.get("/api/queue").json();
        queue["waiting"] == 0 && queue["inFlight"] == 0 && queue["failed"] == 0
    });
    assert_eq!(database.query(VIEWS), "2");
}

#[test]
fn a_drain_next_to_a_running_daemon_loses_and_repeats_nothing() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let database = ClickHouse::shared();
    let mut text = settings(&redis, &database);
    text += "[worker]\nbatch_size = 200\n";
    let daemon = Daemon::with_settings(&text);
    fill(&redis, QUEUE, 0, 6_000);
    let pushed = std::thread::scope(|scope| {
        let more =
            scope.spawn(|| (6..9).for_each(|n| fill(&redis, QUEUE, n * 1000, (n + 1) * 1000)));
        let drained = daemon.cli(&["queue", "drain", "--timeout", "25s"]);
        more.join().unwrap();
        drained
    });
    assert_eq!(pushed, "", "progress goes to stderr");
    eventually(DEADLINE, "the last events are stored", || database.query(VIEWS) == "9000");
    let unique = "SELECT uniqExact(id) FROM page_view_event";
    assert_eq!(database.query(unique), "9000");
    let queue = daemon.get("/api/queue").json();
    assert_eq!((&queue["failed"], &queue["spooled"]), (&json!(0), &json!(0)));
}

#[test]
fn an_interrupted_drain_releases_its_batch() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let clickhouse = ClickHouse::own();
    let cli = Cli::new().env("REDIS_URL", &redis.url()).env("CLICKHOUSE_HOST", &clickhouse.url());
    cli.run(&["migrate"]).ok();
    fill(&redis, QUEUE, 0, 10);
    clickhouse.fault(json!({ "match": "INSERT INTO page_view_event", "kind": "hang" }));
    let mut child = cli.command(&["queue", "drain"]).spawn().unwrap();
    eventually(DEADLINE, "the batch is in flight", || status(&cli)["inFlight"] == 10);
    let batch = status(&cli)["batches"][0].clone();
    assert!(batch["leaseLeftMs"].as_i64().unwrap() > 0, "{batch}");
    assert!(batch["owner"].as_str().unwrap().ends_with(&format!(":{}", child.id())), "{batch}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    eventually(DEADLINE, "it ends", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let batch = status(&cli)["batches"][0].clone();
    assert!(batch["leaseLeftMs"].as_i64().unwrap() <= 0, "it was released: {batch}");
    clickhouse.heal();
    cli.run(&["queue", "drain", "--timeout", "25s"]).ok();
    assert_eq!(clickhouse.query("SELECT count() FROM analytics.page_view_event"), "10");
}

#[test]
fn a_drain_also_empties_the_spool_that_no_pipeline_owns() {
    let mut redis = RedisServer::start(Kind::Redis, &[]);
    let daemon = Daemon::with_settings(&format!("redis_url = '{}'", redis.url()));
    daemon.track("https://a.example/");
    eventually(DEADLINE, "it is stored", || daemon.scalar(VIEWS) == json!(1));
    redis.kill9();
    daemon.track("https://b.example/");
    let mut daemon = daemon;
    daemon.kill9();
    redis.restart();
    let before: Value = serde_json::from_str(&daemon.cli(&["queue", "status", "--json"])).unwrap();
    assert_eq!(before["spooled"], 1, "{before}");
    daemon.cli(&["queue", "drain", "--timeout", "25s"]);
    assert_eq!(daemon.scalar(VIEWS), json!(2));
    let after: Value = serde_json::from_str(&daemon.cli(&["queue", "status", "--json"])).unwrap();
    assert_eq!((&after["spooled"], &after["waiting"]), (&json!(0), &json!(0)));
}

#[test]
fn events_rejected_by_the_spool_are_listed_and_repaired_like_other_failed_ones() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let mut daemon = Daemon::with_settings(&format!("redis_url = '{}'", redis.url()));
    redis.cli(&["LPUSH", FAILED, &event("theirs")]);
    daemon.kill9();
    let spool = rusqlite::Connection::open(daemon.data_dir().join("queue.db")).unwrap();
    spool.execute("INSERT INTO queue_item (body) VALUES ('not an event')", ()).unwrap();
    drop(spool);
    let daemon = daemon.restart();
    let failed = || daemon.get("/api/queue").json()["failed"].clone();
    eventually(DEADLINE, "both are counted", || failed() == 2);
    eventually(DEADLINE, "also in /health", || {
        daemon.get("/health").json()["queue"]["failed"] == 2
    });
    let page = daemon.get("/api/queue/failed").json();
    assert_eq!(page["items"][0]["body"], "not an event", "{page}");
    let id = page["items"][0]["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("spool:"), "{id}");
    let next = page["next"].as_str().unwrap();
    let page = daemon.get(&format!("/api/queue/failed?after={next}")).json();
    assert_eq!(page["items"][0]["eventId"], "theirs", "{page}");
    // The same on the command line, next to the daemon.
    let exported = daemon.cli(&["queue", "export", "-"]);
    assert!(exported.contains("not an event") && exported.contains("theirs"), "{exported}");
    let status = daemon.cli(&["queue", "status", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&status).unwrap()["failed"], 2);
    assert!(daemon.cli(&["queue", "retry", &id]).contains(": 1 of 1\n"));
    eventually(DEADLINE, "it fails again with a new id", || {
        let again = daemon.get("/api/queue/failed").json()["items"][0]["id"].clone();
        again.as_str().is_some_and(|again| again.starts_with("spool:") && again != id)
    });
    assert!(daemon.cli(&["queue", "delete", "--all", "--yes"]).contains(": 2\n"));
    eventually(DEADLINE, "nothing is left", || failed() == 0);
}

#[test]
fn many_waiting_events_are_deleted_while_a_daemon_stores() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let database = ClickHouse::shared();
    fill(&redis, QUEUE, 0, 20_000);
    let mut text = settings(&redis, &database);
    text += "[worker]\nbatch_size = 100\n";
    let daemon = Daemon::with_settings(&text);
    let output = daemon.cli(&["queue", "delete", "--waiting", "--all", "--yes"]);
    let deleted: u64 = output.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(deleted > MAX_PAGE as u64, "{output}");
    eventually(DEADLINE, "the rest is stored", || {
        let queue = daemon.get("/api/queue").json();
        queue["waiting"] == 0 && queue["inFlight"] == 0
    });
    let stored: u64 = database.query(VIEWS).parse().unwrap();
    assert_eq!(stored + deleted, 20_000, "each is stored or deleted");
}

#[test]
fn unavailable_servers_are_named() {
    let error = Cli::new().env("REDIS_URL", "redis://127.0.0.1:1").run(&["queue", "status"]);
    let error = error.failed();
    assert!(error.contains("127.0.0.1:1"), "{error}");
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let cli = Cli::new().env("REDIS_URL", &redis.url()).env("CLICKHOUSE_HOST", NOWHERE);
    assert!(cli.run(&["queue", "drain"]).failed().contains("ClickHouse"));
}
