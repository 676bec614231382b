//! Minutes that wait until a store has them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{FigureStore, FigureStoreError, Minute, lock};
use bklit_net::log_throttle::LogThrottle;
use bklit_net::timeout::within;
use bklit_wire::duration::seconds;

/// The most minutes that wait while a store is unavailable: those of a day. The oldest are dropped.
pub const MAX_WAITING: usize = 24 * 60;
/// How many idle minutes are written to a shared server at once, because some services charge per
/// command.
pub const IDLE_MINUTES: usize = 10;
/// The most minutes written at once.
const GROUP: usize = 60;
/// How long writing may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long writing may take when the process ends.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a failed attempt.
const PAUSE: Duration = Duration::from_secs(15);

/// Minutes on their way to a store.
pub(super) struct Outbox {
    pub(super) store: Arc<dyn FigureStore>,
    /// Where it is, for the log.
    name: &'static str,
    /// This many idle minutes are written together.
    idle_minutes: usize,
    waiting: Mutex<VecDeque<Arc<Minute>>>,
    arrived: Notify,
    outage: LogThrottle,
}

impl Outbox {
    pub(super) fn new(
        store: Arc<dyn FigureStore>,
        name: &'static str,
        idle_minutes: usize,
    ) -> Self {
        let (waiting, arrived) = (Mutex::default(), Notify::new());
        Self { store, name, idle_minutes, waiting, arrived, outage: LogThrottle::default() }
    }

    /// Adds a minute to be written.
    pub(super) fn put(&self, minute: Arc<Minute>) {
        let mut waiting = lock(&self.waiting);
        let is_idle = minute.totals.is_idle();
        waiting.push_back(minute);
        if waiting.len() > MAX_WAITING {
            waiting.pop_front();
        }
        if !is_idle || waiting.len() >= self.idle_minutes {
            self.arrived.notify_one();
        }
    }

    /// The minutes that the store may not have.
    pub(super) fn waiting(&self) -> Vec<Arc<Minute>> {
        lock(&self.waiting).iter().cloned().collect()
    }

    /// Writes what arrives, until `stop` is cancelled.
    pub(super) async fn keep(&self, stop: &CancellationToken) {
        let keep = async {
            loop {
                self.arrived.notified().await;
                while !self.write(WRITE_TIMEOUT).await {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        stop.run_until_cancelled(keep).await;
    }

    /// Writes what waits, if that is possible now.
    pub(super) async fn write_all(&self) {
        self.write(LAST_TIMEOUT).await;
    }

    /// Writes what waits, oldest first. Returns whether the store has everything.
    async fn write(&self, limit: Duration) -> bool {
        loop {
            let group: Vec<_> = lock(&self.waiting).iter().take(GROUP).cloned().collect();
            let Some(last) = group.last() else { return true };
            if let Err(error) = within(limit, self.store.add(&group), FigureStoreError).await {
                if let Some(lasting) = self.outage.failure().map(seconds) {
                    let store = self.name;
                    tracing::warn!(
                        %error, lasting, "cannot write the history of figures to {store}, retrying"
                    );
                }
                return false;
            }
            let mut waiting = lock(&self.waiting);
            // Some may have been dropped meanwhile, because there were too many.
            while waiting.front().is_some_and(|first| first.number <= last.number) {
                waiting.pop_front();
            }
            drop(waiting);
            if let Some(lasted) = self.outage.recovered().map(seconds) {
                tracing::info!(lasted, "the history of figures is written to {} again", self.name);
            }
        }
    }
}
