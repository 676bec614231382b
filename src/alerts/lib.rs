//! Alerts: what is amiss long enough to be told, told once, and over only when it is well again for
//! a while. Nothing here reads a clock or does I/O, but [`command`], which the user may have run.

pub mod command;
mod settings;

use std::collections::VecDeque;

use bklit_wire::numbers::grouped as count;
pub use settings::AlertSettings;

/// Seconds for which something has to be amiss.
const RAISE_AFTER: u32 = 2;
/// Seconds for which it has to be well again.
const CLEAR_AFTER: u32 = 10;
/// Seconds over which errors are counted.
const MINUTE: i64 = 60;

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// More events wait than should.
    QueueDepth,
    /// More errors a minute than should be.
    ErrorRate,
    /// No event was accepted for too long.
    NoEvents,
    /// The store fails.
    Store,
    /// A line came that was asked for.
    Lines,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::QueueDepth, Self::ErrorRate, Self::NoEvents, Self::Store, Self::Lines];

    /// Its name, for a command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueDepth => "queue-depth",
            Self::ErrorRate => "error-rate",
            Self::NoEvents => "no-events",
            Self::Store => "store",
            Self::Lines => "lines",
        }
    }
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What about.
    pub kind: Kind,
    /// What is the case.
    pub value: u64,
    /// What should not be passed.
    pub limit: u64,
    /// The same for a person.
    pub message: String,
    /// Since when, in seconds since the epoch.
    pub since: i64,
}

/// What becomes of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It is raised.
    Raised,
    /// What it was about is well again.
    Over,
}

impl State {
    /// Its name, for a command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Over => "over",
        }
    }
}

/// How things are at a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Events waiting, if a process sees the queue.
    pub depth: Option<u64>,
    /// How many may.
    pub alarm_depth: u64,
    /// Whether the store fails.
    pub store_fails: bool,
}

/// Raised or not, without flapping.
#[derive(Clone, Copy, Debug, Default)]
struct Latch {
    raised: bool,
    amiss: u32,
    well: u32,
    since: i64,
}

impl Latch {
    /// Takes in a second that is amiss, well again, or between. Returns what it became, if
    /// something else.
    fn take(&mut self, second: i64, amiss: bool, well: bool) -> Option<State> {
        if amiss {
            if self.amiss == 0 && !self.raised {
                self.since = second;
            }
            (self.amiss, self.well) = (self.amiss + 1, 0);
        } else {
            self.amiss = 0;
            self.well = if well { self.well + 1 } else { 0 };
        }
        if self.raised {
            self.raised = self.well < CLEAR_AFTER;
            return (!self.raised).then_some(State::Over);
        }
        self.raised = self.amiss >= RAISE_AFTER;
        self.raised.then_some(State::Raised)
    }
}

/// Watches figures and lines.
#[derive(Clone, Debug, Default)]
pub struct Monitor {
    settings: AlertSettings,
    second: i64,
    errors: u64,
    /// Errors in each of the last seconds.
    minute: VecDeque<(i64, u64)>,
    /// When an event was accepted last.
    accepted: Option<i64>,
    accepts: bool,
    latches: [Latch; 4],
    /// What was told of each.
    last: [Option<Alert>; 4],
}

impl Monitor {
    /// Has seen nothing yet.
    pub fn new(settings: AlertSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// A line of an error has come.
    pub fn error(&mut self) {
        self.errors(1);
    }

    /// There were errors.
    pub fn errors(&mut self, count: u64) {
        self.errors += count;
    }

    /// Events were accepted.
    pub fn accepted(&mut self) {
        self.accepts = true;
    }

    /// Takes in how things are; once a second. Returns what is to be told.
    pub fn tick(&mut self, second: i64, reading: &Reading) -> Vec<Alert> {
        let changes = self.changes(second, reading).into_iter();
        changes.filter(|(state, _)| *state == State::Raised).map(|(_, alert)| alert).collect()
    }

    /// The same with those that are over, as they were when they were raised.
    pub fn changes(&mut self, second: i64, reading: &Reading) -> Vec<(State, Alert)> {
        if second == self.second {
            return Vec::new();
        }
        self.second = second;
        self.minute.push_back((second, std::mem::take(&mut self.errors)));
        // What is yet to come is from before the clock was set back.
        self.minute.retain(|(at, _)| (second - MINUTE + 1..=second).contains(at));
        if std::mem::take(&mut self.accepts) || self.accepted.is_some_and(|at| at > second) {
            self.accepted = Some(second);
        }
        let found = [self.depth(reading), self.error_rate(), self.silence(), store(reading)];
        let mut changes = Vec::new();
        let latches = self.latches.iter_mut().zip(&mut self.last);
        for ((latch, last), found) in latches.zip(found) {
            match latch.take(second, found.amiss, found.well) {
                Some(State::Raised) => {
                    let Found { kind, value, limit, message, .. } = found;
                    let alert = Alert { kind, value, limit, message, since: latch.since };
                    *last = Some(alert.clone());
                    changes.push((State::Raised, alert));
                }
                Some(State::Over) => changes.extend(last.take().map(|alert| (State::Over, alert))),
                None => {}
            }
        }
        changes
    }

    /// Whether what an alert was about is still so.
    pub fn is_raised(&self, kind: Kind) -> bool {
        self.latches.get(kind as usize).is_some_and(|latch| latch.raised)
    }

    fn depth(&self, reading: &Reading) -> Found {
        let limit = reading.alarm_depth;
        let value = reading.depth.unwrap_or(0);
        Found {
            kind: Kind::QueueDepth,
            amiss: value > limit,
            well: value <= limit - limit / 5,
            value,
            limit,
            message: format!("{} events wait, over {}", count(value), count(limit)),
        }
    }

    fn error_rate(&self) -> Found {
        let limit = self.settings.errors_per_minute;
        let value = self.minute.iter().map(|(_, errors)| errors).sum();
        Found {
            kind: Kind::ErrorRate,
            amiss: limit > 0 && value > limit,
            well: value <= limit / 2,
            value,
            limit,
            message: format!("{} errors in the last minute, over {}", count(value), count(limit)),
        }
    }

    /// Only after some came: a pipeline that nobody sends to has no gap.
    fn silence(&self) -> Found {
        let limit = self.settings.no_events.as_secs();
        let value = self.accepted.map_or(0, |at| (self.second - at).unsigned_abs());
        let amiss = limit > 0 && value >= limit;
        let message = format!("no event was accepted for {}", spoken(value));
        Found { kind: Kind::NoEvents, amiss, well: !amiss, value, limit, message }
    }
}

fn spoken(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", count(seconds / 60)) }
}

fn store(reading: &Reading) -> Found {
    Found {
        kind: Kind::Store,
        amiss: reading.store_fails,
        well: !reading.store_fails,
        value: u64::from(reading.store_fails),
        limit: 0,
        message: "the store fails; events wait in the queue".to_owned(),
    }
}

struct Found {
    kind: Kind,
    amiss: bool,
    well: bool,
    value: u64,
    limit: u64,
    message: String,
}

#[cfg(test)]
mod tests;
