//! The JSON of `GET /api/refused`: which events were refused, and why.

use serde::{Deserialize, Serialize};

use crate::time::UtcMillis;

/// The most refused events that one response lists.
pub const MAX_RECENT: usize = 500;

/// What a process has refused since it started.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedView {
    /// When it started to count.
    pub since: UtcMillis,
    /// The number of refused events.
    pub total: u64,
    /// The groups, largest first.
    pub groups: Vec<RefusedGroup>,
    /// The last refused events that are kept, newest first, as far as the request asked for them.
    #[serde(default)]
    pub recent: Vec<RefusedEvent>,
}

/// Replaces secrets and addresses in what is kept of an event.
pub const REMOVED: &str = "(removed)";

/// Refused events that have everything in common that is shown here. Where it is missing, it is
/// unknown or, in a flood of different ones, left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedGroup {
    /// The kind of refusal.
    pub reason: String,
    /// The invalid field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The project, as the client named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The page that sent them, without query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// The id of the token; of an unknown one, its first characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The number of events.
    pub count: u64,
    /// When the first one was refused.
    pub first: UtcMillis,
    /// When the last one was refused.
    pub last: UtcMillis,
    /// The status of the last one.
    pub status: u16,
    /// The message of the last one.
    pub error: String,
    /// The last one that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<RefusedEvent>,
}

/// A refused event, without secrets and whole addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedEvent {
    /// Its number in this process.
    pub id: u64,
    /// When it was refused.
    pub at: UtcMillis,
    /// The kind of refusal.
    pub reason: String,
    /// The invalid field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The status of the response.
    pub status: u16,
    /// The message, as the operator sees it.
    pub error: String,
    /// The project, as the client named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The page that sent it, without query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// The id of the token; of an unknown one, its first characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The path it was sent to; `websocket` for a message.
    pub path: String,
    /// The client's address, as far as it may be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The type of the event, if it is known.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its body, if it arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether the end of the body is missing here.
    #[serde(default)]
    pub truncated: bool,
}
