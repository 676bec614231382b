//! Events for tests of store and worker.

use std::time::Duration;

use bklit_pipeline::intake::IntakeSettings;
use bklit_wire::event::{CustomEvent, PageView, Payload, QueuedEvent, SessionEnd};
use bklit_wire::time::UtcMillis;
use serde_json::{Map, Value, json};

/// The moment from which tests count seconds: 2026-01-31 12:00:00.
pub const NOON: i64 = 1_769_860_800_000;

/// Keeps the fixed times of tests plausible for years.
pub fn lenient_about_times() -> IntakeSettings {
    let max_age = Duration::from_secs(20 * 365 * 24 * 3600);
    IntakeSettings { max_age, ..IntakeSettings::default() }
}

pub fn at(seconds: i64) -> UtcMillis {
    UtcMillis::from_epoch_millis(NOON + seconds * 1000)
}

/// An event whose queue time is its timestamp.
fn event(project: &str, id: &str, seconds: i64, payload: Payload) -> QueuedEvent {
    QueuedEvent {
        id: id.to_owned(),
        payload,
        queued_at: at(seconds),
        project_id: project.to_owned(),
        push_ticket: None,
    }
}

pub fn view(project: &str, id: &str, session: &str, seconds: i64, url: &str) -> QueuedEvent {
    let view = PageView {
        url: url.to_owned(),
        session_id: Some(session.to_owned()),
        ..PageView::default()
    };
    event(project, id, seconds, Payload::Pageview(Box::new(view)))
}

pub fn custom(project: &str, id: &str, session: &str, seconds: i64) -> QueuedEvent {
    let custom = CustomEvent {
        tracking_id: "signup".to_owned(),
        event_type: "click".to_owned(),
        timestamp: None,
        session_id: Some(session.to_owned()),
        metadata: None,
        definition_id: None,
    };
    event(project, id, seconds, Payload::Event(custom))
}

pub fn end(project: &str, id: &str, session: &str, seconds: i64) -> QueuedEvent {
    let end = SessionEnd {
        session_id: session.to_owned(),
        timestamp: None,
        reason: None,
        unverified: false,
    };
    event(project, id, seconds, Payload::SessionEnd(end))
}

/// The optional text fields of a page view by their wire names.
pub const TEXTS: &[&str] = &[
    "sessionId",
    "userAgent",
    "referrer",
    "title",
    "description",
    "ogImage",
    "ogTitle",
    "favicon",
    "canonicalUrl",
    "language",
    "robots",
    "referrerHostname",
    "referrerPath",
    "referrerType",
    "utmSource",
    "utmMedium",
    "utmCampaign",
    "utmTerm",
    "utmContent",
    "utmId",
    "gclid",
    "fbclid",
    "msclkid",
    "ttclid",
    "liFatId",
    "twclid",
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

/// A page view with every field; each text is its column's name with some Unicode.
pub fn full_view(project: &str, id: &str) -> QueuedEvent {
    let mut payload: Map<String, Value> =
        TEXTS.iter().map(|&wire| (wire.to_owned(), text_of(&snake_case(wire)).into())).collect();
    payload.extend([
        ("url".to_owned(), json!("https://example.com/?q=ø'\";--")),
        ("timestamp".to_owned(), json!("2026-01-31T11:59:58.999Z")),
        ("isNewVisitor".to_owned(), json!(true)),
        ("mobile".to_owned(), json!(true)),
        ("lat".to_owned(), json!(59.91)),
        ("lon".to_owned(), json!(-10.75)),
    ]);
    let wire = json!({
        "id": id, "type": "pageview", "payload": payload,
        "queuedAt": "2026-01-31T12:00:01.000Z", "projectId": project,
    });
    QueuedEvent::from_json(&wire.to_string()).unwrap()
}

/// The value of [`full_view`] in the text column of this name.
pub fn text_of(column: &str) -> String {
    format!("{column} ∞ \u{1f980}\u{0}\n")
}

/// The columns of the texts.
pub fn text_columns() -> impl Iterator<Item = String> {
    TEXTS.iter().map(|wire| snake_case(wire))
}

fn snake_case(wire: &str) -> String {
    wire.chars().fold(String::new(), |mut name, c| {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
        name
    })
}
