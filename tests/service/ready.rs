//! `GET /ready` of the real program, while servers come and go.

use serde_json::{Value, json};

use super::roles::ROWS;
use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon, eventually};

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
    eventually(DEADLINE, "it says so", || {
        let ready = daemon.get("/ready");
        ready.status == 503
            && ready.json()["status"] == "not ready"
            && ready.json()["reasons"][0] == "ingestion: the queue is full"
    });
    assert_eq!(daemon.get("/health").status, 200, "it is alive all the same");
}

#[test]
fn a_full_failed_queue_is_not_ready_until_it_is_repaired() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let bound = "[queue]\nmax_failed = 2";
    for daemon in [
        Daemon::with_settings(bound),
        Daemon::with_settings(&format!("redis_url = '{}'\n{bound}", redis.url())),
    ] {
        daemon.track("https://a.example/");
        let config = daemon.scratch().join("bklit.toml");
        for _ in 0..2 {
            fail_an_event(&daemon, &redis);
        }
        let body = json!({ "url": "https://a.example/", "projectId": "default" });
        let refused = daemon.post("/track", &body);
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.header("retry-after").is_some());
        for part in ["the failed queue is full", "bklit-tui queue retry|export|delete"] {
            assert!(refused.text().contains(part), "{}", refused.text());
        }
        // The state of the queue is observed once a second.
        eventually(DEADLINE, "it is not ready", || daemon.get("/ready").status == 503);
        let ready = daemon.get("/ready");
        let reason = ready.json()["reasons"][0].as_str().unwrap().to_owned();
        assert!(reason.starts_with("ingestion: the failed queue is full"), "{reason}");
        let cli = Cli::on(&daemon.data_dir()).env("BKLIT_LISTEN", "127.0.0.1:0");
        let said = cli.run(&["doctor", "--config", config.to_str().unwrap()]).stdout;
        assert!(said.contains("queue.max_failed is 2"), "{said}");
        daemon.cli(&["queue", "delete", "--all", "--yes"]);
        eventually(DEADLINE, "it is ready again", || daemon.get("/ready").status == 200);
        daemon.track("https://a.example/");
    }
}

/// Lets one more event fail, whichever queue the daemon has.
fn fail_an_event(daemon: &Daemon, redis: &RedisServer) {
    if daemon.data_dir().join("tokens.db").exists() {
        let file = rusqlite::Connection::open(daemon.data_dir().join("queue.db")).unwrap();
        file.execute_batch(
            "BEGIN IMMEDIATE;
             INSERT INTO failed_item (body, reason, failed_at) VALUES ('x', 'bad', 0);
             UPDATE queue_count SET failed = failed + 1;
             COMMIT",
        )
        .unwrap();
    } else {
        redis.cli(&["LPUSH", "analytics:queue:failed", "x"]);
    }
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
        "reasons": ["worker: the store cannot be written to"],
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
        json!(["ingestion: no token is known and the token store is unavailable"])
    );
    let sockets = Daemon::with_settings(&format!("{servers}roles = ['websocket']"));
    let away = json!({
        "status": "not ready",
        "roles": { "websocket": "not ready" },
        "reasons": ["websocket: no token is known and the token store is unavailable"],
    });
    assert!(is(&sockets, 503, &away), "browsers' events are not taken either");
    let away = json!({
        "status": "not ready",
        "roles": { "worker": "not ready" },
        "reasons": ["worker: the queue cannot be read from"],
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

/// The usual port, in the hands of this test or of whoever has it already.
fn taken_port() -> Option<std::net::TcpListener> {
    std::net::TcpListener::bind("127.0.0.1:8080").ok()
}

#[test]
fn a_websocket_server_without_its_port_is_not_ready() {
    let redis = RedisServer::start(Kind::Redis, &[]);
    let _held = taken_port();
    let usual = [("BKLIT_WEBSOCKET_LISTEN", "")];
    let settings = format!("redis_url = '{}'\n", redis.url());
    let alone = format!("{settings}roles = ['websocket']");
    let sockets = Daemon::with_environment(&alone, &usual);
    let away = json!({
        "status": "not ready",
        "roles": { "websocket": "not ready" },
        "reasons": ["websocket: cannot listen on its address"],
    });
    assert!(is(&sockets, 503, &away), "{}", sockets.get("/ready").text());
    assert!(sockets.stderr().contains("--websocket-listen"));
    // Beside ingestion it is told, and turns no events away.
    let all = Daemon::with_environment("", &usual);
    let ready = all.get("/ready");
    assert_eq!((ready.status, &ready.json()["roles"]["websocket"]), (200, &json!("not ready")));
    assert!(ready.text().contains("websocket: cannot listen on its address"));

    let config = sockets.scratch().join("bklit.toml");
    let doctor = |arguments: &[&str]| {
        let cli = Cli::on(&sockets.data_dir()).env("BKLIT_LISTEN", "127.0.0.1:0");
        let mut command = cli.command(&[&["doctor"], arguments].concat());
        command.env_remove("BKLIT_WEBSOCKET_LISTEN");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = doctor(&["--config", config.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("something else listens on 127.0.0.1:8080"), "{said}");
    let (_, said) = doctor(&[]);
    assert!(said.contains("8080: there is no WebSocket server"), "{said}");
}

#[test]
fn without_tokens_the_operator_is_told_why_all_is_refused() {
    let mut redis = RedisServer::start(Kind::Valkey, &[]);
    let url = redis.url();
    redis.kill9();
    let daemon = Daemon::with_settings(&format!("redis_url = '{url}'"));
    let refused = "Events are refused: no token is known";
    eventually(DEADLINE, "its log says so", || daemon.stderr().contains(refused));
    let lines = daemon.cli(&["logs", &daemon.url(""), "--level", "error"]);
    assert!(lines.contains(refused), "{lines}");
    let config = daemon.scratch().join("bklit.toml");
    let cli = Cli::on(&daemon.data_dir()).env("BKLIT_LISTEN", "127.0.0.1:0");
    let said = cli.run(&["doctor", "--config", config.to_str().unwrap()]).stdout;
    assert!(said.contains("every event is answered 503"), "{said}");
    redis.restart();
    eventually(DEADLINE, "and that it is over", || {
        daemon.stderr().contains("tokens are known, events are accepted")
    });
    eventually(DEADLINE, "it is ready", || daemon.get("/ready").status == 200);
    eventually(DEADLINE, "it has a token", || daemon.data_dir().join("token").exists());
    daemon.track("https://a.example/");
}
