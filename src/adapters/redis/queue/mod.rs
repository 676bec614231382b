//! The production queue: a Redis (or Valkey) list that other programs may push to and pop from.
//!
//! `LPUSH` adds at the left and consumers take from the right, as they do elsewhere in Bklit. A
//! claim moves items into a list of the batch's own, leased by the server's clock; nothing ever
//! goes back, so a batch keeps its id and its items until it is acknowledged. All that must
//! happen together is one script.
//!
//! Pushes that are made at the same time share a round trip and have numbers. One whose
//! connection breaks may have been carried out, or may be later: it is in doubt
//! ([`QueueError::InDoubt`]) until `settle.lua` has said whether it was, and that it never will
//! be. Two copies in the queue would not do: two workers that store them at the same moment
//! cannot see each other's.
//!
//! The server may refuse any command: a key has the wrong type, the user lacks the permission, the
//! memory is full, it has become a replica. No script leaves anything half done then.

pub mod check;
mod claims;
mod disk_sync;
mod failed_record;
mod keys;
mod list_items;
mod push;
mod scripts;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::redis::connection::{Link, RedisFailure, RedisServer};
use bklit_pipeline::queue::{
    Bounds, Claim, ClaimId, DEFAULT_MAX_FAILED, FailedItem, NewItem, Order, Page, Pushed, Queue,
    QueueError, QueueStats, Rejected, WaitingItem,
};
pub use bklit_pipeline::queue::{DEFAULT_PREFIX, Durability};
use bklit_wire::event::QueuedEvent;
use bklit_wire::queue::BatchInFlight;
use bklit_wire::time::UtcMillis;
use claims::{Claims, text};
use keys::Keys;
use push::{Push, Pusher};
use scripts::Scripts;

/// How often to look for what others pushed: at first, and once nothing has come for a while.
/// Redis tells nobody of a push except who takes the item away with it, unacknowledged.
const SHORTEST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// The longest lease: ten years, far from where a number loses digits in a script.
const LONGEST_LEASE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How to keep a queue in Redis.
#[derive(Clone, Debug)]
pub struct RedisQueueOptions {
    /// The list's name, and what the names of all other keys begin with. In a Redis Cluster it
    /// needs a hash tag, such as `{analytics}:queue`.
    pub prefix: String,
    /// Events that may wait.
    pub max_depth: u64,
    /// Failed events from which on no more are accepted.
    pub max_failed: u64,
    /// When an event counts as kept.
    pub durability: Durability,
    /// Whether a claim waits until the server's disk has it, where the server can tell.
    ///
    /// Without, a crash of the server may undo a claim whose events are stored already; they come
    /// again in another batch, and the store knows their ids. With, a claim takes up to a second
    /// at `appendfsync everysec`, and almost nothing at `always`.
    pub durable_claims: bool,
}

impl Default for RedisQueueOptions {
    fn default() -> Self {
        Self {
            prefix: DEFAULT_PREFIX.to_owned(),
            max_depth: 1_000_000,
            max_failed: DEFAULT_MAX_FAILED,
            durability: Durability::default(),
            durable_claims: true,
        }
    }
}

/// The [`Queue`] in Redis.
pub struct RedisQueue {
    pushes: mpsc::Sender<Push>,
    pusher: Arc<Pusher>,
    pusher_ended: CancellationToken,
    pushed: Arc<Notify>,
    claims: Arc<Claims>,
    link: Link,
    keys: Arc<Keys>,
    scripts: Arc<Scripts>,
    bounds: Bounds,
}

impl RedisQueue {
    /// A queue at `server`, to which it connects when it is first used.
    ///
    /// Call it within a tokio runtime, where its task of pushing runs until it is dropped.
    pub fn new(server: RedisServer, options: &RedisQueueOptions) -> Self {
        let &RedisQueueOptions { ref prefix, durability, durable_claims, .. } = options;
        let bounds = Bounds { depth: options.max_depth, failed: options.max_failed };
        let (keys, scripts) = (Arc::new(Keys::new(prefix)), Arc::new(Scripts::new()));
        let pushed = Arc::new(Notify::new());
        let (pushes, receiver) = mpsc::channel(push::MAX_WAITING);
        let link = Link::new(server.clone());
        let pusher = Pusher::new(link, Arc::clone(&keys), Arc::clone(&scripts), bounds, durability);
        let pusher = Arc::new(pusher);
        // Ends by itself once the sender is dropped and what was sent is answered.
        let push = Arc::clone(&pusher).run(receiver, Arc::clone(&pushed));
        let pusher_ended = CancellationToken::new();
        let ends = pusher_ended.clone().drop_guard();
        tokio::spawn(async move {
            let _ends = ends;
            push.await;
        });
        let (claim_keys, claim_scripts) = (Arc::clone(&keys), Arc::clone(&scripts));
        let claims = Claims::new(server.clone(), claim_keys, claim_scripts, durable_claims);
        Self {
            pushes,
            pusher,
            pusher_ended,
            pushed,
            claims: Arc::new(claims),
            link: Link::new(server),
            keys,
            scripts,
            bounds,
        }
    }

