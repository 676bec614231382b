//! `GET /ready` of the real program, while servers come and go.

use serde_json::{Value, json};

use super::roles::ROWS;
use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{DEADLINE, Daemon, eventually};

fn is(daemon: &Daemon, status: u16, answer: &Value) -> bool {
    let ready = daemon.get("/ready");
    ready.status == status && ready.json() == *answer
}

#[test]
fn a_process_on_files_is_ready() {
    let daemon = Daemon::start();
    let roles = json!({ "ingestion": "ready", "worker": "ready", "websocket": "ready" });
    let expected = json!({ "status": "ready", "roles": roles });
    eventually(DEADLINE, "all is ready", || is(&daemon, 200, &expected));
}

#[test]
fn a_full_queue_is_not_ready() {
    let settings = "clickhouse_url = 'http://127.0.0.1:1'\n[queue]\nmax_depth = 2\n\
                    [worker]\nbatch_size = 1\nbatch_wait = '0s'";
    let daemon = Daemon::with_settings(settings);
    let body = json!({ "url": "https://a.example/", "projectId": "default" });
    eventually(DEADLINE, "an event is refused", || daemon.post("/track", &body).status == 503);
    let ready = daemon.get("/ready");
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert_eq!(ready.json()["status"], "not ready");
    assert_eq!(ready.json()["reasons"][0], "ingestion: the queue is full");
    assert_eq!(daemon.get("/health").status, 200, "it is alive all the same");
}

#[test]
fn each_role_is_ready_by_its_own_servers() {
    let mut redis = RedisServer::start(Kind::Valkey, &[]);
    let mut clickhouse = ClickHouse::own();
    let servers =
        format!("redis_url = '{}'\nclickhouse_url = '{}'\n", redis.url(), clickhouse.url());
    let ingestion = Daemon::with_settings(&format!("{servers}roles = ['ingestion']"));
    let worker = Daemon::with_settings(&format!("{servers}roles = ['worker']"));
    let takes = json!({ "status": "ready", "roles": { "ingestion": "ready" } });
    let stores = json!({ "status": "ready", "roles": { "worker": "ready" } });
    eventually(DEADLINE, "ingestion is ready", || is(&ingestion, 200, &takes));
    eventually(DEADLINE, "the worker is ready", || is(&worker, 200, &stores));
    // What is known of a token that was used counts while Redis is away.
    ingestion.track("https://a.example/");

    clickhouse.kill9();
    let away = json!({
        "status": "not ready",
        "roles": { "worker": "not ready" },
        "reasons": ["worker: the store cannot be written"],
    });
    // Nothing is stored meanwhile that would tell.
    eventually(DEADLINE, "the worker misses its store", || is(&worker, 503, &away));
    assert!(is(&ingestion, 200, &takes));
    clickhouse.restart();
    eventually(DEADLINE, "the worker is ready again", || is(&worker, 200, &stores));

    redis.kill9();
    let fresh = Daemon::with_settings(&format!("{servers}roles = ['ingestion']"));
    assert_eq!(
        fresh.get("/ready").json()["reasons"],
        json!(["ingestion: the tokens cannot be read"])
    );
    let sockets = Daemon::with_settings(&format!("{servers}roles = ['websocket']"));
    let away = json!({
        "status": "not ready",
        "roles": { "websocket": "not ready" },
        "reasons": ["websocket: the tokens cannot be read"],
    });
    assert!(is(&sockets, 503, &away), "browsers' events are not taken either");
    let away = json!({
        "status": "not ready",
        "roles": { "worker": "not ready" },
        "reasons": ["worker: the queue cannot be read"],
    });
    eventually(DEADLINE, "the worker misses the queue", || is(&worker, 503, &away));
    assert!(is(&ingestion, 200, &takes), "events go into its spool");
    ingestion.track("https://a.example/");
    redis.restart();
    eventually(DEADLINE, "the new one is ready", || is(&fresh, 200, &takes));
    let takes = json!({ "status": "ready", "roles": { "websocket": "ready" } });
    eventually(DEADLINE, "sockets are served again", || is(&sockets, 200, &takes));
    eventually(DEADLINE, "the worker is ready again", || is(&worker, 200, &stores));
    eventually(DEADLINE, "the event is stored", || clickhouse.query(ROWS) == "2");
}

#[test]
fn a_store_that_is_away_does_not_turn_events_away() {
    let daemon = Daemon::with_settings("clickhouse_url = 'http://127.0.0.1:1'");
    eventually(DEADLINE, "the worker misses its store", || {
        let ready = daemon.get("/ready");
        ready.status == 200 && ready.json()["roles"]["worker"] == "not ready"
    });
    daemon.track("https://a.example/");
}
