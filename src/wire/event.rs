//! The event in each of its forms: a request's body, the queue's entry, and what dashboards
//! receive.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::time::UtcMillis;

/// The kind of an event: the `type` of the wire formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A page view.
    Pageview,
    /// A custom event.
    Event,
    /// The end of a visitor's session.
    SessionEnd,
}

impl EventKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pageview => "pageview",
            Self::Event => "event",
            Self::SessionEnd => "session_end",
        }
    }
}

/// Lists the optional text fields once, so that [`PageView::texts`] cannot drift from the struct.
macro_rules! page_view {
    ($($field:ident = $wire:literal),+ $(,)?) => {
        /// A page view: the body of `POST /track` and the payload in the queue.
        ///
        /// Every field goes into the column of `page_view_event` with its name in snake case.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct PageView {
            /// The page's address.
            pub url: String,
            /// When it was viewed; without it, the time it was queued counts.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub timestamp: Option<UtcMillis>,
            /// Whether this is the visitor's first visit.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub is_new_visitor: Option<bool>,
            $(
                #[doc = concat!("The optional text `", $wire, "`.")]
                #[serde(rename = $wire, default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<String>,
            )+
            /// Latitude of the visitor in degrees.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub lat: Option<f64>,
            /// Longitude of the visitor in degrees.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub lon: Option<f64>,
            /// Whether the visitor uses a phone.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub mobile: Option<bool>,
        }

        impl PageView {
            /// The optional text fields that are present, each with its wire name.
            pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
                [$(($wire, self.$field.as_deref())),+]
                    .into_iter()
                    .filter_map(|(name, text)| text.map(|text| (name, text)))
            }

            /// The same, to be changed or removed.
            pub fn texts_mut(
                &mut self,
            ) -> impl Iterator<Item = (&'static str, &mut Option<String>)> {
                [$(($wire, &mut self.$field)),+].into_iter().filter(|(_, text)| text.is_some())
            }
        }
    };
}

page_view! {
    session_id = "sessionId", user_agent = "userAgent", referrer = "referrer", title = "title",
    description = "description", og_image = "ogImage", og_title = "ogTitle", favicon = "favicon",
    canonical_url = "canonicalUrl", language = "language", robots = "robots",
    referrer_hostname = "referrerHostname", referrer_path = "referrerPath",
    referrer_type = "referrerType", utm_source = "utmSource", utm_medium = "utmMedium",
    utm_campaign = "utmCampaign", utm_term = "utmTerm", utm_content = "utmContent",
    utm_id = "utmId", gclid = "gclid", fbclid = "fbclid", msclkid = "msclkid", ttclid = "ttclid",
    li_fat_id = "liFatId", twclid = "twclid", landing_page = "landingPage",
    // The visitor's location: determined when the request arrives and never again, so that a batch
    // delivered twice has the same content.
    ip = "ip", country = "country", country_code = "countryCode", region = "region",
    region_name = "regionName", city = "city", zip = "zip", timezone = "timezone", isp = "isp",
}

/// A custom event: the body of `POST /track-event` and the payload in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomEvent {
    /// Names the event's definition within the project.
    pub tracking_id: String,
    /// What happened, such as `click`.
    pub event_type: String,
    /// When it happened; without it, the time it was queued counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<UtcMillis>,
    /// The visitor's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Additional data from the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// The id of its definition, once it has been looked up; never on the wire.
    #[serde(skip)]
    pub definition_id: Option<String>,
}

impl CustomEvent {
    /// The id it is stored under: its definition's id, else its tracking id.
    pub fn definition(&self) -> &str {
        self.definition_id.as_deref().unwrap_or(&self.tracking_id)
    }
}

/// The end of a session: the body of `POST /session-end` and the payload in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionEnd {
    /// The session that ended.
    pub session_id: String,
    /// When it happened; without it, the time it was queued counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<UtcMillis>,
    /// Why: `timeout`, `closed`, `manual` or `disconnect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an event carries, by its kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Payload {
    /// A page view.
    Pageview(Box<PageView>),
    /// A custom event.
    Event(CustomEvent),
    /// The end of a session.
    SessionEnd(SessionEnd),
}

impl Payload {
    /// The payload's kind.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Pageview(_) => EventKind::Pageview,
            Self::Event(_) => EventKind::Event,
            Self::SessionEnd(_) => EventKind::SessionEnd,
        }
    }

    /// When it happened, if the sender said so.
    pub fn timestamp(&self) -> Option<UtcMillis> {
        match self {
            Self::Pageview(view) => view.timestamp,
            Self::Event(event) => event.timestamp,
            Self::SessionEnd(end) => end.timestamp,
        }
    }

    /// The same, to be changed.
    pub fn timestamp_mut(&mut self) -> &mut Option<UtcMillis> {
        match self {
            Self::Pageview(view) => &mut view.timestamp,
            Self::Event(event) => &mut event.timestamp,
            Self::SessionEnd(end) => &mut end.timestamp,
        }
    }

    /// The visitor's session, if there is one.
    pub fn session_id(&self) -> Option<&str> {
        match self {
            Self::Pageview(view) => view.session_id.as_deref(),
            Self::Event(event) => event.session_id.as_deref(),
            Self::SessionEnd(end) => Some(&end.session_id),
        }
    }
}

