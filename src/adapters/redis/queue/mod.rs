//! The production queue: a Redis (or Valkey) list that other programs may push to and pop from, or
//! several such lists.
//!
//! `LPUSH` adds at the left and consumers take from the right, as elsewhere in Bklit. A claim moves
//! items into a separate list for the batch, with a lease by the server's clock. Items never return
//! to the queue, so a batch keeps its id and its items until it is acknowledged. Everything that
//! must happen atomically is one script.
//!
//! Concurrent pushes share a round trip and are numbered. If the connection is lost, a push may
//! have been executed, or may be executed later: it is in doubt ([`QueueError::InDoubt`]) until
//! `settle.lua` has determined whether it was added, and has ruled out that it will be later. Two
//! copies in the queue are not acceptable: two workers that store them at the same time cannot see
//! each other's.
//!
//! The server may reject any command: a key has the wrong type, the user lacks a permission, memory
//! is full, the server has become a replica. No script leaves partial changes in these cases.
//!
//! | file | contents |
//! | --- | --- |
//! | `shards/` | several lists as one queue |
//! | `shard.rs` | one list with its keys |
//! | `push.rs`, `once.rs` | groups pushes and settles those in doubt; items whose ids are remembered |
//! | `arrivals.rs` | waits for something to claim |
//! | `claims.rs` | claims batches, on separate connections |
//! | `list_items.rs` | pages of a list; removes items from the middle |
//! | `overview.rs` | counts; batches in flight |
//! | `pauses.rs` | what is paused: a hash |
//! | `failed_record.rs` | JSON of an item in the failed list |
//! | `disk_sync.rs` | waits until the server's disk has the writes |
//! | `keys.rs` | names of the keys |
//! | `options.rs` | options of the queue |
//! | `scripts.rs` | the Lua scripts in `scripts/` |
//! | `check.rs` | what `doctor` reports about the server |

mod arrivals;
pub mod check;
mod claims;
mod disk_sync;
mod failed_record;
mod keys;
mod list_items;
mod once;
mod options;
mod overview;
pub mod pauses;
mod push;
mod scripts;
mod shard;
mod shards;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::redis::connection::{Link, RedisServer};
use arrivals::Arrivals;
use bklit_pipeline::queue::{
    Claim, ClaimId, FailedItem, MAX_SHARDS, NewItem, Order, Page, Pushed, Queue, QueueError,
    QueueStats, Rejected, WaitingItem, changes,
};
pub use bklit_pipeline::queue::{DEFAULT_PREFIX, Durability};
use bklit_wire::event::QueuedEvent;
use bklit_wire::queue::{BatchInFlight, Edit, Edited};
use keys::{AllKeys, shard_of};
use once::Added;
pub use options::RedisQueueOptions;
use scripts::Scripts;
use shard::Shard;
use shards::layouts::Layouts;
use shards::pages::{self, merged};
use shards::pushes::Way;
use shards::turns::{self, Turns};

/// Maximum lease: ten years, far below the numbers that a script cannot represent exactly.
const LONGEST_LEASE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The [`Queue`] in Redis.
pub struct RedisQueue {
    server: RedisServer,
    options: RedisQueueOptions,
    keys: Arc<AllKeys>,
    scripts: Arc<Scripts>,
    /// Created when they are first used.
    shards: Vec<OnceLock<Arc<Shard>>>,
    layouts: Arc<Layouts>,
    arrivals: Arrivals,
    turns: Arc<Turns>,
    pushed: Arc<Notify>,
    /// Cancelled when the push task of a shard has ended.
    ended: CancellationToken,
    /// Of each shard, when they were last counted.
    counted: Mutex<Vec<QueueStats>>,
}

impl RedisQueue {
    /// Creates the queue; it connects to `server` when it is first used.
    ///
    /// Must be called in a tokio runtime, where its push tasks run until the queue is dropped.
    pub fn new(server: RedisServer, options: &RedisQueueOptions) -> Self {
        let mut options = options.clone();
        options.shards = options.shards.map(|shards| shards.clamp(1, MAX_SHARDS));
        let server = server.for_key(&options.prefix);
        let in_cluster = server.is_cluster();
        let keys = Arc::new(AllKeys::new(&options.prefix, options.max_client_ids, in_cluster));
        let scripts = Arc::new(Scripts::new());
        let pushed = Arc::new(Notify::new());
        let (of_layouts, known) = (Link::new(server.clone()), Arc::clone(&scripts));
        let layouts =
            Layouts::new(of_layouts, keys.of(0), known, options.durability, options.shards);
        let layouts = Arc::new(layouts);
        let (all, known, noted) = (Arc::clone(&keys), Arc::clone(&scripts), Arc::clone(&layouts));
        let arrivals = Arrivals::new(server.clone(), all, known, noted, Arc::clone(&pushed));
        Self {
            server,
            options,
            keys,
            scripts,
            shards: (0..MAX_SHARDS).map(|_| OnceLock::new()).collect(),
            layouts,
            arrivals,
            turns: Arc::default(),
            pushed,
            ended: CancellationToken::new(),
            counted: Mutex::default(),
        }
    }

