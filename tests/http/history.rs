//! `GET /api/history`: the figures of this process and of those before it.

use bklit_wire::history::{History, MINUTE};
use bklit_wire::time::UtcMillis;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::servers::{Kind, RedisServer};
use crate::support::{DEADLINE, Daemon, eventually};

fn history(daemon: &Daemon, query: &str) -> History {
    let answer = daemon.get(&format!("/api/history{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_value(answer.json()).unwrap()
}

fn accepted(history: &History) -> u64 {
    history.points.iter().map(|point| point.totals.accepted).sum()
}

/// Sends events and waits until they are in the history.
fn send(daemon: &Daemon, events: u64, wanted: u64) {
    (0..events).for_each(|n| drop(daemon.track(&format!("https://a.example/{n}"))));
    eventually(DEADLINE, "they are counted", || accepted(&history(daemon, "")) == wanted);
}

#[test]
fn the_history_outlives_the_process() {
    let mut daemon = Daemon::start();
    send(&daemon, 5, 5);
    eventually(DEADLINE, "they are stored", || {
        let stored = |point: &bklit_wire::history::HistoryPoint| point.totals.stages[3].count;
        history(&daemon, "").points.iter().map(stored).sum::<u64>() >= 5
    });
    let before = history(&daemon, "");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_exit(DEADLINE).success());
    let daemon = daemon.restart();
    assert_eq!(accepted(&history(&daemon, "")), 5);
    send(&daemon, 2, 7);
    let after = history(&daemon, "?step=1h");
    assert_eq!(after.processes.len(), 2, "{after:?}");
    let before_it = &before.processes[0].process;
    assert!(after.processes.iter().any(|seen| seen.process == *before_it), "{after:?}");
    let project = |history: &History| history.points.last().unwrap().totals.projects.clone();
    let projects = project(&after);
    assert_eq!((projects.len(), &*projects[0].project), (1, "default"));
    let latencies = |history: &History| {
        let all = history.points.iter().map(|point| point.totals.accept_to_stored.count());
        all.sum::<u64>()
    };
    assert!(latencies(&before) >= 5 && latencies(&after) >= 5);
}

#[test]
fn ranges_and_steps_are_checked() {
    let daemon = Daemon::start();
    send(&daemon, 1, 1);
    let now = UtcMillis::now().epoch_millis();
    let time = |ago: i64| UtcMillis::from_epoch_millis(now - ago * MINUTE).to_string();
    let day = history(&daemon, &format!("?from={}&step=10m", time(24 * 60)));
    assert_eq!((day.step_ms, accepted(&day)), (10 * MINUTE, 1));
    let before = history(&daemon, &format!("?from={}&to={}", time(24 * 60), time(60)));
    assert_eq!(before.points, []);
    for (query, field) in [
        ("?step=30s".to_owned(), "step"),
        ("?step=soon".to_owned(), "step"),
        (format!("?from={}", time(60 * 24 * 7)), "step"),
        ("?from=yesterday".to_owned(), "from"),
        (format!("?from={}&to={}", time(1), time(2)), "from"),
        ("?to=1764000000".to_owned(), "to"),
    ] {
        let answer = daemon.get(&format!("/api/history{query}"));
        let error = answer.json()["error"].clone();
        assert_eq!(answer.status, 400, "{query}: {error}");
        assert!(error.as_str().unwrap().starts_with(field), "{query}: {error}");
    }
}

/// Events are accepted even if the file cannot be used.
#[test]
fn a_damaged_file_only_costs_the_history() {
    let mut daemon = Daemon::start();
    send(&daemon, 1, 1);
    daemon.kill9();
    let file = daemon.data_dir().join("figures.db");
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(daemon.data_dir().join(format!("figures.db{suffix}")));
    }
    std::fs::write(&file, "not a database").unwrap();
    let daemon = daemon.restart();
    send(&daemon, 3, 3);
    assert!(daemon.stderr().contains("figures.db"), "{}", daemon.stderr());
    assert_eq!(std::fs::read(&file).unwrap(), b"not a database", "it is not overwritten");
}

/// All processes that share a Redis are read together; without it, the process's own figures
/// remain.
#[test]
fn processes_that_share_a_redis_are_read_together() {
    let mut redis = RedisServer::start(Kind::Valkey, &[]);
    let settings = format!("redis_url = '{}'", redis.url());
    let mut first = Daemon::with_settings(&settings);
    send(&first, 3, 3);
    let name = |history: &History| history.processes[0].process.clone();
    let own = name(&history(&first, ""));
    first.signal(Signal::TERM);
    assert!(first.wait_exit(DEADLINE).success());
    let second = Daemon::with_settings(&settings);
    assert_eq!(accepted(&history(&second, "")), 3, "of the first");
    // The tokens are in Redis, so any process can authorize with the first one's.
    let body = serde_json::json!({ "url": "https://a.example/", "projectId": "default" });
    let token = std::fs::read_to_string(first.data_dir().join("token")).unwrap();
    let sent = crate::support::request(
        second.addr,
        "POST",
        "/track",
        &[
            ("Authorization", &format!("Bearer {}", token.trim())),
            ("Content-Type", "application/json"),
        ],
        &serde_json::to_vec(&body).unwrap(),
    );
    assert_eq!(sent.unwrap().status, 200);
    eventually(DEADLINE, "both are counted", || accepted(&history(&second, "")) == 4);
    let both = history(&second, "");
    assert_eq!((both.processes.len(), both.incomplete.clone()), (2, None));
    assert!(both.processes.iter().any(|process| process.process == own));
    redis.kill9();
    eventually(DEADLINE, "only the own figures", || {
        let left = history(&second, "");
        accepted(&left) == 1 && left.incomplete.is_some_and(|why| why.contains("Redis"))
    });
    redis.restart();
    eventually(DEADLINE, "all again", || history(&second, "").incomplete.is_none());
}

/// Gauges name the process's host, roles and version.
#[test]
fn gauges_say_where_a_process_runs() {
    let daemon = Daemon::with_environment("", &[("BKLIT_ROLES", "ingestion,worker")]);
    let mut stream = daemon.debug_stream();
    let mut about = Value::Null;
    eventually(DEADLINE, "gauges", || {
        let json = stream.next_data().expect("the stream goes on");
        about = serde_json::from_str::<Value>(&json).unwrap()["about"].clone();
        about.is_object()
    });
    assert_eq!(about["roles"], "ingestion,worker");
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert!(!about["host"].as_str().unwrap().is_empty() && about["since"].is_string());
}
