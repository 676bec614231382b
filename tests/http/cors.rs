//! What pages of other sites may do and read.

use std::sync::atomic::Ordering::SeqCst;

use bklit_pipeline::auth::Scope;
use bklit_pipeline::http::{Access, ROUTES, Route};
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::debug_log::DebugLog;

use super::client::{Answer, DEADLINE, post, request};
use super::server::Server;

const SHOP: &str = "https://shop.example";
const VIEW: &str = r#"{"type":"pageview","url":"https://a.example/","projectId":"p"}"#;
const HEADERS: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-allow-private-network",
    "access-control-expose-headers",
];

/// Asserts that a page at `origin` that sent credentials may read the response.
#[track_caller]
fn assert_readable(answer: &Answer, origin: &str) {
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{answer:?}");
    let vary = answer.header("vary").unwrap();
    assert!(vary.split(", ").any(|name| name == "Origin"), "{vary}");
    let exposed = answer.header("retry-after").map(|_| "Retry-After");
    assert_eq!(answer.header("access-control-expose-headers"), exposed, "{answer:?}");
}

#[track_caller]
fn assert_closed(answer: &Answer) {
    for name in HEADERS {
        assert_eq!(answer.header(name), None, "{answer:?}");
    }
}

fn senders() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().filter(|route| route.access == Access::Sender).map(|route| route.path)
}

#[tokio::test]
async fn a_page_reads_every_answer_with_credentials() {
    let server = Server::start().await;
    let body = r#"{"type":"pageview","url":"https://a.example/","projectId":"p",
        "trackingId":"t","eventType":"e","sessionId":"s"}"#
        .replace('\n', "");
    for path in senders() {
        for origin in [SHOP, "null", "capacitor://localhost", "http://[::1]:3000"] {
            let headers = [("Origin", origin), ("Cookie", "a=b")];
            let answer = server.post_with(path, &headers, &body).await;
            assert_eq!(answer.status, 200, "{path} {answer:?}");
            assert_readable(&answer, origin);
        }
        let answer = server.post(path, &body).await;
        assert_eq!((answer.status, answer.header("vary")), (200, Some("Origin")));
        assert_closed(&answer);
    }
}

#[tokio::test]
async fn a_page_reads_why_it_is_refused() {
    let server = Server::start().await;
    let elsewhere = |token: &mut bklit_pipeline::auth::TokenRecord| {
        token.allowed_domains = vec!["other.example".into()];
    };
    let (elsewhere, _) = server.tokens.make(Scope::Ingest, &["p"], elsewhere).await;
    let elsewhere = format!("Bearer {}", elsewhere.expose());
    let bearer = format!("Bearer {}", server.ingest);
    let large = format!("{VIEW}{}", " ".repeat(2 << 20));
    let origin = ("Origin", SHOP);
    let token = ("Authorization", bearer.as_str());
    for path in ["/track", "/api/track", "/track-event", "/batch", "/api/batch"] {
        let post =
            |headers: &[(&str, &str)], body: &str| post(path, &[&[origin], headers].concat(), body);
        let site = ("Authorization", elsewhere.as_str());
        let event = r#"{"type":"event","trackingId":"t","eventType":"e","projectId":"p"}"#;
        let body = if path == "/track-event" { event } else { VIEW };
        for (bytes, status) in [
            (post(&[token], "{}"), 400),
            (post(&[], body), 401),
            (post(&[("Authorization", "Bearer x")], body), 401),
            (post(&[site], body), 403),
            (post(&[token], &large), 413),
            (post(&[token, ("Content-Type", "text/html")], body), 415),
            (post(&[token, ("Content-Encoding", "lzma")], body), 415),
            (request("GET", path, &[origin]).into_bytes(), 405),
            (request("POST", path, &[origin]).into_bytes(), 411),
            (request("GET", "/trakc", &[origin]).into_bytes(), 404),
        ] {
            let answer = server.send(bytes).await;
            assert_eq!(answer.status, status, "{path} {answer:?}");
            assert_readable(&answer, SHOP);
        }
        for switch in [&server.queue.is_full, &server.queue.is_away] {
            switch.store(true, SeqCst);
            let answer = server.send(post(&[token], body)).await;
            assert_eq!(answer.status, 503, "{path} {answer:?}");
            assert_eq!(answer.header("access-control-expose-headers"), Some("Retry-After"));
            assert_readable(&answer, SHOP);
            switch.store(false, SeqCst);
        }
    }
    assert!(server.queued().is_empty());
}

#[tokio::test]
async fn routes_for_readers_and_admins_stay_closed_to_pages() {
    let server = Server::start().await;
    let bearer = format!("Bearer {}", server.read);
    let mut closed = 0;
    // The tracker's script is public, and the same for everybody.
    let is_closed = |route: &&Route| route.access != Access::Sender && route.path != "/tracker.js";
    for route in ROUTES.iter().filter(is_closed) {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "PUT"] {
            for authorization in [None, Some(bearer.as_str())] {
                let mut headers = vec![("Origin", SHOP), ("Cookie", "a=b")];
                headers.extend(authorization.map(|bearer| ("Authorization", bearer)));
                if method == "OPTIONS" {
                    headers.push(("Access-Control-Request-Method", "GET"));
                    headers.push(("Access-Control-Request-Headers", "authorization"));
                    headers.push(("Access-Control-Request-Private-Network", "true"));
                }
                let path = format!("{}?follow=false", route.path);
                let mut client = server.client().await;
                client.send(request(method, &path, &headers)).await;
                assert_closed(&client.head().await.unwrap());
                closed += 1;
            }
        }
    }
    assert!(closed > 100, "{closed}");
}

