//! Limits by project, token and address; ids and log lines under floods.

use std::time::Duration;

use bklit_pipeline::auth::{Scope, Secret, TokenRecord};
use bklit_pipeline::throttle::Limited;
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::event::Payload;
use bklit_wire::time::UtcMillis;
use serde_json::json;

use super::client::{Answer, post};
use super::server::Server;
use crate::support::{DEADLINE, Daemon, eventually, request};

const ORIGIN: &str = "https://a.example";
const VIEW: &str = r#"{"url":"https://a.example/","projectId":"p","sessionId":"s"}"#;

async fn flood(server: &Server, secret: &str, body: &str, count: usize) -> (usize, Answer) {
    let bearer = format!("Bearer {secret}");
    let (mut accepted, mut last) = (0, None);
    for _ in 0..count {
        let answer = server
            .send(post("/track", &[("Authorization", &bearer), ("Origin", ORIGIN)], body))
            .await;
        accepted += usize::from(answer.status == 200);
        last = Some(answer);
    }
    (accepted, last.unwrap())
}

fn assert_throttled(answer: &Answer, what: &str, longest: u64) {
    assert_eq!(answer.status, 429, "{answer:?}");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=longest).contains(&seconds), "{seconds}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(answer.header("access-control-expose-headers"), Some("Retry-After"));
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains(what), "{error}");
}

#[tokio::test]
async fn a_flood_of_one_project_is_answered_429_and_others_are_served() {
    let server = Server::with_settings("127.0.0.1:0", |settings| {
        settings.limits.project_per_second = 1;
        let more = Limited { per_second: Some(1_000), ..Limited::default() };
        settings.limits.projects.insert("big".to_owned(), more);
    })
    .await;
    let (accepted, last) = flood(&server, &server.ingest, VIEW, 60).await;
    assert!((10..60).contains(&accepted), "{accepted}");
    assert_throttled(&last, "too many events per second for this project", 2);
    let (other, _) = server.tokens.make(Scope::Ingest, &["q", "big"], |_| {}).await;
    let view = |project: &str| VIEW.replace(r#""p""#, &format!("{project:?}"));
    assert_eq!(flood(&server, other.expose(), &view("q"), 1).await.0, 1);
    assert_eq!(flood(&server, other.expose(), &view("big"), 60).await.0, 60);
    let metrics = server.get("/metrics", &[]).await;
    let throttled =
        format!("bklit_throttled_total{{limit=\"project_per_second\"}} {}", 60 - accepted);
    assert!(metrics.body.contains(&throttled), "{throttled} in {}", metrics.body);
    assert_eq!(server.log.publish_gauges().throttled, 60 - accepted as u64);
}

#[tokio::test]
async fn each_event_of_a_batch_counts() {
    let server = Server::with_settings("127.0.0.1:0", |settings| {
        settings.limits.project_per_day = 10;
    })
    .await;
    let event = r#"{"type":"pageview","url":"https://a.example/","projectId":"p"}"#;
    let batch = format!("[{}]", [event; 30].join(","));
    let first = server.post("/batch", &batch).await;
    assert_eq!(first.status, 200, "some were accepted");
    let results = first.json()["results"].as_array().unwrap().clone();
    let of = |status: u16| results.iter().filter(|result| result["status"] == status).count();
    assert_eq!((of(200), of(429)), (10, 20));
    let second = server.post("/batch", &batch).await;
    assert_eq!(second.status, 429);
    let seconds: u64 = second.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&seconds), "{seconds}");
    let gauges = server.log.publish_gauges();
    assert_eq!((gauges.refused, gauges.throttled), (50, 50));
}

#[tokio::test]
async fn a_token_has_a_daily_limit() {
    let server = Server::with_settings("127.0.0.1:0", |settings| {
        settings.limits.token_per_day = 3;
    })
    .await;
    // Refused events do not count, and neither do retries.
    let bad = r#"{"url":"relative","projectId":"p"}"#;
    assert_eq!(flood(&server, &server.ingest, bad, 5).await.0, 0);
    let own = r#"{"url":"https://a.example/","projectId":"p","eventId":"k"}"#;
    assert_eq!(flood(&server, &server.ingest, own, 5).await.0, 5);
    let (accepted, last) = flood(&server, &server.ingest, VIEW, 5).await;
    assert_eq!(accepted, 2);
    assert_throttled(&last, "the token has used up its events for today", 86_400);
    let (other, _) = server.tokens.make(Scope::Ingest, &["p"], |_| {}).await;
    assert_eq!(flood(&server, other.expose(), VIEW, 3).await.0, 3);
}

