//! Names of the queue's keys, all with the same prefix.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The keys of one queue. A Redis Cluster requires that all are in one slot, so the prefix needs a
/// hash tag there, such as `{analytics}:queue`.
pub(super) struct Keys {
    /// List: waiting items, the oldest at the right.
    pub queue: String,
    /// List: failed items, the latest at the left.
    pub failed: String,
    /// Sorted set: batch ids, scored by the end of their lease in milliseconds of the server's
    /// clock.
    pub inflight: String,
    /// Prefix of a batch's list, which is ordered like the queue. With the suffix `:meta`, a hash:
    /// `epoch`, `owner`, `claimed`, `attempts`.
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

    /// The key that stores the last pushed group of a series; see `push`.
    pub(super) fn series(&self, name: &str) -> String {
        format!("{}{name}", self.series)
    }

    /// The key that remembers an event id chosen by a client. Hashed, because ids may be long, and
    /// ids and project names may contain any separator.
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
    fn remembered_ids_are_separate_for_each_project() {
        let keys = Keys::new("q");
        assert_eq!(keys.seen("a", "bc"), keys.seen("a", "bc"));
        assert_ne!(keys.seen("a", "bc"), keys.seen("ab", "c"));
        assert_eq!(keys.seen("a", &"x".repeat(5_000)).len(), "q:seen:".len() + 32);
        assert_eq!(keys.meta("7"), "q:batch:7:meta");
    }
}
