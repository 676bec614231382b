//! Paths, methods and headers of answers.

use std::sync::atomic::Ordering::SeqCst;

use super::client::{post, request};
use super::server::Server;

const INGEST: [&str; 4] = ["/track", "/api/track", "/track-event", "/session-end"];

#[tokio::test]
async fn browsers_may_ask_before_they_send() {
    let server = Server::start().await;
    let headers = [
        ("Origin", "https://shop.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    for path in INGEST.iter().chain(&["*", "/unknown"]) {
        let answer = server.send(request("OPTIONS", path, &headers)).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST, OPTIONS"));
        let allowed = answer.header("access-control-allow-headers").unwrap();
        assert_eq!(allowed, "Authorization, Content-Type");
        assert_eq!(answer.header("access-control-max-age"), Some("86400"));
    }
    for path in ["/health", "/metrics", "/api/debug-stream"] {
        let answer = server.send(request("OPTIONS", path, &headers)).await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told() {
    let server = Server::start().await;
    for path in ["/", "/tracks", "/track/", "/TRACK", "/api/../track", "/%74rack"] {
        for request in [request("GET", path, &[]).into_bytes(), post(path, &[], "{}")] {
            let answer = server.send(request).await;
            assert_eq!(answer.status, 404, "{path}");
            assert!(answer.error().contains("/track"));
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        }
    }
    for path in INGEST {
        for method in ["GET", "PUT", "DELETE", "PATCH", "BREW"] {
            let answer = server.send(request(method, path, &[])).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        }
    }
    for (path, allowed) in [
        ("/health", "GET, HEAD, OPTIONS"),
        ("/ready", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/api/debug-stream", "GET, OPTIONS"),
    ] {
        let answer = server.send(post(path, &[], "{}")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn health_says_how_it_is() {
    let server = Server::start().await;
    server.works().await;
    server.look_at_queue().await;
    let answer = server.get("/health", &[]).await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert_eq!((&json["status"], &json["service"]), (&"ok".into(), &"ingestion".into()));
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert!(json["uptimeSeconds"].is_u64());
    assert_eq!((&json["queue"]["depth"], &json["queue"]["inFlight"]), (&1.into(), &0.into()));
    assert_eq!(json["health"]["worker"], "unknown");

    let outside = server.get("/health", &[("X-Forwarded-For", "192.0.2.1")]).await;
    assert_eq!(outside.status, 200);
    assert_eq!(outside.json()["status"], "ok");
    assert!(outside.json().get("queue").is_none(), "{outside:?}");

    server.queue.is_away.store(true, SeqCst);
    server.look_at_queue().await;
    let json = server.get("/health", &[]).await.json();
    assert_eq!(
        (&json["status"], &json["health"]["queue"]),
        (&"degraded".into(), &"failing".into())
    );
    let mut client = server.client().await;
    client.send(request("HEAD", "/health", &[])).await;
    let head = client.head().await.unwrap();
    assert!(head.status == 200 && head.header("content-length").is_some());
}

#[tokio::test]
async fn metrics_count_requests_and_connections() {
    let server = Server::start().await;
    server.works().await;
    server.post("/track", "{}").await;
    let answer = server.get("/metrics", &[]).await;
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").unwrap();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    for line in [
        "bklit_http_requests_total{status=\"200\"} 1",
        "bklit_http_requests_total{status=\"400\"} 1",
        "bklit_steps_total{stage=\"queue\",level=\"info\"} 1",
        "bklit_http_connections ",
    ] {
        assert!(answer.body.contains(line), "{line} is not in\n{}", answer.body);
    }
    assert!(answer.body.ends_with("# EOF\n"));
}
