//! The messages of a socket: JSON objects with a `type`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::auth::Secret;
use crate::intake::{Rejection, named};
use crate::server::access::bearer_token;
use bklit_wire::event::{EventKind, parse_naming_field};
use bklit_wire::object::Object;
use bklit_wire::time::UtcMillis;

/// Seconds after which to try again where no limit says more, as over HTTP.
pub const RETRY_AFTER: u64 = 2;
/// The longest message type that is quoted, in characters.
const MAX_TYPE: usize = 40;

#[derive(Deserialize)]
struct Wire<'a> {
    r#type: String,
    #[serde(default, rename = "apiKey")]
    api_key: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

/// A message from a browser.
pub enum FromBrowser<'a> {
    /// Authentication.
    Auth { api_key: Option<String> },
    /// An event, in the same form as the bodies of HTTP requests.
    Event { kind: EventKind, data: &'a str, api_key: Option<String> },
}

impl<'a> FromBrowser<'a> {
    /// Parses a message that is [repaired](bklit_wire::json::repaired).
    pub fn parse(text: &'a str) -> Result<Self, Rejection> {
        let Wire { r#type, api_key, data } =
            parse_naming_field(text.as_bytes(), "").map_err(|error| match named(error) {
                Rejection::Field { field, problem } if field == "body" => {
                    Rejection::field("message", problem)
                }
                named => Rejection::field("message", named.to_string()),
            })?;
        let kind = match r#type.as_str() {
            "auth" => return Ok(Self::Auth { api_key }),
            "pageview" => EventKind::Pageview,
            "event" => EventKind::Event,
            other => {
                let other: String = other.chars().take(MAX_TYPE).collect();
                let problem = format!("unknown message type `{other}` (auth, pageview, event)");
                return Err(Rejection::field("type", problem));
            }
        };
        let data = data.ok_or_else(|| Rejection::field("data", "missing"))?.get();
        Ok(Self::Event { kind, data, api_key })
    }

    /// Its API key, if that has the form of one.
    pub fn secret(&self) -> Option<Secret> {
        let (Self::Auth { api_key } | Self::Event { api_key, .. }) = self;
        api_key.as_deref().and_then(secret)
    }
}

/// The secret in an API key, which may be as in a header: `Bearer bk_live_…`.
pub fn secret(api_key: &str) -> Option<Secret> {
    Secret::parse(bearer_token(api_key.as_bytes()).unwrap_or(api_key.trim()))
}

/// A message to a browser or a dashboard.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ToClient<'a> {
    /// The first message on a socket.
    Connected {
        project_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<&'a str>,
        timestamp: UtcMillis,
    },
    /// The API key is valid.
    AuthSuccess,
    /// The event is queued and durable.
    Ack { event_id: &'a str, message_type: &'a str },
    /// The message was refused.
    Error {
        error: String,
        /// Whether the same message may be accepted later.
        retryable: bool,
        /// Seconds after which to try again, if it is retryable.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message_type: Option<&'a str>,
    },
    /// Events that did not reach this dashboard; without a number, it is not known how many.
    Lost { data: Lost, timestamp: UtcMillis },
}

#[derive(Serialize)]
pub struct Lost {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl ToClient<'_> {
    pub fn to_json(&self) -> String {
        // Messages have text keys only and always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// An event as sent to dashboards.
#[derive(Serialize)]
pub struct Live<'a> {
    pub r#type: EventKind,
    pub data: &'a Object,
    pub timestamp: UtcMillis,
}

impl Live<'_> {
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