fn preflight<'a>(method: &'a str, headers: &'a str) -> Vec<(&'a str, &'a str)> {
    let requested = ("Access-Control-Request-Headers", headers);
    vec![("Origin", SHOP), ("Access-Control-Request-Method", method), requested]
}

#[tokio::test]
async fn preflights_are_granted_with_all_requested_headers() {
    let server = Server::start().await;
    for path in senders().chain(["*", "/unknown", "//track/", "/session-end/"]) {
        let traced = "authorization,baggage,content-type,sentry-trace,traceparent";
        let answer = server.send(request("OPTIONS", path, &preflight("POST", traced))).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        assert_readable(&answer, SHOP);
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST, OPTIONS"));
        let allowed = answer.header("access-control-allow-headers").unwrap();
        assert_eq!(allowed.replace(' ', ""), traced);
        assert_eq!(answer.header("access-control-max-age"), Some("86400"));
        let vary = answer.header("vary").unwrap();
        for name in ["Access-Control-Request-Headers", "Access-Control-Request-Method"] {
            assert!(vary.split(", ").any(|own| own == name), "{vary}");
        }
        assert_eq!(answer.header("access-control-allow-private-network"), None);
    }
    let private = [preflight("POST", ""), vec![("Access-Control-Request-Private-Network", "true")]];
    let answer = server.send(request("OPTIONS", "/track", &private.concat())).await;
    assert_eq!(answer.header("access-control-allow-private-network"), Some("true"));
    let usual = answer.header("access-control-allow-headers");
    assert_eq!(usual, Some("Authorization, Content-Type, Content-Encoding"));
    // Safe to repeat, in several lines and any case.
    let lines = [preflight("POST", "X-One, x-two"), vec![("Access-Control-Request-Headers", "a")]];
    let answer = server.send(request("OPTIONS", "/track", &lines.concat())).await;
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-one, x-two, a"));
}

#[tokio::test]
async fn the_requested_headers_are_bounded_and_checked() {
    let server = Server::start().await;
    let names = |count: usize| vec!["x-name"; count].join(",");
    let long = |length: usize| "x".repeat(length);
    for (headers, status) in [
        (names(64), 204),
        (names(65), 400),
        (long(4096), 204),
        (long(4097), 400),
        ("a b".to_owned(), 400),
        ("a\u{e9}".to_owned(), 400),
        ("a:b".to_owned(), 400),
        (" , ,a,".to_owned(), 204),
    ] {
        let answer = server.send(request("OPTIONS", "/track", &preflight("POST", &headers))).await;
        assert_eq!(answer.status, status, "{headers} {answer:?}");
        assert_readable(&answer, SHOP);
        if status == 400 {
            assert!(answer.error().starts_with("the preflight requests "), "{}", answer.error());
            assert_eq!(answer.header("access-control-allow-headers"), None);
        }
    }
    server.works().await;
}

async fn next_line(stream: &mut Box<dyn DebugStream>) -> DebugLog {
    match tokio::time::timeout(DEADLINE, stream.next()).await.unwrap().unwrap() {
        DebugMessage::Log(log) => DebugLog::clone(&log),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_preflight_that_fails_leaves_a_line() {
    let server = Server::start().await;
    let mut lines = server.bus.subscribe();
    let many = vec!["x-name"; 65].join(",");
    for (path, method, headers, problem) in [
        ("/trakc", "POST", "authorization", "no such path"),
        ("/track", "PUT", "authorization", "method not allowed here: use POST, OPTIONS"),
        ("/track", "POST", many.as_str(), "the preflight requests too many headers"),
        ("/api/live", "GET", "authorization", "this route is not for pages of other sites"),
    ] {
        let answer = server.send(request("OPTIONS", path, &preflight(method, headers))).await;
        let failed = next_line(&mut lines).await;
        assert_eq!(failed.message, "Preflight failed", "{answer:?}");
        assert_eq!(failed.data["error"], problem);
        assert_eq!((&failed.data["path"], &failed.data["origin"]), (&path.into(), &SHOP.into()));
        assert_eq!(failed.data["method"], method);
        let shown: String = headers.chars().take(200).collect();
        assert_eq!(failed.data["headers"], shown);
        if answer.status != 204 {
            assert_eq!(next_line(&mut lines).await.message, "Request refused");
        }
    }
    // These are not failed preflights.
    for (path, headers) in
        [("*", preflight("POST", "")), ("/unknown", vec![]), ("/track", preflight("POST", ""))]
    {
        assert_eq!(server.send(request("OPTIONS", path, &headers)).await.status, 204);
    }
    server.works().await;
    assert_eq!(next_line(&mut lines).await.message, "Event received");
}

#[tokio::test]
async fn a_rejected_origin_is_named() {
    let server = Server::start().await;
    let domain = |token: &mut bklit_pipeline::auth::TokenRecord| {
        token.allowed_domains = vec!["other.example".into()];
    };
    let (secret, _) = server.tokens.make(Scope::Ingest, &["p"], domain).await;
    let bearer = format!("Bearer {}", secret.expose());
    let mut lines = server.bus.subscribe();
    for path in ["/track", "/batch"] {
        let headers = [("Authorization", bearer.as_str()), ("Origin", SHOP)];
        assert_eq!(server.send(post(path, &headers, VIEW)).await.status, 403);
        let line = next_line(&mut lines).await;
        assert_eq!((line.message.as_ref(), &line.data["status"]), ("Request refused", &403.into()));
        assert_eq!((&line.data["origin"], &line.data["path"]), (&SHOP.into(), &path.into()));
        assert_eq!(line.project_id.as_deref(), Some("p"));
    }
}
