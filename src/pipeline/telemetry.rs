//! How stages report what they do: metrics always, debug lines only with subscribers.
//!
//! Above a rate, lines are sampled by event id, so that all lines of a shown event are shown, in all
//! stages and processes. Warnings and errors are never sampled.

use std::borrow::Cow;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Map, Value};

use super::metrics::{Metrics, Part};
use super::repeated::Folder;
use bklit_net::log_throttle::LogThrottle;
use bklit_wire::debug_bus::{DebugBus, DebugMessage};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::duration::seconds;
use bklit_wire::gauges::{Gauges, Health};
use bklit_wire::time::UtcMillis;

pub use super::repeated::Repeated;

/// The data of a line.
pub type Data = Map<String, Value>;

/// Errors per second that also go to the program's own log, which a daemon's operator reads.
const MAX_ERRORS_LOGGED: u64 = 20;

/// Without subscribers, lines are built only for the history: at most this fraction of the rate,
/// because they take CPU time from accepting events.
const UNWATCHED_SHARE: u64 = 10;
/// The strongest sampling: one event in 65,536.
const MAX_SAMPLING: u32 = 1 << 16;

/// Publishes the debug lines and gauges of one process.
pub struct Telemetry {
    bus: Arc<dyn DebugBus>,
    metrics: Arc<Metrics>,
    sampler: Sampler,
    /// Errors in the current second.
    errors_logged: AtomicU64,
    /// Per part.
    throttles: [LogThrottle; Part::COUNT],
    folder: Folder,
}

impl Telemetry {
    /// Sends lines to `bus`, about `lines_per_second` of level info at most, and counts in `metrics`.
    pub fn new(bus: Arc<dyn DebugBus>, metrics: Arc<Metrics>, lines_per_second: u64) -> Self {
        Self {
            bus,
            metrics,
            sampler: Sampler::new(lines_per_second),
            errors_logged: AtomicU64::new(0),
            throttles: Default::default(),
            folder: Folder::default(),
        }
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Records that a part works. If it failed before, logs that in the program's own log.
    pub fn works(&self, part: Part) {
        self.metrics.set_health(part, Health::Ok);
        if let Some(lasted) = self.throttles[part as usize].recovered() {
            tracing::info!(lasted = seconds(lasted), "the {} works again", part.name());
        }
    }

    /// Records that a part fails, with the line of the failed step. The program's own log gets it
    /// when the failure begins and repeatedly while it lasts.
    pub fn fails(&self, part: Part, step: Step<'_>, message: &'static str, data: Data) {
        let reason = data.get("reason").or_else(|| data.get("error"));
        let reason = reason.and_then(Value::as_str).unwrap_or_default();
        self.metrics.set_failing(part, message, reason);
        if let Some(lasting) = self.throttles[part as usize].failure() {
            let (stage, lasting) = (step.stage, seconds(lasting));
            let data = Value::Object(data.clone());
            tracing::error!(%stage, lasting, %data, "{message}");
        }
        step.show(Level::Error, message, || data, false);
    }

    /// Whether there are subscribers now, such as a console.
    pub fn is_watched(&self) -> bool {
        self.bus.is_watched()
    }

    /// Starts the report of a step of `stage`.
    pub fn step(&self, stage: Stage) -> Step<'_> {
        Step { log: self, stage, event: None, project: None, took: None, counted: true }
    }

    /// Ends a second: adapts the sampling, publishes the gauges and, if lines were left out, a line
    /// about that. Returns the gauges.
    pub fn publish_gauges(&self) -> Arc<Gauges> {
        self.publish_second(false)
    }

    /// Like [`Telemetry::publish_gauges`], and reports that the process is stopping.
    pub fn publish_last_gauges(&self) -> Arc<Gauges> {
        self.publish_second(true)
    }

    fn publish_second(&self, stopping: bool) -> Arc<Gauges> {
        let window = self.sampler.next_window(self.bus.is_watched());
        let errors = self.errors_logged.swap(0, Relaxed);
        if errors > MAX_ERRORS_LOGGED {
            tracing::error!(
                left_out = errors - MAX_ERRORS_LOGGED,
                "too many errors: only some were logged"
            );
        }
        let gauges = Arc::new(Gauges {
            sampling: window.sampling,
            lines_sampled_out: window.sampled_out,
            stopping,
            ..self.metrics.take_gauges()
        });
        self.metrics.lines_sampled_out(window.sampled_out);
        if window.sampled_out > 0 && self.bus.has_subscribers() {
            let mut line = DebugLog::new(
                Stage::Ingestion,
                Level::Info,
                format!("Showing 1 of {} events: too many lines", window.sampling),
            );
            line.data.insert("sampling".into(), window.sampling.into());
            line.data.insert("linesLeftOut".into(), window.sampled_out.into());
            self.bus.publish(DebugMessage::Log(Arc::new(line)));
        }
        // Without subscribers they are dropped: they would be shown much later.
        let folded = self.folder.take().into_iter().filter(|_| self.bus.has_subscribers());
        for folded in folded {
            let mut line = DebugLog::new(folded.stage, Level::Warn, folded.message);
            line.data = folded.data;
            line.project_id = folded.project;
            self.bus.publish(DebugMessage::Log(Arc::new(line)));
        }
        if self.bus.is_watched() {
            self.bus.publish(DebugMessage::Gauges(Arc::clone(&gauges)));
        }
        gauges
    }
}

