//! Settings of alerts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When to raise alerts, and what else to do then; by default never.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSettings {
    /// More errors in a minute are an alert; 0 for none.
    pub errors_per_minute: u64,
    /// So long without an accepted event is an alert; 0 for none.
    #[serde(with = "bklit_wire::duration")]
    pub no_events: Duration,
    /// Whether a process without a console raises them too.
    pub daemon: bool,
    /// Whether the terminal's bell rings.
    pub bell: bool,
    /// What to run, by `sh -c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            errors_per_minute: 60,
            no_events: Duration::ZERO,
            daemon: true,
            bell: true,
            command: None,
        }
    }
}
