//! The state of the queue, observed once a second while it matters. Requests for health and metrics
//! are served from it, and cannot make it be observed more often.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::{Instant, timeout};

use super::{Metrics, Part, lock};
use crate::queue::api::QueueAges;
use crate::queue::{Queue, QueueError, QueueStats};
use bklit_net::timeout::no_response;
use bklit_wire::gauges::{Health, QueueGauges};
use bklit_wire::pause::Paused;
use bklit_wire::time::UtcMillis;

/// How long the queue may take to respond.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How long reading the ages may take; the other values wait for it.
const AGES_TIMEOUT: Duration = Duration::from_millis(500);

/// The age from which an observation is no longer used: whoever reads it has requested a new one.
pub const STALE_AFTER: Duration = Duration::from_secs(5);

/// Whether an event would be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It would be accepted.
    Accepts,
    /// The queue is full.
    Full,
    /// The failed queue is full.
    FailedFull,
    /// An operator has paused accepting events.
    Paused,
    /// The queue rejects events.
    Refuses,
    /// The queue did not respond in time.
    Silent,
}

/// The last observation of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSeen {
    /// How full it was; `None` if it did not respond.
    pub stats: Option<QueueGauges>,
    /// Whether it accepted events.
    pub acceptance: Acceptance,
}

/// The queue's metrics.
#[derive(Default)]
pub(super) struct QueueFigures {
    depth: Gauge,
    in_flight: Gauge,
    failed: Gauge,
    spooled: Gauge,
    oldest_seconds: Gauge<f64, AtomicU64>,
    lapsed: Gauge,
    /// The age of the oldest waiting event, in milliseconds, and the number of expired leases; `None`
    /// if not known.
    ages: Mutex<Option<(Option<u64>, u64)>>,
    is_known: AtomicBool,
    intake_paused: Gauge,
    workers_paused: Gauge,
    paused: Mutex<Paused>,
    seen: Mutex<Option<(Instant, QueueSeen)>>,
}

impl QueueFigures {
    pub(super) fn register(&self, r: &mut Registry) {
        r.register("queue_depth", "Events waiting in the queue", self.depth.clone());
        r.register("queue_in_flight", "Events claimed by a worker", self.in_flight.clone());
        r.register("queue_failed", "Events in the failed queue", self.failed.clone());
        r.register(
            "queue_spooled",
            "Accepted events in this process's spool, waiting for the queue to become available again",
            self.spooled.clone(),
        );
        r.register_with_unit(
            "queue_oldest_waiting",
            "Age of the oldest waiting event; 0 when none waits",
            Unit::Seconds,
            self.oldest_seconds.clone(),
        );
        r.register(
            "queue_lapsed_batches",
            "Batches in flight whose lease has expired",
            self.lapsed.clone(),
        );
        r.register(
            "intake_paused",
            "Whether an operator has paused accepting events",
            self.intake_paused.clone(),
        );
        r.register(
            "workers_paused",
            "Whether an operator has paused storing events",
            self.workers_paused.clone(),
        );
    }

    /// The last known values, if there are any.
    pub(super) fn gauges(&self) -> Option<QueueGauges> {
        let ages = *lock(&self.ages);
        let known = |gauge: &Gauge| u64::try_from(gauge.get()).unwrap_or(0);
        self.is_known.load(Relaxed).then(|| QueueGauges {
            depth: known(&self.depth),
            in_flight: known(&self.in_flight),
            failed: known(&self.failed),
            spooled: known(&self.spooled),
            oldest_waiting_ms: ages.and_then(|(oldest, _)| oldest),
            lapsed: ages.map(|(_, lapsed)| lapsed),
        })
    }

    /// What was paused when it was last observed.
    pub(super) fn paused(&self) -> Paused {
        lock(&self.paused).clone()
    }

    fn set_paused(&self, paused: Paused) {
        self.intake_paused.set(i64::from(paused.intake.is_some()));
        self.workers_paused.set(i64::from(paused.workers.is_some()));
        *lock(&self.paused) = paused;
    }

    pub(super) fn summary(&self) -> String {
        if !self.is_known.load(Relaxed) {
            return "the state of the queue is not known yet".to_owned();
        }
        let (depth, failed) = (self.depth.get(), self.failed.get());
        match self.spooled.get() {
            0 => format!("{depth} events wait, {failed} failed"),
            spooled => format!("{depth} events wait, {failed} failed, {spooled} in the spool"),
        }
    }
}