/// The report of a step, to be completed by [`Step::info`], [`Step::warn`] or [`Step::error`].
#[must_use = "nothing is reported before info, warn or error"]
pub struct Step<'a> {
    log: &'a Telemetry,
    stage: Stage,
    event: Option<&'a str>,
    project: Option<&'a str>,
    took: Option<Duration>,
    counted: bool,
}

impl<'a> Step<'a> {
    /// Sets the event it is about.
    pub fn event(mut self, id: &'a str) -> Self {
        self.event = Some(id);
        self
    }

    /// Sets the project it is about.
    pub fn project(mut self, id: &'a str) -> Self {
        self.project = Some(id);
        self
    }

    /// Sets how long it took.
    pub fn took(mut self, took: Duration) -> Self {
        self.took = Some(took);
        self
    }

    /// Publishes a line only: the metrics are counted for the whole batch.
    pub fn uncounted(mut self) -> Self {
        self.counted = false;
        self
    }

    /// Reports success. `data` is called only if the line is published.
    pub fn info(self, message: impl Into<Cow<'static, str>>, data: impl FnOnce() -> Data) {
        self.report(Level::Info, message, data);
    }

    /// Reports a warning.
    pub fn warn(self, message: impl Into<Cow<'static, str>>, data: impl FnOnce() -> Data) {
        self.report(Level::Warn, message, data);
    }

    /// Reports a warning of a kind that may be frequent: only the first lines are shown, and then
    /// the number of further ones. All are counted.
    pub fn warn_repeated(self, kind: Repeated, message: &'static str, data: impl FnOnce() -> Data) {
        let log = self.log;
        log.metrics.steps(self.stage, Level::Warn, self.took, u64::from(self.counted));
        if log.bus.has_subscribers()
            && let Some(data) = log.folder.add(kind, (self.stage, self.project), message, data)
        {
            self.uncounted().warn(message, || data);
        }
    }

    /// Reports a failure.
    pub fn error(self, message: impl Into<Cow<'static, str>>, data: impl FnOnce() -> Data) {
        self.report(Level::Error, message, data);
    }

    fn report(
        self,
        level: Level,
        message: impl Into<Cow<'static, str>>,
        data: impl FnOnce() -> Data,
    ) {
        let errors = &self.log.errors_logged;
        let logged = level == Level::Error && errors.fetch_add(1, Relaxed) < MAX_ERRORS_LOGGED;
        self.show(level, message, data, logged);
    }

    /// Counts the step, and publishes the line if it is wanted.
    fn show(
        self,
        level: Level,
        message: impl Into<Cow<'static, str>>,
        data: impl FnOnce() -> Data,
        logged: bool,
    ) {
        let log = self.log;
        if self.counted {
            log.metrics.steps(self.stage, level, self.took, 1);
        }
        if let Some(project) = self.project.filter(|_| level == Level::Error) {
            log.metrics.failed_of(project);
        }
        let shown = log.bus.has_subscribers() && log.sampler.shows(level, self.event);
        if !logged && !shown {
            return;
        }
        let (message, data) = (message.into(), data());
        if logged {
            let (stage, event, project) = (self.stage, self.event, self.project);
            let data = Value::Object(data.clone());
            tracing::error!(%stage, event, project, %data, "{message}");
        }
        if !shown {
            return;
        }
        log.bus.publish(DebugMessage::Log(Arc::new(DebugLog {
            timestamp: UtcMillis::now(),
            stage: self.stage,
            level,
            message,
            data,
            event_id: self.event.map(str::to_owned),
            project_id: self.project.map(str::to_owned),
            // Rounded to microseconds: further digits are noise.
            duration: self.took.map(|took| took.as_micros() as f64 / 1000.0),
            process: Some(log.metrics.process().to_owned()),
        })));
    }
}

/// Decides which events are shown. The rate is a power of two, and an event shown at a high rate is
/// shown at every lower one, so a change of the rate leaves few events partly shown.
struct Sampler {
    lines_per_second: u64,
    /// The current limit: lower without subscribers.
    limit: AtomicU64,
    sampling: AtomicU32,
    wanted: AtomicU64,
    shown: AtomicU64,
}

struct Window {
    sampling: u32,
    sampled_out: u64,
}

