//! Texts and ids that are too long.

use bklit_pipeline::intake::validate::{MAX_ID, MAX_TEXT};
use bklit_wire::event::{EventKind, Payload};
use serde_json::{Value, json};

use super::{accepted, changed, lines, received, rejected, start, views};
use crate::support::events::TEXTS;

/// Ids, URLs and time zones, which are checked otherwise, and what only the server fills in.
const OTHERS: [&str; 14] = [
    "sessionId",
    "referrer",
    "favicon",
    "canonicalUrl",
    "landingPage",
    "ip",
    "country",
    "countryCode",
    "region",
    "regionName",
    "city",
    "zip",
    "timezone",
    "isp",
];

#[tokio::test]
async fn a_text_is_truncated_at_a_character() {
    let server = start().await;
    for field in TEXTS.iter().copied().filter(|field| !OTHERS.contains(field)) {
        // One byte, then characters of four bytes, so that the bound is within one.
        let text = format!("x{}", "\u{1f980}".repeat(MAX_TEXT / 4));
        for view in views(&server, json!({ field: text })).await {
            let view = serde_json::to_value(view).unwrap();
            let kept = view[field].as_str().unwrap();
            assert_eq!(kept.len(), MAX_TEXT - 3, "{field}");
            assert!(text.starts_with(kept), "{field}");
        }
        let change = if field == "ogImage" { "shortened" } else { "truncated" };
        assert_eq!(changed(&server, field, change), 2, "{field}");
        let longest = "x".repeat(MAX_TEXT);
        for view in views(&server, json!({ field: longest })).await {
            assert_eq!(serde_json::to_value(view).unwrap()[field], longest, "{field}");
        }
        assert_eq!(changed(&server, field, change), 2, "{field}");
    }
    server.stop().await;
}

