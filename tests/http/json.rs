//! The JSON of bodies: text that is not quite JSON, values of other types, other encodings.

use bklit_wire::debug_bus::{DebugBus, DebugMessage};
use bklit_wire::event::Payload;
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};

use super::server::Server;

/// The payload in the queue's JSON of the last event.
fn queued_payload(server: &Server) -> Value {
    let item = server.queued().pop().unwrap();
    serde_json::from_str::<Value>(&item.event.to_json()).unwrap()["payload"].take()
}

#[tokio::test]
async fn the_payload_in_the_queue_names_project_time_and_session() {
    let server = Server::start().await;
    for (path, body) in [
        ("/track", r#"{"url":"https://a.example/","projectId":"p","sessionId":"s"}"#),
        ("/track-event", r#"{"trackingId":"t","eventType":"e","projectId":"p","sessionId":"s"}"#),
        ("/session-end", r#"{"projectId":"p","sessionId":"s"}"#),
    ] {
        assert_eq!(server.post(path, body).await.status, 200, "{path}");
        let payload = queued_payload(&server);
        assert_eq!((&payload["projectId"], &payload["sessionId"]), (&json!("p"), &json!("s")));
        let event = server.queued().pop().unwrap().event;
        assert_eq!(payload["timestamp"], event.queued_at.to_string(), "{path}");
        let sent = body.replace("\"p\"", "\"p\",\"timestamp\":\"2026-01-31T12:00:00Z\"");
        assert_eq!(server.post(path, sent).await.status, 200, "{path}");
        let event = server.queued().pop().unwrap().event;
        let sent_at: UtcMillis = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(event.payload.timestamp(), Some(sent_at), "{path}");
    }
}

#[tokio::test]
async fn surrogates_without_a_partner_do_not_cost_the_event() {
    let server = Server::start().await;
    for (path, body, field, read) in [
        (
            "/track",
            r#"{"url":"https://a.example/\ud83d","projectId":"p","title":"Sale \ud83d"}"#,
            "title",
            json!("Sale \u{fffd}"),
        ),
        (
            "/track",
            r#"{"url":"https://a.example/","projectId":"p","x\udc00":["\ud83d"]}"#,
            "x",
            json!(null),
        ),
        (
            "/track-event",
            r#"{"trackingId":"t\ud83d","eventType":"e\ude00","projectId":"p","sessionId":"\ud83d\ud83d\ude00"}"#,
            "sessionId",
            json!("\u{fffd}\u{1f600}"),
        ),
        (
            "/track-event",
            r#"{"trackingId":"t","eventType":"e","projectId":"p","metadata":{"k\uDBFF":["\ud83d",{"\\ud83d":1}]}}"#,
            "metadata",
            json!({ "k\u{fffd}": ["\u{fffd}", { "\\ud83d": 1 }] }),
        ),
        (
            "/session-end",
            r#"{"projectId":"p","sessionId":"s\ud83d"}"#,
            "sessionId",
            json!("s\u{fffd}"),
        ),
    ] {
        let answer = server.post(path, body).await;
        assert_eq!(answer.status, 200, "{body} {answer:?}");
        assert_eq!(queued_payload(&server)[field], read, "{body}");
    }
    // A token for another project is still refused, whatever the project's name is repaired to.
    let answer =
        server.post("/track", r#"{"url":"https://a.example/","projectId":"p\ud83d"}"#).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn values_of_other_types_do_not_cost_the_event() {
    let server = Server::start().await;
    let mut lines = server.bus.subscribe();
    let body = r#"{"url":"https://a.example/","projectId":"p","title":404,"sessionId":12345678901234567890123,
        "description":{"a": 1},"utmId":1e400,"robots":null,"isNewVisitor":"perhaps","language":true,
        "timestamp":"Sat, 31 Jan 2026 12:00:00 GMT","eventId":77,"lat":{},"future":1e999}"#;
    let answer = server.post("/track", body).await;
    assert_eq!((answer.status, &answer.json()["eventId"]), (200, &json!("77")));
    let payload = queued_payload(&server);
    for (field, read) in [
        ("title", json!("404")),
        ("sessionId", json!("12345678901234567890123")),
        ("description", json!(r#"{"a": 1}"#)),
        ("utmId", json!("1e400")),
        ("robots", Value::Null),
        ("isNewVisitor", Value::Null),
        ("language", json!("true")),
        ("timestamp", json!("2026-01-31T12:00:00.000Z")),
        ("lat", Value::Null),
    ] {
        assert_eq!(payload[field], read, "{field}");
    }
    let line = loop {
        match lines.next().await.unwrap() {
            DebugMessage::Log(line) if line.message == "Event received" => break line,
            _ => {}
        }
    };
    assert_eq!(line.data["leftOut"], json!(["isNewVisitor: not a boolean"]));

    let body = r#"{"trackingId":7,"eventType":false,"projectId":"p","metadata":[1, 2]}"#;
    assert_eq!(server.post("/track-event", body).await.status, 200);
    let payload = queued_payload(&server);
    assert_eq!((&payload["trackingId"], &payload["eventType"]), (&json!("7"), &json!("false")));
    assert_eq!(payload["metadata"], json!({ "value": [1, 2] }));
    let body = r#"{"projectId":"p","sessionId":7}"#;
    assert_eq!(server.post("/session-end", body).await.status, 200);
}

#[tokio::test]
async fn metadata_keeps_its_digits_and_its_order() {
    let server = Server::start().await;
    let sent = r#"{"order":12345678901234567890123,"price":0.1234567890123456789,"x":1e400,"b":{"z":-0.0,"a":1E+2}}"#;
    let spaced = sent.replace(',', " ,\n\t").replace(':', " : ");
    for metadata in [sent, &spaced] {
        let body = format!(
            r#"{{"metadata":{metadata},"trackingId":"t","eventType":"e","projectId":"p"}}"#
        );
        assert_eq!(server.post("/track-event", &body).await.status, 200);
        let event = server.queued().pop().unwrap().event;
        let Payload::Event(custom) = &event.payload else { panic!("{event:?}") };
        assert_eq!(custom.metadata.as_ref().unwrap().as_str(), sent);
        assert!(event.to_json().contains(&format!(r#""metadata":{sent}"#)));
    }
}

#[tokio::test]
async fn bodies_in_other_encodings_are_decoded() {
    let server = Server::start().await;
    let json = r#"{"url":"https://a.example/","projectId":"p","title":"Grüße"}"#;
    let latin: Vec<u8> = json.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let utf_16: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = format!("\u{feff}{json}");
    for (content_type, body) in [
        ("application/json", marked.as_bytes()),
        ("application/json; charset=\"UTF-8\"", json.as_bytes()),
        ("text/plain;charset=ISO-8859-1", &latin),
        ("application/json;charset=windows-1252", &latin),
        ("application/json;charset=utf-16le", &utf_16),
    ] {
        let answer = server.post_with("/track", &[("Content-Type", content_type)], body).await;
        assert_eq!(answer.status, 200, "{content_type} {answer:?}");
        assert_eq!(queued_payload(&server)["title"], "Grüße", "{content_type}");
    }
    let queued = server.queued().len();
    for (content_type, body, status, problem) in [
        (
            "application/json;charset=utf-32",
            json.as_bytes(),
            415,
            "the charset utf-32 is not supported",
        ),
        ("application/json", &latin, 400, "body: not UTF-8: invalid byte at position 55"),
        ("application/json;charset=utf-16le", &utf_16[1..], 400, "body: not valid UTF-16LE"),
    ] {
        let answer = server.post_with("/track", &[("Content-Type", content_type)], body).await;
        assert_eq!(answer.status, status, "{content_type}");
        assert!(answer.error().starts_with(problem), "{}", answer.error());
    }
    assert_eq!(server.queued().len(), queued);
}
