//! Dashboards: who is admitted, what they receive, and what happens to slow ones.

use bklit_pipeline::auth::{Scope, TokenStore};
use bklit_pipeline::bus::LiveBus;
use bklit_wire::debug_bus::{DebugBus, DebugMessage};
use bklit_wire::event::{EventKind, LiveEvent};
use bklit_wire::object::Object;
use bklit_wire::time::UtcMillis;
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::server::{DASHBOARD, Server, Socket};

fn event(project: &str, r#type: EventKind, data: &Value) -> LiveEvent {
    LiveEvent {
        project_id: project.into(),
        timestamp: UtcMillis::from_epoch_millis(1_769_860_800_000),
        r#type,
        data: Object::of(data),
    }
}

#[tokio::test]
async fn a_dashboard_sees_its_projects_events_of_all_kinds() {
    let server = Server::start().await;
    let mut all = [server.dashboard().await, server.dashboard().await];
    let data = json!({ "sessionId": "s" });
    for (project, kind) in [
        ("p", EventKind::Pageview),
        ("q", EventKind::Pageview),
        ("p", EventKind::Event),
        ("p", EventKind::SessionEnd),
    ] {
        server.live.publish(event(project, kind, &data)).await.unwrap();
    }
    for dashboard in &mut all {
        for kind in ["pageview", "event", "session_end"] {
            let expected =
                json!({ "type": kind, "data": data, "timestamp": "2026-01-31T12:00:00.000Z" });
            assert_eq!(dashboard.hear().await, expected);
        }
        dashboard.silent().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn only_readers_and_allowed_origins_are_admitted() {
    let server = Server::start_with(|settings| {
        let origins = ["https://dash.example/", "http://[::1]:3000"];
        settings.allowed_origins = Some(origins.map(str::to_owned).to_vec());
    })
    .await;
    let (of_q, _) = server.tokens.make(Scope::Read, &["q"], |_| {}).await;
    let elsewhere = ("origin", "https://evil.example");
    let bearer = |secret: &str| format!("Bearer {secret}");
    let with_token = format!("{DASHBOARD}&token={}", server.read);
    let good = bearer(&server.read);
    let own = format!("http://{}", server.address);
    for (path, headers) in [
        (DASHBOARD, &[][..]),
        (DASHBOARD, &[("origin", own.as_str())]),
        (DASHBOARD, &[("origin", "https://dash.example")]),
        (DASHBOARD, &[("origin", "https://DASH.example:443")]),
        (DASHBOARD, &[("origin", "http://[::1]:3000")]),
        (DASHBOARD, &[elsewhere, ("authorization", &good)]),
        (&with_token, &[elsewhere]),
        (&with_token, &[("x-forwarded-for", "203.0.113.9")]),
    ] {
        Socket::open(server.address, path, headers).await.greeted().await;
    }
    let (ingest, foreign) = (bearer(&server.ingest), bearer(of_q.expose()));
    for headers in [
        &[elsewhere][..],
        &[("origin", "http://dash.example")],
        &[("origin", "https://dash.example.evil.org")],
        &[("origin", "null")],
        &[("x-forwarded-for", "203.0.113.9")],
        &[("host", "rebound.example")],
        &[("authorization", "nonsense")],
        &[("authorization", &ingest)],
        &[("authorization", &foreign)],
    ] {
        let (code, reason) = Socket::open(server.address, DASHBOARD, headers).await.closed().await;
        assert!(code == 1008 && !reason.is_empty(), "{headers:?}: {code} {reason}");
    }
    server.stop().await;
}

#[tokio::test]
async fn by_default_bklits_local_dashboard_is_admitted() {
    let server = Server::start().await;
    let mut lines = server.bus.subscribe();
    for origin in ["http://localhost:3000", "http://localhost:3002", "http://localhost:5173"] {
        server.connect_from(DASHBOARD, origin).await.greeted().await;
    }
    let local = ("origin", "http://localhost:3000");
    for headers in [
        &[("origin", "http://localhost:3001")][..],
        &[("origin", "https://evil.example")],
        // Another client's request, forwarded by a proxy.
        &[local, ("x-forwarded-for", "203.0.113.9")],
        &[local, ("host", "rebound.example")],
    ] {
        let (code, reason) = Socket::open(server.address, DASHBOARD, headers).await.closed().await;
        assert!(code == 1008 && reason.contains("allowed_origins"), "{headers:?}: {reason}");
    }
    let refused = async {
        loop {
            let DebugMessage::Log(log) = lines.next().await.unwrap() else { continue };
            if log.message == "Socket refused" && log.data["origin"] == "https://evil.example" {
                return log;
            }
        }
    };
    let line = super::server::in_time(refused).await;
    assert_eq!(line.project_id.as_deref(), Some("p"));
    assert_eq!(line.data["allowedOrigins"].as_array().unwrap().len(), 3);
    server.stop().await;
    let server = Server::start_with(|settings| settings.allowed_origins = Some(vec![])).await;
    let mut socket = Socket::open(server.address, DASHBOARD, &[local]).await;
    assert_eq!(socket.closed().await.0, 1008);
    server.stop().await;
}

#[tokio::test]
async fn sockets_open_over_tls() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let files = crate::http::tls::Files::new();
    let server = Server::start_over(Some(files.tls.clone()), |_| {}).await;
    let stream = crate::support::tls::connect(server.address, "ca").await.unwrap();
    let mut request = format!("wss://{}{DASHBOARD}", server.address).into_client_request().unwrap();
    let own = format!("https://{}", server.address);
    request.headers_mut().insert("origin", own.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let greeting = super::server::in_time(socket.next()).await.unwrap().unwrap();
    assert!(greeting.to_text().unwrap().contains("connected"), "{greeting}");
    server.stop().await;
}

#[tokio::test]
async fn a_revoked_reader_is_disconnected() {
    let server = Server::start().await;
    let (secret, token) = server.tokens.make(Scope::Read, &["p"], |_| {}).await;
    let path = format!("{DASHBOARD}&token={}", secret.expose());
    let mut dashboard = server.connect(&path).await;
    dashboard.greeted().await;
    server.tokens.revoke(&token.id).await.unwrap();
    assert_eq!(dashboard.closed().await.0, 1008);
    server.stop().await;
}

#[tokio::test]
async fn a_slow_dashboard_loses_events_and_learns_how_many() {
    const EVENTS: u64 = 40_000;
    let server = Server::start().await;
    let (mut slow, mut quick) = (server.dashboard().await, server.dashboard().await);
    let padding = "x".repeat(1_000);
    for n in 0..EVENTS {
        let data = json!({ "n": n, "padding": padding });
        server.live.publish(event("p", EventKind::Pageview, &data)).await.unwrap();
        if n % 1_000 == 999 {
            for expected in n - 999..=n {
                assert_eq!(quick.hear().await["data"]["n"], expected);
            }
        }
    }
    let (mut seen, mut lost, mut last) = (0, 0, None);
    while seen + lost < EVENTS {
        let message = slow.hear().await;
        if message["type"] == "lost" {
            lost += message["data"]["count"].as_u64().unwrap();
        } else {
            let n = message["data"]["n"].as_u64();
            assert!(n > last, "in order: {n:?} after {last:?}");
            (seen, last) = (seen + 1, n);
        }
    }
    assert!(
        lost > 0 && seen + lost == EVENTS && last == Some(EVENTS - 1),
        "{seen} {lost} {last:?}"
    );
    let metrics = server.log.metrics().to_prometheus();
    assert!(metrics.contains(&format!("bklit_live_events_lost_total {lost}\n")), "{metrics}");
    server.stop().await;
}
