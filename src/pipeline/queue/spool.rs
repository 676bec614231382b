//! A queue with a spool: while the queue is unavailable, events are accepted into another one.
//!
//! From the first push that finds the queue unavailable, all events go into the spool, until a task
//! has moved them, in order, to the queue, which is available again. A batch of the spool is
//! acknowledged after the queue has accepted it, and the queue accepts each event id once: after a
//! crash in between, the batch is moved again and adds nothing.
//!
//! Of a queue with several lanes, only events of those that were found unavailable go into the spool.
//! It is one list: while one lane stays unavailable, spooled events of others wait, too.
//!
//! A push whose connection broke may still have been executed, or may be executed later, when a queue
//! that hung resumes. The event is kept in the spool with the ticket of its push, and that push is
//! settled with the queue before the event is moved: two copies in the queue could be stored at the
//! same time by two workers, neither of which would see the other's.
//!
//! Items of the spool that are not events go to its own failed queue. They are shown, retried and
//! deleted together with those of the queue; their ids begin with `spool:`.
//!
//! When the failed queue is full, the queue accepts no more events, and neither does the spool once
//! the queue has reported it.

mod failed;
mod forward;
mod push;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, RwLock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Claim, ClaimId, FailedItem, NewItem, Order, Page, Pushed, Queue, QueueError, QueueStats,
    Rejected, WaitingItem,
};
use bklit_net::backoff::Backoff;
use bklit_wire::queue::{BatchInFlight, Edit, Edited};

/// Events moved at a time.
const MOST_MOVED: usize = 500;
/// A batch of the spool has only one consumer, so its lease does not matter while that is alive.
const LEASE: Duration = Duration::from_secs(60 * 60);
/// The longest pause after a failure to move events.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The bits of all lanes.
const ALL_LANES: u64 = u64::MAX;
/// How often to check an empty spool.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

type PushResult = Result<Pushed, QueueError>;

/// A [`Queue`] that accepts events even while it is unavailable. All other operations are the
/// queue's.
pub struct SpooledQueue {
    shared: Arc<Shared>,
    /// `None` if another process moves the events of the spool.
    forwarder: Option<JoinHandle<()>>,
    forwarder_ended: CancellationToken,
}

struct Shared {
    queue: Arc<dyn Queue>,
    spool: Arc<dyn Queue>,
    /// The lanes whose events go into the spool, as bits. Cleared only while no push to it is in
    /// progress.
    spooling: AtomicU64,
    /// Held for reading during a push to the spool, for writing while checking that it is empty.
    gate: RwLock<()>,
    /// As of the last check.
    spooled: AtomicU64,
    /// Held during a check, so that an older number does not replace a newer one.
    checking: tokio::sync::Mutex<()>,
    /// Why the queue accepts nothing, if that is what keeps events in the spool.
    refusal: Mutex<Option<QueueError>>,
    filled: Notify,
}

impl SpooledQueue {
    /// Puts `spool`, which nothing else may use, in front of `queue`. Events that an earlier process
    /// left in the spool are moved first.
    ///
    /// Must be called within a tokio runtime: it spawns the task that moves events, which runs until
    /// this is dropped.
    pub fn new(queue: Arc<dyn Queue>, spool: Arc<dyn Queue>) -> Self {
        let shared = Arc::new(Shared::new(queue, spool, ALL_LANES));
        let forwarder_ended = CancellationToken::new();
        let ends = forwarder_ended.clone().drop_guard();
        let forward = Arc::clone(&shared).forward();
        let forwarder = tokio::spawn(async move {
            let _ends = ends;
            forward.await;
        });
        Self { shared, forwarder: Some(forwarder), forwarder_ended }
    }

    /// The same queue for inspection and repair, while another process, or none, owns `spool`:
    /// nothing is put into the spool or moved out of it.
    pub fn for_repair(queue: Arc<dyn Queue>, spool: Arc<dyn Queue>) -> Self {
        let shared = Arc::new(Shared::new(queue, spool, 0));
        Self { shared, forwarder: None, forwarder_ended: CancellationToken::new() }
    }

    /// Whether events go into the spool now, at least those of some lanes.
    pub fn is_spooling(&self) -> bool {
        self.shared.spooling.load(Ordering::Relaxed) != 0
    }
}

