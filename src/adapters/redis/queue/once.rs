//! Items whose ids are remembered: they are added once, however often they are pushed.

use std::time::Duration;

use super::keys::RememberedId;
use super::push::{FAILED_FULL, Pusher};
use super::unavailable;
use crate::redis::connection::{Connection, RedisFailure};
use bklit_pipeline::queue::{CLIENT_ID_MEMORY, Pushed, QueueError};

/// Result of the script if an id belongs to another content.
const ID_TAKEN: i64 = -3;
/// Result of the script if there is a later layout of the shards.
const MOVED: i64 = -4;
/// Result of the script if an id is not known, and was only looked up.
const UNKNOWN: i64 = -5;

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is in the queue.
    Queued,
    /// The queue had accepted it before.
    Duplicate,
    /// It was not added: the shards have a layout of this epoch, later than that of the caller.
    Moved(u64),
    /// It was only looked up, and is not known.
    Unknown,
}

/// The result of an item.
pub(super) type PushResult = Result<Added, QueueError>;

impl Added {
    /// The result for the caller of a shard that is used alone.
    pub(super) fn pushed(self) -> Result<Pushed, QueueError> {
        match self {
            Self::Queued => Ok(Pushed::Queued),
            Self::Duplicate => Ok(Pushed::Duplicate),
            Self::Moved(_) | Self::Unknown => {
                Err(unavailable("the number of its shards keeps changing"))
            }
        }
    }
}

/// What `push_once.lua` does with items that are not known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Add,
    Look,
}

/// The results of `push_once.lua`.
pub(super) struct Once {
    pub depth: u64,
    /// How long the shard has refused items of earlier epochs.
    fence_age: Duration,
    pub results: Vec<PushResult>,
}

impl Pusher {
    /// Adds items in order, each once, atomically; all or none unless the queue becomes full.
    pub(super) async fn push_in_order(
        &self,
        epoch: u64,
        items: &[(RememberedId, String)],
    ) -> Result<Vec<PushResult>, QueueError> {
        let connection = self.connection().await?;
        let items = items.iter().map(|(chosen, body)| (chosen, body.as_str()));
        let once = self.add_once(&connection, epoch, items).await.map_err(unavailable)?;
        self.sync(&connection).await?;
        Ok(once.results)
    }

    /// Looks ids up, and refuses from now on items of earlier epochs whose ids are remembered. Also
    /// returns since when it has done so.
    pub(super) async fn look_up(
        &self,
        epoch: u64,
        ids: &[RememberedId],
    ) -> Result<(Vec<PushResult>, Duration), QueueError> {
        let connection = self.connection().await?;
        let items = ids.iter().map(|id| (id, ""));
        let once = self.once(&connection, Mode::Look, epoch, items).await.map_err(unavailable)?;
        self.sync(&connection).await?;
        Ok((once.results, once.fence_age))
    }

    /// Adds items whose ids are not remembered.
    pub(super) async fn add_once<'a>(
        &self,
        connection: &Connection<'_>,
        epoch: u64,
        items: impl Iterator<Item = (&'a RememberedId, &'a str)>,
    ) -> Result<Once, RedisFailure> {
        self.once(connection, Mode::Add, epoch, items).await
    }

    async fn once<'a>(
        &self,
        connection: &Connection<'_>,
        mode: Mode,
        epoch: u64,
        items: impl Iterator<Item = (&'a RememberedId, &'a str)>,
    ) -> Result<Once, RedisFailure> {
        let keys = &self.keys;
        let mut call = self.scripts.push_once.key(&keys.queue);
        call.key(&keys.failed).key(&keys.fence);
        call.arg(self.bounds.depth).arg(self.bounds.failed);
        call.arg(CLIENT_ID_MEMORY.as_secs()).arg(keys.ids_per_key);
        call.arg(epoch).arg(if mode == Mode::Add { "add" } else { "look" });
        let mut any = false;
        for (RememberedId { id, recent, older, legacy }, body) in items {
            call.key(recent).key(older).key(legacy);
            call.arg(&id.key).arg(&id.content).arg(body);
            any = true;
        }
        if !any {
            return Ok(Once { depth: 0, fence_age: Duration::ZERO, results: Vec::new() });
        }
        let mut results = connection.script::<Vec<i64>>(&call).await?.into_iter();
        let mut figure = || results.next().and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        let (depth, failed, fence) = (figure(), figure(), figure());
        let fence_age = Duration::from_secs(figure());
        let results = results.map(|result| match result {
            1 => Ok(Added::Queued),
            0 => Ok(Added::Duplicate),
            FAILED_FULL => Err(self.bounds.failed_full(failed)),
            ID_TAKEN => Err(QueueError::IdTaken),
            MOVED => Ok(Added::Moved(fence)),
            UNKNOWN => Ok(Added::Unknown),
            _ => Err(self.bounds.full(depth)),
        });
        Ok(Once { depth, fence_age, results: results.collect() })
    }
}
