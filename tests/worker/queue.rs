//! A queue in memory, on tokio's clock, so that tests can run leases forward.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use bklit_pipeline::queue::{
    Claim, ClaimId, ClaimedItem, FailedItem, NewItem, Order, Page, Pushed, Queue, QueueError,
    QueueStats, Rejected, WaitingItem,
};
use bklit_wire::event::QueuedEvent;
use bklit_wire::queue::BatchInFlight;
use tokio::sync::watch;
use tokio::time::Instant;

struct InFlight {
    epoch: u64,
    lease_ends: Instant,
    items: Vec<ClaimedItem>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<ClaimedItem>,
    in_flight: BTreeMap<String, InFlight>,
    failed: Vec<(String, String)>,
    next: i64,
}

/// The queue, and what was done with it.
pub struct MemoryQueue {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// The number of `claim` calls that fail first.
    pub claims_to_fail: AtomicU32,
    /// The number of `acknowledge` calls that fail first.
    pub acknowledgements_to_fail: AtomicU32,
    /// Whether `claim` panics.
    pub crashes: AtomicBool,
    /// Milliseconds after which a claim that was made is answered.
    pub claim_delay: AtomicU64,
    /// Whether `stats` never answers.
    pub stats_hang: AtomicBool,
    /// Whether `stats` fails.
    pub stats_fail: AtomicBool,
    /// Answered renewals.
    pub renewals: AtomicU32,
    /// Sizes of claimed batches and when they were claimed.
    pub claims: Mutex<Vec<(usize, Instant)>>,
}

impl MemoryQueue {
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            claims_to_fail: AtomicU32::new(0),
            acknowledgements_to_fail: AtomicU32::new(0),
            crashes: AtomicBool::new(false),
            claim_delay: AtomicU64::new(0),
            stats_hang: AtomicBool::new(false),
            stats_fail: AtomicBool::new(false),
            renewals: AtomicU32::new(0),
            claims: Mutex::default(),
        }
    }

    /// Adds an item unchanged, whether or not it is an event.
    pub fn push_raw(&self, body: &str) {
        let mut state = self.state.lock().unwrap();
        state.next += 1;
        let seq = state.next;
        state.waiting.push_back(ClaimedItem { seq, body: body.to_owned(), invalid_utf8: None });
        drop(state);
        self.changed.send_replace(());
    }

    pub fn push_all(&self, events: &[QueuedEvent]) {
        events.iter().for_each(|event| self.push_raw(&event.to_json()));
    }

    /// Bodies and reasons of the failed queue.
    pub fn failures(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().failed.clone()
    }

    pub fn figures(&self) -> QueueStats {
        let state = self.state.lock().unwrap();
        QueueStats {
            depth: state.waiting.len() as u64,
            in_flight: state.in_flight.values().map(|batch| batch.items.len() as u64).sum(),
            failed: state.failed.len() as u64,
            spooled: 0,
        }
    }

    /// Lets another worker take over the only batch in flight.
    pub fn take_over(&self) {
        let ids: Vec<_> = self.state.lock().unwrap().in_flight.keys().cloned().collect();
        assert_eq!(ids.len(), 1);
        self.take_over_batch(&ids[0]);
    }

    /// Lets another worker take over this batch.
    pub fn take_over_batch(&self, id: &str) {
        let mut state = self.state.lock().unwrap();
        let batch = state.in_flight.get_mut(id).unwrap();
        batch.epoch += 1;
        batch.lease_ends = Instant::now() + Duration::from_secs(3600);
    }

    /// Whether what is in flight can be claimed at once.
    pub fn is_released(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.in_flight.values().all(|batch| batch.lease_ends <= Instant::now())
    }

    /// Waits until no item is waiting or in flight.
    pub async fn drained(&self) {
        let empty = || {
            let figures = self.figures();
            figures.depth + figures.in_flight == 0
        };
        let mut changed = self.changed.subscribe();
        while !empty() {
            changed.changed().await.unwrap();
        }
    }

    fn take(&self, most: usize, lease: Duration) -> Option<Claim> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap();
        if let Some((id, batch)) = state.in_flight.iter_mut().find(|(_, b)| b.lease_ends <= now) {
            batch.epoch += 1;
            batch.lease_ends = now + lease;
            let id = ClaimId { batch: id.clone(), epoch: batch.epoch };
            return Some(first_hand(id, batch.items.clone()));
        }
        let size = most.min(state.waiting.len());
        let items: Vec<_> = state.waiting.drain(..size).collect();
        let first = items.first()?;
        let batch = format!("batch-{}", first.seq);
        let in_flight = InFlight { epoch: 1, lease_ends: now + lease, items: items.clone() };
        state.in_flight.insert(batch.clone(), in_flight);
        self.claims.lock().unwrap().push((size, now));
        Some(first_hand(ClaimId { batch, epoch: 1 }, items))
    }

    /// Whether the lease of a batch in flight is over.
    pub fn has_lapsed(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.in_flight.values().any(|batch| batch.lease_ends <= Instant::now())
    }

    fn held<'a>(state: &'a mut State, claim: &ClaimId) -> Result<&'a mut InFlight, QueueError> {
        let batch = state.in_flight.get_mut(&claim.batch);
        batch
            .filter(|batch| batch.epoch == claim.epoch)
            .ok_or_else(|| QueueError::Stale(claim.clone()))
    }
}

