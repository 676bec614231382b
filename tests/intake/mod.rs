//! How unusual values are handled, over both servers.

mod filters;
mod texts;
mod times;
mod urls;

use std::sync::Arc;
use std::time::Duration;

use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::debug_log::{DebugLog, Stage};
use bklit_wire::event::{EventKind, PageView, Payload, QueuedEvent};
use serde_json::{Value, json};

use crate::http::client::DEADLINE;
use crate::websocket::server::Server;

/// A server on which closed sockets do not add ends of sessions to the queue.
async fn start() -> Server {
    Server::start_with(|settings| settings.session_grace = Duration::from_secs(300)).await
}

/// Sends the same event over HTTP and over a WebSocket; returns both as they were queued. Ends of
/// sessions can be sent over HTTP only.
async fn accepted(server: &Server, kind: EventKind, body: &Value) -> Vec<QueuedEvent> {
    let before = server.queued().len();
    let path = match kind {
        EventKind::Pageview => "/track",
        EventKind::Event => "/track-event",
        EventKind::SessionEnd => "/session-end",
    };
    let answer = server.post(path, body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    if kind != EventKind::SessionEnd {
        let mut socket = server.browser().await;
        socket.say(json!({ "type": kind, "data": body })).await;
        let answer = socket.hear().await;
        assert_eq!(answer["type"], "ack", "{answer}");
        let events = server.queued().split_off(before);
        assert_eq!(events.len(), 2);
    }
    let events = server.queued().split_off(before);
    events.into_iter().map(|item| Arc::unwrap_or_clone(item.event)).collect()
}

/// A page view with these fields, as queued by each server.
async fn views(server: &Server, fields: Value) -> Vec<PageView> {
    let mut body = json!({ "url": "https://a.example/", "projectId": "p" });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let events = accepted(server, EventKind::Pageview, &body).await;
    let views = events.into_iter().map(|event| match event.payload {
        Payload::Pageview(view) => *view,
        other => panic!("{other:?}"),
    });
    views.collect()
}

/// The error for an event that both servers reject.
async fn rejected(server: &Server, kind: EventKind, body: &Value) -> String {
    let path = if kind == EventKind::Pageview { "/track" } else { "/track-event" };
    let answer = server.post(path, body.to_string()).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let mut socket = server.browser().await;
    socket.say(json!({ "type": kind, "data": body })).await;
    assert_eq!(socket.error().await["error"], answer.error());
    answer.error().to_owned()
}

/// The value of a metric's line; 0 if there is none.
fn metric(server: &Server, line: &str) -> u64 {
    let text = server.log.metrics().to_prometheus();
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// How often values of `field` were changed in this way.
fn changed(server: &Server, field: &str, change: &str) -> u64 {
    metric(server, &format!("bklit_values_changed_total{{field=\"{field}\",change=\"{change}\"}}"))
}

/// The next line about an event that was received.
async fn received(lines: &mut Box<dyn DebugStream>) -> DebugLog {
    loop {
        let next = tokio::time::timeout(DEADLINE, lines.next()).await.unwrap().unwrap();
        if let DebugMessage::Log(line) = next
            && line.stage == Stage::Ingestion
            && line.message.starts_with("Event received")
        {
            return DebugLog::clone(&line);
        }
    }
}

fn lines(server: &Server) -> Box<dyn DebugStream> {
    server.bus.subscribe()
}
