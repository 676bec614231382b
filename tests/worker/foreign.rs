//! Items of other programs: readable ones are stored, and what was wrong with them is reported.

use bklit_pipeline::intake::visitor::IpPrivacy;
use bklit_pipeline::worker::WorkerContext;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::event::QueuedEvent;
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};

use super::Bench;
use crate::support::events::full_view;

/// Every field has a different type than ours, and none of the items is complete.
const VIEW: &str = r#"{"id":1,"type":"pageview","payload":{"url":"https://a.example/","projectId":7,"title":404,
    "zip":150,"sessionId":99,"lat":"59.91","lon":"10.75","mobile":"true","isNewVisitor":1,"city":"Os\ud83d",
    "timestamp":"Sat, 31 Jan 2026 12:00:00 GMT","description":{"a":1e400},"robots":null},"trace":{}}"#;
const EVENT: &str = r#"{"id":"2","type":"event","payload":{"trackingId":5,"sessionId":true,
    "metadata":[12345678901234567890123]},"queuedAt":"2026-01-31","projectId":"7"}"#;
const END: &str = "\u{feff}{\"id\":\"3\",\"type\":\"session_end\",\"payload\":{\"sessionId\":99,\"timestamp\":1769860860000},\"queuedAt\":\"Sat Jan 31 2026 13:01:00 GMT+0100 (CET)\",\"projectId\":7}";

#[tokio::test(start_paused = true)]
async fn items_that_can_be_read_are_stored() {
    let (mut bench, context) = Bench::new();
    for item in [VIEW, EVENT, END] {
        bench.queue.push_raw(item);
    }
    bench.start(context);
    for (event, problem) in
        [("2", "eventType: missing, stored as `event`"), ("1", "queuedAt: missing")]
    {
        let line = bench.line("Incomplete events of another program").await;
        assert_eq!((line.stage, line.level), (Stage::Worker, Level::Warn));
        assert_eq!((&line.data["problem"], &line.data["events"]), (&json!(problem), &json!(1)));
        let about = (line.event_id.as_deref(), line.project_id.as_deref());
        assert_eq!(about, (Some(event), Some("7")));
    }
    bench.drained().await;
    bench.stop().await;
    assert_eq!(bench.queue.failures(), []);
    let views = bench
        .store
        .rows(
            "SELECT id, project_id, session_id, title, zip, lat, lon, mobile, is_new_visitor, city, \
             timestamp, description, robots FROM page_view_event",
        )
        .await;
    let expected = json!([
        "1",
        "7",
        "99",
        "404",
        "150",
        59.91,
        10.75,
        1,
        1,
        "Os\u{fffd}",
        "2026-01-31 12:00:00",
        r#"{"a":1e400}"#,
        null
    ]);
    assert_eq!(views, [expected.as_array().unwrap().clone()]);
    let events = bench
        .store
        .rows("SELECT id, event_definition_id, session_id, metadata, timestamp FROM tracked_event")
        .await;
    let expected = json!([
        "2",
        "5",
        "true",
        r#"{"value":[12345678901234567890123],"eventType":"event"}"#,
        "2026-01-31 00:00:00"
    ]);
    assert_eq!(events, [expected.as_array().unwrap().clone()]);
    let ended =
        "SELECT ended_at FROM tracked_session WHERE session_id = '99' AND ended_at IS NOT NULL";
    assert_eq!(bench.store.rows(ended).await, [[Value::from("2026-01-31 12:01:00")]]);
}

