//! Paths, methods and headers of answers.

use std::sync::atomic::Ordering::SeqCst;

use bklit_pipeline::http::{Access, ROUTES};
use bklit_wire::event::EventKind;

use super::client::{post, request};
use super::server::Server;

fn ingest() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().filter(|route| route.access == Access::Sender).map(|route| route.path)
}

#[tokio::test]
async fn events_are_accepted_at_the_urls_of_all_sdks() {
    let server = Server::start().await;
    let view = r#"{"url":"https://a.example/","projectId":"p"}"#;
    let event = r#"{"trackingId":"t","eventType":"e","projectId":"p"}"#;
    let end = r#"{"sessionId":"s","projectId":"p"}"#;
    for (path, body, kind) in [
        ("/track", view, EventKind::Pageview),
        ("/api/track", view, EventKind::Pageview),
        ("/track-event", event, EventKind::Event),
        ("/api/track-event", event, EventKind::Event),
        ("/session-end", end, EventKind::SessionEnd),
        ("/api/session-end", end, EventKind::SessionEnd),
        ("/api/track/session-end", end, EventKind::SessionEnd),
    ] {
        let doubled = path.replace('/', "//");
        for path in
            [path, &format!("{path}/"), &format!("{path}//?a=/"), &format!("/{path}"), &doubled]
        {
            let answer = server.post(path, body).await;
            assert_eq!(answer.status, 200, "{path} {answer:?}");
            assert_eq!(server.queued().pop().unwrap().event.payload.kind(), kind, "{path}");
        }
    }
    for path in ["/health/", "//health", "//ready//", "/api//queue/", "/metrics/"] {
        assert_eq!(server.get(path, &[]).await.status, 200, "{path}");
        // The route's permission, not another one.
        let outside = server.get(path, &[("X-Forwarded-For", "192.0.2.1")]).await.status;
        let is_for_all = path.contains("health") || path.contains("ready");
        assert_eq!(outside, if is_for_all { 200 } else { 401 }, "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_errors() {
    let server = Server::start().await;
    let unknown = ["/", "//", "/tracks", "/TRACK", "/api/../track", "/%74rack", "/track/x", "/api"];
    for path in unknown {
        for request in [request("GET", path, &[]).into_bytes(), post(path, &[], "{}")] {
            let answer = server.send(request).await;
            assert_eq!(answer.status, 404, "{path}");
            assert!(answer.error().contains("/track"));
        }
    }
    for path in ingest() {
        for method in ["GET", "PUT", "DELETE", "PATCH", "BREW"] {
            let answer = server.send(request(method, path, &[])).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
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
async fn health_shows_the_state_of_each_part() {
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
