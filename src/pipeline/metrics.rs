//! The pipeline's counters, published once a second as [`Gauges`] for consoles, and as Prometheus
//! text.
//!
//! - `connections`: connections closed to make room for others
//! - `filters`: events that filters found
//! - `health`: which parts of the pipeline work
//! - `identity`: what is known about this process from its start
//! - `labels`: labels of metrics
//! - `checks`: what is checked on demand
//! - `projects`: events by project
//! - `queue`: the queue's state, observed once a second while it matters
//! - `refusals`: refused events, and what became of the last ones
//! - `verification`: results of dual-write verification

mod checks;
mod connections;
mod filters;
mod health;
mod identity;
mod labels;
mod projects;
mod queue;
mod refusals;
mod verification;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram as Hdr;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::gauges::{About, Gauges, Latencies, StageGauges};
use bklit_wire::time::UtcMillis;

pub use checks::{Checking, OnDemand};
pub use connections::ConnectionFigures;
pub use health::Part;
pub use projects::MAX_COUNTED as MAX_COUNTED_PROJECTS;
pub use queue::{Acceptance, QueueSeen, STALE_AFTER};
pub use refusals::RefusalFigures;
pub use verification::{Outcome, VerificationFigures};

use crate::intake::filters::Verdict;
use crate::throttle::Limit;
use crate::who::Who;
use checks::Checks;
use filters::FilterFigures;
use health::PartHealth;
use labels::{ChangeLabel, KindLabel, LimitLabel, StageLabel, StatusLabel, StepLabel};
use projects::ProjectFigures;
use queue::QueueFigures;
use refusals::Counts;

/// A stage's counters since the last [`Metrics::take_gauges`].
struct StageInterval {
    count: u64,
    warnings: u64,
    errors: u64,
    latencies: Hdr<u64>,
}