    /// A shard, which must be below [`MAX_SHARDS`].
    fn shard(&self, shard: u32) -> &Arc<Shard> {
        self.shards[shard as usize].get_or_init(|| {
            let (keys, scripts) = (self.keys.of(shard), Arc::clone(&self.scripts));
            let (pushed, ended) = (Arc::clone(&self.pushed), self.ended.clone());
            Arc::new(Shard::new(&self.server, &self.options, keys, scripts, pushed, ended))
        })
    }

    /// The shard of a batch.
    fn shard_of(&self, batch: &str) -> &Arc<Shard> {
        self.shard(shard_of(batch).0)
    }

    /// All shards that may have events.
    async fn all(&self) -> Result<impl Iterator<Item = &Arc<Shard>>, QueueError> {
        let served = self.layouts.all().await?;
        Ok((0..served).map(|shard| self.shard(shard)))
    }

    /// How full each shard is.
    async fn count(&self) -> Result<Vec<QueueStats>, QueueError> {
        let counts = self.all().await?.map(async |shard| {
            let stats = shard.try_stats().await;
            stats.map_err(|failure| self.unavailable(shard, failure))
        });
        let counts = try_join_all(counts).await?;
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&counts);
        Ok(counts)
    }

    /// Whether each shard accepts events.
    fn check(&self, counts: &[QueueStats]) -> Result<(), QueueError> {
        counts.iter().try_for_each(|stats| self.options.bounds().check(*stats))
    }

    /// An error that names the shard, if there are several.
    fn unavailable(&self, shard: &Shard, error: impl std::fmt::Display) -> QueueError {
        match self.layouts.served() {
            1 => unavailable(error),
            _ => unavailable(format!("shard {}: {error}", shard.keys.shard)),
        }
    }
}

fn total(counts: &[QueueStats]) -> QueueStats {
    counts.iter().fold(QueueStats::default(), |sum, stats| QueueStats {
        depth: sum.depth + stats.depth,
        in_flight: sum.in_flight + stats.in_flight,
        failed: sum.failed + stats.failed,
        spooled: 0,
    })
}

fn lease_millis(lease: Duration) -> u64 {
    u64::try_from(lease.min(LONGEST_LEASE).as_millis()).unwrap_or(u64::MAX)
}

fn unavailable(error: impl std::fmt::Display) -> QueueError {
    QueueError::Unavailable(error.to_string())
}

#[async_trait]
impl Queue for RedisQueue {
    async fn push(&self, item: NewItem) -> Result<Pushed, QueueError> {
        let layout = self.layouts.for_push().await?;
        let project = &item.event.project_id;
        // Usually a single item, for which no list is needed.
        if layout.is_single() || !item.client_id || layout.earlier(project).is_empty() {
            let shard = self.shard(layout.home(project));
            match shard.push(layout.record.epoch, &item).await? {
                Added::Moved(epoch) => Box::pin(self.layouts.catch_up(epoch)).await?,
                added => return added.pushed(),
            }
        }
        // On the heap, like all that is rarely needed: every push would be as large otherwise.
        let mut results = Box::pin(self.push_all(&[item], Way::Grouped)).await;
        results.pop().unwrap_or_else(|| Err(unavailable("no result of the push")))?.pushed()
    }

    async fn push_many(&self, items: Vec<NewItem>) -> Vec<Result<Pushed, QueueError>> {
        let results = self.push_all(&items, Way::Grouped).await;
        results.into_iter().map(|result| result.and_then(Added::pushed)).collect()
    }

    async fn settle(&self, ticket: &str) -> Result<bool, QueueError> {
        let series = ticket.split_once(':').map_or(ticket, |(series, _)| series);
        self.shard_of(series).settle(ticket).await
    }

    async fn push_in_order(&self, events: &[QueuedEvent]) -> Result<usize, QueueError> {
        let item =
            |event: &QueuedEvent| NewItem { event: Arc::new(event.clone()), client_id: true };
        let items: Vec<_> = events.iter().map(item).collect();
        let results = self.push_all(&items, Way::Ordered).await;
        let results: Vec<_> = results.into_iter().map(|r| r.and_then(Added::pushed)).collect();
        let mut errors = results.iter().filter_map(|result| result.as_ref().err());
        match errors.find(|error| !matches!(error, QueueError::Full { .. })) {
            Some(error) => Err(error.clone()),
            None => Ok(results.iter().position(Result::is_err).unwrap_or(results.len())),
        }
    }

