//! The last lines of all processes, in a stream in Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bklit_adapters::redis::bus::RedisDebugBus;
use bklit_pipeline::metrics::Metrics;
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::debug_log::{DebugLog, Level, Stage};

use crate::support::redis::{SOON, eventually, server_at};
use crate::support::servers::{Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon};

const KEY: &str = "bklit:debug-history";

fn bus_at(server: &RedisServer, history: usize) -> RedisDebugBus {
    RedisDebugBus::new(server_at(server), Arc::new(Metrics::new()), history)
}

fn line(from: &'static str, n: u64) -> DebugMessage {
    let mut line = DebugLog::new(Stage::Worker, Level::Info, from);
    line.data.insert("n".into(), n.into());
    DebugMessage::Log(Arc::new(line))
}

/// The next line: its origin and its number there.
async fn next(stream: &mut dyn DebugStream) -> Option<(String, u64)> {
    loop {
        match tokio::time::timeout(SOON, stream.next()).await.expect("a message in time")? {
            DebugMessage::Log(line) => {
                let number = line.data.get("n").and_then(|n| n.as_u64()).unwrap_or(u64::MAX);
                return Some((line.message.to_string(), number));
            }
            DebugMessage::Connected | DebugMessage::HistoryEnd => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn numbers(stream: &mut dyn DebugStream, count: usize) -> Vec<u64> {
    let mut found = Vec::new();
    while found.len() < count {
        found.push(next(stream).await.expect("more lines").1);
    }
    found
}

async fn entries(server: &RedisServer, count: u64) {
    let len = || server.cli(&["XLEN", KEY]).parse() == Ok(count);
    eventually("the lines are stored", || async { len().then_some(()) }).await;
}

#[tokio::test]
async fn the_next_process_starts_with_the_history() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let before = bus_at(&server, 1_000);
        assert!(before.has_subscribers() && !before.is_watched());
        (1..=700).for_each(|n| before.publish(line("before", n)));
        entries(&server, 700).await;
        drop(before);

        let bus = bus_at(&server, 1_000);
        bus.publish(line("own", 701));
        let mut stream = bus.subscribe_after(600);
        bus.publish(line("own", 702));
        let expected: Vec<u64> = (102..=702).collect();
        assert_eq!(numbers(&mut *stream, 601).await, expected);
        let mut alone = bus.recall(3);
        assert_eq!(numbers(&mut *alone, 3).await, [700, 701, 702]);
        assert_eq!(next(&mut *alone).await, None);
        assert!(bus.recall(0).next().await.is_none());

        // A process that only reads sees the same lines and adds none.
        entries(&server, 702).await;
        let watching = bus_at(&server, 0);
        let mut attached = watching.subscribe_after(2);
        assert_eq!(numbers(&mut *attached, 2).await, [701, 702]);
        bus.publish(line("own", 703));
        assert_eq!(numbers(&mut *attached, 1).await, [703]);
        entries(&server, 703).await;
        let days: u64 = server.cli(&["TTL", KEY]).parse().unwrap();
        assert!((6 * 86_400..=7 * 86_400).contains(&days), "{days}");
    }
}

/// Each process's numbers are consecutive, whenever a subscription starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_gap_between_history_and_live_lines() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let (one, two) = (Arc::new(bus_at(&server, 2_000)), Arc::new(bus_at(&server, 2_000)));
        let stop = Arc::new(AtomicBool::new(false));
        let publish = |bus: &Arc<RedisDebugBus>, from: &'static str| {
            let (bus, stop) = (Arc::clone(bus), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut n = 0;
                while !stop.load(SeqCst) {
                    for _ in 0..3 {
                        n += 1;
                        bus.publish(line(from, n));
                    }
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            })
        };
        let tasks = [publish(&one, "one"), publish(&two, "two")];
        eventually("there is a history", || async {
            let len: u64 = server.cli(&["XLEN", KEY]).parse().unwrap();
            (len >= 500).then_some(())
        })
        .await;
        for round in 0..6 {
            let watching = bus_at(&server, 0);
            let buses: [&dyn DebugBus; 3] = [&*one, &*two, &watching];
            for (which, bus) in buses.into_iter().enumerate() {
                let mut stream = bus.subscribe_after(300);
                let mut last: HashMap<String, u64> = HashMap::new();
                for _ in 0..900 {
                    let (from, n) = next(&mut *stream).await.unwrap();
                    if let Some(before) = last.insert(from.clone(), n) {
                        assert_eq!(n, before + 1, "{kind:?} {round} {which}: {from}");
                    }
                }
                assert_eq!(last.len(), 2, "{last:?}");
            }
        }
        stop.store(true, SeqCst);
        for task in tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_history_is_capped_and_can_be_disabled() {
    let server = RedisServer::start(Kind::Redis, &[]);
    let none = bus_at(&server, 0);
    assert!(!none.has_subscribers());
    none.publish(line("none", 1));
    let bus = bus_at(&server, 200);
    for n in 1..=1_500 {
        bus.publish(line("line", n));
    }
    eventually("the last is there", || async {
        let last = server.cli(&["XREVRANGE", KEY, "+", "-", "COUNT", "1"]);
        last.contains("1500").then_some(())
    })
    .await;
    let len: u64 = server.cli(&["XLEN", KEY]).parse().unwrap();
    assert!((200..=400).contains(&len), "{len}");
    assert!(!server.cli(&["XRANGE", KEY, "-", "+"]).contains("none"));
}

