//! The debug log as Server-Sent Events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bklit_wire::debug_bus::{DebugBus, DebugMessage};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::gauges::Gauges;
use serde_json::Value;

use super::client::{Client, request};
use super::server::{Server, eventually};
use crate::support::{Daemon, Stream};

/// Reads a stream's events.
struct Events {
    client: Client,
    /// The rest of the last chunks.
    text: String,
    /// How many chunks have been read.
    chunks: u128,
}

impl Events {
    async fn open(server: &Server, query: &str) -> Self {
        let mut client = server.client().await;
        client.send(request("GET", &format!("/api/debug-stream{query}"), &[])).await;
        let head = client.head().await.unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("cache-control"), Some("no-store"));
        assert_eq!(head.header("x-accel-buffering"), Some("no"), "proxies do not buffer it");
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        Self { client, text: String::new(), chunks: 0 }
    }

    /// The next event with its name; `None` at the stream's proper end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let mut name = "message".to_owned();
                for line in event.lines() {
                    if let Some(given) = line.strip_prefix("event: ") {
                        name = given.to_owned();
                    } else if let Some(data) = line.strip_prefix("data: ") {
                        return Some((name, serde_json::from_str(data).unwrap()));
                    }
                }
                continue;
            }
            let size = self.client.line().await.expect("a chunk");
            let size = usize::from_str_radix(&size, 16).unwrap();
            let mut chunk = vec![0; size + 2];
            let read = tokio::io::AsyncReadExt::read_exact(&mut self.client.0, &mut chunk);
            tokio::time::timeout(super::client::DEADLINE, read).await.unwrap().unwrap();
            if size == 0 {
                assert_eq!(self.text, "", "the stream ends between two events");
                return None;
            }
            self.chunks += 1;
            self.text.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
        }
    }

    async fn message(&mut self) -> DebugLog {
        let (name, data) = self.next().await.unwrap();
        assert_eq!(name, "message", "{data}");
        serde_json::from_value(data).unwrap()
    }
}

fn line(message: impl Into<String>, project: Option<&str>) -> DebugMessage {
    let mut log = DebugLog::new(Stage::Worker, Level::Info, message.into());
    log.project_id = project.map(str::to_owned);
    DebugMessage::Log(Arc::new(log))
}

fn assert_connected(log: &DebugLog) {
    assert_eq!((log.stage, log.level), (Stage::Websocket, Level::Info));
    assert_eq!(log.message, "Debug stream connected");
}