impl Sampler {
    fn new(lines_per_second: u64) -> Self {
        Self {
            lines_per_second: lines_per_second.max(1),
            limit: AtomicU64::new(lines_per_second.max(1)),
            sampling: AtomicU32::new(1),
            wanted: AtomicU64::new(0),
            shown: AtomicU64::new(0),
        }
    }

    fn shows(&self, level: Level, event: Option<&str>) -> bool {
        if level > Level::Info {
            return true;
        }
        self.wanted.fetch_add(1, Relaxed);
        let sampling = self.sampling.load(Relaxed);
        let chosen =
            sampling == 1 || event.is_none_or(|id| hash(id).is_multiple_of(u64::from(sampling)));
        if chosen {
            let shown = self.shown.fetch_add(1, Relaxed) + 1;
            // React to a flood before the end of its first second.
            if shown.is_multiple_of(self.limit.load(Relaxed)) && sampling < MAX_SAMPLING {
                let _ = self.sampling.compare_exchange(sampling, sampling * 2, Relaxed, Relaxed);
            }
        }
        chosen
    }

    fn next_window(&self, is_watched: bool) -> Window {
        let share = if is_watched { 1 } else { UNWATCHED_SHARE };
        let limit = (self.lines_per_second / share).max(1);
        self.limit.store(limit, Relaxed);
        let sampling = self.sampling.load(Relaxed);
        let wanted = self.wanted.swap(0, Relaxed);
        let shown = self.shown.swap(0, Relaxed);
        let needed = wanted.div_ceil(limit).max(1).next_power_of_two();
        let needed = u32::try_from(needed).unwrap_or(MAX_SAMPLING).min(MAX_SAMPLING);
        self.sampling.store(needed, Relaxed);
        Window { sampling, sampled_out: wanted.saturating_sub(shown) }
    }
}

/// The same in all processes of a version.
fn hash(id: &str) -> u64 {
    foldhash::fast::FixedState::with_seed(0).hash_one(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bus that keeps its lines while there is a subscriber.
    #[derive(Default)]
    struct Bus {
        is_subscribed: std::sync::atomic::AtomicBool,
        lines: std::sync::Mutex<Vec<String>>,
    }

    impl DebugBus for Bus {
        fn publish(&self, message: DebugMessage) {
            if let DebugMessage::Log(line) = message {
                self.lines.lock().unwrap().push(line.message.clone().into_owned());
            }
        }

        fn has_subscribers(&self) -> bool {
            self.is_subscribed.load(Relaxed)
        }

        fn subscribe(&self) -> Box<dyn bklit_wire::debug_bus::DebugStream> {
            unreachable!("the telemetry only publishes")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_folded_is_shown_at_the_end_of_its_time_or_never() {
        let bus = Arc::new(Bus::default());
        let log = Telemetry::new(bus.clone(), Arc::new(Metrics::new()), 1_000);
        let refuse = || {
            let kind = Repeated::of_project("queue", "p");
            log.step(Stage::Ingestion).warn_repeated(kind, "Request refused", Data::new);
        };
        for (stays, folded) in [(true, 1), (false, 0)] {
            bus.is_subscribed.store(true, Relaxed);
            (0..20).for_each(|_| refuse());
            bus.is_subscribed.store(stays, Relaxed);
            tokio::time::advance(super::super::repeated::SPAN).await;
            log.publish_gauges();
            bus.is_subscribed.store(true, Relaxed);
            log.publish_gauges();
            let lines = std::mem::take(&mut *bus.lines.lock().unwrap());
            let more = lines.iter().filter(|line| line.contains("more like this")).count();
            assert_eq!((lines.len() - more, more), (10, folded), "{lines:?}");
        }
    }

    #[test]
    fn below_the_rate_everything_is_shown() {
        let sampler = Sampler::new(100);
        assert!((0..99).all(|i| sampler.shows(Level::Info, Some(&format!("evt_{i}")))));
        let window = sampler.next_window(true);
        assert_eq!((window.sampling, window.sampled_out), (1, 0));
    }

    #[test]
    fn a_flood_is_thinned_out_by_event_at_once_and_errors_pass() {
        let sampler = Sampler::new(100);
        let shown = |n: usize| {
            (0..n).filter(|i| sampler.shows(Level::Info, Some(&format!("evt_{i}")))).count()
        };
        assert!(shown(100_000) < 2_000);
        assert!(sampler.shows(Level::Error, Some("evt_x")) && sampler.shows(Level::Warn, None));
        assert!(sampler.next_window(true).sampled_out > 98_000);
        // The next second starts at the rate that the last one needed: 1,024.
        assert!((1..=250).contains(&shown(100_000)));
        sampler.next_window(true);
        sampler.next_window(true);
        assert_eq!(shown(50), 50, "after a quiet second all is shown again");
    }
}
