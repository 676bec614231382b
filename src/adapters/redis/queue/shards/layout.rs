//! Which shard an event goes to, and which it went to before the number of shards was changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use bklit_pipeline::queue::{CLIENT_ID_MEMORY, MAX_SHARDS};

/// How long after a shard has stopped adding ids of a project its remembered ids are looked up: as
/// long as it remembers them, plus a margin for clocks that were set.
const LOOKED_UP: Duration = CLIENT_ID_MEMORY.saturating_add(Duration::from_secs(60 * 60));

/// The layout as it is stored next to the queue. Without it, there is one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Record {
    /// Rises with each change.
    pub epoch: u64,
    /// How many shards are used.
    pub shards: u32,
    /// How many were used in earlier epochs. Nothing is ever removed: by these numbers, workers know
    /// all lists that may have events.
    pub before: BTreeSet<u32>,
}

impl Default for Record {
    fn default() -> Self {
        Self { epoch: 0, shards: 1, before: BTreeSet::new() }
    }
}

impl Record {
    /// Reads what is stored.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in super::super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let record: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let is_possible = |shards: &u32| (1..=MAX_SHARDS).contains(shards);
        if !is_possible(&record.shards) || !record.before.iter().all(is_possible) {
            return Err(format!("the number of shards is not from 1 to {MAX_SHARDS}"));
        }
        Ok(record)
    }

    /// As it is stored.
    pub(in super::super) fn to_json(&self) -> String {
        // Numbers always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same with another number of shards, in an epoch after this one and after `epoch`.
    pub(in super::super) fn with_shards(&self, shards: u32, epoch: u64) -> Self {
        let mut before = self.before.clone();
        before.insert(self.shards);
        Self { epoch: self.epoch.max(epoch) + 1, shards, before }
    }

    /// How many shards may have events.
    pub(in super::super) fn served(&self) -> u32 {
        self.before.last().copied().unwrap_or(1).max(self.shards)
    }
}

/// A record, and how far its earlier shards still matter.
pub(in super::super) struct Layout {
    pub record: Record,
    /// Until when ids are looked up in earlier shards, where that is known.
    looked_up_until: Mutex<BTreeMap<u32, Instant>>,
}

impl Layout {
    pub(in super::super) fn new(record: Record) -> Self {
        Self { record, looked_up_until: Mutex::default() }
    }

    /// Whether all events go to the first shard, and always went there.
    pub(in super::super) fn is_single(&self) -> bool {
        self.record.served() == 1
    }

    /// The shard of a project's events.
    pub(in super::super) fn home(&self, project: &str) -> u32 {
        jump(hash(project), self.record.shards)
    }

    /// The other shards that may remember ids of a project's events.
    pub(in super::super) fn earlier(&self, project: &str) -> BTreeSet<u32> {
        if self.record.before.is_empty() {
            return BTreeSet::new();
        }
        let (hash, now) = (hash(project), Instant::now());
        let home = jump(hash, self.record.shards);
        let homes = self.record.before.iter().map(|shards| jump(hash, *shards));
        let until = self.looked_up_until();
        homes.filter(|s| *s != home && until.get(s).is_none_or(|until| now < *until)).collect()
    }

    /// Records for how long a shard has added nothing that would go elsewhere in this layout.
    pub(in super::super) fn fenced(&self, shard: u32, age: Duration) {
        let until = Instant::now() + LOOKED_UP.saturating_sub(age);
        self.looked_up_until().insert(shard, until);
    }