/// All metrics of one process. Recording is cheap and never waits for a reader.
pub struct Metrics {
    process: String,
    registry: Registry,
    requests: Family<StatusLabel, Counter>,
    /// By stage and level: looking up a label costs more than counting.
    steps: [[Counter; Level::ALL.len()]; Stage::ALL.len()],
    stage_seconds: [Histogram; Stage::ALL.len()],
    accept_to_stored_seconds: Histogram,
    batch_events: Histogram,
    lines_sampled_out: Counter,
    lines_lost: Counter,
    queue: QueueFigures,
    checks: Checks,
    connections: Gauge,
    closed: ConnectionFigures,
    sockets: Family<KindLabel, Gauge>,
    live_events_lost: Counter,
    values_changed: Family<ChangeLabel, Counter>,
    filters: FilterFigures,
    projects: ProjectFigures,
    accepted: AtomicU64,
    refused: AtomicU64,
    throttled: AtomicU64,
    /// By limit.
    over_limits: [Counter; Limit::ALL.len()],
    verify: VerificationFigures,
    refusals: RefusalFigures,
    who: Who,
    /// The store that this process writes, if any.
    store: OnceLock<&'static str>,
    /// Where and what this process is, once it is known.
    about: OnceLock<About>,
    /// 0 until it is set.
    alarm_depth: AtomicU64,
    parts: Mutex<[PartHealth; Part::COUNT]>,
    since: Mutex<Instant>,
    /// One lock per stage, so that stages do not wait for each other.
    stages: [Mutex<StageInterval>; Stage::ALL.len()],
    accept_to_stored: Mutex<Hdr<u64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics of this process, all zero.
    pub fn new() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.000_05, 2.0, 20));
        let stage_family = Family::<StageLabel, Histogram, _>::new_with_constructor(seconds);
        let stage_seconds = Stage::ALL
            .map(|stage| stage_family.get_or_create(&StageLabel { stage: stage.as_str() }).clone());
        let step_family = Family::<StepLabel, Counter>::default();
        let steps = Stage::ALL.map(|stage| {
            Level::ALL.map(|level| {
                let label = StepLabel { stage: stage.as_str(), level: level.as_str() };
                step_family.get_or_create(&label).clone()
            })
        });
        let mut metrics = Self {
            process: format!("{}-{:08x}", std::process::id(), fastrand::u32(..)),
            registry: Registry::with_prefix("bklit"),
            requests: Family::default(),
            steps,
            stage_seconds,
            accept_to_stored_seconds: seconds(),
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, 16)),
            lines_sampled_out: Counter::default(),
            lines_lost: Counter::default(),
            queue: QueueFigures::default(),
            checks: Checks::default(),
            connections: Gauge::default(),
            closed: ConnectionFigures::default(),
            sockets: Family::default(),
            live_events_lost: Counter::default(),
            values_changed: Family::default(),
            filters: FilterFigures::default(),
            projects: ProjectFigures::default(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            over_limits: Default::default(),
            verify: VerificationFigures::default(),
            refusals: RefusalFigures::default(),
            who: Who::new(UtcMillis::now()),
            store: OnceLock::new(),
            about: OnceLock::new(),
            alarm_depth: AtomicU64::new(0),
            parts: Mutex::default(),
            since: Mutex::new(Instant::now()),
            stages: std::array::from_fn(|_| Mutex::new(StageInterval::new())),
            accept_to_stored: Mutex::new(Latencies::histogram()),
        };
        metrics.register(step_family, stage_family);
        metrics
    }

    fn register(
        &mut self,
        step_family: Family<StepLabel, Counter>,
        stage_family: Family<
            StageLabel,
            Histogram,
            impl Fn() -> Histogram + Clone + Send + Sync + 'static,
        >,
    ) {
        let r = &mut self.registry;
        r.register("http_requests", "Requests, by status of the response", self.requests.clone());
        r.register("steps", "Steps of the pipeline, by stage and level", step_family);
        r.register_with_unit("stage", "How long a step took", Unit::Seconds, stage_family);
        r.register_with_unit(
            "accept_to_stored",
            "Time from an event's acceptance until it is stored",
            Unit::Seconds,
            self.accept_to_stored_seconds.clone(),
        );
        r.register("batch_events", "Events in a batch", self.batch_events.clone());
        r.register(
            "debug_lines_sampled_out",
            "Debug lines left out because there were too many",
            self.lines_sampled_out.clone(),
        );
        r.register(
            "debug_lines_lost",
            "Debug lines that slow subscribers lost",
            self.lines_lost.clone(),
        );
        self.queue.register(r);
        r.register("http_connections", "Open HTTP connections", self.connections.clone());
        self.closed.register(r);
        r.register("websockets", "Open WebSockets, by kind", self.sockets.clone());
        r.register(
            "live_events_lost",
            "Live events that slow dashboards lost",
            self.live_events_lost.clone(),
        );
        r.register(
            "values_changed",
            "Values of events that were shortened, removed or replaced, by field and change",
            self.values_changed.clone(),
        );
        self.filters.register(r);
        self.verify.register(r);
        self.refusals.register(r);
        let over_limits = Family::<LimitLabel, Counter>::default();
        for limit in Limit::ALL {
            let counter = over_limits.get_or_create(&LimitLabel { limit: limit.as_str() }).clone();
            self.over_limits[limit as usize] = counter;
        }
        r.register("throttled", "Requests and messages over a limit, by limit", over_limits);
    }

    /// The counters of dual-write verification.
    pub fn verify(&self) -> &VerificationFigures {
        &self.verify
    }

    /// The counters of refused events.
    pub fn refusals(&self) -> &RefusalFigures {
        &self.refusals
    }

    /// The counters of connections that were closed to make room.
    pub fn connections(&self) -> &ConnectionFigures {
        &self.closed
    }

    /// Counts `n` steps of a stage, each of which took `took`.
    pub fn steps(&self, stage: Stage, level: Level, took: Option<Duration>, n: u64) {
        self.steps[stage.index()][level as usize].inc_by(n);
        if let Some(took) = took {
            (0..n).for_each(|_| self.stage_seconds[stage.index()].observe(took.as_secs_f64()));
        }
        let mut figures = lock(&self.stages[stage.index()]);
        figures.count += n;
        match level {
            Level::Info => {}
            Level::Warn => figures.warnings += n,
            Level::Error => figures.errors += n,
        }
        if let Some(took) = took {
            figures.latencies.saturating_record_n(micros(took), n);
        }
    }

    /// Counts a request that was responded to.
    pub fn request(&self, status: u16) {
        self.requests.get_or_create(&StatusLabel { status: status.into() }).inc();
    }

    /// Counts a refused event.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Counts what was over a limit.
    pub fn throttled(&self, limit: Limit) {
        self.throttled.fetch_add(1, Relaxed);
        self.over_limits[limit as usize].inc();
    }

    /// Counts an event that a filter found.
    pub fn filtered(&self, verdict: Verdict) {
        self.filters.count(verdict);
    }

    /// Sets the number of open connections.
    pub fn set_connections(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Records that a WebSocket of this kind was opened or closed.
    pub fn socket(&self, kind: &'static str, is_open: bool) {
        let sockets = self.sockets.get_or_create(&KindLabel { kind });
        if is_open {
            sockets.inc()
        } else {
            sockets.dec()
        };
    }

    /// Counts live events that a dashboard lost.
    pub fn live_events_lost(&self, events: u64) {
        self.live_events_lost.inc_by(events);
    }

    /// Counts `n` changed values of a field, and how they were changed.
    pub fn values_changed(&self, field: &'static str, change: &'static str, n: u64) {
        if n > 0 {
            self.values_changed.get_or_create(&ChangeLabel { field, change }).inc_by(n);
        }
    }

    /// Counts a stored batch; `since_accepted` has the time since acceptance of each event.
    pub fn batch_stored(&self, since_accepted: impl ExactSizeIterator<Item = Duration>) {
        self.batch_events.observe(since_accepted.len() as f64);
        let mut latencies = lock(&self.accept_to_stored);
        for took in since_accepted {
            self.accept_to_stored_seconds.observe(took.as_secs_f64());
            latencies.saturating_record(micros(took));
        }
    }

    /// Counts lines that were left out by sampling.
    pub fn lines_sampled_out(&self, lines: u64) {
        self.lines_sampled_out.inc_by(lines);
    }

    /// Counts lines that a subscriber lost.
    pub fn lines_lost(&self, lines: u64) {
        self.lines_lost.inc_by(lines);
    }

    /// The gauges since the last call.
    pub fn take_gauges(&self) -> Gauges {
        let since = std::mem::replace(&mut *lock(&self.since), Instant::now());
        self.who.take(UtcMillis::now());
        let accept_to_stored =
            std::mem::replace(&mut *lock(&self.accept_to_stored), Latencies::histogram());
        let accepted = self.accepted.swap(0, Relaxed);
        let stages = self.take_stages();
        let parts = lock(&self.parts).clone();
        let [queue_health, store_health, worker_health] = parts.each_ref().map(|part| part.health);
        let stored = &stages[Stage::Clickhouse.index()];
        let recent = Counts {
            accepted,
            stored: stored.count.saturating_sub(stored.warnings + stored.errors),
            not_stored: stored.errors,
            ..Counts::default()
        };
        Gauges {
            process: self.process.clone(),
            about: self.about.get().cloned(),
            at: Some(UtcMillis::now()),
            interval_ms: since.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            sampling: 1,
            lines_sampled_out: 0,
            stopping: false,
            accepted,
            refused: self.refused.swap(0, Relaxed),
            throttled: self.throttled.swap(0, Relaxed),
            filtered: self.filters.take_dropped(),
            stages,
            accept_to_stored: Latencies::of(&accept_to_stored),
            queue: self.queue.gauges(),
            store: self.store.get().map(|name| (*name).to_owned()),
            alarm_depth: Some(self.alarm_depth.load(Relaxed)).filter(|&depth| depth > 0),
            queue_health,
            store_health,
            worker_health,
            verify: self.verify.gauges(),
            paused: self.queue.paused(),
            failures: parts.into_iter().filter_map(|part| part.failure).collect(),
            recent: Some(self.refusals.observe(Instant::now(), recent)),
        }
    }

    fn take_stages(&self) -> [StageGauges; Stage::ALL.len()] {
        self.stages.each_ref().map(|stage| {
            let taken = std::mem::replace(&mut *lock(stage), StageInterval::new());
            StageGauges {
                count: taken.count,
                warnings: taken.warnings,
                errors: taken.errors,
                latencies: Latencies::of(&taken.latencies),
            }
        })
    }

    /// The queue's state as a short text.
    pub fn summary(&self) -> String {
        self.queue.summary()
    }

    /// All metrics as Prometheus (OpenMetrics) text.
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl StageInterval {
    fn new() -> Self {
        Self { count: 0, warnings: 0, errors: 0, latencies: Latencies::histogram() }
    }
}

/// Ignores poisoning: counters have no invariant that a panic could break.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(took: Duration) -> u64 {
    took.as_micros().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