#[tokio::test]
async fn a_stream_starts_with_its_connection_and_has_every_line() {
    let server = Server::start().await;
    let mut events = Events::open(&server, "").await;
    assert_connected(&events.message().await);
    server.works().await;
    for stage in [Stage::Ingestion, Stage::Queue] {
        let log = events.message().await;
        assert_eq!((log.stage, log.project_id.as_deref()), (stage, Some("p")));
        assert!(log.event_id.is_some() && log.duration.is_some());
    }
    server.bus.publish(line("two\nlines\r \u{2028} é", None));
    assert_eq!(events.message().await.message, "two\nlines\r \u{2028} é");
    server.log.publish_gauges();
    let (name, gauges) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &gauges["accepted"]), ("gauges", &1.into()));
    server.bus.publish(DebugMessage::Unparsed("not \"json\"\n".into()));
    let (name, text) = events.next().await.unwrap();
    assert_eq!((name.as_str(), text.as_str()), ("unparsed", Some("not \"json\"\n")));
    server.bus.publish(DebugMessage::Lost(7));
    let (name, lost) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &lost["lost"]), ("lost", &7.into()));
    // Its own connection is reported to others only.
    let mut second = Events::open(&server, "?projectId=").await;
    assert_connected(&second.message().await);
    let log = events.message().await;
    assert_connected(&log);
    assert_eq!(log.data["streams"], 2);
    drop(second);
    // A disconnected client is noticed on the next write.
    for _ in 0..500 {
        server.bus.publish(line("tick", None));
        let log = events.message().await;
        if log.message == "Debug stream disconnected" {
            assert_eq!(log.data["streams"], 1);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the second stream is never noticed to have gone");
}

#[tokio::test]
async fn lines_that_follow_each_other_closely_are_sent_together() {
    let server = Server::start().await;
    let mut events = Events::open(&server, "").await;
    assert_connected(&events.message().await);
    let (began, before) = (Instant::now(), events.chunks);
    for n in 0..200 {
        server.bus.publish(line(n.to_string(), None));
        // Enough turns for the stream to send it on its own.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    for n in 0..200 {
        assert_eq!(events.message().await.message, n.to_string());
    }
    let (chunks, millis) = (events.chunks - before, began.elapsed().as_millis());
    assert!(chunks <= millis / 10 + 2, "{chunks} chunks in {millis} ms");
}

#[tokio::test]
async fn a_project_sees_its_own_lines() {
    let server = Server::start().await;
    let mut events = Events::open(&server, "?projectId=p%201").await;
    let first = events.message().await;
    assert_connected(&first);
    assert_eq!(first.project_id.as_deref(), Some("p 1"));
    server.bus.publish(line("other", Some("p")));
    server.bus.publish(line("nobody's", None));
    server.bus.publish(DebugMessage::Unparsed("anybody's".into()));
    server.bus.publish(line("own", Some("p 1")));
    assert_eq!(events.message().await.message, "own");
    // Of the figures, only the sampling rate, while lines are sampled.
    let figures = |sampling| {
        let process = "one".to_owned();
        let figures = Gauges { process, sampling, accepted: 7, ..Gauges::default() };
        DebugMessage::Gauges(Arc::new(figures))
    };
    server.bus.publish(figures(1));
    server.bus.publish(figures(8));
    let (name, gauges) = events.next().await.unwrap();
    let expected = serde_json::json!({ "process": "one", "at": null, "sampling": 8 });
    assert_eq!((name.as_str(), gauges), ("gauges", expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_loses_lines_and_the_server_continues() {
    const LINES: u64 = 60_000;
    let server = Server::start().await;
    let mut slow = Events::open(&server, "").await;
    assert_connected(&slow.message().await);
    let mut fast = Events::open(&server, "?projectId=p").await;
    assert_connected(&fast.message().await);
    // About 30 MB that are not read.
    let text = "x".repeat(400);
    for n in 0..LINES {
        server.bus.publish(line(format!("{n} {text}"), None));
        if n % 1000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    server.works().await;
    server.bus.publish(line("last", Some("p")));
    // A reader makes progress, however slow the other one is.
    let mut found = HashMap::<String, u64>::new();
    loop {
        let (name, data) = fast.next().await.unwrap();
        *found.entry(name).or_default() += 1;
        if data["message"] == "last" {
            break;
        }
    }
    let (mut seen, mut lost) = (0, 0);
    loop {
        let (name, data) = slow.next().await.unwrap();
        match (name.as_str(), data["message"].as_str()) {
            ("lost", _) => lost += data["lost"].as_u64().unwrap(),
            ("message", Some("last")) => break,
            ("message", Some(text)) if text.ends_with("xxx") => seen += 1,
            ("message", Some(text)) => {
                // Every other line was logged after those that may be lost, or is one of them.
                assert!(text.starts_with("Event ") || text.starts_with("Debug stream"), "{text}");
                seen += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(lost > 0, "nothing was lost, so this tests nothing");
    assert_eq!(seen + lost, LINES + 3, "all lines are seen or counted");
    server.works().await;
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive() {
    let server = Server::start().await;
    let mut events = Events::open(&server, "").await;
    assert_connected(&events.message().await);
    // From here on, time advances as soon as all tasks wait for it.
    tokio::time::pause();
    for _ in 0..3 {
        assert_eq!(events.client.line().await.unwrap(), "E");
        assert_eq!(events.client.line().await.unwrap(), ": keep-alive");
        assert_eq!(events.client.line().await.unwrap(), "");
        assert_eq!(events.client.line().await.unwrap(), "");
    }
}

#[tokio::test]
async fn a_reader_that_stalls_is_disconnected() {
    let server = Server::start().await;
    let mut events = Events::open(&server, "").await;
    assert_connected(&events.message().await);
    let text = "x".repeat(4000);
    // More than sockets buffer, written as long as the server accepts it.
    for _ in 0..10_000 {
        server.bus.publish(line(text.as_str(), None));
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    tokio::time::resume();
    eventually("the stream has ended", || !server.bus.has_subscribers()).await;
    server.works().await;
}

#[tokio::test]
async fn streams_are_bounded_and_end_with_the_server() {
    let server = Server::start().await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        let mut events = Events::open(&server, "?projectId=quiet").await;
        assert_connected(&events.message().await);
        streams.push(events);
    }
    let answer = server.get("/api/debug-stream", &[]).await;
    assert_eq!(answer.status, 503);
    assert!(answer.error().contains("64") && answer.header("retry-after").is_some());
    assert_eq!(server.get("/health", &[]).await.json()["debugStreams"], 64);
    server.shutdown.cancel();
    for events in &mut streams {
        while let Some((_, data)) = events.next().await {
            assert!(data["message"].as_str().unwrap().starts_with("Debug stream"), "{data}");
        }
        assert!(events.client.is_closed().await);
    }
    let bus = Arc::clone(&server.bus);
    server.stop().await;
    eventually("nobody listens any more", || !bus.has_subscribers()).await;
}

#[test]
fn earlier_lines_come_before_the_line_about_the_connection() {
    let daemon = Daemon::start();
    let id = daemon.track("https://a.example/");
    let mut stream = Stream::open(daemon.addr, "/api/debug-stream?history=100", &[]);
    let mut before = String::new();
    loop {
        let data = stream.next_data().expect("the stream is open");
        if data.contains("Debug stream connected") && !data.contains("\"streams\"") {
            break;
        }
        before += &data;
    }
    assert!(before.contains(&id), "the history comes first: {before}");
    // Only its end follows.
    assert_eq!(stream.next_data().as_deref(), Some("{}"));
}