async fn beacon(server: &Server, session: &str, timestamp: &str) -> Answer {
    let body = json!({ "sessionId": session, "projectId": "p", "timestamp": timestamp });
    let headers = [("Content-Type", "text/plain"), ("Origin", ORIGIN)];
    server.send(post("/session-end", &headers, body.to_string())).await
}

#[tokio::test]
async fn ends_of_unknown_sessions_are_bounded_and_marked_and_not_in_the_future() {
    let server = Server::with_settings("127.0.0.1:0", |settings| {
        settings.limits.unknown_ends_per_second = 1;
    })
    .await;
    let far = "2106-02-07T00:00:00Z";
    let mut accepted = 0;
    for n in 0..300 {
        let answer = beacon(&server, &format!("unknown{n}"), far).await;
        match answer.status {
            200 => accepted += 1,
            _ => assert_throttled(&answer, "too many ends of unknown sessions", 2),
        }
    }
    assert!((10..250).contains(&accepted), "{accepted}");
    assert_eq!(server.post("/track", VIEW).await.status, 200);
    assert_eq!(beacon(&server, "s", far).await.status, 200, "the end of a session that it knows");
    let of_end = |payload: &Payload| match payload {
        Payload::SessionEnd(end) => Some(end.clone()),
        _ => None,
    };
    let ends = server.queued().into_iter().filter_map(|item| of_end(&item.event.payload));
    let ends: Vec<_> = ends.collect();
    assert!(ends.iter().all(|end| end.timestamp.is_some_and(|at| at <= UtcMillis::now())));
    let known: Vec<_> = ends.iter().filter(|end| !end.unverified).collect();
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].session_id.as_str(), ends.len()), ("s", accepted + 1));
    // With a token, none of this applies.
    let forged = r#"{"sessionId":"unknown","projectId":"p","unverified":true}"#;
    for _ in 0..20 {
        assert_eq!(server.post("/session-end", forged).await.status, 200);
    }
    let last = server.queued().pop().unwrap();
    assert!(matches!(&last.event.payload, Payload::SessionEnd(end) if !end.unverified));
}

#[tokio::test]
async fn lookups_of_wrong_tokens_are_limited_and_logged_once() {
    let server = Server::with_settings("127.0.0.1:0", |settings| {
        settings.limits.unknown_tokens_per_second = 1;
    })
    .await;
    let bus = server.bus.clone();
    let mut lines = bklit_wire::debug_bus::DebugBus::subscribe(&*bus);
    let (mut unknown, mut throttled) = (0, 0);
    for _ in 0..1_000 {
        let wrong = format!("Bearer {}", Secret::generate().unwrap().expose());
        let answer = server.send(post("/track", &[("Authorization", &wrong)], VIEW)).await;
        match answer.status {
            401 => unknown += 1,
            429 => throttled += 1,
            other => panic!("{other}"),
        }
    }
    assert!((10..500).contains(&unknown), "{unknown} of {}", unknown + throttled);
    // A token that this process has not seen before, but lists.
    server.works().await;
    let mut refused = 0;
    while let Ok(Some(message)) =
        tokio::time::timeout(Duration::from_millis(200), lines.next()).await
    {
        refused += usize::from(
            matches!(&message, DebugMessage::Log(line) if line.message == "Request refused"),
        );
    }
    assert!((1..=20).contains(&refused), "{refused} lines");
    assert_eq!(server.log.publish_gauges().refused, 1_000, "all are counted");
}