    /// How long until there may be something to claim: zero for now, `None` for no idea.
    async fn ready_in(&self) -> Result<Option<Duration>, RedisFailure> {
        let connection = self.link.connection().await?;
        let mut call = self.scripts.ready_in.key(&self.keys.queue);
        let millis: i64 = connection.script(call.key(&self.keys.inflight)).await?;
        Ok(u64::try_from(millis).ok().map(Duration::from_millis))
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
            // The oldest is the list's last.
            call.arg(-1 - item.seq).arg(failed_record::start(claim, item, now));
        }
        connection.script(&call).await
    }

    async fn try_stats(&self) -> Result<QueueStats, RedisFailure> {
        let connection = self.link.connection().await?;
        let keys = &self.keys;
        let mut call = self.scripts.stats.key(&keys.queue);
        call.key(&keys.inflight).key(&keys.failed).arg(&keys.batches);
        let (depth, in_flight, failed) = connection.script(&call).await?;
        Ok(QueueStats { depth, in_flight, failed, spooled: 0 })
    }

    async fn try_batches(&self, most: usize) -> Result<Vec<BatchInFlight>, RedisFailure> {
        let connection = self.link.connection().await?;
        let mut call = self.scripts.batches.key(&self.keys.inflight);
        call.arg(&self.keys.batches).arg(most.max(1));
        let answer: Vec<String> = connection.script(&call).await?;
        let Some((now, batches)) = answer.split_first() else { return Ok(Vec::new()) };
        let now: i64 = now.parse().unwrap_or_default();
        let batch = |fields: &[String]| {
            let [id, lease_end, items, epoch, owner, attempts, claimed] = fields else {
                return None;
            };
            let lease_end: i64 = lease_end.parse().ok()?;
            Some(BatchInFlight {
                id: id.clone(),
                owner: Some(owner.clone()).filter(|owner| !owner.is_empty()),
                epoch: epoch.parse().unwrap_or(0),
                items: items.parse().unwrap_or(0),
                attempts: attempts.parse().unwrap_or(1),
                claimed_at: claimed.parse().ok().map(UtcMillis::from_epoch_millis),
                lease_until: UtcMillis::from_epoch_millis(lease_end),
                lease_left_ms: lease_end - now,
            })
        };
        Ok(batches.chunks(7).filter_map(batch).collect())
    }

    async fn try_batch_items(
        &self,
        batch: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, RedisFailure> {
        let connection = self.link.connection().await?;
        // The list has the oldest last, and a batch is as large as a claim may be.
        let first = -i64::try_from(most.max(1)).unwrap_or(i64::MAX);
        let asked = redis::cmd("LRANGE").arg(self.keys.batch(batch)).arg(first).arg(-1).take();
        let found: Vec<Vec<u8>> = connection.query(&asked).await?;
        // Lists are never empty: this one is gone with its batch.
        Ok((!found.is_empty()).then(|| found.into_iter().rev().map(text).collect()))
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
        let ended = || QueueError::Unavailable("its task has ended".to_owned());
        let seen = item.client_id.then(|| self.keys.seen(&item.event.project_id, &item.event.id));
        let body = item.event.to_json();
        let (reply, answer) = oneshot::channel();
        self.pushes.send(Push { body, seen, reply }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    async fn settle(&self, ticket: &str) -> Result<bool, QueueError> {
        self.pusher.settle(ticket).await
    }

    async fn push_in_order(&self, events: &[QueuedEvent]) -> Result<usize, QueueError> {
        let item =
            |event: &QueuedEvent| (self.keys.seen(&event.project_id, &event.id), event.to_json());
        let items: Vec<_> = events.iter().map(item).collect();
        let answers = self.pusher.push_in_order(&items).await?;
        self.pushed.notify_one();
        match answers.iter().position(Result::is_err) {
            None => Ok(answers.len()),
            Some(first) => match &answers[first] {
                Err(error @ QueueError::FailedFull { .. }) => Err(error.clone()),
                _ => Ok(first),
            },
        }
    }

    async fn claim(&self, most: usize, lease: Duration) -> Result<Option<Claim>, QueueError> {
        let (claims, (reply, answer)) = (Arc::clone(&self.claims), oneshot::channel());
        // A task of its own: a caller that gives up must not leave a batch to nobody.
        tokio::spawn(async move {
            if let Err(Ok(Some(claim))) = reply.send(claims.claim(most, lease).await) {
                claims.release(&claim.id).await;
            }
        });
        answer.await.map_err(|_| unavailable("its task has ended"))?
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
        let mut pause = SHORTEST_LOOK;
        loop {
            let wait = match self.ready_in().await {
                Ok(Some(Duration::ZERO)) => return,
                Ok(Some(lease_end)) => pause.min(lease_end),
                Ok(None) => pause,
                Err(_) => {
                    // The next claim will say what is wrong.
                    tokio::time::sleep(LONGEST_LOOK).await;
                    return;
                }
            };
            tokio::select! {
                // Looks again: another consumer may have been faster.
                () = self.pushed.notified() => pause = SHORTEST_LOOK,
                () = tokio::time::sleep(wait) => pause = (pause * 3 / 2).min(LONGEST_LOOK),
            }
        }
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
