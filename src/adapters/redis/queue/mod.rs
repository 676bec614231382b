//! The production queue: a Redis (or Valkey) list that other programs may push to and pop from.
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
//! | `push.rs` | groups pushes; settles those in doubt |
//! | `arrivals.rs` | waits for something to claim |
//! | `claims.rs` | claims batches, on separate connections |
//! | `list_items.rs` | pages of a list; removes items from the middle |
//! | `overview.rs` | counts; batches in flight |
//! | `failed_record.rs` | JSON of an item in the failed list |
//! | `disk_sync.rs` | waits until the server's disk has the writes |
//! | `keys.rs` | names of the keys |
//! | `scripts.rs` | the Lua scripts in `scripts/` |
//! | `check.rs` | what `doctor` reports about the server |

mod arrivals;
pub mod check;
mod claims;
mod disk_sync;
mod failed_record;
mod keys;
mod list_items;
mod overview;
mod push;
mod scripts;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::redis::connection::{Link, RedisFailure, RedisServer};
use arrivals::Arrivals;
use bklit_pipeline::queue::{
    Bounds, Claim, ClaimId, DEFAULT_MAX_CLIENT_IDS, DEFAULT_MAX_FAILED, FailedItem, NewItem, Order,
    Page, Pushed, Queue, QueueError, QueueStats, Rejected, WaitingItem,
};
pub use bklit_pipeline::queue::{DEFAULT_PREFIX, Durability};
use bklit_wire::event::QueuedEvent;
use bklit_wire::queue::BatchInFlight;
use bklit_wire::time::UtcMillis;
use claims::{Claims, text};
use keys::Keys;
use push::{Call, Push, Pusher};
use scripts::Scripts;

/// Maximum lease: ten years, far below the numbers that a script cannot represent exactly.
const LONGEST_LEASE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Options of a [`RedisQueue`].
#[derive(Clone, Debug)]
pub struct RedisQueueOptions {
    /// The name of the list, and the prefix of all other keys; in a cluster, their hash tag, unless
    /// it contains one.
    pub prefix: String,
    /// Maximum number of waiting events.
    pub max_depth: u64,
    /// Once this many events have failed, new ones are refused.
    pub max_failed: u64,
    /// Maximum number of client-chosen event ids to remember, approximately.
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
            max_depth: 1_000_000,
            max_failed: DEFAULT_MAX_FAILED,
            max_client_ids: DEFAULT_MAX_CLIENT_IDS,
            durability: Durability::default(),
            durable_claims: true,
        }
    }
}

/// The [`Queue`] in Redis.
pub struct RedisQueue {
    pushes: mpsc::Sender<Call>,
    pusher: Arc<Pusher>,
    pusher_ended: CancellationToken,
    pushed: Arc<Notify>,
    claims: Arc<Claims>,
    arrivals: Arrivals,
    link: Link,
    keys: Arc<Keys>,
    scripts: Arc<Scripts>,
    bounds: Bounds,
    /// Batches in flight when they were last counted.
    counted: Mutex<Vec<String>>,
}

impl RedisQueue {
    /// Creates the queue; it connects to `server` when it is first used.
    ///
    /// Must be called in a tokio runtime, where its push task runs until the queue is dropped.
    pub fn new(server: RedisServer, options: &RedisQueueOptions) -> Self {
        let &RedisQueueOptions { ref prefix, durability, durable_claims, .. } = options;
        let &RedisQueueOptions { max_depth: depth, max_failed: failed, .. } = options;
        let bounds = Bounds { depth, failed, client_ids: options.max_client_ids };
        let server = server.for_key(prefix);
        let keys = Arc::new(Keys::new(prefix, bounds.client_ids, server.is_cluster()));
        let scripts = Arc::new(Scripts::new());
        let pushed = Arc::new(Notify::new());
        let (pushes, receiver) = mpsc::channel(push::MAX_WAITING);
        let link = Link::new(server.clone());
        let pusher = Pusher::new(link, Arc::clone(&keys), Arc::clone(&scripts), bounds, durability);
        let pusher = Arc::new(pusher);
        // Ends once the sender is dropped and all pushes have a result.
        let push = Arc::clone(&pusher).run(receiver, Arc::clone(&pushed));
        let pusher_ended = CancellationToken::new();
        let ends = pusher_ended.clone().drop_guard();
        tokio::spawn(async move {
            let _ends = ends;
            push.await;
        });
        let (claim_keys, claim_scripts) = (Arc::clone(&keys), Arc::clone(&scripts));
        let claims = Claims::new(server.clone(), claim_keys, claim_scripts, durable_claims);
        let (watch_keys, watch_scripts) = (Arc::clone(&keys), Arc::clone(&scripts));
        let watched = Arc::clone(&pushed);
        let arrivals = Arrivals::new(server.clone(), watch_keys, watch_scripts, watched);
        Self {
            pushes,
            pusher,
            pusher_ended,
            pushed,
            claims: Arc::new(claims),
            arrivals,
            link: Link::new(server),
            keys,
            scripts,
            bounds,
            counted: Mutex::default(),
        }
    }

    async fn try_renew(&self, claim: &ClaimId, lease: Duration) -> Result<bool, RedisFailure> {
        let connection = self.link.connection().await?;
        let mut call = self.scripts.renew.key(&self.keys.inflight);
        call.key(self.keys.meta(&claim.batch));
        call.arg(&claim.batch).arg(claim.epoch).arg(lease_millis(lease));
        connection.script(&call).await
    }