#[tokio::test]
async fn entries_of_other_programs_are_skipped() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let bus = bus_at(&server, 100);
    bus.publish(line("line", 1));
    entries(&server, 1).await;
    let far =
        r#"{"timestamp":"2026-01-31T12:00:00.000Z","stage":"nap","level":"info","message":"m"}"#;
    for fields in [&["x", "y"][..], &["line", "not JSON", "process", "p", "n", "1"]] {
        server.cli(&[&["XADD", KEY, "*"], fields].concat());
    }
    server.cli(&["XADD", KEY, "*", "line", far, "process", "p", "n", "1"]);
    bus.publish(line("line", 2));
    entries(&server, 5).await;
    let watching = bus_at(&server, 0);
    assert_eq!(numbers(&mut *watching.recall(10), 2).await, [1, 2]);
    assert_eq!(numbers(&mut *bus.subscribe_after(10), 2).await, [1, 2]);
}

/// If the key has another type, lines are still published, and a process has its own history.
#[tokio::test]
async fn a_key_of_another_type_affects_only_the_history() {
    let server = RedisServer::start(Kind::Redis, &[]);
    server.cli(&["SET", KEY, "taken"]);
    let (bus, watching) = (bus_at(&server, 100), bus_at(&server, 0));
    let mut attached = watching.subscribe_after(10);
    assert!(matches!(attached.next().await, Some(DebugMessage::HistoryEnd)));
    assert!(matches!(attached.next().await, Some(DebugMessage::Connected)));
    bus.publish(line("line", 1));
    bus.publish(line("line", 2));
    assert_eq!(numbers(&mut *attached, 2).await, [1, 2]);
    assert_eq!(numbers(&mut *bus.subscribe_after(10), 2).await, [1, 2]);
    assert_eq!(server.cli(&["GET", KEY]), "taken");
}

