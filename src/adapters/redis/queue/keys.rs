//! Names of the keys, all below one prefix.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The keys of one queue. In a Redis Cluster all must lie in one slot, so there the prefix wants
/// a hash tag, such as `{analytics}:queue`.
pub(super) struct Keys {
    /// List: what waits, the oldest at the right.
    pub queue: String,
    /// List: what could not be processed, the latest at the left.
    pub failed: String,
    /// Sorted set: batch id to the end of its lease, in milliseconds of the server's clock.
    pub inflight: String,
    /// Before a batch id: the batch's list, ordered like the queue. With `:meta` after it, its
    /// hash: `epoch`, `owner`, `claimed`, `attempts`.
    pub batches: String,
    seen: String,
    series: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            queue: prefix.to_owned(),
            failed: format!("{prefix}:failed"),
            inflight: format!("{prefix}:inflight"),
            batches: format!("{prefix}:batch:"),
            seen: format!("{prefix}:seen:"),
            series: format!("{prefix}:series:"),
        }
    }

    pub(super) fn batch(&self, id: &str) -> String {
        format!("{}{id}", self.batches)
    }

    pub(super) fn meta(&self, id: &str) -> String {
        format!("{}{id}:meta", self.batches)
    }

    /// Remembers the last group of a series that was pushed; see `push`.
    pub(super) fn series(&self, name: &str) -> String {
        format!("{}{name}", self.series)
    }

    /// Remembers an id that a client chose. Hashed: ids may be long, and neither they nor project
    /// names are kept from containing whatever would separate them.
    pub(super) fn seen(&self, project: &str, event: &str) -> String {
        let mut hash = Sha256::new();
        hash.update((project.len() as u64).to_le_bytes());
        hash.update(project);
        hash.update(event);
        let mut key = self.seen.clone();
        HEXLOWER.encode_append(&hash.finalize()[..16], &mut key);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_belongs_to_its_project() {
        let keys = Keys::new("q");
        assert_eq!(keys.seen("a", "bc"), keys.seen("a", "bc"));
        assert_ne!(keys.seen("a", "bc"), keys.seen("ab", "c"));
        assert_eq!(keys.seen("a", &"x".repeat(5_000)).len(), "q:seen:".len() + 32);
        assert_eq!(keys.meta("7"), "q:batch:7:meta");
    }
}
