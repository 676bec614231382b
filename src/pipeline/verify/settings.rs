//! The settings of dual-write verification.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How events are compared while `dual_write` is on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifySettings {
    /// How long an event may take to be stored on both paths before it is compared.
    #[serde(with = "bklit_wire::duration")]
    pub settle: Duration,
}

impl Default for VerifySettings {
    fn default() -> Self {
        Self { settle: Duration::from_secs(60) }
    }
}