#[tokio::test]
async fn while_redis_is_unavailable_a_process_has_its_own_history() {
    let mut server = RedisServer::start(Kind::Valkey, &[]);
    let metrics = Arc::new(Metrics::new());
    let bus = RedisDebugBus::new(server_at(&server), Arc::clone(&metrics), 100);
    let other = bus_at(&server, 100);
    other.publish(line("other", 1));
    bus.publish(line("line", 2));
    entries(&server, 2).await;
    server.kill9();
    let late = bus_at(&server, 0);
    let mut waits = late.subscribe_after(10);
    assert!(matches!(waits.next().await, Some(DebugMessage::HistoryEnd)));
    let gone = tokio::time::timeout(SOON, waits.next()).await.unwrap();
    assert!(matches!(gone, Some(DebugMessage::Disconnected(_))), "{gone:?}");
    // More than can be queued for sending.
    for n in 3..=20_000 {
        bus.publish(line("line", n));
    }
    let start = std::time::Instant::now();
    let mut own = bus.recall(2);
    assert_eq!(numbers(&mut *own, 2).await, [19_999, 20_000]);
    assert!(start.elapsed() < Duration::from_secs(5));
    server.restart();
    eventually("lines are stored again", || async {
        bus.publish(line("again", 0));
        server.cli(&["XRANGE", KEY, "-", "+"]).contains("again").then_some(())
    })
    .await;
    // Its append-only file has most of the lines from before the kill.
    let (from, _) = next(&mut *waits).await.unwrap();
    assert!(["other", "line", "again"].contains(&&*from), "{from}");
    let text = metrics.to_prometheus();
    assert!(text.contains("bklit_debug_lines_lost_total 0"), "nobody missed a line: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_channels_json_is_unchanged() {
    let server = RedisServer::start(Kind::Redis, &[]);
    let bus = bus_at(&server, 100);
    let mut client = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut subscription = client.as_pubsub();
    subscription.subscribe("debug-logs").unwrap();
    subscription.set_read_timeout(Some(SOON)).unwrap();
    let sent = DebugLog::new(Stage::Ingestion, Level::Error, "message");
    bus.publish(DebugMessage::Log(Arc::new(sent.clone())));
    let received = tokio::task::block_in_place(|| subscription.get_message().unwrap());
    let json: String = received.get_payload().unwrap();
    assert_eq!(json, serde_json::to_string(&sent).unwrap());
}

fn events_of(lines: &str) -> HashMap<String, usize> {
    let mut found = HashMap::new();
    for line in lines.lines() {
        *found.entry(line.to_owned()).or_default() += 1;
    }
    found
}

/// Two daemons, one of which is killed: the lines of both are available in both, once.
#[test]
fn daemons_share_the_history_even_after_a_kill() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let settings = format!("redis_url = '{}'", server.url());
    let (one, two) = (Daemon::with_settings(&settings), Daemon::with_settings(&settings));
    // The first daemon's token is valid for both.
    std::fs::copy(one.data_dir().join("token"), two.data_dir().join("token")).unwrap();
    let (first, second) = (one.track("https://a.example/1"), two.track("https://a.example/2"));
    let both = |daemon: &Daemon| {
        let lines = daemon.cli(&["logs", &daemon.url(""), "--json", "--grep", "Event received"]);
        lines.contains(&first) && lines.contains(&second)
    };
    for daemon in [&one, &two] {
        crate::support::eventually(DEADLINE, "both are there", || both(daemon));
    }
    let one = one.restart();
    assert!(both(&one), "also after the kill");
    let lines = one.cli(&["logs", &one.url(""), "--json"]);
    let twice: Vec<_> = events_of(&lines).into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    // The history respects the project filter.
    let scoped = one.cli(&["logs", &one.url(""), "--json", "--project", "other"]);
    assert!(!scoped.contains(&first) && !scoped.contains(&second), "{scoped}");
    let last = one.cli(&["logs", &one.url(""), "--history", "1"]);
    assert_eq!(last.lines().count(), 1, "{last}");
    assert_eq!(Cli::new().run(&["logs", &two.url(""), "--history", "0"]).ok(), "");
}

/// Without a daemon: its history, and what other programs publish.
#[test]
fn logs_reads_a_redis_without_a_daemon() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let settings = format!("redis_url = '{}'", server.url());
    let daemon = Daemon::with_settings(&settings);
    let id = daemon.track("https://a.example/1");
    let url = server.url();
    let cli = Cli::new();
    let mut lines = String::new();
    crate::support::eventually(DEADLINE, "the line is in the history", || {
        lines = cli.run(&["logs", &url, "--json", "--grep", &id, "--stage", "queue"]).ok();
        !lines.is_empty()
    });
    let line: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!((&line["eventId"], &line["stage"]), (&id.into(), &"queue".into()));
    assert!(line["process"].is_string(), "{line}");
    let last = cli.run(&["logs", &url, "--history", "1"]).ok();
    assert_eq!(last.lines().count(), 1, "{last}");
    let refused = cli.run(&["logs", &url, "--token", "x"]).failed();
    assert!(refused.contains("--token is for daemons"), "{refused}");
}

/// A console attached to Redis starts with earlier lines, even of a process that has been killed.
#[test]
fn attach_to_redis_starts_with_the_history() {
    let server = RedisServer::start(Kind::Redis, &[]);
    let mut daemon = Daemon::with_settings(&format!("redis_url = '{}'", server.url()));
    daemon.track("https://a.example/before");
    crate::support::eventually(DEADLINE, "all lines are stored", || {
        let kept = server.cli(&["XRANGE", KEY, "-", "+"]);
        kept.contains("a.example/before") && kept.contains("Page view stored")
    });
    daemon.kill9();
    let home = tempfile::tempdir().unwrap();
    let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_bklit-tui"));
    command.env_clear();
    command.env("HOME", home.path());
    command.env("TERM", "xterm-256color");
    command.cwd(home.path());
    command.args(["attach", &server.url()]);
    let mut pty = crate::support::pty::Pty::spawn(command, (120, 40));
    pty.wait_for_text("a.example/before");
    pty.wait_for_text("Page view stored");
    let contents = pty.contents();
    assert_eq!(contents.matches("a.example/before").count(), 1, "{contents}");
    pty.send("q");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}
