//! The content and encoding of request bodies.

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::{case, joined, list, post, run, stored};
use crate::support::{Daemon, gzip};
use crate::websocket::server::Socket;

const VIEW: &[u8] = br#"{"url":"https://shop.example/","projectId":"default"}"#;

#[test]
fn unpaired_surrogates() {
    let input =
        r#""title":"Sale \ud83d", the same in sessionId and in metadata, over HTTP and WebSocket"#;
    let expected = "200, 200, ack, ack; [\"Sale \u{fffd}\",\"Sale \u{fffd}\"], session s\u{fffd}; \
                    {\"eventType\":\"e\",\"k\u{fffd}\":\"v\u{fffd}\"} twice";
    case("elizaOS/eliza 18079", input, expected, || {
        let daemon = Daemon::start();
        let view = r#"{"url":"https://shop.example/a","projectId":"default","sessionId":"s\ud83d","title":"Sale \ud83d"}"#;
        let event = r#"{"trackingId":"t","eventType":"e","projectId":"default","metadata":{"k\udc00":"v\ud83d"}}"#;
        let statuses = [("/track", view), ("/track-event", event)]
            .map(|(path, body)| post(&daemon, path, &[], body.as_bytes()).status);
        let answers = run(async {
            let path = "/?projectId=default&sessionId=ws";
            let mut socket = Socket::open(daemon.websocket_addr(), path, &[]).await;
            socket.greeted().await;
            let mut answers = Vec::new();
            for (kind, data) in [("pageview", view), ("event", event)] {
                let key = daemon.token();
                let message = format!(r#"{{"type":"{kind}","apiKey":"{key}","data":{data}}}"#);
                socket.send(Message::text(message)).await;
                answers.push(socket.hear().await["type"].as_str().unwrap().to_owned());
            }
            answers
        });
        stored(&daemon, "page_view_event", 2);
        stored(&daemon, "tracked_event", 2);
        let titles = list(&daemon, "SELECT title AS x FROM page_view_event");
        let session = list(&daemon, "SELECT session_id AS x FROM page_view_event ORDER BY id");
        let mut metadata = list(&daemon, "SELECT metadata AS x FROM tracked_event");
        metadata.dedup();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        // Escapes are kept.
        let parsed = |json: &Value| serde_json::from_str::<Value>(&text(json)).unwrap();
        format!(
            "{}, {}; {}, session {}; {} twice",
            joined(statuses),
            answers.join(", "),
            Value::from(titles),
            text(&session[0]),
            joined(metadata.iter().map(parsed))
        )
    });
}

#[test]
fn paths_of_older_clients() {
    let input = "POST /api/track-event, /api/session-end, /api/track/session-end, /track/, //track";
    case("@bklit/sdk 0.x", input, "200, 200, 200, 200, 200", || {
        let daemon = Daemon::start();
        let event = br#"{"trackingId":"t","eventType":"e","projectId":"default"}"#.as_slice();
        let end = br#"{"sessionId":"s","projectId":"default"}"#.as_slice();
        let requests = [
            ("/api/track-event", event),
            ("/api/session-end", end),
            ("/api/track/session-end", end),
            ("/track/", VIEW),
            ("//track", VIEW),
        ];
        joined(requests.map(|(path, body)| post(&daemon, path, &[], body).status))
    });
}

#[test]
fn compressed_bodies() {
    let input = "a gzipped page view; half of it; 50 and 100 MB of zeros, gzipped once and twice";
    let expected = "200; 400; 413, 413, 413; memory grew by less than 16 MiB";
    case("braintrust-sdk 2411", input, expected, || {
        let daemon = Daemon::start();
        let send = |encoding: &str, body: &[u8]| {
            post(&daemon, "/track", &[("Content-Encoding", encoding)], body).status
        };
        let view = gzip(VIEW);
        let good = send("gzip", &view);
        let half = send("gzip", &view[..view.len() / 2]);
        let (fifty, hundred) = (gzip(&vec![0; 50_000_000]), gzip(&vec![0; 100_000_000]));
        let before = daemon.resident_kib();
        let bombs = [("gzip", fifty), ("gzip", hundred.clone()), ("gzip, gzip", gzip(&hundred))]
            .map(|(encoding, bomb)| send(encoding, &bomb));
        let grown = daemon.resident_kib().saturating_sub(before);
        let memory =
            if grown < 16 * 1024 { "less than 16".into() } else { (grown >> 10).to_string() };
        format!("{good}; {half}; {}; memory grew by {memory} MiB", joined(bombs))
    });
}

#[test]
fn a_batch_with_an_invalid_event() {
    let input = "POST /batch with two page views, the second without url";
    case("umami /api/batch", input, "200: 200, 400 url: missing", || {
        let daemon = Daemon::start();
        let body = br#"[{"type":"pageview","url":"https://shop.example/","projectId":"default"},
                        {"type":"pageview","projectId":"default"}]"#;
        let answer = post(&daemon, "/batch", &[], body);
        let results = answer.json()["results"].as_array().unwrap().clone();
        let result = |result: &Value| {
            format!("{} {}", result["status"], result["error"].as_str().unwrap_or_default())
        };
        let results = results.iter().map(|one| result(one).trim().to_owned());
        format!("{}: {}", answer.status, joined(results))
    });
}

#[test]
fn long_numbers() {
    let input =
        r#"metadata {"order":12345678901234567890123,"price":0.1234567890123456789,"x":1e400}"#;
    let expected = r#"200: {"order":12345678901234567890123,"price":0.1234567890123456789,"x":1e400,"eventType":"e"}"#;
    case("riverui 593", input, expected, || {
        let daemon = Daemon::start();
        let metadata = input.strip_prefix("metadata ").unwrap();
        let body = format!(
            r#"{{"trackingId":"t","eventType":"e","projectId":"default","metadata":{metadata}}}"#
        );
        let status = post(&daemon, "/track-event", &[], body.as_bytes()).status;
        stored(&daemon, "tracked_event", 1);
        let metadata = daemon.scalar("SELECT metadata FROM tracked_event");
        format!("{status}: {}", metadata.as_str().unwrap())
    });
}
