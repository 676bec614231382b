//! The events of one visitor's session: the JSON of `GET /api/session`.

use serde::{Deserialize, Serialize};

use crate::debug_log::DebugLog;
use crate::time::UtcMillis;

/// The most events returned, the newest ones.
pub const MOST_EVENTS: usize = 500;

/// Everything found about a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionTrace {
    /// Its events in the store and in the failed queue, oldest first.
    pub events: Vec<SessionEvent>,
    /// The debug lines about it that are still kept, oldest first, also of what was refused.
    pub lines: Vec<DebugLog>,
    /// What was not searched, and why.
    pub gaps: Vec<String>,
}

/// An event of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionEvent {
    /// The event's id.
    pub event_id: String,
    /// Its project.
    pub project_id: String,
    /// Its type: `pageview` or `event`; of a failed one also `session_end`.
    pub r#type: String,
    /// Its URL, or what kind of event it is.
    pub what: String,
    /// When it happened, to the second.
    pub at: Option<UtcMillis>,
    /// When it was accepted, to the second.
    pub accepted_at: Option<UtcMillis>,
    /// Why it is in the failed queue; `None` if it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}