    fn looked_up_until(&self) -> MutexGuard<'_, BTreeMap<u32, Instant>> {
        self.looked_up_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hash that all versions of the program agree on: FNV-1a, with its bits mixed as in MurmurHash3.
fn hash(project: &str) -> u64 {
    let hash = project.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Jump consistent hash (Lamping and Veach): when the number of buckets grows from n to m, the keys
/// that move all move to new buckets, and only a share of 1 - n/m does.
fn jump(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0, 0_u64);
    while next < u64::from(buckets) {
        bucket = next as u32;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let scale = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((f64::from(bucket) + 1.0) * scale) as u64;
    }
    bucket
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(record: Record) -> Layout {
        Layout::new(record)
    }

    #[test]
    fn projects_keep_their_shard_in_every_version() {
        let of = |shards| layout(Record { shards, ..Record::default() });
        let homes = |shards| ["shop", "blog", "", "ü", "default"].map(|p| of(shards).home(p));
        assert_eq!(homes(1), [0; 5]);
        assert_eq!(homes(2), [0, 1, 1, 1, 1]);
        assert_eq!(homes(4), [0, 2, 1, 3, 1]);
        assert_eq!(homes(64), [58, 62, 59, 3, 16]);
    }

    #[test]
    fn projects_are_spread_evenly() {
        for shards in [2, 3, 4, 10, MAX_SHARDS] {
            let layout = layout(Record { shards, ..Record::default() });
            let mut counts = vec![0_u32; shards as usize];
            let projects = 2_000 * shards;
            (0..projects).for_each(|n| counts[layout.home(&format!("project-{n}")) as usize] += 1);
            assert!(counts.iter().all(|count| (1_700..2_300).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn what_is_stored_is_checked() {
        let record = Record { epoch: 3, shards: 2, before: [1, 4].into() };
        assert_eq!(record.to_json(), r#"{"epoch":3,"shards":2,"before":[1,4]}"#);
        assert_eq!(Record::parse(&record.to_json()), Ok(record));
        assert_eq!(Record::parse(""), Ok(Record::default()));
        for bad in [
            "x",
            "{}",
            r#"{"epoch":1,"shards":0,"before":[]}"#,
            r#"{"epoch":1,"shards":2,"before":[65]}"#,
        ] {
            assert!(Record::parse(bad).is_err(), "{bad}");
        }
        // A newer program may add fields.
        let more = r#"{"epoch":1,"shards":2,"before":[1],"more":true}"#;
        assert_eq!(Record::parse(more).unwrap().shards, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn earlier_shards_are_queried_for_a_day_after_they_were_fenced() {
        let layout = layout(Record::default().with_shards(64, 0));
        let project = (0..).map(|n| n.to_string()).find(|p| layout.home(p) != 0).unwrap();
        assert_eq!(layout.earlier(&project), [0].into());
        layout.fenced(0, Duration::from_secs(60 * 60));
        tokio::time::advance(CLIENT_ID_MEMORY - Duration::from_secs(1)).await;
        assert_eq!(layout.earlier(&project), [0].into());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(layout.earlier(&project), [].into());
        layout.fenced(0, Duration::from_secs(1_000_000));
        assert_eq!(layout.earlier(&project), [].into());
    }

    proptest! {
        #[test]
        fn a_change_moves_projects_only_to_or_from_the_shards_that_it_adds_or_removes(
            project: String, few in 1..=MAX_SHARDS, many in 1..=MAX_SHARDS,
        ) {
            let (few, many) = (few.min(many), few.max(many));
            let record = Record { shards: few, ..Record::default() };
            let (less, more) = (layout(record.clone()), layout(record.with_shards(many, 0)));
            let (before, after) = (less.home(&project), more.home(&project));
            prop_assert!(before < few && after < many);
            prop_assert!(before == after || after >= few, "{before} to {after}");
        }

        #[test]
        fn after_any_changes_every_earlier_shard_of_a_project_is_known(
            project: String, changes in prop::collection::vec(1..=MAX_SHARDS, 0..20),
        ) {
            let mut record = Record::default();
            let mut homes = BTreeSet::from([0]);
            for shards in changes {
                let next = record.with_shards(shards, record.epoch);
                prop_assert!(next.epoch > record.epoch && next.served() >= record.served());
                record = Record::parse(&next.to_json()).unwrap();
                homes.insert(layout(record.clone()).home(&project));
            }
            let layout = layout(record);
            let mut known = layout.earlier(&project);
            known.insert(layout.home(&project));
            prop_assert!(homes.is_subset(&known), "{homes:?} {known:?}");
            prop_assert!(known.iter().all(|shard| *shard < layout.record.served()));
        }
    }
}
