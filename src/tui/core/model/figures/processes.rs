//! The processes that publish figures, and those that did.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Figures, RATE_SECONDS, percentile};
use crate::model::panels::{ProcessRow, ProcessState};
use bklit_wire::debug_log::Stage;
use bklit_wire::gauges::{About, Failure, Gauges, Health, Latencies};
use bklit_wire::time::UtcMillis;

/// The most processes tracked separately; figures of others are added, but not their health.
pub(super) const MAX_PROCESSES: usize = 64;
/// After this many seconds without figures a process is lost.
const LOST_AFTER: i64 = 5;
/// For how many seconds a process that has left is remembered.
const REMEMBERED: i64 = 3_600;

/// What a process does now.
#[derive(Clone, Debug)]
pub struct ProcessFigures {
    /// The seconds since it last published figures.
    pub heard: i64,
    /// Accepted events per second.
    pub accepted: f64,
    /// Stored events per second.
    pub stored: f64,
    /// The p95 of the last minute from acceptance to storage, in microseconds.
    pub p95: Option<u64>,
    /// Its parts that fail.
    pub failures: Vec<Failure>,
}

/// A process that publishes figures.
#[derive(Debug)]
struct Process {
    heard: i64,
    /// The second to which its last figures were assigned.
    second: i64,
    last: Arc<Gauges>,
}

/// A process that published figures and no longer does.
#[derive(Debug)]
struct Departed {
    about: About,
    heard: i64,
    /// Whether it announced that.
    stopped: bool,
    /// Whether it stored events.
    worked: bool,
}

/// All processes that publish or have published figures.
#[derive(Debug, Default)]
pub(super) struct Processes {
    running: HashMap<String, Process>,
    departed: HashMap<String, Departed>,
    /// The store of those that published last.
    store: Option<String>,
    /// Whether the connection over which they publish is lost.
    is_cut: bool,
    /// Since when the figures of all processes can be received.
    complete_since: Option<i64>,
    now: i64,
}

impl Processes {
    /// The last gauges of each running process.
    pub(super) fn last(&self) -> impl Iterator<Item = &Gauges> + Clone {
        self.running.values().map(|process| &*process.last)
    }

    /// Whether no process is running.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The number of running processes.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// The store that they have in common; after the last one has left, what it was.
    pub(super) fn store(&self) -> Option<&str> {
        let mut stores = self.last().filter_map(|gauges| gauges.store.as_deref());
        let Some(first) = stores.next() else { return self.store.as_deref() };
        stores.all(|store| store == first).then_some(first)
    }

    /// Takes a process's figures; returns the second to which they belong.
    pub(super) fn heard(&mut self, gauges: &Arc<Gauges>, now: i64) -> i64 {
        let known = self.running.get(&gauges.process);
        // A process publishes once a second, but not in step with this clock. Its messages are
        // assigned to consecutive seconds; otherwise some would have none and others two.
        let second = known.map_or(now, |p| (p.second + 1).clamp(now - 2, now));
        if known.is_some() || self.running.len() < MAX_PROCESSES {
            self.departed.remove(&gauges.process);
            let process = Process { heard: now, second, last: Arc::clone(gauges) };
            self.running.insert(gauges.process.clone(), process);
            self.store = self.store().map(str::to_owned);
        }
        if gauges.stopping
            && let Some(process) = self.running.remove(&gauges.process)
        {
            self.depart(gauges.process.clone(), &process, true);
        }
        second
    }

    /// Determines which processes have gone.
    pub(super) fn tick(&mut self, now: i64) {
        self.now = now;
        let is_silent = |process: &Process| (now - process.heard).abs() >= LOST_AFTER;
        let silent: Vec<_> = self.running.extract_if(|_, process| is_silent(process)).collect();
        for (name, process) in silent {
            self.depart(name, &process, false);
        }
        self.departed.retain(|_, departed| (now - departed.heard).abs() <= REMEMBERED);
        if self.misses_others() {
            self.complete_since = None;
        } else {
            self.complete_since.get_or_insert(now);
        }
    }

