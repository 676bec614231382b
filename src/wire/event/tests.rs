use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Reads an item that was received at 13:00.
fn read(json: &str) -> Result<(QueuedEvent, Vec<String>), InvalidEvent> {
    QueuedEvent::read(json, time("2026-01-31T13:00:00Z"))
}

fn queued(json: &str) -> Result<QueuedEvent, InvalidEvent> {
    read(json).map(|(event, _)| event)
}

fn time(text: &str) -> UtcMillis {
    text.parse().unwrap()
}

fn event(id: &str, payload: Payload) -> QueuedEvent {
    QueuedEvent {
        id: id.to_owned(),
        payload,
        queued_at: time("2026-01-31T12:00:00.123Z"),
        project_id: "shop".to_owned(),
        push_ticket: None,
    }
}

/// What we write, byte for byte: Bklit's worker reads `projectId`, `timestamp` and `sessionId` from
/// the payload alone.
#[test]
fn the_queues_json_is_pinned() {
    let view = PageView {
        url: "https://shop.example/a?q=ø".to_owned(),
        timestamp: Some(time("2026-01-31T11:59:58Z")),
        title: Some("Sale \"1\"".to_owned()),
        session_id: Some("s-1".to_owned()),
        ip: Some("203.0.113.0".to_owned()),
        lat: Some(59.91),
        mobile: Some(true),
        ..PageView::default()
    };
    let custom = CustomEvent {
        tracking_id: "buy".to_owned(),
        event_type: "click".to_owned(),
        timestamp: Some(time("2026-01-31T11:59:58Z")),
        session_id: Some("s-1".to_owned()),
        metadata: Some(serde_json::from_str(r#"{"z":1e400,"a":[0.10]}"#).unwrap()),
        definition_id: Some("never on the wire".to_owned()),
    };
    let end = SessionEnd {
        session_id: "s-1".to_owned(),
        timestamp: None,
        reason: Some("closed".to_owned()),
        unverified: false,
    };
    for (payload, json) in [
        (
            Payload::Pageview(Box::new(view)),
            r#"{"id":"evt_1","type":"pageview","payload":{"projectId":"shop","url":"https://shop.example/a?q=ø","timestamp":"2026-01-31T11:59:58.000Z","sessionId":"s-1","title":"Sale \"1\"","ip":"203.0.113.0","lat":59.91,"mobile":true},"queuedAt":"2026-01-31T12:00:00.123Z","projectId":"shop"}"#,
        ),
        (
            Payload::Event(custom),
            r#"{"id":"evt_1","type":"event","payload":{"projectId":"shop","trackingId":"buy","eventType":"click","timestamp":"2026-01-31T11:59:58.000Z","sessionId":"s-1","metadata":{"z":1e400,"a":[0.10]}},"queuedAt":"2026-01-31T12:00:00.123Z","projectId":"shop"}"#,
        ),
        (
            Payload::SessionEnd(end),
            r#"{"id":"evt_1","type":"session_end","payload":{"projectId":"shop","timestamp":"2026-01-31T12:00:00.123Z","sessionId":"s-1","reason":"closed"},"queuedAt":"2026-01-31T12:00:00.123Z","projectId":"shop"}"#,
        ),
    ] {
        let written = event("evt_1", payload);
        assert_eq!(written.to_json(), json);
        let (mut found, notes) = read(json).unwrap();
        assert_eq!(notes, [""; 0]);
        let parsed = |json: &str| serde_json::from_str::<Value>(json).ok();
        assert_eq!(parsed(&found.to_json()), parsed(json), "what was read is written again");
        if let Payload::Event(custom) = &mut found.payload {
            custom.definition_id = Some("never on the wire".to_owned());
        }
        let mut expected = written;
        expected.payload.default_timestamp(expected.queued_at);
        assert_eq!(found, expected);
    }
}

/// What Bklit's ingestion and WebSocket servers write.
#[test]
fn what_bklit_writes_is_read_exactly() {
    for (json, kind, session) in [
        (
            r#"{"id":"evt_1769860800123_k3x9f","type":"pageview","payload":{"url":"https://shop.example/","timestamp":"2026-01-31T12:00:00.000Z","projectId":"shop","userAgent":"Mozilla/5.0","sessionId":"s-1","referrer":"","title":"Shop","isNewVisitor":true,"landingPage":"https://shop.example/","ip":"203.0.113.0"},"queuedAt":"2026-01-31T12:00:00.123Z","projectId":"shop"}"#,
            EventKind::Pageview,
            Some("s-1"),
        ),
        (
            r#"{"id":"evt_1769860800123_k3x9f","type":"pageview","payload":{"url":"https://shop.example/","timestamp":"2026-01-31T12:00:00.000Z","projectId":"shop","sessionId":"s-1","ip":"203.0.113.0","country":"Norway","countryCode":"NO","region":"03","regionName":"Oslo","city":"Oslo","zip":"0150","lat":59.9127,"lon":10.7461,"timezone":"Europe/Oslo","isp":"Telenor","mobile":false,"isNewSession":true},"queuedAt":"2026-01-31T12:00:00.123Z","projectId":"shop"}"#,
            EventKind::Pageview,
            Some("s-1"),
        ),
        (
            r#"{"id":"evt_1769860800123_k3x9f","type":"event","payload":{"trackingId":"buy","eventType":"click","timestamp":"2026-01-31T12:00:00.000Z","projectId":"shop","metadata":{"n":1},"sessionId":"s-1"},"queuedAt":"2026-01-31T12:00:00.123Z","projectId":"shop"}"#,
            EventKind::Event,
            Some("s-1"),
        ),
        (
            r#"{"id":"evt_1769860800123_k3x9f","type":"session_end","payload":{"sessionId":"s-1","timestamp":"2026-01-31T12:00:00.000Z"},"queuedAt":"2026-01-31T12:00:00.123Z","projectId":"shop"}"#,
            EventKind::SessionEnd,
            Some("s-1"),
        ),
    ] {
        let (event, notes) = read(json).unwrap();
        assert_eq!(notes, [""; 0], "{json}");
        assert_eq!((event.payload.kind(), event.payload.session_id()), (kind, session));
        assert_eq!(event.id, "evt_1769860800123_k3x9f");
        assert_eq!(event.project_id, "shop");
        assert_eq!(event.timestamp(), time("2026-01-31T12:00:00Z"));
        assert_eq!(event.queued_at, time("2026-01-31T12:00:00.123Z"));
    }
}

#[test]
fn other_types_and_missing_fields_are_accepted_as_by_bklits_worker() {
    let json = r#"{"id":7,"type":"pageview","payload":{"url":"/","url":"https://a.example/","projectId":12,"title":404,
        "zip":150,"sessionId":12345678901234567890123,"description":{"a":[1]},"lat":"59.91","lon":"east","mobile":"true",
        "isNewVisitor":1,"timestamp":"Sat, 31 Jan 2026 12:00:00 GMT","robots":null,"future":[{}],"city":"\ud83d"},
        "extra":{"x":1e400}}"#;
    let (event, notes) = read(json).unwrap();
    assert_eq!(notes, ["queuedAt: missing", "lon: not a number"]);
    assert_eq!((event.id.as_str(), event.project_id.as_str()), ("7", "12"));
    assert_eq!(event.queued_at, time("2026-01-31T13:00:00Z"));
    let text = |text: &str| Some(text.to_owned());
    let expected = PageView {
        url: "https://a.example/".to_owned(),
        timestamp: Some(time("2026-01-31T12:00:00Z")),
        title: text("404"),
        zip: text("150"),
        session_id: text("12345678901234567890123"),
        description: text(r#"{"a":[1]}"#),
        city: text("\u{fffd}"),
        lat: Some(59.91),
        mobile: Some(true),
        is_new_visitor: Some(true),
        ..PageView::default()
    };
    assert_eq!(event.payload, Payload::Pageview(Box::new(expected)));

    let json = r#"{"id":"e","type":"event","payload":{"trackingId":true,"metadata":["a", 1e400]},"queuedAt":"noon","projectId":"p"}"#;
    let (event, notes) = read(json).unwrap();
    assert_eq!(notes, ["queuedAt: not a date", "eventType: missing, stored as `event`"]);
    let expected = CustomEvent {
        tracking_id: "true".to_owned(),
        event_type: "event".to_owned(),
        timestamp: None,
        session_id: None,
        metadata: Some(serde_json::from_str(r#"{"value":["a",1e400]}"#).unwrap()),
        definition_id: None,
    };
    assert_eq!(event.payload, Payload::Event(expected));

    let json = r#"{"id":"e","type":"session_end","payload":{"sessionId":7,"timestamp":1769860800000},"queuedAt":null,"projectId":"","pushTicket":"t"}"#;
    assert_eq!(queued(json).unwrap_err().field, "projectId");
    let (event, notes) = read(&json.replace("\"projectId\":\"\"", "\"projectId\":0")).unwrap();
    assert_eq!(notes, ["queuedAt: missing"]);
    assert_eq!((event.payload.session_id(), event.project_id.as_str()), (Some("7"), "0"));
    assert_eq!(
        (event.push_ticket.as_deref(), event.timestamp()),
        (Some("t"), time("2026-01-31T12:00:00Z"))
    );
}

#[test]
fn metadata_of_any_depth_passes_through() {
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    for event_type in [r#""eventType":"c","#, ""] {
        let json = format!(
            r#"{{"id":"e","type":"event","payload":{{"trackingId":"t",{event_type}"metadata":{{"a":{deep}}}}},"queuedAt":0,"projectId":"p"}}"#
        );
        let Payload::Event(custom) = queued(&json).unwrap().payload else { panic!("{json}") };
        assert_eq!(custom.metadata.unwrap().as_str(), format!("{{\"a\":{deep}}}"));
    }
}

#[test]
fn a_page_view_survives_the_wire() {
    let json = r#"{"id":"evt_1","type":"pageview","payload":{"url":"https://a.example/","timestamp":"2026-01-31T11:00:00.000Z","sessionId":"s","liFatId":"l","country":"Norway","future":1},"queuedAt":"2026-01-31T12:00:00.000Z","projectId":"p"}"#;
    let event = queued(json).unwrap();
    assert_eq!(queued(&event.to_json()).unwrap(), event);
    assert_eq!(event.payload.session_id(), Some("s"));
    let Payload::Pageview(view) = &event.payload else { panic!("{event:?}") };
    assert_eq!(view.country.as_deref(), Some("Norway"));
    assert_eq!(
        view.texts().collect::<Vec<_>>(),
        [("sessionId", "s"), ("liFatId", "l"), ("country", "Norway")]
    );
}

#[test]
fn an_error_names_the_field() {
    let view = r#"{"id":"e","type":"pageview","payload":{},"queuedAt":0,"projectId":"p"}"#;
    let cases = [
        (r#"{"type":"pageview"}"#, "id"),
        (r#"{"id":[],"type":"pageview","payload":{},"queuedAt":0,"projectId":"p"}"#, "id"),
        (r#"{"id":"e","type":"nap","payload":{},"queuedAt":0,"projectId":"p"}"#, "type"),
        (r#"{"id":"e","type":"pageview","queuedAt":0,"projectId":"p"}"#, "payload"),
        (view, "payload.url"),
        (&view.replace("{}", "[\"https://a.example/\"]"), "payload"),
        (&view.replace("{}", "\"{}\""), "payload"),
        (&view.replace("{}", r#"{"url":null}"#), "payload.url"),
        (&view.replace("{}", r#"{"url":"u","timestamp":"noon"}"#), "payload.timestamp"),
        (&view.replace("\"p\"", "null"), "projectId"),
        (
            r#"{"id":"e","type":"event","payload":{"trackingId":[]},"queuedAt":0,"projectId":"p"}"#,
            "payload.trackingId",
        ),
        (
            r#"{"id":"e","type":"event","payload":{},"queuedAt":0,"projectId":"p"}"#,
            "payload.trackingId",
        ),
        ("garbage", "(event)"),
        (r#"[1"#, "(event)"),
        (r#"["e","pageview",{"url":"u"},0,"p"]"#, "(event)"),
        (r#"{"id":"e""#, "(event)"),
    ];
    for (json, field) in cases {
        assert_eq!(queued(json).unwrap_err().field, field, "{json}");
    }
}

#[test]
fn ids_are_ordered_by_time() {
    let ids: Vec<_> = (0..100).map(|_| QueuedEvent::new_id()).collect();
    assert!(ids.is_sorted() && ids.iter().all(|id| id.starts_with("evt_") && id.len() == 36));
}

/// Events of all kinds in which any optional field may be missing.
fn events() -> impl Strategy<Value = String> {
    let text = || prop::option::of(any::<String>());
    let rest = (any::<u32>(), text(), text(), any::<Option<bool>>(), prop::option::of(-90.0..90.0));
    (0..3, rest).prop_map(|(kind, (seconds, session, other, yes, degrees))| {
        let at = UtcMillis::from_epoch_millis(i64::from(seconds) * 1000).to_string();
        let (kind, payload) = match kind {
            0 => (
                "pageview",
                json!({"url": "u", "title": other, "isNewVisitor": yes, "lat": degrees}),
            ),
            1 => ("event", json!({"trackingId": "t", "eventType": "e", "metadata": {"m": other}})),
            _ => ("session_end", json!({"reason": other})),
        };
        let mut event = json!({
            "id": "e", "type": kind, "payload": payload, "queuedAt": at, "projectId": "p",
        });
        event["payload"]["sessionId"] = session.unwrap_or_default().into();
        event.to_string()
    })
}

/// What serde makes of an event.
fn written_by_serde(event: &QueuedEvent) -> String {
    let quoted = |value: &str| serde_json::to_string(value).unwrap();
    let at = event.queued_at.to_string();
    let time = match event.payload.timestamp() {
        Some(_) => String::new(),
        None => format!("\"timestamp\":\"{at}\","),
    };
    let fields = serde_json::to_string(&event.payload).unwrap();
    let (id, kind) = (quoted(&event.id), serde_json::to_string(&event.payload.kind()).unwrap());
    let (project, fields) = (quoted(&event.project_id), &fields[1..]);
    format!(
        r#"{{"id":{id},"type":{kind},"payload":{{"projectId":{project},{time}{fields},"queuedAt":"{at}","projectId":{project}}}"#
    )
}

proptest! {
    #[test]
    fn an_event_is_written_as_by_serde(
        json in events(), id in any::<String>(), project in any::<String>(), seconds in any::<Option<u32>>(),
        yes in any::<Option<bool>>(), lon in any::<Option<f64>>(), other in any::<Option<String>>(),
    ) {
        let mut event = queued(&json).unwrap();
        (event.id, event.project_id) = (id, project);
        *event.payload.timestamp_mut() =
            seconds.map(|seconds| UtcMillis::from_epoch_millis(i64::from(seconds) * 1000));
        match &mut event.payload {
            Payload::Pageview(view) => {
                (view.mobile, view.lon) = (yes, lon);
                view.user_agent.clone_from(&other);
                (view.utm_source, view.isp) = (other.clone(), other);
            }
            Payload::Event(custom) => custom.metadata = None,
            Payload::SessionEnd(end) => end.unverified = yes == Some(true),
        }
        prop_assert_eq!(event.to_json(), written_by_serde(&event));
    }

    /// Converting a complete event changes nothing: the two ways of reading agree.
    #[test]
    fn strict_and_lenient_parsing_agree_on_a_complete_event(json in events()) {
        let (exact, notes) = read(&json).unwrap();
        prop_assert_eq!(notes, [""; 0]);
        let (converted, notes) = foreign::read(&json, UtcMillis::MIN).unwrap();
        prop_assert_eq!(notes, [""; 0]);
        prop_assert_eq!(exact, converted);
    }

    #[test]
    fn an_event_with_one_byte_changed_does_not_panic(json in events(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = json.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let changed = String::from_utf8_lossy(&bytes);
        if let Ok((event, _)) = read(&changed) {
            prop_assert!(QueuedEvent::from_json(&event.to_json()).is_ok());
        }
        let _ = crate::queue::EventView::of(&changed);
    }
}
