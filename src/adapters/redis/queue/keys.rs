//! Names of the queue's keys, all with the same prefix.

use std::sync::{Arc, OnceLock};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use bklit_pipeline::queue::{ClientId, MAX_SHARDS};
use bklit_wire::event::QueuedEvent;

/// Ids per key: with so few fields, Redis keeps a hash as one compact block of memory.
const IDS_PER_KEY: u64 = 50;
/// The most pairs of keys over which ids are spread.
const MOST_ID_KEYS: u64 = 1 << 16;

/// Between an id and the number of the shard that it belongs to. Ids of the first shard have none.
const OF_SHARD: char = '@';

/// The keys of one shard of a queue. In a cluster, all must have the same slot: unless the prefix has
/// a hash tag, such as `{analytics}:queue`, the whole prefix is the tag of the other keys there, so
/// that `{analytics:queue}:failed` has the slot of the list `analytics:queue`.
///
/// The first shard has the queue's prefix. Each other one has a prefix of its own, which is one hash
/// tag, so that it normally has another slot.
pub(super) struct Keys {
    /// The number of the shard, from 0.
    pub shard: u32,
    /// List: waiting items, the oldest at the right.
    pub queue: String,
    /// List: failed items, the latest at the left.
    pub failed: String,
    /// Sorted set: batch ids, scored by the end of their lease in milliseconds of the server's
    /// clock.
    pub inflight: String,
    /// Prefix of a batch's list, which is ordered like the queue. With the suffix `:meta`, a hash:
    /// `epoch`, `owner`, `claimed`, `attempts`, `lease`.
    batches: String,
    ids: String,
    seen: String,
    series: String,
    /// String: the layout of all shards; only the first shard's is used.
    pub layout: String,
    /// Hash: the parts that are paused; only the first shard's is used.
    pub paused: String,
    /// String: the latest epoch of the layout that the shard knows of, and since when in seconds of
    /// the server's clock.
    pub fence: String,
    /// Pairs of keys over which ids chosen by clients are spread, by their hash.
    id_keys: u64,
    /// Once a key has this many ids, it becomes the older one of its pair, and the ids in the
    /// previous older one are forgotten.
    pub ids_per_key: u64,
}

/// An event id chosen by a client, and where it is remembered.
pub(super) struct RememberedId {
    pub id: ClientId,
    /// Hash: latest ids, each with its content.
    pub recent: String,
    /// Hash: ids before those.
    pub older: String,
    /// Where programs before `recent` and `older` existed remembered the id, for a day.
    pub legacy: String,
}

/// The keys of all shards of a queue.
pub(super) struct AllKeys {
    prefix: String,
    max_client_ids: u64,
    in_cluster: bool,
    made: Vec<OnceLock<Arc<Keys>>>,
}

impl AllKeys {
    pub(super) fn new(prefix: &str, max_client_ids: u64, in_cluster: bool) -> Self {
        let made = (0..MAX_SHARDS).map(|_| OnceLock::new()).collect();
        Self { prefix: prefix.to_owned(), max_client_ids, in_cluster, made }
    }

    /// The keys of a shard, which must be below [`MAX_SHARDS`].
    pub(super) fn of(&self, shard: u32) -> Arc<Keys> {
        let make =
            || Arc::new(Keys::new(&self.prefix, shard, self.max_client_ids, self.in_cluster));
        Arc::clone(self.made[shard as usize].get_or_init(make))
    }
}

impl Keys {
    /// The keys of a shard of the queue with this prefix.
    pub(super) fn new(prefix: &str, shard: u32, max_client_ids: u64, in_cluster: bool) -> Self {
        let queue = list_of(prefix, shard);
        let tagged = format!("{{{queue}}}");
        let prefix = if in_cluster && !has_tag(&queue) { &tagged } else { &queue };
        let id_keys = (max_client_ids / (2 * IDS_PER_KEY)).clamp(1, MOST_ID_KEYS);
        Self {
            shard,
            failed: format!("{prefix}:failed"),
            inflight: format!("{prefix}:inflight"),
            batches: format!("{prefix}:batch:"),
            ids: format!("{prefix}:ids:"),
            seen: format!("{prefix}:seen:"),
            series: format!("{prefix}:series:"),
            layout: format!("{prefix}:shards"),
            fence: format!("{prefix}:fence"),
            paused: format!("{prefix}:paused"),
            queue,
            id_keys,
            ids_per_key: (max_client_ids / (2 * id_keys)).max(1),
        }
    }

    pub(super) fn batch(&self, id: &str) -> String {
        format!("{}{id}", self.batches)
    }

    pub(super) fn meta(&self, id: &str) -> String {
        format!("{}{id}:meta", self.batches)
    }

    /// A new id that says which shard it belongs to.
    pub(super) fn id(&self, unique: uuid::Uuid) -> String {
        with_shard(unique.simple().to_string(), self.shard)
    }

    /// The key that stores the last pushed group of a series; see `push`.
    pub(super) fn series(&self, name: &str) -> String {
        format!("{}{name}", self.series)
    }

    /// Where the id of an event is remembered if a client chose it.
    pub(super) fn remembered(&self, event: &QueuedEvent) -> RememberedId {
        let id = ClientId::of(event);
        let [a, b, c, d, ..] = id.key;
        let nth = u64::from(u32::from_le_bytes([a, b, c, d])) % self.id_keys;
        let recent = format!("{}{nth:x}", self.ids);
        let older = format!("{recent}:older");
        let mut hash = Sha256::new();
        hash.update((event.project_id.len() as u64).to_le_bytes());
        hash.update(&event.project_id);
        hash.update(&event.id);
        let mut legacy = self.seen.clone();
        HEXLOWER.encode_append(&hash.finalize()[..16], &mut legacy);
        RememberedId { id, recent, older, legacy }
    }
}