    fn depart(&mut self, name: String, process: &Process, stopped: bool) {
        let departed = Departed {
            about: process.last.about.clone().unwrap_or_default(),
            heard: process.heard,
            stopped,
            worked: works(&process.last),
        };
        self.departed.insert(name, departed);
        if self.departed.len() > MAX_PROCESSES {
            let oldest = self.departed.iter().min_by_key(|(_, departed)| departed.heard);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.departed.remove(&oldest);
            }
        }
    }

    /// The connection over which processes publish was lost, or is up again.
    pub(super) fn cut(&mut self, is_cut: bool) {
        self.is_cut = is_cut;
        self.complete_since = None;
    }

    /// Whether processes may be running whose figures cannot be received: figures take the same
    /// path as the events of a queue that several processes share.
    fn misses_others(&self) -> bool {
        let is_shared = self.running.len() + self.departed.len() > 1
            || self.last().any(|gauges| !works(gauges));
        let fails = |gauges: &Gauges| gauges.queue_health == Health::Failing;
        self.is_cut || (is_shared && self.last().any(fails))
    }

    /// The second since which the figures of all processes can be received; `None` if some may not
    /// be.
    pub(super) fn complete_since(&self) -> Option<i64> {
        self.complete_since
    }

    /// Whether each running process has had time to publish figures since all can be received.
    fn all_heard(&self) -> bool {
        self.complete_since.is_some_and(|since| (self.now - since).abs() >= LOST_AFTER)
    }

    /// Whether none of the processes stores events, although the figures of all can be received.
    pub(super) fn lacks_worker(&self) -> bool {
        self.all_heard() && !self.last().any(works)
    }

    /// When the last process that stored events last published figures, if none stores events any
    /// more.
    pub(super) fn last_worker(&self) -> Option<i64> {
        let workers = self.departed.values().filter(|departed| departed.worked);
        workers.map(|departed| departed.heard).max()
    }
}

/// Whether a process stores events.
fn works(gauges: &Gauges) -> bool {
    gauges.worker_health != Health::Absent
}

impl Figures {
    /// The connection over which processes publish was lost, or is up again.
    pub fn cut(&mut self, is_cut: bool) {
        self.processes.cut(is_cut);
    }

    /// Whether processes may be running whose figures cannot be received.
    pub fn misses_others(&self) -> bool {
        self.processes.complete_since().is_none()
    }

    /// Whether each running process has had time to publish figures.
    pub fn all_heard(&self) -> bool {
        self.processes.all_heard()
    }

    /// The second since which no process stores events, although some wait or arrive.
    pub(super) fn no_worker(&self) -> Option<i64> {
        if !self.processes.lacks_worker() {
            return None;
        }
        let worker = &self.summary.stages[Stage::Worker.index()];
        let waits = self.summary.known_queue().is_some_and(|queue| queue.depth > 0);
        let is_needed = waits || self.summary.events_per_second > 0.0;
        // Bklit's own worker publishes no figures, only lines.
        if !is_needed || worker.rate > 0.0 {
            return None;
        }
        let stalled = self.summary.stalled.map(|seconds| self.now - seconds as i64);
        self.processes.last_worker().or(stalled)
    }

    /// The processes: those that publish figures, and those that did; in no order.
    pub fn by_process(&self) -> impl Iterator<Item = ProcessRow> {
        let running = self.processes.running.iter().map(|(name, process)| ProcessRow {
            process: name.clone(),
            about: process.last.about.clone().unwrap_or_default(),
            state: ProcessState::Running(self.figures_of(name, process)),
            errors: self.errors_of(name),
        });
        let heard = self.processes.all_heard();
        let departed = self.processes.departed.iter().map(move |(name, departed)| {
            let last = UtcMillis::from_epoch_millis(departed.heard * 1_000);
            ProcessRow {
                process: name.clone(),
                about: departed.about.clone(),
                state: match departed.stopped {
                    true => ProcessState::Stopped(last),
                    false if heard => ProcessState::Lost(last),
                    false => ProcessState::Unknown(last),
                },
                errors: self.errors_of(name),
            }
        });
        running.chain(departed)
    }

    /// What a process published in the last minute, with the second to which it belongs.
    fn published<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (i64, &'a Arc<Gauges>)> {
        self.seconds.iter().flat_map(move |second| {
            let own = second.gauges.iter().filter(move |gauges| gauges.process == *name);
            own.map(|gauges| (second.at, gauges))
        })
    }

    fn errors_of(&self, name: &str) -> u64 {
        let stages = self.published(name).flat_map(|(_, gauges)| &gauges.stages);
        stages.fold(0, |sum, stage| sum.saturating_add(stage.errors))
    }

    fn figures_of(&self, name: &str, process: &Process) -> ProcessFigures {
        let rate = |count: fn(&Gauges) -> u64| {
            let first = process.second - RATE_SECONDS + 1;
            let recent = self.published(name).filter(|(at, _)| *at >= first);
            let (mut seconds, mut sum) = (0_u32, 0_u64);
            for (_, gauges) in recent {
                (seconds, sum) = (seconds + 1, sum.saturating_add(count(gauges)));
            }
            sum as f64 / f64::from(seconds.max(1))
        };
        let mut latencies = Latencies::histogram();
        self.published(name).for_each(|(_, gauges)| gauges.accept_to_stored.add_to(&mut latencies));
        ProcessFigures {
            heard: (self.now - process.heard).max(0),
            accepted: rate(|gauges| gauges.accepted),
            stored: rate(|gauges| {
                let store = &gauges.stages[Stage::Clickhouse.index()];
                store.count.saturating_sub(store.errors)
            }),
            p95: percentile(&latencies, 0.95),
            failures: process.last.failures.clone(),
        }
    }
}
