//! The layout that all processes of a queue use: the one chosen by the process that started to push
//! last. It is stored next to the first shard.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::cmd;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::disk_sync::DiskSyncProbe;
use super::super::keys::Keys;
use super::super::scripts::Scripts;
use super::super::{Durability, unavailable};
use super::layout::{Layout, Record};
use crate::redis::connection::{Connection, Link};
use bklit_pipeline::queue::QueueError;

/// How long a layout is used before it is read again. Correctness does not depend on it: a shard
/// refuses what a process with an earlier layout adds, where that matters.
const REREAD_AFTER: Duration = Duration::from_secs(60);

/// Attempts to store a layout while other processes store theirs.
const TRIES: usize = 8;

/// Reads and changes the layout.
pub(in super::super) struct Layouts {
    link: Link,
    probe: DiskSyncProbe,
    /// Of the first shard.
    keys: Arc<Keys>,
    scripts: Arc<Scripts>,
    durability: Durability,
    /// The number of shards that this process is to use; `None` to use that of the others.
    wanted: Option<u32>,
    known: RwLock<Option<Known>>,
    /// Held by the one caller that reads or changes it.
    reading: Mutex<()>,
}

#[derive(Clone)]
struct Known {
    layout: Arc<Layout>,
    read: Instant,
    /// Whether it has or had the number of shards that this process is to use.
    is_chosen: bool,
}

impl Layouts {
    pub(in super::super) fn new(
        link: Link,
        keys: Arc<Keys>,
        scripts: Arc<Scripts>,
        durability: Durability,
        wanted: Option<u32>,
    ) -> Self {
        Self {
            link,
            probe: DiskSyncProbe::default(),
            keys,
            scripts,
            durability,
            wanted,
            known: RwLock::default(),
            reading: Mutex::default(),
        }
    }

    /// How many shards may have events, as far as is known.
    pub(in super::super) fn served(&self) -> u32 {
        let known = self.known().map_or(1, |known| known.layout.record.served());
        known.max(self.wanted.unwrap_or(1))
    }