#[tokio::test]
async fn values_set_by_the_server_are_truncated_as_well() {
    let server = start().await;
    let long = "x".repeat(9_000);
    let body = json!({
        "url": format!("https://a.example/?utm_source={long}"), "projectId": "p",
        "referrer": format!("https://b.example/{long}"),
    });
    let answer = server.post_with("/track", &[("User-Agent", &long)], body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let event = server.queued().pop().unwrap().event;
    let Payload::Pageview(view) = &event.payload else { panic!("{event:?}") };
    for text in [&view.user_agent, &view.utm_source, &view.referrer_path, &view.referrer] {
        assert_eq!(text.as_ref().unwrap().len(), MAX_TEXT);
    }
    assert_eq!(view.referrer_hostname.as_deref(), Some("b.example"));
    assert_eq!(view.url, "https://a.example/");
    server.stop().await;
}

#[tokio::test]
async fn the_line_about_an_event_shows_what_was_changed() {
    let server = start().await;
    let mut lines = lines(&server);
    views(&server, json!({ "title": "x".repeat(9_000), "favicon": "data:image/png;base64,AA" }))
        .await;
    let expected = json!({
        "title": "truncated from 9000 bytes", "favicon": "removed: a data: URI",
    });
    for _ in 0..2 {
        assert_eq!(received(&mut lines).await.data["changed"], expected);
    }
    views(&server, json!({ "title": "short" })).await;
    assert_eq!(received(&mut lines).await.data.get("changed"), None);
    server.stop().await;
}

#[tokio::test]
async fn a_long_session_id_is_the_same_session_everywhere() {
    let server = start().await;
    let session = |id: &str| json!({ "sessionId": id });
    let long = "s".repeat(MAX_ID + 1);
    let [first, second] = &views(&server, session(&long)).await[..] else { panic!() };
    let hashed = first.session_id.clone().unwrap();
    assert!(hashed.len() <= MAX_ID && hashed.starts_with("sha256:"), "{hashed}");
    assert_eq!(second.session_id, first.session_id);
    let custom =
        json!({ "projectId": "p", "trackingId": "t", "eventType": "e", "sessionId": long });
    let end = json!({ "projectId": "p", "sessionId": long });
    for (kind, body) in [(EventKind::Event, custom), (EventKind::SessionEnd, end)] {
        for event in accepted(&server, kind, &body).await {
            assert_eq!(event.payload.session_id(), Some(hashed.as_str()));
        }
    }
    let address = format!("/?projectId=p&sessionId={long}");
    let mut socket = server.connect(&address).await;
    assert_eq!(socket.greeted().await["sessionId"], hashed.as_str());
    let other = &views(&server, session(&format!("{long}s"))).await[0];
    assert_ne!(other.session_id, first.session_id);
    let longest = "s".repeat(MAX_ID);
    assert_eq!(views(&server, session(&longest)).await[0].session_id.as_ref(), Some(&longest));
    assert_eq!(changed(&server, "sessionId", "hashed"), 7);
    server.stop().await;
}

#[tokio::test]
async fn control_characters_do_not_cost_an_event() {
    let server = start().await;
    for (sent, kept) in [("a\u{0}b", Some("ab")), ("s\n", Some("s")), ("\t", None)] {
        for view in views(&server, json!({ "sessionId": sent })).await {
            // Over a WebSocket, the socket's session counts instead of none.
            let expected = kept.or(view.session_id.as_deref().filter(|id| *id == "s"));
            assert_eq!(view.session_id.as_deref(), expected, "{sent:?}");
        }
        let end = json!({ "projectId": "p", "sessionId": format!("{sent}x") });
        let expected = format!("{}x", kept.unwrap_or_default());
        for event in accepted(&server, EventKind::SessionEnd, &end).await {
            assert_eq!(event.payload.session_id(), Some(&*expected));
        }
    }
    assert_eq!(changed(&server, "sessionId", "removed"), 9);
    let custom = |name: &str| json!({ "projectId": "p", "trackingId": "t", "eventType": name });
    for event in accepted(&server, EventKind::Event, &custom("b\t")).await {
        let Payload::Event(event) = event.payload else { panic!("{event:?}") };
        assert_eq!(event.event_type, "b");
    }
    let why = rejected(&server, EventKind::Event, &custom("\t")).await;
    assert_eq!(why, "eventType: must not be empty");
    let mut socket = server.connect("/?projectId=p&sessionId=a%00b").await;
    assert_eq!(socket.greeted().await["sessionId"], "ab");
    server.stop().await;
}

#[tokio::test]
async fn a_custom_event_keeps_what_identifies_it() {
    let server = start().await;
    let event = |field: &str, value: Value| {
        let mut body = json!({ "projectId": "p", "trackingId": "t", "eventType": "e" });
        body[field] = value;
        body
    };
    for event in
        accepted(&server, EventKind::Event, &event("eventType", json!("é".repeat(200)))).await
    {
        let Payload::Event(event) = event.payload else { panic!("{event:?}") };
        assert_eq!(event.event_type, "é".repeat(MAX_ID / 2));
    }
    assert_eq!(changed(&server, "eventType", "truncated"), 2);
    let long = event("trackingId", json!("t".repeat(MAX_ID + 1)));
    assert_eq!(
        rejected(&server, EventKind::Event, &long).await,
        "trackingId: longer than 256 bytes"
    );
    // Bounded by the body alone.
    let large = event("metadata", json!({ "text": "x".repeat(50_000) }));
    for event in accepted(&server, EventKind::Event, &large).await {
        let Payload::Event(event) = event.payload else { panic!("{event:?}") };
        let metadata = event.metadata.unwrap();
        assert_eq!(metadata.as_str().parse::<Value>().unwrap(), large["metadata"]);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_reason_does_not_keep_a_session_open() {
    let server = start().await;
    for (sent, kept) in [("closed", Some("closed")), ("bored", None), ("", None)] {
        let body = json!({ "projectId": "p", "sessionId": "s", "reason": sent });
        for event in accepted(&server, EventKind::SessionEnd, &body).await {
            let Payload::SessionEnd(end) = event.payload else { panic!("{event:?}") };
            assert_eq!(end.reason.as_deref(), kept);
        }
    }
    assert_eq!(changed(&server, "reason", "removed"), 2);
    server.stop().await;
}
