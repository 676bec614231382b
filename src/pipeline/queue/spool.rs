//! A queue with a spool: while the queue is away, events are accepted into another one.
//!
//! From the first push that finds the queue away, all events go into the spool until a task has
//! moved them, in order, to the queue that is back. A batch of the spool is acknowledged after
//! the queue has taken it, and the queue takes each event's id once: whatever dies in between,
//! the batch is moved again and adds nothing.
//!
//! A push whose connection broke may have been carried out all the same, or may be later, when a
//! queue that hung goes on. Such an event is kept in the spool with the ticket of its push, and
//! the queue is asked before it is moved: two copies in the queue could be stored at the same
//! moment by two workers, neither of which would see the other's.
//!
//! What is in the spool and is not an event goes to the spool's own failed items. They are shown,
//! retried and deleted with those of the queue; their ids begin with `spool:`.
//!
//! When too many items have failed in the queue, it accepts no more, and neither does the spool
//! before it once the queue has said so.

mod failed;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
use bklit_wire::event::QueuedEvent;
use bklit_wire::queue::BatchInFlight;

/// Events moved at once.
const MOST_MOVED: usize = 500;
/// A batch of the spool has only one taker, so its lease never matters while that lives.
const LEASE: Duration = Duration::from_secs(60 * 60);
/// The pause after a failure to move, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often to look into an empty spool.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A [`Queue`] that keeps accepting while it is away. Claims and all the rest are the queue's.
pub struct SpooledQueue {
    shared: Arc<Shared>,
    /// None where another process moves what is in the spool.
    forwarder: Option<JoinHandle<()>>,
    forwarder_ended: CancellationToken,
}

struct Shared {
    queue: Arc<dyn Queue>,
    spool: Arc<dyn Queue>,
    /// Whether events go into the spool. Cleared only while nobody is about to push there.
    spooling: AtomicBool,
    /// Held for reading while pushing to the spool, for writing while finding it empty.
    gate: RwLock<()>,
    /// As of the last time somebody looked.
    spooled: AtomicU64,
    /// Held while looking, so that an older figure does not replace a newer one.
    looking: tokio::sync::Mutex<()>,
    /// Why the queue accepts nothing, when that is what keeps events in the spool.
    refusal: Mutex<Option<QueueError>>,
    filled: Notify,
}

impl SpooledQueue {
    /// Puts `spool`, which nothing else may use, before `queue`. What an earlier process left in
    /// the spool is moved first.
    ///
    /// Call it within a tokio runtime, where its task of moving runs until it is dropped.
    pub fn new(queue: Arc<dyn Queue>, spool: Arc<dyn Queue>) -> Self {
        let shared = Arc::new(Shared::new(queue, spool, true));
        let forwarder_ended = CancellationToken::new();
        let ends = forwarder_ended.clone().drop_guard();
        let forward = Arc::clone(&shared).forward();
        let forwarder = tokio::spawn(async move {
            let _ends = ends;
            forward.await;
        });
        Self { shared, forwarder: Some(forwarder), forwarder_ended }
    }

    /// The same queue, to look into and to repair while another process, or none, owns `spool`:
    /// nothing is put into the spool or moved from it.
    pub fn beside(queue: Arc<dyn Queue>, spool: Arc<dyn Queue>) -> Self {
        let shared = Arc::new(Shared::new(queue, spool, false));
        Self { shared, forwarder: None, forwarder_ended: CancellationToken::new() }
    }

    /// Whether events go into the spool now.
    pub fn is_spooling(&self) -> bool {
        self.shared.spooling.load(Ordering::Relaxed)
    }
}

impl Drop for SpooledQueue {
    fn drop(&mut self) {
        if let Some(forwarder) = &self.forwarder {
            forwarder.abort();
        }
    }
}

