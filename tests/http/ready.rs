//! `GET /ready`: by whether events would be accepted, told to everybody, without figures.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;

use super::client::request;
use super::server::Server;

#[tokio::test]
async fn it_says_whether_events_are_accepted_and_why_not() {
    let server = Server::start().await;
    let answer = server.get("/ready", &[]).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("ready")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // No worker has begun here, which is no reason to send events elsewhere.
    assert_eq!(answer.json()["roles"]["worker"], "not ready");
    for (flag, reason) in [
        (&server.queue.is_full, "ingestion: the queue is full"),
        (&server.queue.is_away, "ingestion: the queue takes no events"),
    ] {
        flag.store(true, SeqCst);
        let answer = server.get("/ready", &[]).await;
        assert_eq!((answer.status, &answer.json()["status"]), (503, &json!("not ready")));
        assert_eq!(answer.json()["reasons"][0], reason);
        assert!(!answer.body.contains("fire"), "{}", answer.body);
        assert_eq!(server.get("/health", &[]).await.status, 200);
        flag.store(false, SeqCst);
        assert_eq!(server.get("/ready", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn without_tokens_nobodys_event_is_accepted() {
    let server = Server::start().await;
    server.tokens.is_away.store(true, SeqCst);
    let answer = server.get("/ready", &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json()["reasons"][0],
        "ingestion: no token is known, and the tokens cannot be read"
    );
    server.tokens.is_away.store(false, SeqCst);
    server.works().await;
    // One that was used counts also while the store is away.
    server.tokens.is_away.store(true, SeqCst);
    assert_eq!(server.get("/ready", &[]).await.status, 200);
}

#[tokio::test]
async fn everybody_may_ask_and_learns_no_figures() {
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
