//! What is read from servers only on demand: reading it costs money where a server charges per
//! command, and keeps a server awake that sleeps while idle.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::Metrics;

/// The age up to which the queue's state is shown without observing it again. Callers cannot make it
/// be observed more often.
const QUEUE_AGE: Duration = Duration::from_secs(1);
/// The same for a check of the store.
const STORE_AGE: Duration = Duration::from_secs(5);
/// How long a caller waits for a new check: less than the second after which probes usually give up,
/// which must not restart a process because a server is slow.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A check that one task makes on demand, for all callers.
#[derive(Default)]
pub struct OnDemand {
    checkers: AtomicUsize,
    requested: Notify,
    checked: watch::Sender<Option<Instant>>,
}

/// While it exists, checks are made.
pub struct Checking<'a>(&'a OnDemand);

impl OnDemand {
    /// From now on the caller makes checks.
    pub fn begin(&self) -> Checking<'_> {
        self.checkers.fetch_add(1, Relaxed);
        Checking(self)
    }

    /// Waits until a check is requested. Cancel-safe.
    pub async fn requested(&self) {
        self.requested.notified().await;
    }

    /// A check was made.
    pub fn checked(&self) {
        self.checked.send_replace(Some(Instant::now()));
        // Callers that requested one in the meantime have received this one: do not check again for
        // them.
        std::pin::pin!(self.requested.notified()).as_mut().enable();
    }

    /// Requests a check if the last one is older than `age`, and waits for it, up to
    /// [`LONGEST_WAIT`]. Returns at once if no task makes checks.
    async fn refresh(&self, age: Duration) {
        let mut checked = self.checked.subscribe();
        let is_fresh = checked.borrow_and_update().is_some_and(|at| at.elapsed() < age);
        if is_fresh || self.checkers.load(Relaxed) == 0 {
            return;
        }
        self.requested.notify_one();
        let _ = timeout(LONGEST_WAIT, checked.changed()).await;
    }
}

impl Drop for Checking<'_> {
    fn drop(&mut self) {
        self.0.checkers.fetch_sub(1, Relaxed);
    }
}

/// The checks that are made on demand.
#[derive(Default)]
pub(super) struct Checks {
    queue: OnDemand,
    store: OnDemand,
}

impl Metrics {
    /// The observation of the queue.
    pub fn queue_check(&self) -> &OnDemand {
        &self.checks.queue
    }

    /// The check of the store.
    pub fn store_check(&self) -> &OnDemand {
        &self.checks.store
    }

    /// To be called before the state of queue and store is shown: brings it up to date. Takes at
    /// most half a second; after that, the last known state is used.
    pub async fn refresh(&self) {
        tokio::join!(self.checks.queue.refresh(QUEUE_AGE), self.checks.store.refresh(STORE_AGE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_callers_share_one_check_and_none_waits_without_a_checker() {
        let check = OnDemand::default();
        let refresh = || check.refresh(Duration::from_secs(1));
        let began = Instant::now();
        refresh().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "there is no checker");

        let checking = check.begin();
        let checks = AtomicUsize::new(0);
        let checker = async {
            loop {
                check.requested().await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                checks.fetch_add(1, Relaxed);
                check.checked();
            }
        };
        let callers = async {
            for _ in 0..2 {
                tokio::join!(refresh(), refresh(), refresh());
                refresh().await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = callers => {}
            () = checker => unreachable!(),
        }
        assert_eq!(checks.load(Relaxed), 2);

        let began = Instant::now();
        refresh().await;
        assert_eq!(began.elapsed(), LONGEST_WAIT, "the checker hangs");
        drop(checking);
    }
}
