//! Who sent an event, and how much of that is kept: addresses, locations, devices.

mod addresses;
mod database;
mod leaks;
mod limits;
mod locations;
pub mod mmdb;

use std::sync::Arc;

use bklit_pipeline::intake::visitor::{LocationDatabase, Networks, Seen};
use bklit_tui::config::Settings;
use bklit_wire::event::{PageView, Payload};
use serde_json::json;

use crate::http::server::Server;
use crate::websocket::server::{BROWSER, Server as WebSocketServer, Socket};

const VIEW: &str = r#"{"url":"https://a.example/","projectId":"p"}"#;

/// Trusts proxies on this machine.
fn behind_proxy(settings: &mut Settings) {
    settings.http.trusted_proxies = Networks::parse(["loopback"]).unwrap();
}

/// The page views that a server has queued.
fn views(server: &Server) -> Vec<PageView> {
    let queued = server.queued();
    let views = queued.iter().filter_map(|item| match &item.event.payload {
        Payload::Pageview(view) => Some((**view).clone()),
        _ => None,
    });
    views.collect()
}

/// The page view that arrives when a request, or the handshake of a socket, has these headers: the
/// same over both entry points.
async fn viewed(
    database: Option<&Arc<LocationDatabase>>,
    change: impl Fn(&mut Settings),
    headers: &[(&str, &str)],
) -> PageView {
    let start = || Server::start_located("127.0.0.1:0", database.cloned(), &change);
    let server = start().await;
    assert_eq!(server.post_with("/track", headers, VIEW).await.status, 200);
    let over_http = views(&server).remove(0);
    server.stop().await;

    let server = WebSocketServer::over(start().await, |_| {}).await;
    let mut socket = Socket::open(server.address, BROWSER, headers).await;
    socket.greeted().await;
    let data = json!({ "url": "https://a.example/" });
    socket.say(json!({ "type": "pageview", "apiKey": server.ingest, "data": data })).await;
    assert_eq!(socket.hear().await["type"], "ack");
    let over_websocket = views(&server).remove(0);
    server.stop().await;

    let (session_id, timestamp) = (over_websocket.session_id.clone(), over_websocket.timestamp);
    let expected = PageView { session_id, timestamp, ..over_http.clone() };
    assert_eq!(expected, over_websocket, "{headers:?}");
    over_http
}

/// A database that has read this file.
fn loaded(contents: &[u8]) -> Arc<LocationDatabase> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), contents).unwrap();
    let database = LocationDatabase::new(file.path().to_owned());
    let check = database.check(&mut Seen::default());
    assert!(database.is_loaded(), "{check:?}");
    Arc::new(database)
}
