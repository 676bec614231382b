//! Valid events, and bodies with a single error.

use std::sync::atomic::Ordering::SeqCst;

use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::event::{Payload, QueuedEvent};
use serde_json::{Value, json};

use super::client::{Answer, post};
use super::server::Server;

const VIEW: &str = r#"{"url":"https://a.example/x?utm_source=mail","projectId":"p"}"#;

fn event_id(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    assert_eq!(json["message"], "Event queued");
    assert_eq!(json.as_object().unwrap().len(), 2);
    json["eventId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_page_view_is_queued_whole() {
    let server = Server::start().await;
    let sent = json!({
        "url": "https://a.example/x?utm_source=mail", "projectId": "p", "sessionId": "s",
        "timestamp": "2026-01-31T12:00:00.5+01:00", "title": "Grüße 🎉 \u{0} \"x\"", "liFatId": "l",
        "isNewVisitor": true, "landingPage": "/", "referrer": "https://ref.example/r",
        "ip": "6.6.6.6", "country": 7, "lat": "x", "mobile": "no", "unknown": {"a": [1]},
    });
    let agent = ("User-Agent", "Mozilla/5.0 (iPhone) Mobile/15E148");
    for path in ["/track", "/api/track", "/track?x=1"] {
        let answer = server.post_with(path, &[agent], sent.to_string()).await;
        let id = event_id(&answer);
        let item = server.queued().pop().unwrap();
        assert!(!item.client_id && id.starts_with("evt_"));
        let event = QueuedEvent::from_json(&item.event.to_json()).unwrap();
        assert_eq!((event.id, event.project_id.as_str()), (id, "p"));
        let expected = json!({
            "url": "https://a.example/x?utm_source=mail", "sessionId": "s",
            "timestamp": "2026-01-31T11:00:00.500Z", "title": "Grüße 🎉 \u{0} \"x\"",
            "liFatId": "l", "isNewVisitor": true, "landingPage": "/",
            "referrer": "https://ref.example/r", "referrerHostname": "ref.example",
            "referrerPath": "/r", "referrerType": "ad", "utmSource": "mail", "userAgent": agent.1, "mobile": true,
            "ip": "127.0.0.0",
        });
        assert_eq!(serde_json::to_value(&event.payload).unwrap(), expected);
    }
}

#[tokio::test]
async fn custom_events_and_session_ends_are_queued() {
    let server = Server::start().await;
    let body = json!({
        "trackingId": "buy", "eventType": "click", "projectId": "p", "sessionId": "",
        "metadata": {"price": 9.5, "tags": ["a"]}, "timestamp": 1_769_860_800_000_i64,
    });
    event_id(&server.post("/track-event", body.to_string()).await);
    let Payload::Event(event) = server.queued().pop().unwrap().event.payload.clone() else {
        panic!()
    };
    assert_eq!(event.metadata.unwrap().as_str(), r#"{"price":9.5,"tags":["a"]}"#);
    assert_eq!((event.tracking_id.as_str(), event.session_id), ("buy", None));

    let body = r#"{"sessionId":"s","projectId":"p","reason":"closed"}"#;
    event_id(&server.post("/session-end", body).await);
    let Payload::SessionEnd(end) = server.queued().pop().unwrap().event.payload.clone() else {
        panic!()
    };
    assert_eq!((end.session_id.as_str(), end.reason.as_deref()), ("s", Some("closed")));
}

#[tokio::test]
async fn a_client_chosen_id_is_kept_and_its_retry_gets_the_same_answer() {
    let server = Server::start().await;
    let body = r#"{"url":"https://a.example/","projectId":"p","eventId":"my\"id"}"#;
    for _ in 0..2 {
        assert_eq!(event_id(&server.post("/track", body).await), "my\"id");
    }
    let queued = server.queued();
    assert!(queued.len() == 1 && queued[0].client_id);
    for wrong in ["", "a b", "é", "a\u{7f}", &"x".repeat(129)] {
        let body = json!({"url": "https://a.example/", "projectId": "p", "eventId": wrong});
        let answer = server.post("/track", body.to_string()).await;
        assert_eq!(answer.status, 400);
        assert!(answer.error().starts_with("eventId: must be"), "{}", answer.error());
    }
    let longest =
        json!({"url": "https://a.example/", "projectId": "p", "eventId": "x".repeat(128)});
    assert_eq!(event_id(&server.post("/track", longest.to_string()).await).len(), 128);
}

#[tokio::test]
async fn errors_name_the_field() {
    let server = Server::start().await;
    let long_id = "x".repeat(257);
    let view = |field: &str, value: Value| {
        let mut body = json!({"url": "https://a.example/", "projectId": "p"});
        body[field] = value;
        ("/track", body, format!("{field}: "))
    };
    let event = |field: &str, value: Value| {
        let mut body = json!({"trackingId": "t", "eventType": "e", "projectId": "p"});
        body[field] = value;
        ("/track-event", body, format!("{field}: "))
    };
    let cases = [
        view("url", Value::Null),
        view("url", json!(7)),
        view("url", json!("")),
        view("url", json!("/relative")),
        view("url", json!("javascript:alert(1)")),
        view("url", json!("ftp://a.example/")),
        view("url", json!("https://")),
        view("projectId", Value::Null),
        view("projectId", json!("")),
        view("projectId", json!(["p"])),
        view("projectId", json!(long_id)),
        view("projectId", json!("a\nb")),
        event("trackingId", json!("")),
        event("eventType", json!([1])),
        ("/session-end", json!({"projectId": "p"}), "sessionId: missing".into()),
        ("/session-end", json!({"projectId": "p", "sessionId": ""}), "sessionId: ".into()),
    ];
    for (path, body, expected) in cases {
        let answer = server.post(path, body.to_string()).await;
        assert_eq!(answer.status, 400, "{body} {answer:?}");
        assert!(answer.error().starts_with(&expected), "{body}: {}", answer.error());
    }
    for body in
        ["", "  ", "null", "[]", "7", "\"x\"", "{", "{}{}", "{\"a\":\"\\ud800\"}", "\u{feff}{}"]
    {
        let answer = server.post("/track", body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(!answer.error().is_empty());
    }
    assert!(server.queued().is_empty());
    server.works().await;
}

#[tokio::test]
async fn content_types_of_browsers_are_accepted_and_others_refused() {
    let server = Server::start().await;
    for kind in ["application/json", "Application/JSON; charset=utf-8", "text/plain;charset=UTF-8"]
    {
        event_id(&server.post_with("/track", &[("Content-Type", kind)], VIEW).await);
    }
    for kind in ["application/x-www-form-urlencoded", "multipart/form-data", "text/html", ""] {
        for path in ["/track", "/api/track", "/track-event", "/session-end"] {
            let answer = server.post_with(path, &[("Content-Type", kind)], VIEW).await;
            assert_eq!(answer.status, 415, "{kind}");
            assert!(answer.error().contains("application/json"));
        }
    }
    let lines = [("Content-Type", "application/x-ndjson")];
    let answer = server.post_with("/track", &lines, VIEW).await;
    assert!(answer.status == 415 && answer.error().contains("POST /batch"), "{answer:?}");
    assert_eq!(server.queued().len(), 3);
}

#[tokio::test]
async fn temporary_failures_ask_to_retry_later() {
    let server = Server::start().await;
    for (switch, part) in [
        (&server.queue.is_full, "7 events wait"),
        (&server.queue.is_away, "the queue is unavailable"),
    ] {
        switch.store(true, SeqCst);
        for (path, body) in [
            ("/track", VIEW),
            ("/track-event", r#"{"trackingId":"t","eventType":"e","projectId":"p"}"#),
            ("/session-end", r#"{"sessionId":"s","projectId":"p"}"#),
        ] {
            let answer = server.post(path, body).await;
            assert_eq!(answer.status, 503);
            assert!(answer.error().contains(part), "{}", answer.error());
            assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
        }
        switch.store(false, SeqCst);
    }
    server.works().await;
}

async fn next_line(stream: &mut Box<dyn DebugStream>) -> DebugLog {
    match tokio::time::timeout(super::client::DEADLINE, stream.next()).await.unwrap().unwrap() {
        DebugMessage::Log(log) => DebugLog::clone(&log),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_step_is_logged() {
    let server = Server::start().await;
    let mut lines = server.bus.subscribe();
    let id = event_id(&server.post("/track", VIEW).await);
    let received = next_line(&mut lines).await;
    let queued = next_line(&mut lines).await;
    for (line, stage, message) in
        [(&received, Stage::Ingestion, "Event received"), (&queued, Stage::Queue, "Event queued")]
    {
        assert_eq!((line.stage, line.level, line.message.as_ref()), (stage, Level::Info, message));
        assert_eq!(line.event_id.as_ref(), Some(&id));
        assert_eq!(line.project_id.as_deref(), Some("p"));
        assert!(line.duration.unwrap() >= 0.0);
    }
    assert_eq!(received.data["url"], "https://a.example/x?utm_source=mail");
    assert_eq!(received.data["type"], "pageview");

    server.queue.is_away.store(true, SeqCst);
    server.post("/track", VIEW).await;
    next_line(&mut lines).await;
    let failed = next_line(&mut lines).await;
    assert_eq!((failed.stage, failed.level), (Stage::Queue, Level::Error));
    let refused = next_line(&mut lines).await;
    assert_eq!((refused.stage, refused.level), (Stage::Ingestion, Level::Warn));
    assert_eq!(refused.data["status"], 503);
    assert_eq!(refused.project_id.as_deref(), Some("p"));

    server.send(post("/track", &[("Authorization", "Bearer secret")], VIEW)).await;
    let refused = next_line(&mut lines).await;
    assert_eq!(refused.data["status"], 401);
    assert!(!serde_json::to_string(&refused).unwrap().contains("secret"));
    let gauges = server.log.metrics().take_gauges();
    assert_eq!((gauges.accepted, gauges.refused), (1, 2));
}
