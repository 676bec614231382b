//! Settings of the queue.

use serde::{Deserialize, Serialize};

use super::{DEFAULT_MAX_FAILED, DEFAULT_PREFIX, Durability};

/// Bounds of the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSettings {
    /// Events that may wait; above, requests are answered 503.
    pub max_depth: u64,
    /// Failed events at which requests are answered with 503, until some are retried or deleted.
    pub max_failed: u64,
    /// Events waiting above which the console warns.
    pub alarm_depth: u64,
    /// The list in Redis, and what the names of its helpers begin with.
    pub redis_prefix: String,
    /// When an event counts as kept in Redis.
    pub durability: Durability,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            max_depth: 1_000_000,
            max_failed: DEFAULT_MAX_FAILED,
            alarm_depth: 1_000,
            redis_prefix: DEFAULT_PREFIX.to_owned(),
            durability: Durability::Everysec,
        }
    }
}