impl Shared {
    fn new(queue: Arc<dyn Queue>, spool: Arc<dyn Queue>, spooling: bool) -> Self {
        Self {
            queue,
            spool,
            spooling: AtomicBool::new(spooling),
            gate: RwLock::default(),
            spooled: AtomicU64::new(0),
            looking: tokio::sync::Mutex::default(),
            refusal: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// Why nothing is accepted into the spool either.
    fn refusal(&self) -> MutexGuard<'_, Option<QueueError>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn push_to_spool(&self, item: NewItem, away: Option<&str>) -> Result<Pushed, QueueError> {
        if let Some(refusal) = self.refusal().clone() {
            return Err(refusal);
        }
        let pushed = self.spool.push(item).await;
        if pushed.is_ok() && self.look().await.is_err() {
            self.spooled.fetch_add(1, Ordering::Relaxed);
        }
        self.filled.notify_one();
        match (pushed, away) {
            (Err(QueueError::Unavailable(spool)), Some(away)) => {
                Err(QueueError::Unavailable(format!("{away}, and neither is its spool: {spool}")))
            }
            (pushed, _) => pushed,
        }
    }

    /// Moves what is in the spool whenever there is something, for ever.
    async fn forward(self: Arc<Self>) {
        let mut backoff = Backoff::new(LONGEST_PAUSE);
        let mut told = false;
        loop {
            let moved = self.move_all().await;
            let refusal = moved.as_ref().err();
            *self.refusal() =
                refusal.filter(|error| matches!(error, QueueError::FailedFull { .. })).cloned();
            match moved {
                Ok(()) => {
                    backoff.reset();
                    told = false;
                    // A push whose caller has gone may arrive without a word.
                    let _ = tokio::time::timeout(LOOK_AGAIN, self.filled.notified()).await;
                }
                Err(error) => {
                    // Once a failure, not once a try.
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "events stay in the spool until the queue takes them");
                    }
                    backoff.pause().await;
                }
            }
        }
    }

    /// Moves until the spool is empty and events go to the queue again.
    async fn move_all(&self) -> Result<(), QueueError> {
        loop {
            self.look().await?;
            if let Some(batch) = self.spool.claim(MOST_MOVED, LEASE).await? {
                let moved = self.move_batch(&batch).await;
                if moved.is_err() {
                    self.spool.release(&batch.id).await?;
                }
                moved?;
                continue;
            }
            let _nobody_pushes = self.gate.write().await;
            if self.look().await? == 0 {
                if self.spooling.swap(false, Ordering::AcqRel) {
                    tracing::info!("the spool is empty; events go to the queue");
                }
                return Ok(());
            }
        }
    }

    async fn move_batch(&self, batch: &Claim) -> Result<(), QueueError> {
        let mut events = Vec::with_capacity(batch.items.len());
        let mut rejected = Vec::new();
        let mut settled = HashMap::new();
        for item in &batch.items {
            match QueuedEvent::from_json(&item.body) {
                Ok(mut event) => {
                    let is_in = match event.push_ticket.take() {
                        Some(ticket) => self.is_in(&mut settled, ticket).await?,
                        None => false,
                    };
                    if !is_in {
                        events.push(event);
                    }
                }
                Err(error) => rejected.push(Rejected { seq: item.seq, reason: error.to_string() }),
            }
        }
        let moved = self.queue.push_in_order(&events).await?;
        if moved < events.len() {
            // Those that were moved are known to the queue when the batch comes again.
            return Err(QueueError::Unavailable("it has no room".to_owned()));
        }
        self.spool.acknowledge(&batch.id, &rejected).await
    }

    /// Whether the push with this ticket was carried out after all. Many events share one.
    async fn is_in(
        &self,
        settled: &mut HashMap<String, bool>,
        ticket: String,
    ) -> Result<bool, QueueError> {
        if let Some(&is_in) = settled.get(&ticket) {
            return Ok(is_in);
        }
        let is_in = self.queue.settle(&ticket).await?;
        settled.insert(ticket, is_in);
        Ok(is_in)
    }

    async fn look(&self) -> Result<u64, QueueError> {
        let _alone = self.looking.lock().await;
        let stats = self.spool.stats().await?;
        let spooled = stats.depth + stats.in_flight;
        self.spooled.store(spooled, Ordering::Relaxed);
        Ok(spooled)
    }
}

#[async_trait]
impl Queue for SpooledQueue {
    async fn push(&self, item: NewItem) -> Result<Pushed, QueueError> {
        let shared = &self.shared;
        if !shared.spooling.load(Ordering::Acquire) {
            match shared.queue.push(item.clone()).await {
                Err(error @ (QueueError::Unavailable(_) | QueueError::InDoubt { .. })) => {
                    let (away, ticket) = match error {
                        QueueError::InDoubt { reason, ticket } => (reason, Some(ticket)),
                        error => (error.to_string(), None),
                    };
                    let mut item = item;
                    if ticket.is_some() {
                        Arc::make_mut(&mut item.event).push_ticket = ticket;
                    }
                    let _pushing = shared.gate.read().await;
                    if !shared.spooling.swap(true, Ordering::AcqRel) {
                        tracing::warn!(reason = away, "the queue is away; events are spooled");
                    }
                    return shared.push_to_spool(item, Some(&away)).await;
                }
                answer => return answer,
            }
        }
        let pushing = shared.gate.read().await;
        if shared.spooling.load(Ordering::Acquire) {
            return shared.push_to_spool(item, None).await;
        }
        drop(pushing);
        // The spool has become empty in between.
        self.push(item).await
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
        // A spool that cannot be written now has an error for that, and says nothing of the queue.
        let set_aside = self.shared.spool.stats().await.map_or(0, |spool| spool.failed);
        let failed = stats.failed + set_aside;
        Ok(QueueStats { failed, spooled: self.spooled(), ..stats })
    }

    async fn accepts(&self) -> Result<(), QueueError> {
        if !self.is_spooling() {
            match self.shared.queue.accepts().await {
                Err(QueueError::Unavailable(_)) => {}
                answer => return answer,
            }
        }
        if let Some(refusal) = self.shared.refusal().clone() {
            return Err(refusal);
        }
        self.shared.spool.accepts().await
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
        let (spools, queues) = failed::by_owner(ids);
        let mut retried = 0;
        if !spools.is_empty() {
            retried += self.shared.spool.retry_failed(&spools).await?;
            self.shared.filled.notify_one();
        }
        if !queues.is_empty() {
            retried += self.shared.queue.retry_failed(&queues).await?;
        }
        Ok(retried)
    }

    async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        let (spools, queues) = failed::by_owner(ids);
        let mut deleted = 0;
        if !spools.is_empty() {
            deleted += self.shared.spool.delete_failed(&spools).await?;
        }
        if !queues.is_empty() {
            deleted += self.shared.queue.delete_failed(&queues).await?;
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests;
