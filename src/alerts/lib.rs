//! Alerts: a condition that lasts long enough raises one alert, which ends only when the condition
//! has been normal again for a while. Nothing here reads a clock or does I/O, except [`command`],
//! which runs the user's command.
//!
//! - `command`: runs the user's command on an alert
//! - `conditions`: conditions of a second's measurements alone
//! - `settings`: when to raise alerts

pub mod command;
mod conditions;
mod settings;

use std::collections::VecDeque;

use bklit_wire::numbers::{grouped as count, micros, plural};
use conditions::Found;
pub use settings::AlertSettings;

/// Seconds for which a condition must hold before an alert is raised.
const RAISE_AFTER: u32 = 2;
/// Seconds for which it must be normal again before the alert ends.
const CLEAR_AFTER: u32 = 10;
/// The window in which errors and refused requests are counted, in seconds.
const MINUTE: i64 = 60;
/// Below this many refused requests in a minute no alert is raised, whatever their share.
const MIN_REFUSED: u64 = 30;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Too many events are waiting.
    QueueDepth,
    /// Too many errors per minute.
    ErrorRate,
    /// No event has been accepted for too long.
    NoEvents,
    /// The store fails.
    Store,
    /// The queue fails.
    Queue,
    /// Too large a share of the events is refused.
    Refused,
    /// Events wait, and no process stores them.
    NoWorker,
    /// A line matched an alert's filter.
    Lines,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::QueueDepth,
        Self::ErrorRate,
        Self::NoEvents,
        Self::Store,
        Self::Queue,
        Self::Refused,
        Self::NoWorker,
        Self::Lines,
    ];

    /// The number of kinds with a condition that is checked every second: all but lines.
    const MEASURED: usize = Self::ALL.len() - 1;

    /// The name passed to the user's command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueDepth => "queue-depth",
            Self::ErrorRate => "error-rate",
            Self::NoEvents => "no-events",
            Self::Store => "store",
            Self::Queue => "queue",
            Self::Refused => "refused",
            Self::NoWorker => "no-worker",
            Self::Lines => "lines",
        }
    }
}

/// An alert to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What it is about.
    pub kind: Kind,
    /// The measured value.
    pub value: u64,
    /// The limit that was exceeded.
    pub limit: u64,
    /// The alert as text for people.
    pub message: String,
    /// When the condition began, in seconds since the epoch.
    pub since: i64,
}

/// A change of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It was raised.
    Raised,
    /// It ended: the condition is normal again.
    Over,
}

impl State {
    /// The name passed to the user's command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Over => "over",
        }
    }
}

/// The measurements of one second.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Waiting events, if a process observes the queue.
    pub depth: Option<u64>,
    /// The number of waiting events above which to raise an alert.
    pub alarm_depth: u64,
    /// Why the store fails, if it does; empty if the reason is not known.
    pub store_failure: Option<String>,
    /// Why the queue fails, if it does; empty if the reason is not known.
    pub queue_failure: Option<String>,
    /// Events in the spool, which wait until the queue is available again.
    pub spooled: u64,
    /// What the refusals of the last minute say, such as `mostly 400 shop: url is missing`.
    pub refused: Option<String>,
    /// What the errors of the last minute say.
    pub errors: Option<String>,
    /// Since when no process stores events although some wait or arrive, in seconds since the epoch.
    pub no_worker: Option<i64>,
}

/// What has become of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It holds, with its current measurements.
    Holds(Alert),
    /// It has been normal for this many seconds, which is not long enough to end the alert.
    Normal(u32),
    /// The alert has ended.
    Ended,
}

/// Whether an alert is raised, with hysteresis.
#[derive(Clone, Copy, Debug, Default)]
struct Latch {
    raised: bool,
    exceeded: u32,
    normal: u32,
    since: i64,
}

impl Latch {
    /// Records a second in which the condition held, was normal, or neither. Returns the new state
    /// if it changed.
    fn take(&mut self, second: i64, exceeded: bool, normal: bool) -> Option<State> {
        if exceeded {
            if self.exceeded == 0 && !self.raised {
                self.since = second;
            }
            (self.exceeded, self.normal) = (self.exceeded + 1, 0);
        } else {
            self.exceeded = 0;
            self.normal = if normal { self.normal + 1 } else { 0 };
        }
        if self.raised {
            self.raised = self.normal < CLEAR_AFTER;
            return (!self.raised).then_some(State::Over);
        }
        self.raised = self.exceeded >= RAISE_AFTER;
        self.raised.then_some(State::Raised)
    }
}

/// What was counted in a second.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    errors: u64,
    accepted: u64,
    refused: u64,
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            errors: self.errors.saturating_add(other.errors),
            accepted: self.accepted.saturating_add(other.accepted),
            refused: self.refused.saturating_add(other.refused),
        }
    }
}

/// Evaluates gauges and lines.
#[derive(Clone, Debug, Default)]
pub struct Monitor {
    settings: AlertSettings,
    second: i64,
    /// Since the last second.
    counts: Counts,
    /// In each of the last seconds.
    minute: VecDeque<(i64, Counts)>,
    /// When the last event was accepted.
    accepted: Option<i64>,
    accepts: bool,
    latches: [Latch; Kind::MEASURED],
    /// The last alert of each kind.
    last: [Option<Alert>; Kind::MEASURED],
    /// The current measurements of each kind whose condition holds.
    now: [Option<Alert>; Kind::MEASURED],
}