/// Splits items into those to spool and the others.
fn split(items: Vec<NewItem>, spooled: &[bool]) -> (Vec<NewItem>, Vec<NewItem>) {
    let (mut to_spool, mut to_queue) = (Vec::new(), Vec::new());
    for (item, is_spooled) in items.into_iter().zip(spooled) {
        if *is_spooled { to_spool.push(item) } else { to_queue.push(item) }
    }
    (to_spool, to_queue)
}

impl Drop for SpooledQueue {
    fn drop(&mut self) {
        if let Some(forwarder) = &self.forwarder {
            forwarder.abort();
        }
    }
}

impl Shared {
    fn new(queue: Arc<dyn Queue>, spool: Arc<dyn Queue>, spooling: u64) -> Self {
        Self {
            queue,
            spool,
            spooling: AtomicU64::new(spooling),
            gate: RwLock::default(),
            spooled: AtomicU64::new(0),
            checking: tokio::sync::Mutex::default(),
            refusal: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// Whether an item goes into the spool.
    fn is_spooled(&self, item: &NewItem) -> bool {
        let lanes = self.spooling.load(Ordering::Acquire);
        lanes != 0 && lanes & self.lane(item) != 0
    }

    /// The bit of an item's lane.
    fn lane(&self, item: &NewItem) -> u64 {
        1_u64.rotate_left(self.queue.lane(&item.event.project_id))
    }

    /// Why the spool accepts nothing either.
    fn refusal(&self) -> MutexGuard<'_, Option<QueueError>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the spool's events to the queue whenever there are some. Never returns.
    async fn forward(self: Arc<Self>) {
        let mut backoff = Backoff::new(LONGEST_PAUSE);
        let mut logged = false;
        loop {
            let moved = self.move_all().await;
            let refusal = moved.as_ref().err();
            *self.refusal() =
                refusal.filter(|error| matches!(error, QueueError::FailedFull { .. })).cloned();
            match moved {
                Ok(()) => {
                    backoff.reset();
                    logged = false;
                    // A push whose caller has gone may add an event without a notification.
                    let _ = tokio::time::timeout(CHECK_INTERVAL, self.filled.notified()).await;
                }
                Err(error) => {
                    // Once per failure, not once per attempt.
                    if !std::mem::replace(&mut logged, true) {
                        tracing::warn!(%error, "events stay in the spool until the queue accepts them");
                    }
                    backoff.pause().await;
                }
            }
        }
    }

    /// Moves events until the spool is empty and new ones go to the queue again.
    async fn move_all(&self) -> Result<(), QueueError> {
        // At the start there may be nothing to move, and then nothing is known about the queue.
        let mut has_moved = false;
        loop {
            self.check().await?;
            if let Some(batch) = self.spool.claim(MOST_MOVED, LEASE).await? {
                let moved = self.move_batch(&batch).await;
                if moved.is_err() {
                    self.spool.release(&batch.id).await?;
                }
                moved?;
                has_moved = true;
                continue;
            }
            let _nobody_pushes = self.gate.write().await;
            if self.check().await? == 0 {
                if self.spooling.swap(0, Ordering::AcqRel) != 0 && has_moved {
                    tracing::info!("the spool is empty; events go to the queue again");
                }
                return Ok(());
            }
        }
    }

    async fn check(&self) -> Result<u64, QueueError> {
        let _alone = self.checking.lock().await;
        let stats = self.spool.stats().await?;
        let spooled = stats.depth + stats.in_flight;
        self.spooled.store(spooled, Ordering::Relaxed);
        Ok(spooled)
    }
}

#[async_trait]
impl Queue for SpooledQueue {
    async fn push(&self, item: NewItem) -> PushResult {
        let shared = &self.shared;
        // Usually a single item, for which no list is needed.
        let one = match shared.is_spooled(&item) {
            true => self.push_many(vec![item]).await.pop(),
            false => match shared.queue.push(item.clone()).await {
                Ok(pushed) => return Ok(pushed),
                // On the heap: every push would be as large otherwise.
                Err(error) => Box::pin(shared.divert(vec![item], vec![Err(error)])).await.pop(),
            },
        };
        one.unwrap_or_else(|| Err(QueueError::Unavailable("no result of the push".to_owned())))
    }

    async fn push_many(&self, items: Vec<NewItem>) -> Vec<PushResult> {
        let shared = &self.shared;
        if shared.spooling.load(Ordering::Acquire) == 0 {
            let results = shared.queue.push_many(items.clone()).await;
            return shared.divert(items, results).await;
        }
        // Those of other lanes go to the queue, also if the spool was emptied in between.
        let pushing = shared.gate.read().await;
        let spooled: Vec<_> = items.iter().map(|item| shared.is_spooled(item)).collect();
        let (to_spool, to_queue) = split(items, &spooled);
        let mut to_spool = match to_spool.is_empty() {
            true => Vec::new(),
            false => shared.push_to_spool(to_spool, None).await,
        }
        .into_iter();
        drop(pushing);
        let mut to_queue = match to_queue.is_empty() {
            true => Vec::new(),
            false => {
                let results = shared.queue.push_many(to_queue.clone()).await;
                shared.divert(to_queue, results).await
            }
        }
        .into_iter();
        let next = |is_spooled| if is_spooled { to_spool.next() } else { to_queue.next() };
        spooled.into_iter().filter_map(next).collect()
    }

    async fn claim(&self, most: usize, lease: Duration) -> Result<Option<Claim>, QueueError> {
        self.shared.queue.claim(most, lease).await
    }

    async fn renew(&self, claim: &ClaimId, lease: Duration) -> Result<(), QueueError> {
        self.shared.queue.renew(claim, lease).await
    }

    async fn release(&self, claim: &ClaimId) -> Result<(), QueueError> {
        self.shared.queue.release(claim).await
    }

    async fn acknowledge(&self, claim: &ClaimId, rejected: &[Rejected]) -> Result<(), QueueError> {
        self.shared.queue.acknowledge(claim, rejected).await
    }

    async fn ready(&self) {
        self.shared.queue.ready().await;
    }

    async fn ended(&self) {
        tokio::select! {
            () = self.forwarder_ended.cancelled() => {}
            () = self.shared.queue.ended() => {}
            () = self.shared.spool.ended() => {}
        }
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        let stats = self.shared.queue.stats().await?;
        // A failure of the spool reports its own error and says nothing about the queue.
        let set_aside = self.shared.spool.stats().await.map_or(0, |spool| spool.failed);
        let failed = stats.failed + set_aside;
        Ok(QueueStats { failed, spooled: self.spooled(), ..stats })
    }

    fn shards(&self) -> Vec<QueueStats> {
        self.shared.queue.shards()
    }

    async fn accepts(&self) -> Result<(), QueueError> {
        if !self.is_spooling() {
            match self.shared.queue.accepts().await {
                Err(QueueError::Unavailable(_)) => {}
                result => return result,
            }
        }
        if let Some(refusal) = self.shared.refusal().clone() {
            return Err(refusal);
        }
        self.shared.spool.accepts().await
    }

    async fn accepts_at(&self, stats: QueueStats) -> Result<(), QueueError> {
        if self.is_spooling() {
            return self.accepts().await;
        }
        let set_aside = self.shared.spool.stats().await.map_or(0, |spool| spool.failed);
        let failed = stats.failed.saturating_sub(set_aside);
        self.shared.queue.accepts_at(QueueStats { failed, ..stats }).await
    }

    fn spooled(&self) -> u64 {
        self.shared.spooled.load(Ordering::Relaxed)
    }

    async fn batches(&self, most: usize) -> Result<Vec<BatchInFlight>, QueueError> {
        self.shared.queue.batches(most).await
    }

    async fn batch_items(
        &self,
        batch: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, QueueError> {
        self.shared.queue.batch_items(batch, most).await
    }

    async fn waiting(
        &self,
        order: Order,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<WaitingItem>, QueueError> {
        self.shared.queue.waiting(order, after, most).await
    }

    async fn delete_waiting(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.shared.queue.delete_waiting(ids).await
    }

    async fn failed(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<FailedItem>, QueueError> {
        failed::page(&*self.shared.queue, &*self.shared.spool, after, most).await
    }

    async fn retry_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.shared.retry_failed(ids).await
    }

    async fn retry_edited(&self, edits: &[Edit]) -> Result<Edited, QueueError> {
        self.shared.retry_edited(edits).await
    }

    async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.shared.delete_failed(ids).await
    }
}

#[cfg(test)]
mod tests;