/// Decrements a counter of failures.
pub fn fails(left: &AtomicU32) -> bool {
    left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn first_hand(id: ClaimId, items: Vec<ClaimedItem>) -> Claim {
    Claim { id, items }
}

fn away<T>() -> Result<T, QueueError> {
    Err(QueueError::Unavailable("the queue is away".to_owned()))
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn push(&self, item: NewItem) -> Result<Pushed, QueueError> {
        self.push_raw(&item.event.to_json());
        Ok(Pushed::Queued)
    }

    async fn claim(&self, most: usize, lease: Duration) -> Result<Option<Claim>, QueueError> {
        assert!(!self.crashes.load(SeqCst), "on purpose");
        if fails(&self.claims_to_fail) {
            return away();
        }
        let claimed = self.take(most, lease);
        tokio::time::sleep(Duration::from_millis(self.claim_delay.load(SeqCst))).await;
        Ok(claimed)
    }

    async fn renew(&self, claim: &ClaimId, lease: Duration) -> Result<(), QueueError> {
        let mut state = self.state.lock().unwrap();
        Self::held(&mut state, claim)?.lease_ends = Instant::now() + lease;
        self.renewals.fetch_add(1, SeqCst);
        Ok(())
    }

    async fn release(&self, claim: &ClaimId) -> Result<(), QueueError> {
        let mut state = self.state.lock().unwrap();
        Self::held(&mut state, claim)?.lease_ends = Instant::now();
        Ok(())
    }

    async fn acknowledge(&self, claim: &ClaimId, rejected: &[Rejected]) -> Result<(), QueueError> {
        if fails(&self.acknowledgements_to_fail) {
            return away();
        }
        let mut state = self.state.lock().unwrap();
        Self::held(&mut state, claim)?;
        let batch = state.in_flight.remove(&claim.batch).unwrap();
        for Rejected { seq, reason } in rejected {
            let item = batch.items.iter().find(|item| item.seq == *seq).unwrap();
            state.failed.push((item.body.clone(), reason.clone()));
        }
        drop(state);
        self.changed.send_replace(());
        Ok(())
    }

    async fn ready(&self) {
        let mut changed = self.changed.subscribe();
        loop {
            let lease_ends = {
                let state = self.state.lock().unwrap();
                if !state.waiting.is_empty() {
                    return;
                }
                state.in_flight.values().map(|batch| batch.lease_ends).min()
            };
            let lease_ends = async {
                match lease_ends {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = lease_ends => return,
                _ = changed.changed() => {}
            }
        }
    }

    async fn ended(&self) {
        std::future::pending::<()>().await;
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        if self.stats_hang.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.stats_fail.load(SeqCst) {
            return away();
        }
        Ok(self.figures())
    }

    async fn accepts(&self) -> Result<(), QueueError> {
        self.stats().await.map(|_| ())
    }

    async fn batches(&self, _most: usize) -> Result<Vec<BatchInFlight>, QueueError> {
        away()
    }

    async fn batch_items(
        &self,
        _batch: &str,
        _most: usize,
    ) -> Result<Option<Vec<String>>, QueueError> {
        away()
    }

    async fn waiting(
        &self,
        _order: Order,
        _after: Option<&str>,
        _most: usize,
    ) -> Result<Page<WaitingItem>, QueueError> {
        away()
    }

    async fn delete_waiting(&self, _ids: &[String]) -> Result<u64, QueueError> {
        away()
    }

    async fn failed(
        &self,
        _after: Option<&str>,
        _most: usize,
    ) -> Result<Page<FailedItem>, QueueError> {
        away()
    }

    async fn delete_failed(&self, _ids: &[String]) -> Result<u64, QueueError> {
        away()
    }

    async fn retry_failed(&self, _ids: &[String]) -> Result<u64, QueueError> {
        let mut state = self.state.lock().unwrap();
        let failed = std::mem::take(&mut state.failed);
        drop(state);
        failed.iter().for_each(|(body, _)| self.push_raw(body));
        Ok(failed.len() as u64)
    }
}