impl Monitor {
    /// A monitor without measurements.
    pub fn new(settings: AlertSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Counts an error.
    pub fn error(&mut self) {
        self.errors(1);
    }

    /// Counts errors.
    pub fn errors(&mut self, count: u64) {
        self.counts.errors = self.counts.errors.saturating_add(count);
    }

    /// Records that events were accepted.
    pub fn accepted(&mut self) {
        self.accepts = true;
    }

    /// Counts events that were accepted, and requests that were refused.
    pub fn answered(&mut self, accepted: u64, refused: u64) {
        self.accepts |= accepted > 0;
        self.counts = self.counts.plus(Counts { errors: 0, accepted, refused });
    }

    /// Records the measurements of a second. Returns newly raised alerts.
    pub fn tick(&mut self, second: i64, reading: &Reading) -> Vec<Alert> {
        let changes = self.changes(second, reading).into_iter();
        changes.filter(|(state, _)| *state == State::Raised).map(|(_, alert)| alert).collect()
    }

    /// Like [`Monitor::tick`], including alerts that ended, as they were when they were raised.
    pub fn changes(&mut self, second: i64, reading: &Reading) -> Vec<(State, Alert)> {
        if second == self.second {
            return Vec::new();
        }
        self.second = second;
        self.minute.push_back((second, std::mem::take(&mut self.counts)));
        // Entries in the future are from before the clock was set back.
        self.minute.retain(|(at, _)| (second - MINUTE + 1..=second).contains(at));
        if std::mem::take(&mut self.accepts) || self.accepted.is_some_and(|at| at > second) {
            self.accepted = Some(second);
        }
        let found = [
            self.depth(reading),
            self.error_rate(reading.errors.as_deref()),
            self.silence(),
            conditions::store(reading.store_failure.as_deref()),
            conditions::queue(reading.queue_failure.as_deref(), reading.spooled),
            self.refusals(reading.refused.as_deref()),
            conditions::no_worker(reading),
        ];
        let mut changes = Vec::new();
        let latches = self.latches.iter_mut().zip(&mut self.last).zip(&mut self.now);
        for (((latch, last), now), found) in latches.zip(found) {
            let change = latch.take(second, found.exceeded, found.normal);
            let Found { kind, value, limit, message, exceeded, .. } = found;
            // A missing worker matters only once events wait.
            let since = reading.no_worker.filter(|_| kind == Kind::NoWorker);
            let since = since.unwrap_or(latch.since);
            let alert = Alert { kind, value, limit, message, since };
            *now = exceeded.then(|| alert.clone());
            match change {
                Some(State::Raised) => {
                    *last = Some(alert.clone());
                    changes.push((State::Raised, alert));
                }
                Some(State::Over) => changes.extend(last.take().map(|alert| (State::Over, alert))),
                None => {}
            }
        }
        changes
    }

    /// Whether an alert of this kind is raised now.
    pub fn is_raised(&self, kind: Kind) -> bool {
        self.latches.get(kind as usize).is_some_and(|latch| latch.raised)
    }

    /// What has become of an alert of this kind.
    pub fn condition(&self, kind: Kind) -> Condition {
        let nth = kind as usize;
        match (self.latches.get(nth), self.now.get(nth).and_then(Option::as_ref)) {
            (Some(Latch { raised: true, .. }), Some(alert)) => Condition::Holds(alert.clone()),
            (Some(Latch { raised: true, normal: 0, .. }), None) => {
                // Neither far from normal nor normal.
                let last = self.last.get(nth).and_then(Option::as_ref);
                last.map_or(Condition::Normal(0), |last| Condition::Holds(last.clone()))
            }
            (Some(Latch { raised: true, normal, .. }), None) => Condition::Normal(*normal),
            _ => Condition::Ended,
        }
    }

    fn depth(&self, reading: &Reading) -> Found {
        let limit = reading.alarm_depth;
        let value = reading.depth.unwrap_or(0);
        Found {
            kind: Kind::QueueDepth,
            exceeded: value > limit,
            normal: value <= limit - limit / 5,
            value,
            limit,
            message: format!("{} waiting, above {}", plural(value, "event"), count(limit)),
        }
    }

    fn error_rate(&self, what: Option<&str>) -> Found {
        let limit = self.settings.errors_per_minute;
        let value = self.last_minute().errors;
        Found {
            kind: Kind::ErrorRate,
            exceeded: limit > 0 && value > limit,
            normal: value <= limit / 2,
            value,
            limit,
            message: format!(
                "{} in the last minute, above {}{}",
                plural(value, "error"),
                count(limit),
                what.map(|what| format!("; {what}")).unwrap_or_default()
            ),
        }
    }

    /// A few refused requests are normal, such as those of crawlers.
    fn refusals(&self, what: Option<&str>) -> Found {
        let limit = self.settings.refused_percent;
        let Counts { accepted, refused, .. } = self.last_minute();
        let all = accepted.saturating_add(refused);
        let value = u128::from(refused) * 100 / u128::from(all.max(1));
        let value = u64::try_from(value).unwrap_or(100);
        Found {
            kind: Kind::Refused,
            exceeded: limit > 0 && value >= limit && refused >= MIN_REFUSED,
            normal: value <= limit / 2 || refused < MIN_REFUSED / 2,
            value,
            limit,
            message: format!(
                "{value} % of events refused ({} in a minute); {}",
                count(refused),
                what.unwrap_or("clients get an error")
            ),
        }
    }

    fn last_minute(&self) -> Counts {
        self.minute.iter().fold(Counts::default(), |sum, (_, counts)| sum.plus(*counts))
    }

    /// Only after the first event: a pipeline that has never received any is not silent.
    fn silence(&self) -> Found {
        let limit = self.settings.no_events.as_secs();
        let value = self.accepted.map_or(0, |at| (self.second - at).unsigned_abs());
        let exceeded = limit > 0 && value >= limit;
        let message = format!("no event accepted for {}", micros(value as f64 * 1e6));
        Found { kind: Kind::NoEvents, exceeded, normal: !exceeded, value, limit, message }
    }
}

#[cfg(test)]
mod tests;
