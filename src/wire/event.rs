//! The event in each of its forms: a request's body, the queue's entry, and what dashboards
//! receive.

mod fields;
mod foreign;
mod queued;

use serde::{Deserialize, Serialize};

use super::lenient::{Type, Typed};
use super::object::Object;
use super::time::UtcMillis;
use fields::name;
pub use queued::QueuedEvent;

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

            /// Appends its fields to those of an object.
            fn push_fields(&self, json: &mut String) {
                fields::text(json, name!("url"), &self.url);
                self.timestamp.into_iter().for_each(|at| fields::time(json, name!("timestamp"), at));
                fields::boolean(json, name!("isNewVisitor"), self.is_new_visitor);
                $(fields::optional(json, name!($wire), self.$field.as_deref());)+
                fields::number(json, name!("lat"), self.lat);
                fields::number(json, name!("lon"), self.lon);
                fields::boolean(json, name!("mobile"), self.mobile);
            }
        }

        impl Typed for PageView {
            fn type_of(field: &str) -> Type {
                match field {
                    "url" => Type::Name,
                    "isNewVisitor" | "mobile" => Type::Bool,
                    "lat" | "lon" => Type::Number,
                    $($wire)|+ => Type::Text,
                    _ => Type::Any,
                }
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
    pub metadata: Option<Object>,
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

impl Typed for CustomEvent {
    fn type_of(field: &str) -> Type {
        match field {
            "trackingId" | "eventType" => Type::Name,
            "sessionId" => Type::Text,
            _ => Type::Any,
        }
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
    /// Set if it came without a token, for a session that the process which accepted it did not
    /// know: then it counts only if the session is stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
}

impl Typed for SessionEnd {
    fn type_of(field: &str) -> Type {
        match field {
            "sessionId" => Type::Name,
            "reason" => Type::Text,
            "unverified" => Type::Bool,
            _ => Type::Any,
        }
    }
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

    /// Appends its fields to those of an object.
    fn push_fields(&self, json: &mut String) {
        let time = |json: &mut String, at: Option<UtcMillis>| {
            at.into_iter().for_each(|at| fields::time(json, name!("timestamp"), at));
        };
        match self {
            Self::Pageview(view) => view.push_fields(json),
            Self::Event(event) => {
                fields::text(json, name!("trackingId"), &event.tracking_id);
                fields::text(json, name!("eventType"), &event.event_type);
                time(json, event.timestamp);
                fields::optional(json, name!("sessionId"), event.session_id.as_deref());
                if let Some(metadata) = &event.metadata {
                    json.push_str(name!("metadata"));
                    json.push_str(metadata.as_str());
                }
            }
            Self::SessionEnd(end) => {
                fields::text(json, name!("sessionId"), &end.session_id);
                time(json, end.timestamp);
                fields::optional(json, name!("reason"), end.reason.as_deref());
                fields::boolean(json, name!("unverified"), end.unverified.then_some(true));
            }
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

    /// Sets when it happened, unless the sender said so.
    pub fn default_timestamp(&mut self, moment: UtcMillis) {
        self.timestamp_mut().get_or_insert(moment);
    }

    /// When it happened, to be changed.
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

/// Why an item of the queue is not a [`QueuedEvent`].
#[derive(Debug, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidEvent {
    /// The field that is wrong; `(event)` for the event as a whole.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
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
                ("." | "?", Some(name)) => name.to_owned(),
                ("." | "?", None) => "(event)".to_owned(),
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
    pub data: Object,
}

#[cfg(test)]
mod tests;