#[tokio::test]
async fn a_refused_site_is_named_in_the_log_only() {
    let server = Server::with_settings("127.0.0.1:0", |settings| {
        settings.auth.exact_domains = true;
    })
    .await;
    let limit = |token: &mut TokenRecord| {
        token.allowed_domains = vec!["shop.example".into(), "*.b.example".into()];
    };
    let (limited, _) = server.tokens.make(Scope::Ingest, &["p"], limit).await;
    let bearer = format!("Bearer {}", limited.expose());
    let mut lines = bklit_wire::debug_bus::DebugBus::subscribe(&*server.bus);
    let track = |origin: &'static str| {
        let headers = [("Authorization", bearer.as_str()), ("Origin", origin)];
        server.send(post("/track", &headers, VIEW))
    };
    assert_eq!(track("https://shop.example").await.status, 200);
    assert_eq!(track("https://a.b.example").await.status, 200);
    let refused = track("https://evil.shop.example").await;
    assert_eq!(refused.status, 403);
    assert!(!refused.body.contains("b.example"), "{}", refused.body);
    let line = loop {
        match lines.next().await.unwrap() {
            DebugMessage::Log(line) if line.message == "Request refused" => break line,
            _ => {}
        }
    };
    let error = line.data["error"].as_str().unwrap();
    for part in ["https://evil.shop.example", "shop.example, *.b.example"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn local_requests_may_need_a_token_too() {
    let server = Server::with_settings("127.0.0.1:0", |settings| {
        settings.auth.loopback_needs_token = true;
    })
    .await;
    assert_eq!(server.get("/metrics", &[]).await.status, 401);
    let bearer = format!("Bearer {}", server.read);
    assert_eq!(server.get("/metrics", &[("Authorization", &bearer)]).await.status, 200);
    let retry = server.send(post("/api/queue/failed/retry", &[], r#"{"ids":[]}"#)).await;
    assert_eq!(retry.status, 401);
}

/// Over HTTP, with a real queue and store.
#[test]
fn an_event_id_is_for_one_event_of_one_kind() {
    let daemon = Daemon::start();
    let view = |title: &str| {
        json!({
            "url": "https://a.example/", "projectId": "default", "eventId": "k", "title": title
        })
    };
    let custom = json!({
        "trackingId": "t", "eventType": "click", "projectId": "default", "eventId": "k"
    });
    for _ in 0..2 {
        assert_eq!(daemon.post("/track", &view("one")).status, 200);
        assert_eq!(daemon.post("/track-event", &custom).status, 200);
        let taken = daemon.post("/track", &view("another"));
        assert_eq!(taken.status, 409, "{}", taken.text());
        assert!(taken.text().contains("eventId"), "{}", taken.text());
    }
    for table in ["page_view_event", "tracked_event"] {
        let sql = format!("SELECT count(*) FROM {table}");
        eventually(DEADLINE, table, || daemon.scalar(&sql) == json!(1));
    }
}

/// As a beacon: without a token.
fn end_session(daemon: &Daemon, session: &str) {
    let body = json!({ "sessionId": session, "projectId": "default" }).to_string();
    let headers = [("Content-Type", "text/plain")];
    let sent = request(daemon.addr, "POST", "/session-end", &headers, body.as_bytes());
    assert_eq!(sent.unwrap().status, 200);
}

/// An end without a token, of a session that the process does not know, counts only if it is stored.
#[test]
fn the_worker_drops_ends_of_unknown_sessions() {
    let daemon = Daemon::start();
    let view = json!({"url": "https://a.example/", "projectId": "default", "sessionId": "stored"});
    end_session(&daemon, "unknown");
    assert_eq!(daemon.post("/track", &view).status, 200);
    let ended = "SELECT count(*) FROM tracked_session WHERE ended_at IS NOT NULL";
    let stored = "SELECT count(*) FROM page_view_event";
    eventually(DEADLINE, "it is stored", || daemon.scalar(stored) == json!(1));
    // Another process, which does not know the session.
    let daemon = daemon.restart();
    end_session(&daemon, "stored");
    eventually(DEADLINE, "it is ended", || daemon.scalar(ended) == json!(1));
    let all = "SELECT count(*) FROM session_state";
    assert_eq!(daemon.scalar(all), json!(1), "nothing is left of the unknown one");
}
