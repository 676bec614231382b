//! Visitors' browsers: authentication, events, and the end of sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bklit_pipeline::auth::Scope;
use bklit_wire::event::{Payload, QueuedEvent};
use bklit_wire::time::UtcMillis;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::server::{BROWSER, Server, Socket, view};
use crate::http::server::MemoryQueue;
use crate::http::server::eventually;

/// Which sessions have ended, sorted.
fn ended(queue: &MemoryQueue) -> Vec<String> {
    let items = queue.items.lock().unwrap();
    let ends = items.iter().filter_map(|item| match &item.event.payload {
        Payload::SessionEnd(end) => Some(end.session_id.to_string()),
        _ => None,
    });
    let mut ends: Vec<_> = ends.collect();
    ends.sort();
    ends
}

fn events(server: &Server) -> Vec<QueuedEvent> {
    server.queued().into_iter().map(|item| Arc::unwrap_or_clone(item.event)).collect()
}

#[tokio::test]
async fn an_event_is_accepted_as_over_http() {
    let server = Server::start().await;
    let headers = [("user-agent", "Mozilla (iPhone) Mobile/1")];
    let mut socket = Socket::open(server.address, BROWSER, &headers).await;
    let greeting = socket.greeted().await;
    assert_eq!((&greeting["projectId"], &greeting["sessionId"]), (&json!("p"), &json!("s-1")));
    assert!(greeting["timestamp"].as_str().unwrap().parse::<UtcMillis>().is_ok());
    socket
        .say(json!({ "type": "pageview", "apiKey": server.ingest, "future": 1, "data": {
            "url": "https://a.example/x?utm_source=mail", "projectId": "p", "sessionId": "s-2",
            "referrer": null, "viewport": { "width": 1 }, "timezone": "Mars", "ip": "6.6.6.6",
        }}))
        .await;
    let first = socket.hear().await;
    assert_eq!((&first["type"], &first["messageType"]), (&json!("ack"), &json!("pageview")));
    // The key was valid, so the next messages need none.
    socket
        .say(json!({ "type": "event", "data": {
            "trackingId": "buy", "eventType": "click", "eventId": "own-1", "metadata": { "n": 1 },
        }}))
        .await;
    let ack = socket.hear().await;
    assert_eq!(ack, json!({ "type": "ack", "eventId": "own-1", "messageType": "event" }));
    let queued = events(&server);
    assert_eq!(queued[0].id, first["eventId"].as_str().unwrap());
    let Payload::Pageview(view) = &queued[0].payload else { panic!("{queued:?}") };
    assert_eq!((view.session_id.as_deref(), view.ip.as_deref()), (Some("s-2"), Some("127.0.0.0")));
    assert_eq!((view.mobile, view.utm_source.as_deref()), (Some(true), Some("mail")));
    assert_eq!(view.timezone.as_deref(), Some("Mars"), "no better one is known");
    let Payload::Event(event) = &queued[1].payload else { panic!("{queued:?}") };
    assert_eq!(event.session_id.as_deref(), Some("s-1"), "the socket's, as none was sent");
    assert_eq!(queued[1].project_id, "p");
    server.stop().await;
}