    /// The same, read unless it is known.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub(in super::super) async fn all(&self) -> Result<u32, QueueError> {
        if self.known().is_none_or(|known| known.read.elapsed() >= REREAD_AFTER) {
            let _alone = self.reading.lock().await;
            let is_known = self.known();
            let is_fresh = is_known.as_ref().is_some_and(|k| k.read.elapsed() < REREAD_AFTER);
            if !is_fresh && let Err(error) = self.read().await {
                self.keep().ok_or(error)?;
            }
        }
        Ok(self.served())
    }

    /// The layout to push with. The first call chooses the number of shards.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub(in super::super) async fn for_push(&self) -> Result<Arc<Layout>, QueueError> {
        let usable = || {
            let known = self.known()?;
            (known.is_chosen && known.read.elapsed() < REREAD_AFTER).then_some(known.layout)
        };
        if let Some(layout) = usable() {
            return Ok(layout);
        }
        let _alone = self.reading.lock().await;
        if let Some(layout) = usable() {
            return Ok(layout);
        }
        // On the heap: every push would be as large otherwise.
        match Box::pin(self.read_or_choose(0)).await {
            Ok(layout) => Ok(layout),
            // The first shard's server is needed only for changes.
            Err(error) => match self.keep() {
                Some(known) if known.is_chosen => Ok(known.layout),
                _ => Err(error),
            },
        }
    }

    /// Reads a layout after a shard has reported that there is one of this epoch.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub(in super::super) async fn catch_up(&self, epoch: u64) -> Result<(), QueueError> {
        let _alone = self.reading.lock().await;
        if self.known().is_some_and(|known| known.layout.record.epoch >= epoch) {
            return Ok(());
        }
        self.read_or_choose(epoch).await.map(drop)
    }

    /// The shard of a project's events, as far as is known.
    pub(in super::super) fn home(&self, project: &str) -> u32 {
        self.known().map_or(0, |known| known.layout.home(project))
    }

    /// Takes over a layout that was read elsewhere.
    pub(in super::super) fn note(&self, stored: Option<&str>) {
        let Ok(record) = Record::parse(stored.unwrap_or_default()) else { return };
        self.adopt(record, false);
    }

    fn known(&self) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses what is known for a while longer, because it cannot be read.
    fn keep(&self) -> Option<Known> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.as_mut()?.read = Instant::now();
        known.clone()
    }

    /// Uses a record unless a later one is known.
    fn adopt(&self, record: Record, is_chosen: bool) -> Arc<Layout> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let is_chosen = is_chosen || known.as_ref().is_some_and(|known| known.is_chosen);
        let layout = match &*known {
            Some(known) if known.layout.record.epoch > record.epoch => return known.layout.clone(),
            Some(known) if known.layout.record == record => known.layout.clone(),
            _ => Arc::new(Layout::new(record)),
        };
        *known = Some(Known { layout: layout.clone(), read: Instant::now(), is_chosen });
        layout
    }

    async fn read(&self) -> Result<(), QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        let (record, _) = self.stored(&connection).await?;
        self.adopt(record, false);
        Ok(())
    }

    /// The stored record and its text.
    async fn stored(&self, connection: &Connection<'_>) -> Result<(Record, String), QueueError> {
        let key = &self.keys.layout;
        let text: Option<String> =
            connection.query(cmd("GET").arg(key)).await.map_err(unavailable)?;
        let text = text.unwrap_or_default();
        let record = Record::parse(&text);
        let record = record.map_err(|reason| unavailable(format!("{key} is invalid: {reason}")))?;
        Ok((record, text))
    }

    /// Reads the record and, if that is necessary, replaces it: by one with the number of shards of
    /// this process, if it has not pushed yet, and by a later one, if a crash of the server has
    /// undone that of `epoch`, or the one in use.
    async fn read_or_choose(&self, epoch: u64) -> Result<Arc<Layout>, QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        for _ in 0..TRIES {
            let (record, text) = self.stored(&connection).await?;
            let used = self.known();
            let chosen = self.wanted.filter(|_| !used.as_ref().is_some_and(|k| k.is_chosen));
            let used = used.map(|known| known.layout.record.clone());
            let Some(next) = next(&record, chosen, used.as_ref(), epoch) else {
                return Ok(self.adopt(record, true));
            };
            if self.replace(&connection, &text, &next).await? {
                let (from, to) = (record.shards, next.shards);
                tracing::info!(from, to, epoch = next.epoch, "the queue's layout has changed");
                return Ok(self.adopt(next, true));
            }
        }
        Err(unavailable(format!("{} keeps changing", self.keys.layout)))
    }

    /// Stores a record, unless the stored one is no longer `before`.
    async fn replace(
        &self,
        connection: &Connection<'_>,
        before: &str,
        next: &Record,
    ) -> Result<bool, QueueError> {
        let is_durable = self.durability == Durability::Always;
        if is_durable {
            self.probe.confirming(connection).await?;
        }
        let mut call = self.scripts.replace.key(&self.keys.layout);
        call.arg(before).arg(next.to_json());
        let replaced = connection.script::<bool>(&call).await.map_err(unavailable)?;
        if replaced && is_durable {
            self.probe.confirmed(connection).await?;
        }
        Ok(replaced)
    }
}

/// The record that has to replace the stored one, if any: with the number of shards that was
/// `chosen`, and not before the one in use or the given epoch.
fn next(stored: &Record, chosen: Option<u32>, used: Option<&Record>, epoch: u64) -> Option<Record> {
    let lost = used.filter(|used| used.epoch > stored.epoch);
    let least = epoch.max(lost.map_or(0, |used| used.epoch));
    let shards = chosen.or(lost.map(|used| used.shards)).unwrap_or(stored.shards);
    if shards == stored.shards && least <= stored.epoch {
        return None;
    }
    let mut next = stored.with_shards(shards, least);
    if let Some(used) = lost {
        next.before.insert(used.shards);
        next.before.extend(&used.before);
    }
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u64, shards: u32, before: &[u32]) -> Record {
        Record { epoch, shards, before: before.iter().copied().collect() }
    }

    #[test]
    fn a_record_is_replaced_only_if_it_has_to_be() {
        let none = Record::default();
        assert_eq!(next(&none, Some(1), None, 0), None, "without shards, nothing is stored");
        assert_eq!(next(&none, None, None, 0), None);
        let four = next(&none, Some(4), None, 0).unwrap();
        assert_eq!(four, record(1, 4, &[1]));
        assert_eq!(next(&four, Some(4), None, 0), None);
        assert_eq!(next(&four, None, Some(&none), 1), None);
        assert_eq!(next(&four, Some(2), Some(&none), 0), Some(record(2, 2, &[1, 4])));
    }

    #[test]
    fn a_record_that_a_crash_has_undone_is_stored_again() {
        let (none, used) = (Record::default(), record(3, 4, &[1, 2]));
        assert_eq!(next(&none, None, Some(&used), 0), Some(record(4, 4, &[1, 2, 4])));
        // Another process has changed it, and this one has not seen that.
        assert_eq!(next(&none, None, None, 3), Some(record(4, 1, &[1])));
        assert_eq!(next(&used, None, Some(&used), 3), None);
    }
}
