//! Ingestion and worker in separate processes.

use serde_json::json;

use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon, eventually, request};

/// Works before the table exists.
pub const ROWS: &str = "SELECT sum(total_rows) FROM system.tables \
                        WHERE database = 'analytics' AND name = 'page_view_event'";

fn with_roles(redis: &RedisServer, clickhouse: &ClickHouse, roles: &str) -> Daemon {
    let (redis, clickhouse) = (redis.url(), clickhouse.url());
    Daemon::with_environment(
        &format!("redis_url = '{redis}'\nclickhouse_url = '{clickhouse}'"),
        &[("BKLIT_ROLES", roles)],
    )
}

#[test]
fn a_queue_that_only_one_process_sees_is_not_split() {
    for roles in ["ingestion", "worker", "websocket", "ingestion,websocket"] {
        let error = Cli::new().run(&["--no-ui", "--roles", roles]).failed();
        assert!(error.contains("--roles") && error.contains("redis_url"), "{roles}: {error}");
    }
}

#[test]
fn each_process_does_its_part_and_no_more() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let clickhouse = ClickHouse::own();
    let ingestion = with_roles(&redis, &clickhouse, "ingestion");
    let ids: Vec<_> = (0..20).map(|_| ingestion.track("https://a.example/")).collect();
    assert_eq!(redis.cli(&["LLEN", "analytics:queue"]), "20");
    let health = ingestion.get("/health").json();
    assert_eq!(health["status"], "ok", "{health}");
    assert_eq!(
        health["health"],
        json!({ "queue": "ok", "store": "absent", "worker": "absent" }),
        "{health}"
    );
    assert!(!ingestion.data_dir().join("store.db").exists());
    // Long enough for a worker, if there were one, to claim a batch.
    eventually(DEADLINE, "two rounds of figures", || {
        ingestion.get("/health").json()["uptimeSeconds"].as_u64() >= Some(2)
    });
    assert_eq!(redis.cli(&["LLEN", "analytics:queue"]), "20", "no worker claims events");
    assert_eq!(clickhouse.query("EXISTS DATABASE analytics"), "0", "no worker creates tables");

    let worker = with_roles(&redis, &clickhouse, "worker");
    eventually(DEADLINE, "all are stored", || {
        redis.cli(&["LLEN", "analytics:queue"]) == "0" && clickhouse.query(ROWS) == "20"
    });
    let views = "SELECT count() FROM analytics.page_view_event";
    let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    assert_eq!(clickhouse.query(&format!("{views} WHERE id IN ({list})")), "20");

    // It creates no token, accepts no events, and can be watched.
    assert!(!worker.data_dir().join("token").exists());
    let bearer = format!("Bearer {}", ingestion.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    for path in ["/track", "/api/track", "/track-event", "/session-end"] {
        let answer = request(worker.addr, "POST", path, &headers, b"{}").unwrap();
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("role ingestion"), "{path}: {error}");
    }
    assert_eq!(worker.get("/metrics").status, 200);
    let mut stream = worker.debug_stream();
    assert!(stream.next_data().unwrap().contains("connected"));
    ingestion.track("https://a.example/watched");
    while !stream.next_data().expect("the stream is open").contains("Page view stored") {}
}

#[test]
fn a_console_without_ingestion_shows_what_there_is() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let home = tempfile::tempdir().unwrap();
    let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_bklit-tui"));
    command.env_clear();
    command.env("HOME", home.path());
    command.env("TERM", "xterm-256color");
    command.cwd(home.path());
    command.args(["--listen", "127.0.0.1:0", "--data-dir", "data", "--roles", "ingestion"]);
    command.args(["--redis-url", &redis.url()]);
    let mut pty = crate::support::pty::Pty::spawn(command, (110, 30));
    pty.wait_for_text("queue ✓  store –  worker –");
    pty.wait_for_text("curl");
    pty.send("q");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

/// The last figures of a process that stops say so; one that is killed is only silent.
#[test]
fn a_process_that_stops_announces_it() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let settings = format!("redis_url = '{}'", redis.url());
    let start = |roles| Daemon::with_environment(&settings, &[("BKLIT_ROLES", roles)]);
    let ingestion = start("ingestion");
    let mut worker = start("worker");
    let mut stream = ingestion.debug_stream();
    let mut gauges = |wanted: &dyn Fn(&serde_json::Value) -> bool| loop {
        let data = stream.next_data().expect("the stream is open");
        let message: serde_json::Value = serde_json::from_str(&data).unwrap();
        if message["about"]["roles"] == "worker" && wanted(&message) {
            return message;
        }
    };
    let process = gauges(&|_| true)["process"].clone();
    worker.signal(rustix::process::Signal::TERM);
    let last = gauges(&|message| message["stopping"] == true);
    assert_eq!(last["process"], process);
    assert!(worker.wait_exit(DEADLINE).success(), "{}", worker.stderr());
}
