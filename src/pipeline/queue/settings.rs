//! The settings of the queue.

use serde::{Deserialize, Serialize};

use super::{DEFAULT_MAX_CLIENT_IDS, DEFAULT_MAX_FAILED, DEFAULT_PREFIX, Durability};

/// Bounds of the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSettings {
    /// The most events that may wait; beyond it, requests get 503.
    pub max_depth: u64,
    /// The number of failed events from which requests get 503, until some are retried or deleted.
    pub max_failed: u64,
    /// The most event ids chosen by clients to remember, to recognise retries.
    pub max_client_ids: u64,
    /// The number of waiting events above which to raise an alert.
    pub alarm_depth: u64,
    /// The key of the list in Redis, and the prefix of the queue's other keys.
    pub redis_prefix: String,
    /// The number of lists in Redis over which events are spread by project: 1 to
    /// [`MAX_SHARDS`](super::MAX_SHARDS).
    pub shards: u32,
    /// When an event counts as durable in Redis.
    pub durability: Durability,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            max_depth: 1_000_000,
            max_failed: DEFAULT_MAX_FAILED,
            max_client_ids: DEFAULT_MAX_CLIENT_IDS,
            alarm_depth: 1_000,
            redis_prefix: DEFAULT_PREFIX.to_owned(),
            shards: 1,
            durability: Durability::Everysec,
        }
    }
}
