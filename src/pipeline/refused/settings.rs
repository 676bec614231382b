//! The settings of what is kept about refused events.

use serde::{Deserialize, Serialize};

/// How much is kept about refused events, in memory only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedSettings {
    /// The most refused events to keep with their bodies; 0 keeps none.
    pub max_events: usize,
    /// The most bytes they may take.
    pub max_bytes: usize,
}

impl Default for RefusedSettings {
    fn default() -> Self {
        Self { max_events: 500, max_bytes: 2 << 20 }
    }
}