/// The list of a shard.
pub(super) fn list_of(prefix: &str, shard: u32) -> String {
    match shard {
        0 => prefix.to_owned(),
        // Braces of a tag that the prefix has would end this one.
        _ => format!("{{{}:{shard}}}", prefix.replace('{', "(").replace('}', ")")),
    }
}

/// Adds the number of its shard to an id.
pub(super) fn with_shard(mut id: String, shard: u32) -> String {
    if shard > 0 {
        id.push(OF_SHARD);
        id.push_str(&shard.to_string());
    }
    id
}

/// The number of the shard that an id belongs to, and the id without it.
pub(super) fn shard_of(id: &str) -> (u32, &str) {
    let parts = id.rsplit_once(OF_SHARD);
    let shard = parts.and_then(|(id, shard)| Some((shard.parse().ok()?, id)));
    shard.filter(|(shard, _)| (1..MAX_SHARDS).contains(shard)).unwrap_or((0, id))
}

/// Whether a key has a hash tag, which alone decides about its slot.
fn has_tag(key: &str) -> bool {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    tag.is_some_and(|(tag, _)| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::redis::connection::slot_of;

    fn event(project: &str, id: &str) -> QueuedEvent {
        let json = format!(
            r#"{{"id":"{id}","type":"session_end","payload":{{"sessionId":"s"}},"queuedAt":0,"projectId":"{project}"}}"#
        );
        QueuedEvent::from_json(&json).unwrap()
    }

    #[test]
    fn in_a_cluster_all_keys_have_the_slot_of_the_list() {
        let names = |prefix, in_cluster| {
            let keys = Keys::new(prefix, 0, 1_000, in_cluster);
            let RememberedId { recent, older, legacy, .. } = keys.remembered(&event("p", "1"));
            let (batch, meta, series) = (keys.batch("1"), keys.meta("1"), keys.series("s"));
            (keys.queue, [keys.failed, keys.inflight, batch, meta, series, recent, older, legacy])
        };
        let (queue, others) = names("q:a", true);
        assert_eq!(queue, "q:a");
        assert!(others.iter().all(|key| key.starts_with("{q:a}:")), "{others:?}");
        // Elsewhere, and with a tag, names are those of earlier versions.
        for (prefix, in_cluster) in [("q:a", false), ("{q}:a", true), ("{q}:a", false)] {
            let (queue, others) = names(prefix, in_cluster);
            assert_eq!(queue, prefix);
            assert!(others.iter().all(|key| key.starts_with(&format!("{prefix}:"))), "{others:?}");
        }
        assert!(!has_tag("a}{") && !has_tag("a{}b") && has_tag("a{b}c"));
    }

    #[test]
    fn the_keys_of_a_shard_have_a_slot_of_their_own() {
        for (prefix, in_cluster) in [("q:a", false), ("q:a", true), ("{q}:a", true)] {
            let mut slots = HashSet::new();
            for shard in 0..MAX_SHARDS {
                let keys = Keys::new(prefix, shard, 1_000, in_cluster);
                let RememberedId { recent, older, legacy, .. } = keys.remembered(&event("p", "1"));
                let Keys { queue, failed, inflight, layout, fence, .. } = &keys;
                let (batch, meta, series) = (keys.batch("1"), keys.meta("1"), keys.series("s"));
                let slot = slot_of(queue);
                slots.insert(slot);
                if !in_cluster && shard == 0 {
                    continue;
                }
                for key in [
                    failed, inflight, layout, fence, &batch, &meta, &series, &recent, &older,
                    &legacy,
                ] {
                    assert_eq!(slot_of(key), slot, "{key}");
                }
            }
            assert_eq!(slots.len(), MAX_SHARDS as usize, "{prefix}");
        }
        assert_eq!(list_of("{q}:a", 3), "{(q):a:3}");
    }

    #[test]
    fn an_id_says_which_shard_it_belongs_to() {
        let id = uuid::Uuid::now_v7();
        for shard in [0, 1, MAX_SHARDS - 1] {
            let keys = Keys::new("q", shard, 1, false);
            let simple = id.simple().to_string();
            assert_eq!(shard_of(&keys.id(id)), (shard, simple.as_str()));
        }
        for other in ["", "a", "a@", "a@x", "a@0", "a@64", "a@-1", "@"] {
            assert_eq!(shard_of(other), (0, other));
        }
    }

    #[test]
    fn remembered_ids_are_spread_over_few_keys() {
        let keys = Keys::new("q", 0, 1_000_000, false);
        assert_eq!((keys.id_keys, keys.ids_per_key), (10_000, 50));
        let one = keys.remembered(&event("a", "bc"));
        assert_eq!(one.older, format!("{}:older", one.recent));
        assert_ne!(one.legacy, keys.remembered(&event("ab", "c")).legacy);
        assert_eq!(keys.remembered(&event("a", &"x".repeat(5_000))).legacy.len(), 7 + 32);
        assert_eq!(keys.meta("7"), "q:batch:7:meta");
        for most in [1, 2, 99, 100, 12_345, u64::MAX] {
            let keys = Keys::new("q", 0, most, false);
            let all = keys.id_keys * 2 * keys.ids_per_key;
            assert!(all <= most.max(2) && all >= most / 2, "{most}: {all}");
        }
    }
}
