//! A queue that an operator can pause: then it accepts no events, or hands none out, or both.
//!
//! What is paused is stored where all processes of the queue find it, and read again at most once a
//! second, while there is something to do. So a pause takes effect within about a second, and an idle
//! process costs its server nothing for it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{
    Claim, ClaimId, FailedItem, NewItem, Order, Page, Pushed, Queue, QueueError, QueueStats,
    Rejected, WaitingItem,
};
use bklit_net::timeout::within;
use bklit_wire::event::QueuedEvent;
use bklit_wire::pause::{Pausable, Pause, Paused};
use bklit_wire::queue::{BatchInFlight, Edit, Edited};

/// How long what was read is used.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How long reading may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a claim or the first push waits for it. After that, the last known state counts.
const PATIENCE: Duration = Duration::from_millis(500);

/// Stores what is paused, for all processes that share the queue.
#[async_trait]
pub trait PauseStore: Send + Sync {
    /// What is paused.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    async fn read(&self) -> Result<Paused, QueueError>;

    /// Pauses a part, or with `None` resumes it.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: nothing has changed, or the response was lost.
    async fn set(&self, part: Pausable, pause: Option<&Pause>) -> Result<(), QueueError>;
}

/// A [`Queue`] that can be paused.
pub struct PausableQueue {
    queue: Arc<dyn Queue>,
    state: Arc<State>,
}

struct State {
    store: Arc<dyn PauseStore>,
    known: Mutex<Known>,
    /// Held by the one task that reads for all pushes.
    reading: AtomicBool,
}

#[derive(Default)]
struct Known {
    paused: Arc<Paused>,
    /// When reading it last began.
    read: Option<Instant>,
    /// How often this process has changed it: what was read before a change is outdated.
    changes: u64,
}

impl PausableQueue {
    /// Puts this in front of a queue and its spool.
    pub fn new(queue: Arc<dyn Queue>, store: Arc<dyn PauseStore>) -> Self {
        let (known, reading) = (Mutex::default(), AtomicBool::new(false));
        Self { queue, state: Arc::new(State { store, known, reading }) }
    }

    /// The error for a push while accepting is paused. An event does not wait for the state to be
    /// read, except the first one.
    async fn check_intake(&self) -> Result<(), QueueError> {
        let (paused, read) = self.state.known();
        let paused = match read {
            Some(at) if at.elapsed() < READ_EVERY => paused,
            Some(_) => {
                self.state.read_in_background();
                paused
            }
            // On the heap: every push would be as large otherwise.
            None => Box::pin(self.state.current()).await,
        };
        paused.intake.clone().map_or(Ok(()), |pause| Err(QueueError::Paused(pause)))
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> (Arc<Paused>, Option<Instant>) {
        let known = self.lock();
        (Arc::clone(&known.paused), known.read)
    }

    /// What is paused; read again unless that was done a moment ago.
    async fn current(&self) -> Arc<Paused> {
        match self.known() {
            (paused, Some(at)) if at.elapsed() < READ_EVERY => paused,
            _ => {
                let read = within(PATIENCE, self.read(), QueueError::Unavailable).await;
                read.unwrap_or_else(|_| self.known().0)
            }
        }
    }

    async fn read(&self) -> Result<Arc<Paused>, QueueError> {
        let changes = {
            let mut known = self.lock();
            known.read = Some(Instant::now());
            known.changes
        };
        let read = within(TIMEOUT, self.store.read(), QueueError::Unavailable).await?;
        let mut known = self.lock();
        if known.changes == changes {
            known.paused = Arc::new(read);
        }
        Ok(Arc::clone(&known.paused))
    }

    fn read_in_background(self: &Arc<Self>) {
        if self.reading.swap(true, Relaxed) {
            return;
        }
        let state = Arc::clone(self);
        tokio::spawn(async move {
            // If this fails, the last known state counts.
            let _ = state.read().await;
            state.reading.store(false, Relaxed);
        });
    }
}

#[async_trait]
impl Queue for PausableQueue {
    async fn push(&self, item: NewItem) -> Result<Pushed, QueueError> {
        self.check_intake().await?;
        self.queue.push(item).await
    }

    async fn push_many(&self, items: Vec<NewItem>) -> Vec<Result<Pushed, QueueError>> {
        match self.check_intake().await {
            Ok(()) => self.queue.push_many(items).await,
            Err(paused) => items.iter().map(|_| Err(paused.clone())).collect(),
        }
    }

    async fn settle(&self, ticket: &str) -> Result<bool, QueueError> {
        self.queue.settle(ticket).await
    }

