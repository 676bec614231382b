//! Several events in one request.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use bklit_pipeline::auth::Scope;
use bklit_pipeline::queue::MAX_PUSHED;
use bklit_wire::debug_bus::{DebugBus, DebugMessage};
use bklit_wire::event::EventKind;
use serde_json::{Value, json};

use super::client::{Answer, DEADLINE, post};
use super::server::{Server, eventually};

const PATHS: [&str; 3] = ["/batch", "/api/batch", "//api/batch/"];

fn view(id: &str) -> Value {
    json!({"type": "pageview", "url": "https://a.example/", "projectId": "p", "eventId": id})
}

fn array(items: &[Value]) -> String {
    Value::from(items).to_string()
}

fn lines(items: &[Value]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

#[track_caller]
fn results(answer: &Answer) -> Vec<Value> {
    answer.json()["results"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
}

#[track_caller]
fn statuses(answer: &Answer) -> Vec<u64> {
    results(answer).iter().map(|result| result["status"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn each_event_has_a_result_and_all_are_one_write() {
    let items = [
        json!({"type": "pageview", "url": "https://a.example/", "projectId": "p"}),
        json!({"type": "pageview", "projectId": "p"}),
        json!({"type": "event", "trackingId": "t", "eventType": "e", "projectId": "p",
            "metadata": {"price": 9.5}}),
        json!({"type": "session_end", "data": {"sessionId": "s", "projectId": "p"}}),
        json!({"type": "pageview", "url": "https://a.example/", "projectId": "other"}),
        json!({"type": "nonsense"}),
        json!(7),
        json!({"type": "pageview", "data": {"url": "https://a.example/", "projectId": "p",
            "eventId": "own", "ip": "6.6.6.6"}}),
    ];
    for path in PATHS {
        for (kind, body) in [
            ("application/json", array(&items)),
            ("application/x-ndjson", lines(&items)),
            ("application/x-ndjson; charset=utf-8", array(&items)),
            ("application/jsonl", lines(&items)),
            ("text/plain;charset=UTF-8", lines(&items)),
        ] {
            let server = Server::start().await;
            let headers = [("Content-Type", kind), ("User-Agent", "own agent")];
            let answer = server.post_with(path, &headers, body).await;
            assert_eq!(answer.status, 200, "{kind} {answer:?}");
            assert_eq!(statuses(&answer), [200, 400, 200, 200, 401, 400, 400, 200]);
            let (found, queued) = (results(&answer), server.queued());
            let accepted = found.iter().filter_map(|result| result["eventId"].as_str());
            let ids: Vec<_> = queued.iter().map(|item| item.event.id.as_str()).collect();
            assert_eq!(accepted.collect::<Vec<_>>(), ids);
            assert!(ids[..3].iter().all(|id| id.starts_with("evt_")) && ids[3] == "own");
            let kinds: Vec<_> = queued.iter().map(|item| item.event.payload.kind()).collect();
            let (view, event, end) = (EventKind::Pageview, EventKind::Event, EventKind::SessionEnd);
            assert_eq!(kinds, [view, event, end, view]);
            for (nth, error) in [(1, "url: missing"), (5, "type: unknown event type `nonsense`")] {
                let found = found[nth]["error"].as_str().unwrap();
                assert!(found.starts_with(error), "{found}");
            }
            // As for an event on its own.
            let json = serde_json::to_value(&queued[3].event.payload).unwrap();
            assert_eq!(
                (&json["ip"], &json["userAgent"]),
                (&"127.0.0.0".into(), &"own agent".into())
            );
            assert_eq!(server.queue.writes.load(SeqCst), 1);
            let gauges = server.log.metrics().take_gauges();
            assert_eq!((gauges.accepted, gauges.refused), (4, 4));
        }
    }
}

#[tokio::test]
async fn a_batch_may_be_sent_again() {
    let server = Server::start().await;
    let items = [view("a"), view("b"), json!({}), view("a")];
    for _ in 0..3 {
        let answer = server.post("/batch", array(&items)).await;
        assert_eq!(statuses(&answer), [200, 200, 400, 200]);
        assert_eq!(results(&answer)[3]["eventId"], "a");
    }
    let ids: Vec<_> = server.queued().iter().map(|item| item.event.id.clone()).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[tokio::test]
async fn the_status_says_whether_any_event_was_accepted() {
    let server = Server::start().await;
    let wrong = json!({"type": "pageview", "projectId": "p"});
    let foreign = json!({"type": "pageview", "url": "https://a.example/", "projectId": "q"});
    for (items, status, error) in [
        (vec![wrong.clone(), view("a")], 200, None),
        (vec![wrong.clone(), foreign.clone()], 400, Some("no event was accepted: url: missing")),
        (vec![foreign, wrong.clone()], 401, Some("no event was accepted: the token is not for")),
    ] {
        let answer = server.post("/batch", array(&items)).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(results(&answer).len(), items.len());
        let json = answer.json();
        let found = json.get("error").map(|error| error.as_str().unwrap());
        assert_eq!(found.is_some(), error.is_some(), "{answer:?}");
        assert!(found.unwrap_or_default().starts_with(error.unwrap_or_default()), "{found:?}");
    }
    for switch in [&server.queue.is_full, &server.queue.is_away] {
        switch.store(true, SeqCst);
        let answer = server.post("/batch", array(&[wrong.clone(), view("b"), view("c")])).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some());
        assert_eq!(statuses(&answer), [400, 503, 503]);
        assert!(!answer.body.contains("disk on fire"), "{answer:?}");
        switch.store(false, SeqCst);
    }
    let answer = server.post("/batch", array(&[wrong, view("b"), view("c")])).await;
    assert_eq!((answer.status, statuses(&answer)), (200, vec![400, 200, 200]));
}

#[tokio::test]
async fn a_batch_needs_a_token_that_may_send() {
    let server = Server::start().await;
    let end = array(&[json!({"type": "session_end", "sessionId": "s", "projectId": "p"})]);
    let reader = format!("Bearer {}", server.read);
    for headers in [vec![], vec![("Authorization", "Bearer x")], vec![("Authorization", &reader)]] {
        let answer = server.send(post("/batch", &headers, &end)).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.error().is_empty());
    }
    let (two, _) = server.tokens.make(Scope::Ingest, &["p", "q"], |_| {}).await;
    let bearer = format!("Bearer {}", two.expose());
    let both = ["p", "q", "r"].map(
        |project| json!({"type": "pageview", "url": "https://a.example/", "projectId": project}),
    );
    let answer = server.send(post("/batch", &[("Authorization", &bearer)], array(&both))).await;
    assert_eq!((answer.status, statuses(&answer)), (200, vec![200, 200, 401]));
}

#[tokio::test]
async fn a_batch_is_bounded_in_events_and_bytes() {
    let server = Server::start_with("127.0.0.1:0", |http| {
        http.max_body_bytes = 1024;
        http.max_batch_bytes = 200_000;
    })
    .await;
    for form in [array as fn(&[Value]) -> String, lines] {
        let most = form(&vec![view("same"); MAX_PUSHED]);
        let answer = server.post("/batch", &most).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(statuses(&answer), vec![200; MAX_PUSHED]);
        let answer = server.post("/batch", form(&vec![view("more"); MAX_PUSHED + 1])).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert_eq!(answer.error(), "body: more than 500 events");

        let mut large = view("large");
        large["title"] = "x".repeat(1024).into();
        let answer = server.post("/batch", form(&[large, view("small")])).await;
        assert_eq!((answer.status, statuses(&answer)), (200, vec![413, 200]), "{answer:?}");

        for (size, status) in [(200_000, 200), (200_001, 413)] {
            let padded = format!("{most}{}", " ".repeat(size - most.len()));
            assert_eq!(server.post("/batch", padded).await.status, status);
        }
    }
    assert_eq!(server.queued().len(), 2, "same and small, once each");
}

#[tokio::test]
async fn few_large_batches_are_queued_at_once() {
    let server = Server::start().await;
    let gate = server.queue.gate.write().await;
    let bearer = format!("Bearer {}", server.ingest);
    let mut clients = Vec::new();
    for id in ["a", "b", "c", "d", "e", "f"] {
        let mut client = server.client().await;
        // Four of these have the maximum number of bytes that are parsed at once.
        let large = array(&[view(id)]) + &" ".repeat(900_000);
        client.send(post("/batch", &[("Authorization", &bearer)], large)).await;
        clients.push(client);
    }
    eventually("four are being queued", || server.queue.writes.load(SeqCst) == 4).await;
    assert_eq!(server.get("/health", &[]).await.status, 200);
    assert_eq!(server.queue.writes.load(SeqCst), 4, "the others wait");
    drop(gate);
    for mut client in clients {
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(server.queued().len(), 6);
}

#[tokio::test]
async fn an_invalid_batch_is_refused_as_a_whole() {
    let server = Server::start().await;
    for body in ["", " \n", "[]", "[", "[1", r#"[{"type":"pageview"}"#, "[1]]", "[\u{1}]"] {
        let answer = server.post("/batch", body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.error().starts_with("body: "), "{}", answer.error());
    }
    // A line that is not JSON affects only one event.
    let body = format!("{}\n{{\"type\n\u{1}\n{}", view("a"), view("b"));
    let answer = server.post("/batch", body).await;
    assert_eq!((answer.status, statuses(&answer)), (200, vec![200, 400, 400, 200]), "{answer:?}");
    let mut bytes = format!("{}\n", view("c")).into_bytes();
    bytes.extend(b"{\"type\":\"pageview\",\"title\":\"\xff\"}\n");
    let answer = server.post("/batch", bytes).await;
    assert_eq!((answer.status, statuses(&answer)), (200, vec![200, 400]), "{answer:?}");
}

#[tokio::test]
async fn a_batch_is_read_as_leniently_as_an_event() {
    let server = Server::start().await;
    let item =
        r#"{"type":"pageview","url":"https://a.example/","projectId":"p","title":"Sale \ud83d"}"#;
    for body in [format!("[{item}]"), format!("\u{feff}[{item}]"), format!("\u{feff}{item}\n")] {
        let utf16: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (kind, body) in
            [("application/json", body.as_bytes()), ("application/json; charset=utf-16le", &utf16)]
        {
            let answer = server.post_with("/batch", &[("Content-Type", kind)], body).await;
            assert_eq!((answer.status, statuses(&answer)), (200, vec![200]), "{answer:?}");
            let event = server.queued().pop().unwrap().event;
            let json = serde_json::to_value(&event.payload).unwrap();
            assert_eq!(json["title"], "Sale \u{fffd}");
        }
    }
    let answer =
        server.post_with("/batch", &[("Content-Type", "text/plain;charset=utf-32")], "[]").await;
    assert_eq!(answer.status, 415, "{answer:?}");
}

#[tokio::test]
async fn a_batch_of_refused_events_leaves_few_lines() {
    let server = Server::start().await;
    let mut stream = server.bus.subscribe();
    let mut items = vec![json!({"type": "pageview", "projectId": "p"}); 400];
    items.push(view("a"));
    assert_eq!(server.post("/batch", array(&items)).await.status, 200);
    let (mut lines, mut refused) = (Vec::new(), 0);
    let deadline = Instant::now() + DEADLINE;
    let last = loop {
        assert!(Instant::now() < deadline, "{lines:?}");
        match tokio::time::timeout(Duration::from_millis(100), stream.next()).await {
            Ok(Some(DebugMessage::Gauges(gauges))) => refused += gauges.refused,
            Ok(Some(DebugMessage::Log(log))) if log.message.contains("more like this") => {
                break log;
            }
            Ok(Some(DebugMessage::Log(log))) => lines.push(log.message.to_string()),
            // As happens once a second.
            _ => drop(server.log.publish_gauges()),
        }
    };
    let expected = [vec!["Event received", "Event queued"], vec!["Request refused"; 10]].concat();
    assert_eq!(lines, expected);
    assert_eq!(last.message, "Request refused: 390 more like this");
    assert_eq!((last.project_id.as_deref(), &last.data["status"]), (Some("p"), &json!(400)));
    assert_eq!(refused, 400);
}