/// One member of the queue: `{"id","type","payload","queuedAt","projectId"}`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedEvent {
    /// `evt_` plus a unique, time-ordered suffix, or the id that the client sent.
    pub id: String,
    /// What happened.
    pub payload: Payload,
    /// When it was accepted.
    pub queued_at: UtcMillis,
    /// The project it belongs to.
    pub project_id: String,
    /// In a spool: identifies the earlier push that may already have put it into the queue, to be
    /// settled with the queue before the event is moved.
    pub push_ticket: Option<String>,
}

/// Why an item of the queue is not a [`QueuedEvent`].
#[derive(Debug, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidEvent {
    /// The field that is wrong; `(event)` for the event as a whole.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireOut<'a> {
    id: &'a str,
    r#type: EventKind,
    payload: &'a Payload,
    queued_at: UtcMillis,
    project_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    push_ticket: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireIn<'a> {
    id: String,
    r#type: EventKind,
    #[serde(borrow)]
    payload: &'a RawValue,
    queued_at: UtcMillis,
    project_id: String,
    #[serde(default)]
    push_ticket: Option<String>,
}

impl QueuedEvent {
    /// A new id: `evt_` plus a UUID v7, so that ids sort by creation time.
    pub fn new_id() -> String {
        format!("evt_{}", uuid::Uuid::now_v7().simple())
    }

    /// When the event happened: the sender's time, else when it was queued.
    pub fn timestamp(&self) -> UtcMillis {
        self.payload.timestamp().unwrap_or(self.queued_at)
    }

    /// The wire form.
    pub fn to_json(&self) -> String {
        let wire = WireOut {
            id: &self.id,
            r#type: self.payload.kind(),
            payload: &self.payload,
            queued_at: self.queued_at,
            project_id: &self.project_id,
            push_ticket: self.push_ticket.as_deref(),
        };
        // Strings, numbers and maps with text keys always serialise.
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// Reads the wire form; unknown fields are ignored.
    ///
    /// # Errors
    /// [`InvalidEvent`] with the first field that is missing or wrong.
    pub fn from_json(json: &str) -> Result<Self, InvalidEvent> {
        let wire: WireIn<'_> = parse_naming_field(json.as_bytes(), "")?;
        let payload = wire.payload.get().as_bytes();
        let payload = match wire.r#type {
            EventKind::Pageview => Payload::Pageview(parse_naming_field(payload, "payload.")?),
            EventKind::Event => Payload::Event(parse_naming_field(payload, "payload.")?),
            EventKind::SessionEnd => Payload::SessionEnd(parse_naming_field(payload, "payload.")?),
        };
        let WireIn { id, queued_at, project_id, push_ticket, .. } = wire;
        Ok(Self { id, payload, queued_at, project_id, push_ticket })
    }
}

/// Parses a JSON object; the error names the field, with `prefix` before it.
///
/// # Errors
/// [`InvalidEvent`] for anything that is not a `T`.
pub fn parse_naming_field<'a, T: Deserialize<'a>>(
    json: &'a [u8],
    prefix: &str,
) -> Result<T, InvalidEvent> {
    // serde would also accept an array, field by field.
    if json.trim_ascii_start().first() != Some(&b'{') {
        let message = "expected a JSON object".to_owned();
        return Err(InvalidEvent { field: "(event)".to_owned(), message });
    }
    // Tracking the path is slow, so it is done only for input that has already failed.
    serde_json::from_slice(json).or_else(|_| {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let message = error.inner().to_string();
            // serde reports a missing field at its parent and names it only in the message.
            let missing = message.strip_prefix("missing field `").and_then(|m| m.split('`').next());
            let path = error.path().to_string();
            let field = match (path.as_str(), missing) {
                (".", Some(name)) => name.to_owned(),
                (".", None) => "(event)".to_owned(),
                (path, Some(name)) => format!("{path}.{name}"),
                (path, None) => path.to_owned(),
            };
            let prefix = if field == "(event)" { "" } else { prefix };
            InvalidEvent { field: format!("{prefix}{field}"), message }
        })?;
        reader.end().map_err(|error| InvalidEvent {
            field: "(event)".to_owned(),
            message: error.to_string(),
        })?;
        Ok(parsed)
    })
}

/// What dashboards of a project receive once an event is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveEvent {
    /// The project it belongs to.
    pub project_id: String,
    /// When it happened.
    pub timestamp: UtcMillis,
    /// Its kind.
    pub r#type: EventKind,
    /// The fields of that kind.
    pub data: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(json: &str) -> Result<QueuedEvent, InvalidEvent> {
        QueuedEvent::from_json(json)
    }

    #[test]
    fn a_page_view_survives_the_wire() {
        let json = r#"{"id":"evt_1","type":"pageview","payload":{"url":"https://a.example/","sessionId":"s","liFatId":"l","country":"Norway","future":1},"queuedAt":"2026-01-31T12:00:00.000Z","projectId":"p"}"#;
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
        let cases = [
            (r#"{"type":"pageview"}"#, "id"),
            (r#"{"id":"e","type":"nap","payload":{},"queuedAt":0,"projectId":"p"}"#, "type"),
            (
                r#"{"id":"e","type":"pageview","payload":{},"queuedAt":0,"projectId":"p"}"#,
                "payload.url",
            ),
            (
                r#"{"id":"e","type":"event","payload":{"trackingId":7},"queuedAt":0,"projectId":"p"}"#,
                "payload.trackingId",
            ),
            ("garbage", "(event)"),
            (r#"[1"#, "(event)"),
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
}