    async fn push_in_order(&self, events: &[QueuedEvent]) -> Result<usize, QueueError> {
        self.check_intake().await?;
        self.queue.push_in_order(events).await
    }

    async fn claim(&self, most: usize, lease: Duration) -> Result<Option<Claim>, QueueError> {
        match self.state.current().await.workers {
            Some(_) => Ok(None),
            None => self.queue.claim(most, lease).await,
        }
    }

    async fn renew(&self, claim: &ClaimId, lease: Duration) -> Result<(), QueueError> {
        self.queue.renew(claim, lease).await
    }

    async fn release(&self, claim: &ClaimId) -> Result<(), QueueError> {
        self.queue.release(claim).await
    }

    async fn acknowledge(&self, claim: &ClaimId, rejected: &[Rejected]) -> Result<(), QueueError> {
        self.queue.acknowledge(claim, rejected).await
    }

    async fn ready(&self) {
        self.queue.ready().await;
        while self.state.current().await.workers.is_some() {
            sleep(READ_EVERY).await;
        }
    }

    async fn ended(&self) {
        self.queue.ended().await;
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.queue.stats().await
    }

    async fn accepts(&self) -> Result<(), QueueError> {
        self.check_intake().await?;
        self.queue.accepts().await
    }

    async fn accepts_at(&self, stats: QueueStats) -> Result<(), QueueError> {
        self.check_intake().await?;
        self.queue.accepts_at(stats).await
    }

    fn spooled(&self) -> u64 {
        self.queue.spooled()
    }

    fn lane(&self, project: &str) -> u32 {
        self.queue.lane(project)
    }

    fn shards(&self) -> Vec<QueueStats> {
        self.queue.shards()
    }

    async fn paused(&self) -> Result<Paused, QueueError> {
        self.state.read().await.map(|paused| (*paused).clone())
    }

    async fn pause(&self, part: Pausable, pause: Option<&Pause>) -> Result<(), QueueError> {
        self.state.store.set(part, pause).await?;
        let mut known = self.state.lock();
        known.changes += 1;
        let mut paused = (*known.paused).clone();
        *paused.part_mut(part) = pause.cloned();
        known.paused = Arc::new(paused);
        Ok(())
    }

    async fn batches(&self, most: usize) -> Result<Vec<BatchInFlight>, QueueError> {
        self.queue.batches(most).await
    }

    async fn batch_items(
        &self,
        batch: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, QueueError> {
        self.queue.batch_items(batch, most).await
    }

    async fn waiting(
        &self,
        order: Order,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<WaitingItem>, QueueError> {
        self.queue.waiting(order, after, most).await
    }

    async fn delete_waiting(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.queue.delete_waiting(ids).await
    }

    async fn failed(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<FailedItem>, QueueError> {
        self.queue.failed(after, most).await
    }

    async fn retry_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.queue.retry_failed(ids).await
    }

    async fn retry_edited(&self, edits: &[Edit]) -> Result<Edited, QueueError> {
        self.queue.retry_edited(edits).await
    }

    async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.queue.delete_failed(ids).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `None` while it cannot be read.
    #[derive(Default)]
    struct Scripted(Mutex<Option<Paused>>);

    impl Scripted {
        fn is(&self, paused: Option<Paused>) {
            *self.0.lock().unwrap() = paused;
        }
    }

    #[async_trait]
    impl PauseStore for Scripted {
        async fn read(&self) -> Result<Paused, QueueError> {
            let paused = self.0.lock().unwrap().clone();
            paused.ok_or_else(|| QueueError::Unavailable("gone".into()))
        }

        async fn set(&self, _: Pausable, _: Option<&Pause>) -> Result<(), QueueError> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_known_state_is_kept_while_it_cannot_be_read() {
        let store = Arc::new(Scripted::default());
        let known = Mutex::default();
        let state =
            State { store: Arc::clone(&store) as _, known, reading: AtomicBool::new(false) };
        let workers = async || state.current().await.workers.clone();
        assert_eq!(workers().await, None, "nothing is paused as long as nothing is known");
        let pause = Pause::new("ann", Some(" disk "));
        assert_eq!(pause.reason.as_deref(), Some("disk"));
        store.is(Some(Paused { workers: Some(pause.clone()), ..Paused::default() }));
        assert_eq!(workers().await, None, "it is not read again within a second");
        tokio::time::advance(READ_EVERY).await;
        assert_eq!(workers().await, Some(pause.clone()));
        store.is(None);
        tokio::time::advance(READ_EVERY).await;
        assert_eq!(workers().await, Some(pause));
        store.is(Some(Paused::default()));
        tokio::time::advance(READ_EVERY).await;
        assert_eq!(workers().await, None);
    }
}
