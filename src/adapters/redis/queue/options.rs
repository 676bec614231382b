//! Options of the queue.

use bklit_pipeline::queue::{
    Bounds, DEFAULT_MAX_CLIENT_IDS, DEFAULT_MAX_FAILED, DEFAULT_PREFIX, Durability,
};

/// Options of a [`RedisQueue`](super::RedisQueue).
#[derive(Clone, Debug)]
pub struct RedisQueueOptions {
    /// The name of the first list, and the prefix of all other keys; in a cluster, their hash tag,
    /// unless it contains one.
    pub prefix: String,
    /// The number of lists to spread events over, from 1 to [`MAX_SHARDS`](bklit_pipeline::queue::MAX_SHARDS). The process that starts to
    /// push last decides for all. `None` for what the others use.
    pub shards: Option<u32>,
    /// Maximum number of waiting events in each list.
    pub max_depth: u64,
    /// Once this many events of a list have failed, new ones are refused.
    pub max_failed: u64,
    /// Maximum number of client-chosen event ids to remember for each list, approximately.
    pub max_client_ids: u64,
    /// When a push counts as durable.
    pub durability: Durability,
    /// Whether a claim waits until it is on the server's disk, if the server supports this.
    ///
    /// Without this, a crash of the server may undo a claim whose events are already stored; they
    /// are then delivered in a different batch, and the store recognises their ids. With it, a
    /// claim takes up to a second at `appendfsync everysec`, and almost no time at `always`.
    pub durable_claims: bool,
}

impl Default for RedisQueueOptions {
    fn default() -> Self {
        Self {
            prefix: DEFAULT_PREFIX.to_owned(),
            shards: Some(1),
            max_depth: 1_000_000,
            max_failed: DEFAULT_MAX_FAILED,
            max_client_ids: DEFAULT_MAX_CLIENT_IDS,
            durability: Durability::default(),
            durable_claims: true,
        }
    }
}

impl RedisQueueOptions {
    /// The bounds of each list.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { depth: self.max_depth, failed: self.max_failed, client_ids: self.max_client_ids }
    }
}
