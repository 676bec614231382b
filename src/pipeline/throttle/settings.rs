//! The settings of limits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How much a project or a token may send, and a project's share of the queue. Each process counts on
/// its own; a limit of 0 is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Events per second of a project.
    pub project_per_second: u32,
    /// Events per day (UTC) of a project.
    pub project_per_day: u64,
    /// Events per second of a token.
    pub token_per_second: u32,
    /// Events per day (UTC) of a token.
    pub token_per_day: u64,
    /// The percentage of the queue that a project may fill while others are sending, too.
    pub queue_share: u8,
    /// Ends of sessions that this process does not know, without a token, per second and address.
    pub unknown_ends_per_second: u32,
    /// Lookups of tokens that this process does not know, per second and address.
    pub unknown_tokens_per_second: u32,
    /// Other limits for some projects.
    pub projects: BTreeMap<String, Limited>,
    /// Other limits for some tokens, by id.
    pub tokens: BTreeMap<String, Limited>,
}

/// The limits of one project or token where they differ from the general ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limited {
    /// Events per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
    /// Events per day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u64>,
    /// The percentage of the queue; of no effect for tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_share: Option<u8>,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            project_per_second: 0,
            project_per_day: 0,
            token_per_second: 0,
            token_per_day: 0,
            queue_share: 80,
            unknown_ends_per_second: 10,
            unknown_tokens_per_second: 50,
            projects: BTreeMap::new(),
            tokens: BTreeMap::new(),
        }
    }
}