#[tokio::test]
async fn odd_json_is_read_as_over_http() {
    let server = Server::start().await;
    let mut socket = server.browser().await;
    for message in [
        r#"{"type":"pageview","data":{"url":"https://a.example/","title":"Sale \ud83d","sessionId":7}}"#,
        "\u{feff}{\"type\":\"event\",\"\\ud83d\":1e400,\"data\":{\"trackingId\":5,\"eventType\":true,\"metadata\":{\"z\":1e400, \"\\ude00\":[]}}}",
    ] {
        socket.send(Message::text(message)).await;
        let answer = socket.hear().await;
        assert_eq!(answer["type"], "ack", "{answer}");
    }
    let queued = events(&server);
    let Payload::Pageview(view) = &queued[0].payload else { panic!("{queued:?}") };
    assert_eq!(
        (view.title.as_deref(), view.session_id.as_deref()),
        (Some("Sale \u{fffd}"), Some("7"))
    );
    let Payload::Event(event) = &queued[1].payload else { panic!("{queued:?}") };
    assert_eq!((event.tracking_id.as_str(), event.event_type.as_str()), ("5", "true"));
    assert_eq!(event.metadata.as_ref().unwrap().as_str(), r#"{"z":1e400,"\ufffd":[]}"#);
    for event in &queued {
        assert_eq!(event.payload.timestamp(), Some(event.queued_at));
        assert!(event.to_json().contains(r#""payload":{"projectId":"p""#), "{}", event.to_json());
    }
    server.stop().await;
}

#[tokio::test]
async fn many_messages_at_once_are_answered_in_order() {
    let server = Server::start().await;
    let mut socket = server.browser().await;
    for n in 0..200 {
        let mut message = view("/");
        message["data"]["eventId"] = format!("e-{n}").into();
        if n % 10 == 0 {
            message["data"]["url"] = "no address".into();
        }
        socket.say(message).await;
    }
    for n in 0..200 {
        let answer = socket.hear().await;
        if n % 10 == 0 {
            assert!(answer["error"].as_str().unwrap().starts_with("url: "), "{answer}");
        } else {
            assert_eq!(answer["eventId"], format!("e-{n}"), "{answer}");
        }
    }
    assert_eq!(server.queued().len(), 180);
    server.stop().await;
}

#[tokio::test]
async fn without_a_valid_key_nothing_is_accepted() {
    let server = Server::start().await;
    let expired = |token: &mut bklit_pipeline::auth::TokenRecord| {
        token.expires_at = Some(UtcMillis::from_epoch_millis(1));
    };
    let (other, _) = server.tokens.make(Scope::Ingest, &["q"], |_| {}).await;
    let (old, _) = server.tokens.make(Scope::Ingest, &["p"], expired).await;
    let unknown = format!("bk_live_{}", "0".repeat(64));
    for (key, why) in [
        ("nonsense", "not valid"),
        (&unknown, "not valid"),
        (other.expose(), "not for this project"),
        (old.expose(), "expired"),
        (&server.read, "scope read"),
    ] {
        let mut socket = server.connect(BROWSER).await;
        socket.greeted().await;
        socket.say(json!({ "type": "auth", "apiKey": key })).await;
        let mut with_key = view("/");
        with_key["apiKey"] = key.into();
        socket.say(with_key).await;
        socket.say(view("/")).await;
        for (of, why) in [("auth", why), ("pageview", why), ("pageview", "no API key")] {
            let answer = socket.error().await;
            assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
            assert_eq!((&answer["retryable"], &answer["messageType"]), (&json!(false), &json!(of)));
        }
        // The socket stays usable.
        socket.say(json!({ "type": "auth", "apiKey": server.ingest })).await;
        assert_eq!(socket.hear().await["type"], "auth_success");
        // A wrong key with a message is refused even then.
        let mut wrong = view("/");
        wrong["apiKey"] = key.into();
        socket.say(wrong).await;
        socket.error().await;
    }
    // With a valid key, those sockets became sessions, which have ended.
    let is_end = |event: &QueuedEvent| matches!(event.payload, Payload::SessionEnd(_));
    assert!(events(&server).iter().all(is_end));
    server.stop().await;
}

#[tokio::test]
async fn a_key_may_be_as_in_a_header() {
    let server = Server::start().await;
    let key = &server.ingest;
    for key in [format!(" {key}\n"), format!("Bearer {key}"), format!(" bearer  {key} ")] {
        let mut socket = server.connect(BROWSER).await;
        socket.greeted().await;
        socket.say(json!({ "type": "auth", "apiKey": key })).await;
        assert_eq!(socket.hear().await["type"], "auth_success", "{key:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_revoked_key_stops_working_on_an_open_socket() {
    let server = Server::start().await;
    let (secret, token) = server.tokens.make(Scope::Ingest, &["p"], |_| {}).await;
    let mut socket = server.connect(BROWSER).await;
    socket.greeted().await;
    socket.say(json!({ "type": "auth", "apiKey": secret.expose() })).await;
    assert_eq!(socket.hear().await["type"], "auth_success");
    bklit_pipeline::auth::TokenStore::revoke(&*server.tokens, &token.id).await.unwrap();
    tokio::time::sleep(bklit_pipeline::auth::TTL).await;
    socket.say(view("/")).await;
    assert!(socket.error().await["error"].as_str().unwrap().contains("revoked"));
    server.stop().await;
}

#[tokio::test]
async fn errors_are_reported_and_the_socket_stays_open() {
    let server = Server::start().await;
    let mut socket = server.browser().await;
    for (message, error) in [
        (json!({ "type": "pageview" }), "data: missing"),
        (json!({ "type": "pageview", "data": {} }), "url: missing"),
        (json!({ "type": "pageview", "data": [] }), "body: expected a JSON object"),
        (json!({ "type": "nap" }), "type: unknown message type `nap`"),
        (json!({ "data": {} }), "message: type: missing"),
        (json!({ "type": 7 }), "message: type: expected a string, found integer `7`"),
        (json!([1]), "message: expected a JSON object"),
        (json!({ "type": "event", "data": { "trackingId": "t" } }), "eventType: missing"),
        (
            json!({ "type": "pageview", "data": { "url": "https://a.example/", "projectId": "q" } }),
            "projectId: differs from the one",
        ),
    ] {
        socket.say(message.clone()).await;
        let answer = socket.error().await;
        assert!(answer["error"].as_str().unwrap().starts_with(error), "{message}: {answer}");
    }
    // Temporary refusals are marked as such.
    for flag in [&server.queue.is_full, &server.queue.is_away] {
        flag.store(true, SeqCst);
        socket.say(view("/")).await;
        let answer = socket.error().await;
        assert_eq!((&answer["retryable"], &answer["retryAfter"]), (&json!(true), &json!(2)));
        flag.store(false, SeqCst);
    }
    assert!(server.queued().is_empty());
    socket.say(view("/")).await;
    assert_eq!(socket.hear().await["type"], "ack");
    server.stop().await;
}

#[tokio::test]
async fn an_event_is_acknowledged_after_the_queue_has_it() {
    let server = Server::start().await;
    let mut socket = server.browser().await;
    let gate = server.queue.gate.write().await;
    socket.say(view("/")).await;
    socket.silent().await;
    drop(gate);
    assert_eq!(socket.hear().await["type"], "ack");
    assert_eq!(server.queued().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_another_domain_is_disconnected() {
    let server = Server::start().await;
    let only = |token: &mut bklit_pipeline::auth::TokenRecord| {
        token.allowed_domains = vec!["shop.example".into()];
    };
    let (secret, _) = server.tokens.make(Scope::Ingest, &["p"], only).await;
    let auth = json!({ "type": "auth", "apiKey": secret.expose() });
    let mut evil = server.connect_from(BROWSER, "https://evilshop.example").await;
    evil.greeted().await;
    evil.say(auth.clone()).await;
    evil.error().await;
    let (code, reason) = evil.closed().await;
    assert!(code == 1008 && reason.contains("domains"), "{code} {reason}");
    let mut good = server.connect_from(BROWSER, "https://www.shop.example").await;
    good.greeted().await;
    good.say(auth).await;
    assert_eq!(good.hear().await["type"], "auth_success");
    server.stop().await;
}

#[tokio::test]
async fn a_socket_without_its_ids_is_closed_with_the_reason() {
    let server = Server::start().await;
    let long = format!("/?sessionId=s&projectId={}", "x".repeat(300));
    for (path, why) in [
        ("/", "projectId: missing"),
        ("/?sessionId=s", "projectId: missing"),
        ("/?projectId=p&sessionId=", "sessionId: missing"),
        (long.as_str(), "projectId: longer than 256 bytes"),
        ("/dashboard", "projectId: missing"),
    ] {
        let closed = server.connect(path).await.closed().await;
        assert_eq!(closed, (1008, why.to_owned()), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_session_ends_with_its_last_socket() {
    let server = Server::start().await;
    let (first, second) = (server.browser().await, server.browser().await);
    first.leave().await;
    // Disconnected without a close frame.
    drop(second);
    eventually("the session has ended", || server.queued().len() == 1).await;
    let ends = events(&server);
    let Payload::SessionEnd(end) = &ends[0].payload else { panic!("{ends:?}") };
    assert_eq!((end.session_id.as_str(), end.reason.as_deref()), ("s-1", Some("disconnect")));
    assert_eq!(ends[0].project_id, "p");
    let json = ends[0].to_json();
    let expected = format!(
        r#""payload":{{"projectId":"p","sessionId":"s-1","timestamp":"{}","reason":"disconnect"}}"#,
        end.timestamp.unwrap()
    );
    assert!(json.contains(&expected), "{json}");
    server.browser().await.leave().await;
    eventually("and again", || server.queued().len() >= 2).await;
    let queue = Arc::clone(&server.queue);
    server.stop().await;
    assert_eq!(ended(&queue), ["s-1", "s-1"]);
}

#[tokio::test]
async fn a_session_continues_on_the_next_page() {
    let grace = Duration::from_secs(2);
    let server = Server::start_with(|s| s.session_grace = grace).await;
    for _ in 0..2 {
        server.browser().await.leave().await;
    }
    let last_page = server.browser().await;
    // Long enough for the sessions that were left before to have ended.
    tokio::time::sleep(grace + Duration::from_millis(500)).await;
    assert!(server.queued().is_empty(), "{:?}", server.queued());
    let before = UtcMillis::now();
    last_page.leave().await;
    let after = UtcMillis::now();
    eventually("the session has ended", || server.queued().len() == 1).await;
    let end = &events(&server)[0];
    let waited = end.queued_at.epoch_millis() - end.timestamp().epoch_millis();
    assert!(waited >= 2_000, "{waited}");
    assert!((before..=after).contains(&end.timestamp()), "it ended when the socket closed");
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_ends_no_waiting_session() {
    let server = Server::start_with(|s| s.session_grace = Duration::from_secs(60)).await;
    server.browser().await.leave().await;
    let began = std::time::Instant::now();
    let queued = server.queued();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(queued.is_empty(), "{queued:?}");
}

#[tokio::test]
async fn a_socket_without_a_token_ends_no_session() {
    let server = Server::start().await;
    let mut stranger = server.connect("/?projectId=p&sessionId=strange").await;
    stranger.greeted().await;
    stranger.say(view("/")).await;
    stranger.error().await;
    stranger.leave().await;
    let visitor = server.browser().await;
    visitor.leave().await;
    eventually("a session has ended", || !server.queued().is_empty()).await;
    let queue = Arc::clone(&server.queue);
    // Ends that are being queued are completed.
    server.stop().await;
    assert_eq!(ended(&queue), ["s-1"]);
}