    async fn try_acknowledge(
        &self,
        claim: &ClaimId,
        rejected: &[Rejected],
    ) -> Result<bool, RedisFailure> {
        let connection = self.link.connection().await?;
        let keys = &self.keys;
        let mut call = self.scripts.acknowledge.key(&keys.inflight);
        call.key(keys.batch(&claim.batch)).key(keys.meta(&claim.batch)).key(&keys.failed);
        call.arg(&claim.batch).arg(claim.epoch);
        let now = UtcMillis::now();
        for item in rejected {
            // The oldest item is the last of the list.
            call.arg(-1 - item.seq).arg(failed_record::start(claim, item, now));
        }
        connection.script(&call).await
    }

    async fn remove(&self, list: &str, retry: bool, ids: &[String]) -> Result<u64, QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        let target = retry.then_some(self.keys.queue.as_str());
        let removed = list_items::remove(&connection, &self.scripts, list, target, ids).await;
        removed.map_err(unavailable)
    }
}

fn lease_millis(lease: Duration) -> u64 {
    u64::try_from(lease.min(LONGEST_LEASE).as_millis()).unwrap_or(u64::MAX)
}

fn unavailable(error: impl std::fmt::Display) -> QueueError {
    QueueError::Unavailable(error.to_string())
}

fn held(claim: &ClaimId, held: Result<bool, RedisFailure>) -> Result<(), QueueError> {
    match held {
        Ok(true) => Ok(()),
        Ok(false) => Err(QueueError::Stale(claim.clone())),
        Err(failure) => Err(unavailable(failure)),
    }
}

#[async_trait]
impl Queue for RedisQueue {
    async fn push(&self, item: NewItem) -> Result<Pushed, QueueError> {
        let (push, response) = Push::new(&self.keys, &item);
        let _ = self.pushes.send(Call::One(push)).await;
        push::result(response).await
    }

    async fn push_many(&self, items: Vec<NewItem>) -> Vec<Result<Pushed, QueueError>> {
        let (pushes, responses): (Vec<_>, Vec<_>) =
            items.iter().map(|item| Push::new(&self.keys, item)).unzip();
        // If the task has ended, the replies are dropped, and each response says so.
        let _ = self.pushes.send(Call::Many(pushes)).await;
        push::results(responses).await
    }

    async fn settle(&self, ticket: &str) -> Result<bool, QueueError> {
        self.pusher.settle(ticket).await
    }

    async fn push_in_order(&self, events: &[QueuedEvent]) -> Result<usize, QueueError> {
        let item = |event: &QueuedEvent| (self.keys.remembered(event), event.to_json());
        let items: Vec<_> = events.iter().map(item).collect();
        let results = self.pusher.push_in_order(&items).await?;
        self.pushed.notify_one();
        let mut errors = results.iter().filter_map(|result| result.as_ref().err());
        match errors.find(|error| !matches!(error, QueueError::Full { .. })) {
            Some(error) => Err(error.clone()),
            None => Ok(results.iter().position(Result::is_err).unwrap_or(results.len())),
        }
    }

    async fn claim(&self, most: usize, lease: Duration) -> Result<Option<Claim>, QueueError> {
        let (claims, (reply, response)) = (Arc::clone(&self.claims), oneshot::channel());
        // In a separate task: if the caller is cancelled, the batch must be released.
        tokio::spawn(async move {
            if let Err(Ok(Some(claim))) = reply.send(claims.claim(most, lease).await) {
                claims.release(&claim.id).await;
            }
        });
        response.await.map_err(|_| unavailable("the claim task has stopped"))?
    }

    async fn renew(&self, claim: &ClaimId, lease: Duration) -> Result<(), QueueError> {
        held(claim, self.try_renew(claim, lease).await)
    }

    async fn release(&self, claim: &ClaimId) -> Result<(), QueueError> {
        self.renew(claim, Duration::ZERO).await?;
        self.pushed.notify_one();
        Ok(())
    }

    async fn acknowledge(&self, claim: &ClaimId, rejected: &[Rejected]) -> Result<(), QueueError> {
        held(claim, self.try_acknowledge(claim, rejected).await)
    }

    async fn ready(&self) {
        self.arrivals.ready().await;
    }

    async fn ended(&self) {
        self.pusher_ended.cancelled().await;
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.try_stats().await.map_err(unavailable)
    }

    async fn accepts(&self) -> Result<(), QueueError> {
        self.bounds.check(self.stats().await?)
    }

    async fn accepts_at(&self, stats: QueueStats) -> Result<(), QueueError> {
        self.bounds.check(stats)
    }

    async fn batches(&self, most: usize) -> Result<Vec<BatchInFlight>, QueueError> {
        self.try_batches(most).await.map_err(unavailable)
    }

    async fn batch_items(
        &self,
        batch: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, QueueError> {
        self.try_batch_items(batch, most).await.map_err(unavailable)
    }

    async fn waiting(
        &self,
        order: Order,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<WaitingItem>, QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        let read = |id, member| WaitingItem { id, body: text(member) };
        let page = list_items::page(&connection, &self.keys.queue, order, after, most, read).await;
        page.map_err(unavailable)
    }

    async fn delete_waiting(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.remove(&self.keys.queue, false, ids).await
    }

    async fn failed(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<FailedItem>, QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        let (list, order) = (&self.keys.failed, Order::NewestFirst);
        let page =
            list_items::page(&connection, list, order, after, most, failed_record::read).await;
        page.map_err(unavailable)
    }

    async fn retry_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        let moved = self.remove(&self.keys.failed, true, ids).await;
        self.pushed.notify_one();
        moved
    }

    async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.remove(&self.keys.failed, false, ids).await
    }
}