    async fn claim(&self, most: usize, lease: Duration) -> Result<Option<Claim>, QueueError> {
        // What is not known yet is noticed while waiting.
        let served = self.layouts.all().await.unwrap_or_else(|_| self.layouts.served());
        match served {
            1 => self.shard(0).claim(most, lease).await,
            _ => self.claim_in_turn(served, most, lease).await,
        }
    }

    async fn renew(&self, claim: &ClaimId, lease: Duration) -> Result<(), QueueError> {
        self.shard_of(&claim.batch).renew(claim, lease).await
    }

    async fn release(&self, claim: &ClaimId) -> Result<(), QueueError> {
        self.renew(claim, Duration::ZERO).await?;
        self.turns.ready(&[shard_of(&claim.batch).0]);
        self.pushed.notify_one();
        Ok(())
    }

    async fn acknowledge(&self, claim: &ClaimId, rejected: &[Rejected]) -> Result<(), QueueError> {
        self.shard_of(&claim.batch).acknowledge(claim, rejected).await
    }

    async fn ready(&self) {
        let ready = self.arrivals.ready().await;
        self.turns.ready(&ready);
        if self.turns.are_failing(&ready) {
            // Nothing can be claimed yet.
            tokio::time::sleep(turns::PAUSE).await;
        }
    }

    async fn ended(&self) {
        self.ended.cancelled().await;
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        Ok(total(&self.count().await?))
    }

    fn lane(&self, project: &str) -> u32 {
        self.layouts.home(project)
    }

    fn shards(&self) -> Vec<QueueStats> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.len() > 1 { counted.clone() } else { Vec::new() }
    }

    async fn accepts(&self) -> Result<(), QueueError> {
        self.check(&self.count().await?)
    }

    async fn accepts_at(&self, stats: QueueStats) -> Result<(), QueueError> {
        let counts = self.shards();
        if counts.is_empty() {
            return self.check(&[stats]);
        }
        // Of several shards, the counts behind that sum are needed.
        if total(&counts) == stats { self.check(&counts) } else { self.accepts().await }
    }

    async fn batches(&self, most: usize) -> Result<Vec<BatchInFlight>, QueueError> {
        let lists = self.all().await?.map(async |shard| {
            let batches = shard.try_batches(most).await;
            batches.map_err(|failure| self.unavailable(shard, failure))
        });
        let mut batches: Vec<_> = try_join_all(lists).await?.into_iter().flatten().collect();
        batches.sort_by_key(|batch| batch.lease_until);
        batches.truncate(most);
        Ok(batches)
    }

    async fn batch_items(
        &self,
        batch: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, QueueError> {
        self.shard_of(batch).try_batch_items(batch, most).await.map_err(unavailable)
    }

    async fn waiting(
        &self,
        order: Order,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<WaitingItem>, QueueError> {
        let served = self.layouts.all().await?;
        if served == 1 {
            return self.shard(0).waiting(order, after, most).await;
        }
        let read = |shard, after: Option<String>, most| {
            let shard = self.shard(shard);
            async move { shard.waiting(order, after.as_deref(), most).await }.boxed()
        };
        merged(served, order, after, most, read).await
    }

    async fn delete_waiting(&self, ids: &[String]) -> Result<u64, QueueError> {
        let deletes = pages::by_shard(ids)
            .into_iter()
            .map(async |(shard, ids)| self.shard(shard).delete_waiting(&ids).await);
        changes::total_count(join_all(deletes).await)
    }

    async fn failed(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<FailedItem>, QueueError> {
        let served = self.layouts.all().await?;
        if served == 1 {
            return self.shard(0).failed(after, most).await;
        }
        let read = |shard, after: Option<String>, most| {
            let shard = self.shard(shard);
            async move { shard.failed(after.as_deref(), most).await }.boxed()
        };
        merged(served, Order::NewestFirst, after, most, read).await
    }

    async fn retry_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        let retries = pages::by_shard(ids).into_iter().map(async |(shard, ids)| {
            self.turns.ready(&[shard]);
            self.shard(shard).retry_failed(&ids).await
        });
        changes::total_count(join_all(retries).await)
    }

    async fn retry_edited(&self, edits: &[Edit]) -> Result<Edited, QueueError> {
        let retries = pages::edits_by_shard(edits).into_iter().map(async |(shard, edits)| {
            self.turns.ready(&[shard]);
            let edited = self.shard(shard).retry_edited(&edits).await;
            changes::with_ids(edited, |id| pages::add_shard(id, shard))
        });
        changes::total(join_all(retries).await)
    }

    async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        let deletes = pages::by_shard(ids)
            .into_iter()
            .map(async |(shard, ids)| self.shard(shard).delete_failed(&ids).await);
        changes::total_count(join_all(deletes).await)
    }
}
