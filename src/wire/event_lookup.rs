//! Where one event is: the JSON of `GET /api/event`.

use serde::{Deserialize, Serialize};

use crate::debug_log::DebugLog;
use crate::time::UtcMillis;

/// The longest id that can be looked up, in bytes.
pub const MAX_ID: usize = 256;

/// Everything found about an event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventTrace {
    /// Its rows. More than one project may use the same id.
    pub stored: Vec<StoredEvent>,
    /// Where it is in the queue.
    pub queued: Vec<QueuedPlace>,
    /// The debug lines about it that are still kept, oldest first.
    pub lines: Vec<DebugLog>,
    /// What was not searched, and why.
    pub gaps: Vec<String>,
}

/// An event's row in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredEvent {
    /// The table.
    pub table: String,
    /// Its project.
    pub project_id: String,
    /// When it happened, to the second.
    pub at: Option<UtcMillis>,
    /// When it was accepted, to the second.
    pub accepted_at: Option<UtcMillis>,
}

/// An event's place in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum QueuedPlace {
    /// It is waiting to be claimed.
    Waiting {
        /// When it was accepted.
        since: Option<UtcMillis>,
        /// Its project.
        project_id: Option<String>,
    },
    /// A worker has claimed it.
    InFlight {
        /// The batch.
        batch: String,
        /// Who claimed it.
        owner: Option<String>,
        /// When it was claimed.
        since: Option<UtcMillis>,
        /// Whether the lease has expired.
        lapsed: bool,
    },
    /// It is in the failed queue.
    Failed {
        /// Its id within the failed queue.
        id: String,
        /// Why it failed.
        reason: String,
        /// When it failed.
        since: Option<UtcMillis>,
    },
}

/// What is wrong with an id to look up; `None` if it is valid.
pub fn id_problem(id: &str) -> Option<&'static str> {
    match id {
        "" => Some("must not be empty"),
        id if id.len() > MAX_ID => Some("longer than 256 bytes"),
        id if id.chars().any(char::is_control) => Some("must not contain control characters"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_ids_are_reported() {
        assert!(id_problem("evt_1").is_none() && id_problem("").is_some());
        assert!(id_problem(&"x".repeat(257)).is_some() && id_problem("a\nb").is_some());
    }
}
