//! The settings of alerts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When to raise alerts, and what to do then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSettings {
    /// Raise an alert above this many errors in a minute; 0 for never.
    pub errors_per_minute: u64,
    /// Raise an alert if this percentage of the events of a minute is refused; 0 for never.
    pub refused_percent: u64,
    /// Raise an alert after this long without an accepted event; 0 for never.
    #[serde(with = "bklit_wire::duration")]
    pub no_events: Duration,
    /// Whether a process without a console also raises alerts.
    pub daemon: bool,
    /// Whether the terminal's bell rings.
    pub bell: bool,
    /// The command to run on an alert, with `sh -c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            errors_per_minute: 60,
            refused_percent: 25,
            no_events: Duration::ZERO,
            daemon: true,
            bell: true,
            command: None,
        }
    }
}
