//! Timestamps in any unit, and from wrong clocks.

use bklit_wire::debug_log::Level;
use bklit_wire::event::{EventKind, QueuedEvent};
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};

use super::{accepted, changed, lines, received, start};
use crate::websocket::server::Server;

const KINDS: [EventKind; 3] = [EventKind::Pageview, EventKind::Event, EventKind::SessionEnd];

/// An event of this kind with these fields, as queued by each server.
async fn queued(server: &Server, kind: EventKind, fields: Value) -> Vec<QueuedEvent> {
    let mut body = json!({
        "projectId": "p", "url": "https://a.example/", "trackingId": "t", "eventType": "e",
        "sessionId": "s",
    });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    accepted(server, kind, &body).await
}

fn millis(event: &QueuedEvent) -> i64 {
    event.payload.timestamp().unwrap().epoch_millis()
}

#[tokio::test]
async fn a_timestamp_may_have_any_unit() {
    let server = start().await;
    for kind in KINDS {
        for timestamp in [
            json!(1_769_860_800),
            json!(1_769_860_800_000_i64),
            json!(1_769_860_800_000_000_i64),
            json!(1_769_860_800_000_000_000_i64),
            json!(1_769_860_800.000_9),
            json!("1769860800"),
            json!("1769860800000"),
            json!("2026-01-31T12:00:00.0001234567890Z"),
            json!("2026-01-31T14:00:00+02:00"),
        ] {
            for event in queued(&server, kind, json!({ "timestamp": timestamp })).await {
                assert_eq!(millis(&event), 1_769_860_800_000, "{timestamp}");
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn dates_that_javascript_reads_are_read() {
    let server = start().await;
    for (sent, read) in [
        ("2026-10-31T24:00:00Z", "2026-11-01T00:00:00.000Z"),
        ("2026-02-30T00:00:00Z", "2026-03-02T00:00:00.000Z"),
    ] {
        for event in queued(&server, EventKind::Pageview, json!({ "timestamp": sent })).await {
            assert_eq!(event.payload.timestamp().unwrap().to_string(), read, "{sent}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn an_implausible_timestamp_is_replaced_with_a_warning() {
    replaced([
        (json!("2099-01-01T00:00:00Z"), "2099-01-01T00:00:00.000Z"),
        (json!("1970-01-21T10:51:00Z"), "1970-01-21T10:51:00.000Z"),
        (json!("0001-01-01T00:00:00Z"), "1970-01-01T00:00:00.000Z"),
        (json!(-1), "1970-01-01T00:00:00.000Z"),
        (json!(1e300), "2106-02-07T06:28:15.999Z"),
    ])
    .await;
}

#[tokio::test]
async fn an_invalid_time_is_replaced_with_a_warning() {
    replaced([
        (json!("+010000-01-01T00:00:00.000Z"), "2106-02-07T06:28:15.999Z"),
        (json!("now"), "\"now\" is not a time"),
        (json!(""), "\"\" is not a time"),
        (json!({ "at": 7 }), "\"{\\\"at\\\":7}\" is not a time"),
        (json!("x".repeat(60_000)), &format!("\"{}\" is not a time", "x".repeat(40))),
    ])
    .await;
}

/// Each of these times is replaced, with a warning that shows it.
async fn replaced(times: [(Value, &str); 5]) {
    for kind in KINDS {
        // Of a server's many lines about one project, not all are shown.
        let server = start().await;
        let mut lines = lines(&server);
        for (sent, shown) in &times {
            let began = UtcMillis::now().epoch_millis();
            for event in queued(&server, kind, json!({ "timestamp": sent })).await {
                let replaced = millis(&event);
                assert!((began..=UtcMillis::now().epoch_millis()).contains(&replaced), "{sent}");
                assert_eq!(event.payload.timestamp(), Some(event.queued_at));
                let line = received(&mut lines).await;
                assert_eq!((line.level, line.event_id), (Level::Warn, Some(event.id)));
                let change = line.data["changed"]["timestamp"].as_str().unwrap();
                assert!(change.starts_with(shown), "{change}");
            }
        }
        let sent = if kind == EventKind::SessionEnd { 5 } else { 10 };
        assert_eq!(changed(&server, "timestamp", "replaced"), sent);
        server.stop().await;
    }
}

#[tokio::test]
async fn the_end_of_a_session_without_a_token_cannot_be_in_the_far_future() {
    let server = start().await;
    let body = r#"{"projectId":"p","sessionId":"s","timestamp":"2106-02-07T00:00:00Z"}"#;
    let request = crate::http::client::post("/session-end", &[], body);
    assert_eq!(server.send(request).await.status, 200);
    let event = server.queued().pop().unwrap().event;
    assert_eq!(event.payload.timestamp(), Some(event.queued_at));
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_when_the_event_was_sent() {
    const DAY: i64 = 24 * 3600 * 1000;
    let server = start().await;
    let mut lines = lines(&server);
    for kind in KINDS {
        for skew in [-10_000 * DAY, -3_600_000, 3_600_000, 3 * DAY] {
            let now = UtcMillis::now().epoch_millis();
            let at = |millis: i64| UtcMillis::from_epoch_millis(millis + skew).to_string();
            // It happened a minute before it was sent.
            let fields = json!({ "timestamp": at(now - 60_000), "sentAt": at(now) });
            for event in queued(&server, kind, fields).await {
                let took = UtcMillis::now().epoch_millis() - now;
                let off = millis(&event) - (now - 60_000);
                assert!((0..=took).contains(&off), "{skew}: off by {off} ms");
                let line = received(&mut lines).await;
                assert_eq!(line.level, Level::Info);
                let change = line.data["changed"]["timestamp"].as_str().unwrap();
                assert!(change.starts_with(&at(now - 60_000)), "{change}");
            }
        }
        let now = UtcMillis::now().epoch_millis() / 1000;
        for event in queued(&server, kind, json!({ "timestamp": now - 60, "sentAt": "noon" })).await
        {
            assert_eq!(millis(&event), (now - 60) * 1000, "not a time: ignored");
            received(&mut lines).await;
        }
    }
    assert_eq!(changed(&server, "timestamp", "corrected"), 20);
    server.stop().await;
}