impl Metrics {
    /// Observes the queue, for [`Metrics::queue_seen`]. Takes at most about two seconds.
    ///
    /// # Errors
    /// Why the queue's state could not be read.
    pub async fn observe_queue(&self, queue: &dyn Queue) -> Result<(), QueueError> {
        let silent = || QueueError::Unavailable(no_response(TIMEOUT));
        let stats = timeout(TIMEOUT, queue.stats()).await.unwrap_or_else(|_| Err(silent()));
        let accepts = async {
            match &stats {
                Ok(stats) => queue.accepts_at(*stats).await,
                Err(_) => queue.accepts().await,
            }
        };
        let accepts = timeout(TIMEOUT, accepts).await;
        if let Ok(Ok(paused)) = timeout(TIMEOUT, queue.paused()).await {
            self.queue.set_paused(paused);
        }
        match &stats {
            Ok(stats) => {
                self.set_queue(*stats);
                let ages = timeout(AGES_TIMEOUT, QueueAges::of(queue, *stats)).await;
                self.set_queue_ages(ages.ok().and_then(Result::ok));
            }
            Err(_) => {
                self.set_spooled(queue.spooled());
                self.set_queue_ages(None);
            }
        }
        match &stats {
            Ok(stats) if stats.spooled == 0 => self.set_health(Part::Queue, Health::Ok),
            // It responds but does not accept events.
            Ok(stats) => {
                let reason = format!("{} wait there until the queue accepts them", stats.spooled);
                self.set_failing(Part::Queue, "events go to the spool", &reason);
            }
            // That the queue is unavailable is known already.
            Err(QueueError::Unavailable(reason)) => {
                self.set_failing(Part::Queue, "its state cannot be read", reason);
            }
            Err(error) => {
                self.set_failing(Part::Queue, "its state cannot be read", &error.to_string());
            }
        }
        let acceptance = match accepts {
            Ok(Ok(())) => Acceptance::Accepts,
            Ok(Err(QueueError::Full { .. })) => Acceptance::Full,
            Ok(Err(QueueError::FailedFull { .. })) => Acceptance::FailedFull,
            Ok(Err(QueueError::Paused(_))) => Acceptance::Paused,
            Ok(Err(_)) => Acceptance::Refuses,
            Err(_) => Acceptance::Silent,
        };
        let known = stats.is_ok().then(|| self.queue.gauges()).flatten();
        *lock(&self.queue.seen) = Some((Instant::now(), QueueSeen { stats: known, acceptance }));
        stats.map(drop)
    }

    /// The last observation; `None` if there was none within [`STALE_AFTER`].
    pub fn queue_seen(&self) -> Option<QueueSeen> {
        let (at, seen) = (*lock(&self.queue.seen))?;
        (at.elapsed() < STALE_AFTER).then_some(seen)
    }

    /// Sets how full the queue is.
    pub fn set_queue(&self, stats: QueueStats) {
        let clamp = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.queue.depth.set(clamp(stats.depth));
        self.queue.in_flight.set(clamp(stats.in_flight));
        self.queue.failed.set(clamp(stats.failed));
        self.set_spooled(stats.spooled);
        self.queue.is_known.store(true, Relaxed);
    }

    /// Sets the ages of what is in the queue; `None` if not known.
    pub fn set_queue_ages(&self, ages: Option<QueueAges>) {
        let known = ages.map(|QueueAges { oldest_waiting, lapsed }| {
            let now = UtcMillis::now().epoch_millis();
            let age = |at: UtcMillis| u64::try_from(now - at.epoch_millis()).unwrap_or(0);
            (oldest_waiting.map(age), lapsed)
        });
        let (oldest, lapsed) = known.unwrap_or_default();
        self.queue.oldest_seconds.set(oldest.unwrap_or(0) as f64 / 1e3);
        self.queue.lapsed.set(i64::try_from(lapsed).unwrap_or(i64::MAX));
        *lock(&self.queue.ages) = known;
    }

    /// Sets the number of events in the spool.
    pub fn set_spooled(&self, events: u64) {
        self.queue.spooled.set(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// The number of events in the spool, as of the last observation.
    pub fn spooled(&self) -> u64 {
        u64::try_from(self.queue.spooled.get()).unwrap_or(0)
    }
}
