//! `GET /ready`: whether events would be accepted, for any caller, without figures.

use std::sync::atomic::Ordering::SeqCst;

use bklit_pipeline::metrics::STALE_AFTER;
use serde_json::{Value, json};

use super::client::request;
use super::server::Server;

#[tokio::test]
async fn it_says_whether_events_are_accepted_and_why_not() {
    let server = Server::start().await;
    let answer = server.get("/ready", &[]).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("ready")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // Without a worker, events are still accepted.
    assert_eq!(answer.json()["roles"]["worker"], "not ready");
    for (flag, reason) in [
        (&server.queue.is_full, "ingestion: the queue is full"),
        (&server.queue.is_away, "ingestion: the queue rejects events"),
    ] {
        flag.store(true, SeqCst);
        server.look_at_queue().await;
        let answer = server.get("/ready", &[]).await;
        assert_eq!((answer.status, &answer.json()["status"]), (503, &json!("not ready")));
        assert_eq!(answer.json()["reasons"][0], reason);
        assert!(!answer.body.contains("fire"), "{}", answer.body);
        assert_eq!(server.get("/health", &[]).await.status, 200);
        flag.store(false, SeqCst);
        server.look_at_queue().await;
        assert_eq!(server.get("/ready", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn without_tokens_no_event_is_accepted() {
    let server = Server::start().await;
    server.tokens.is_away.store(true, SeqCst);
    let answer = server.get("/ready", &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json()["reasons"][0],
        "ingestion: no token is known and the token store is unavailable"
    );
    server.tokens.is_away.store(false, SeqCst);
    server.works().await;
    // A token that was used counts even while the store is unavailable.
    server.tokens.is_away.store(true, SeqCst);
    assert_eq!(server.get("/ready", &[]).await.status, 200);
}

#[tokio::test]
async fn anyone_may_call_it_and_learns_no_figures() {
    let server = Server::start_with("0.0.0.0:0", |_| {}).await;
    server.works().await;
    let answer = server.get("/ready", &[]).await;
    assert_eq!(answer.status, 200);
    let fields: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["reasons", "roles", "status"]);
    assert!(!answer.body.contains(|c: char| c.is_ascii_digit()), "{}", answer.body);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let mut client = server.client().await;
    client.send(request("HEAD", "/ready", &[])).await;
    assert_eq!(client.head().await.unwrap().status, 200);
}

/// Anyone may send these, as often as they like.
#[tokio::test]
async fn health_and_readiness_cost_the_queue_nothing() {
    let server = Server::start().await;
    for is_away in [false, true] {
        server.queue.is_away.store(is_away, SeqCst);
        server.look_at_queue().await;
        let before = server.queue.calls.load(SeqCst);
        assert!(before > 0);
        let mut client = server.client().await;
        let from_outside = [("X-Forwarded-For", "192.0.2.1")];
        for n in 0..200 {
            let headers: &[_] = if n % 2 == 0 { &[] } else { &from_outside };
            client.send(request("GET", "/health", headers)).await;
            assert_eq!(client.answer().await.status, 200);
            client.send(request("GET", "/ready", headers)).await;
            assert_eq!(client.answer().await.status, if is_away { 503 } else { 200 });
        }
        assert_eq!(server.queue.calls.load(SeqCst), before);
    }
}

#[tokio::test]
async fn an_outdated_observation_of_the_queue_is_not_ready() {
    let server = Server::start().await;
    assert_eq!(server.get("/ready", &[]).await.status, 200);
    tokio::time::pause();
    tokio::time::advance(STALE_AFTER).await;
    tokio::time::resume();
    let answer = server.get("/ready", &[]).await;
    assert_eq!(answer.status, 503);
    let reason = "ingestion: the state of the queue is unknown";
    assert_eq!(answer.json()["reasons"][0], reason);
    let health = server.get("/health", &[]).await.json();
    assert_eq!((&health["status"], &health["queue"]), (&json!("degraded"), &Value::Null));
    assert_eq!(health["health"]["queue"], "failing");
    server.look_at_queue().await;
    assert_eq!(server.get("/ready", &[]).await.status, 200);
}