#[tokio::test(start_paused = true)]
async fn addresses_are_stored_as_the_privacy_setting_says() {
    let (cut, full, none) = (IpPrivacy::Cut, IpPrivacy::Full, IpPrivacy::None);
    for (privacy, sent, stored) in [
        (cut, "203.0.113.9", json!("203.0.113.0")),
        (cut, "2001:db8:1:2:3:4:5:6", json!("2001:db8:1:2::")),
        (cut, "unknown", json!(null)),
        (full, "203.0.113.9", json!("203.0.113.9")),
        (none, "203.0.113.9", json!(null)),
    ] {
        let (mut bench, context) = Bench::new();
        let payload = json!({ "url": "https://a.example/", "ip": sent });
        let item = json!({ "id": "1", "type": "pageview", "payload": payload, "projectId": "p" });
        bench.queue.push_raw(&item.to_string());
        bench.start(WorkerContext { privacy, ..context });
        bench.drained().await;
        bench.stop().await;
        let rows = bench.store.rows("SELECT ip FROM page_view_event").await;
        assert_eq!(rows, [[stored.clone()]], "{privacy:?} {sent}");
        let counted = r#"bklit_values_changed_total{field="ip",change="cut"} 1"#;
        let is_counted = bench.metrics.to_prometheus().contains(counted);
        assert_eq!(is_counted, stored != json!(sent), "{privacy:?} {sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_items_that_make_no_sense_fail() {
    let (mut bench, context) = Bench::new();
    let deep = format!("{{\"id\":\"e\",\"type\":{}", "[".repeat(50_000));
    let items = [
        ("{\"id\":\"e\"", "not an event: (event): EOF while parsing an object"),
        ("[1]", "not an event: (event): expected a JSON object"),
        (&deep, "not an event: "),
        (
            r#"{"id":"","type":"session_end","payload":{"sessionId":"s"},"projectId":"p"}"#,
            "not an event: id: must not be empty",
        ),
        (
            r#"{"id":"e","type":"click","payload":{},"projectId":"p"}"#,
            "not an event: type: unknown variant `click`",
        ),
        (
            r#"{"id":"e","type":"event","payload":"{}","projectId":"p"}"#,
            "not an event: payload: expected a JSON object",
        ),
        (
            r#"{"id":"e","type":"event","payload":{"trackingId":"t"}}"#,
            "not an event: projectId: missing",
        ),
        (
            r#"{"id":"e","type":"pageview","payload":{"url":null},"projectId":"p"}"#,
            "not an event: payload.url: missing",
        ),
        (
            r#"{"id":"e","type":"pageview","payload":{"url":"u","timestamp":"noon"},"projectId":"p"}"#,
            "not an event: payload.timestamp: not an ISO 8601 date-time",
        ),
    ];
    for (item, _) in items {
        bench.queue.push_raw(item);
    }
    bench.start(context);
    bench.drained().await;
    bench.stop().await;
    let failures = bench.queue.failures();
    assert_eq!(failures.len(), items.len());
    for ((body, reason), (item, expected)) in failures.iter().zip(items) {
        assert_eq!(body, item, "kept as it was");
        assert!(reason.starts_with(expected), "{item}: {reason}");
    }
}

/// Whatever type a column's field has, a sender may write it as another.
#[test]
fn every_field_of_a_page_view_is_converted() {
    let event: Value = serde_json::from_str(&full_view("p", "1").to_json()).unwrap();
    let fields = event["payload"].as_object().unwrap();
    let own =
        fields.iter().filter(|(name, _)| !["projectId", "timestamp"].contains(&name.as_str()));
    for (name, value) in own {
        let (sent, read) = match value {
            Value::String(_) => (json!(7.25), json!("7.25")),
            Value::Bool(_) => (json!("yes"), json!(true)),
            Value::Number(_) => (json!(" 7.25"), json!(7.25)),
            other => panic!("{name}: {other}"),
        };
        let mut changed = event.clone();
        changed["payload"][name] = sent;
        let (event, notes) = QueuedEvent::read(&changed.to_string(), UtcMillis::MIN).unwrap();
        assert_eq!(notes, [""; 0], "{name}");
        let written: Value = serde_json::from_str(&event.to_json()).unwrap();
        changed["payload"][name] = read;
        assert_eq!(written, changed, "{name}");
    }
}
