//! The figures of the last minute: those that processes publish, merged; and for other stages,
//! figures computed from their lines.
//!
//! - `lines`: what is counted from lines
//! - `percentiles`: percentiles of latencies
//! - `processes`: the figures of each process
//! - `seconds`: what was counted in each second
//! - `summary`: the figures as shown
//! - `usual`: what the current figures are compared with

mod lines;
mod percentiles;
mod processes;
mod seconds;
mod summary;
mod usual;

use std::collections::VecDeque;
use std::sync::Arc;

use hdrhistogram::Histogram;

use bklit_wire::debug_log::{DebugLog, Stage};
use bklit_wire::gauges::{Gauges, Health, Latencies, QueueGauges};
use bklit_wire::time::UtcMillis;
use lines::{LineCounter, StageLines};
use percentiles::{latencies, p95_of, percentile};
pub use processes::ProcessFigures;
use processes::Processes;
pub use summary::{PARTS, StageFigures, Summary};
use usual::Usual;

/// The number of seconds covered.
pub const SECONDS: usize = 60;
/// The number of seconds over which a rate is averaged.
const RATE_SECONDS: i64 = 5;
/// After this many seconds without figures a queue that was observed without a process is unknown.
const GONE_AFTER: i64 = 10;
/// Figures older than this many seconds are no longer current.
const FRESH: i64 = 3;
/// After this many seconds without figures the console reports the silence.
const SILENT_AFTER: u64 = 4;
/// The most messages kept per second.
const MAX_MESSAGES: usize = 256;

/// The measured series: the stages in pipeline order, and from accepted to stored.
const SERIES: usize = Stage::ALL.len() + 1;
const ACCEPT_TO_STORED: usize = Stage::ALL.len();

/// A value for each of the last seconds, newest last.
pub type History = [Option<u64>; SECONDS];

/// What was received in one second.
#[derive(Debug)]
struct Second {
    at: i64,
    gauges: Vec<Arc<Gauges>>,
    /// From lines of processes that may publish figures of the same steps.
    own: [StageLines; Stage::ALL.len()],
    /// From lines of other programs, such as Bklit's TypeScript services.
    foreign: [StageLines; Stage::ALL.len()],
    /// The p95 from processes' figures, once known.
    p95: Option<[Option<u64>; SERIES]>,
}

impl Second {
    fn new(at: i64) -> Self {
        Self {
            at,
            gauges: Vec::new(),
            own: Default::default(),
            foreign: Default::default(),
            p95: None,
        }
    }

    /// The lines that count for a series: those of our processes only where they publish no figures.
    fn lines(&self, i: usize, by_processes: bool) -> impl Iterator<Item = &StageLines> {
        let own = self.own.get(i).filter(|_| !by_processes);
        own.into_iter().chain(self.foreign.get(i))
    }

    /// Adds the latencies of a series to `histogram`.
    fn add_to(&self, i: usize, by_processes: bool, histogram: &mut Histogram<u64>) {
        if by_processes {
            self.gauges.iter().for_each(|g| latencies(g, i).add_to(histogram));
        }
        self.lines(i, by_processes).for_each(|lines| lines.latencies.add_to(histogram));
    }
}

/// Collects figures; [`Figures::summary`] returns the results.
#[derive(Debug, Default)]
pub struct Figures {
    now: i64,
    started: Option<i64>,
    seconds: VecDeque<Second>,
    processes: Processes,
    queue: Option<QueueGauges>,
    depths: VecDeque<(i64, u64)>,
    /// This second's lines of our processes.
    own: LineCounter,
    /// This second's lines of other programs.
    foreign: LineCounter,
    /// The queue as observed without a process, and when.
    observed: Option<(i64, QueueGauges)>,
    /// The second in which a process last published its figures.
    reported: Option<i64>,
    usual: Usual,
    summary: Summary,
}

impl Figures {
    /// The figures to show.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The lowest alarm depth of the queue among the watched processes' settings.
    pub fn alarm_depth(&self) -> Option<u64> {
        self.processes.last().filter_map(|gauges| gauges.alarm_depth).min()
    }

    /// The store to which the watched processes write, or wrote last, if it is the same for all.
    pub fn store(&self) -> Option<&str> {
        self.processes.store()
    }

    /// The seconds since a process last published figures, if that is longer than normal. `None`
    /// also if none ever did.
    pub fn silence(&self) -> Option<u64> {
        let silent = (self.now - self.reported?).unsigned_abs();
        (silent >= SILENT_AFTER).then_some(silent)
    }

    /// Whether a line is part of the history received when the console was opened. Its time decides
    /// until a process publishes figures, or until it is clear that none does; after that, all lines
    /// are current, whatever the clock of their process.
    pub fn is_history(&self, line: UtcMillis) -> bool {
        self.reported.is_none()
            && self
                .started
                .is_none_or(|started| self.now - started < FRESH && line.epoch_seconds() < started)
    }

    /// How many seconds the figures cover: a minute, or less after the console was opened or the
    /// connection was lost.
    pub fn covered(&self) -> usize {
        let since = self.started.max(self.processes.complete_since()).unwrap_or(self.now);
        usize::try_from(self.now - since).unwrap_or(0).clamp(1, SECONDS)
    }

    /// Advances the clock to a second since the epoch. Returns whether the figures changed.
    pub fn tick(&mut self, second: i64) -> bool {
        if second != self.now {
            self.close_lines();
            self.now = second;
            self.started.get_or_insert(second);
        }
        let oldest = self.now - SECONDS as i64;
        // Seconds in the future are from before the clock was set back.
        self.seconds.retain(|s| (oldest + 1..=self.now).contains(&s.at));
        self.depths.retain(|(at, _)| (oldest + 1..=self.now).contains(at));
        self.processes.tick(self.now);
        self.summarise()
    }

    /// Counts a line. Those of our processes count only where none publishes figures of their stage.
    pub fn line(&mut self, log: &DebugLog) {
        match log.process {
            Some(_) => self.own.count(log),
            None => self.foreign.count_once(log),
        }
    }

    fn close_lines(&mut self) {
        let (own, foreign) = (self.own.take(), self.foreign.take());
        if own.is_none() && foreign.is_none() {
            return;
        }
        let here = self.second(self.now);
        here.own = own.unwrap_or_default();
        here.foreign = foreign.unwrap_or_default();
    }

    /// Records the state of the queue as observed without a process. Returns whether the shown figures
    /// changed.
    pub fn observed_queue(&mut self, queue: QueueGauges) -> bool {
        self.observed = Some((self.now, queue));
        self.take_queue(self.now, queue);
        self.summarise_state()
    }

    fn take_queue(&mut self, second: i64, queue: QueueGauges) {
        self.queue = Some(queue);
        self.depths.retain(|&(at, _)| at != second);
        let place = self.depths.partition_point(|&(at, _)| at < second);
        self.depths.insert(place, (second, queue.depth));
    }

    fn second(&mut self, at: i64) -> &mut Second {
        let place = self.seconds.partition_point(|second| second.at < at);
        if self.seconds.get(place).is_none_or(|second| second.at != at) {
            self.seconds.insert(place, Second::new(at));
        }
        &mut self.seconds[place]
    }

    /// Adds a process's figures. Returns whether the shown figures already changed.
    pub fn gauges(&mut self, gauges: &Arc<Gauges>) -> bool {
        let now = self.now;
        self.reported = Some(now);
        let second = self.processes.heard(gauges, now);
        if let Some(mut queue) = gauges.queue {
            if queue.lapsed.is_none() {
                // An older process does not report it; another one on the same queue may.
                let mut reported = self.processes.last().filter_map(|gauges| gauges.queue);
                if let Some(other) = reported.find(|other| other.lapsed.is_some()) {
                    (queue.oldest_waiting_ms, queue.lapsed) =
                        (other.oldest_waiting_ms, other.lapsed);
                }
            }
            self.take_queue(second, queue);
            if gauges.queue_health == Health::Failing && queue.lapsed.is_none() {
                // What was known before it failed.
                self.depths.retain(|&(at, _)| at != second);
            }
        }
        let here = self.second(second);
        if here.gauges.len() < MAX_MESSAGES {
            here.gauges.push(Arc::clone(gauges));
            here.p95 = None;
        }
        self.summarise_state()
    }

    /// Updates the figures that do not depend on the whole minute.
    fn summarise_state(&mut self) -> bool {
        let state = |s: &Summary| (s.health, s.sampling, s.queue, s.verify, s.failures.clone());
        let before = state(&self.summary);
        self.observed = self.observed.filter(|(at, _)| (self.now - at).abs() <= GONE_AFTER);
        if self.processes.is_empty() && self.observed.is_none() {
            self.queue = None;
        }
        self.summary.queue = self.queue;
        self.summary.take_state(&self.processes.last());
        before != state(&self.summary)
    }

    fn summarise(&mut self) -> bool {
        let before = self.summary.clone();
        self.summarise_state();
        let newest = self.seconds.iter().rev().find(|second| !second.gauges.is_empty());
        let newest = newest.map_or(self.now - 1, |second| second.at.max(self.now - 2));
        let mut scratch = Latencies::histogram();
        for second in &mut self.seconds {
            second.p95.get_or_insert_with(|| p95_of(&second.gauges, &mut scratch));
        }
        let is_due = self.usual.is_due(self.now);
        let mut recent = [None; SERIES];
        for (i, recent) in recent.iter_mut().enumerate() {
            let by_processes = i == ACCEPT_TO_STORED || self.processes_count(i);
            let figures = self.series(i, by_processes, newest, &mut scratch);
            *recent = figures.recent;
            match self.summary.stages.get_mut(i) {
                Some(stage) => *stage = figures,
                None => self.summary.accept_to_stored = figures,
            }
        }
        if is_due {
            self.usual.take(recent);
        }
        let ingestion = Stage::Ingestion.index();
        self.summary.events_per_second = if self.processes.is_empty() {
            self.summary.stages[ingestion].rate
        } else {
            self.rate(newest, |second| {
                let accepted = second.gauges.iter().map(|g| g.accepted);
                total(accepted.chain([second.foreign[ingestion].count]))
            })
        };
        self.summary.stalled = self.stalled();
        self.summary.no_worker = self.no_worker();
        let gauges = self.seconds.iter().flat_map(|second| &second.gauges);
        self.summary.accepted = total(gauges.clone().map(|gauges| gauges.accepted));
        self.summary.refused = total(gauges.clone().map(|gauges| gauges.refused));
        self.summary.throttled = total(gauges.clone().map(|gauges| gauges.throttled));
        self.summary.filtered = total(gauges.map(|gauges| gauges.filtered));
        self.summary.depth_history = [None; SECONDS];
        let depths =
            self.depths.iter().filter_map(|&(at, depth)| Some((place(at, newest)?, depth)));
        depths.for_each(|(place, depth)| self.summary.depth_history[place] = Some(depth));
        self.summary != before
    }

    /// Whether processes publish figures of a stage. Then their lines of it are ignored, so that nothing
    /// is counted twice.
    fn processes_count(&self, stage: usize) -> bool {
        let counts = |gauges: &Arc<Gauges>| gauges.stages[stage].count > 0;
        self.seconds.iter().flat_map(|second| &second.gauges).any(counts)
    }

    fn series(
        &mut self,
        i: usize,
        by_processes: bool,
        newest: i64,
        scratch: &mut Histogram<u64>,
    ) -> StageFigures {
        scratch.reset();
        let mut figures = StageFigures::default();
        for second in &self.seconds {
            let mut p95 = None;
            second.add_to(i, by_processes, scratch);
            if by_processes {
                p95 = second.p95.and_then(|p95| p95[i]);
                for stage in second.gauges.iter().filter_map(|gauges| gauges.stages.get(i)) {
                    figures.add(stage.errors, stage.warnings);
                }
            }
            for lines in second.lines(i, by_processes) {
                p95 = p95.max(lines.p95);
                figures.add(lines.errors, lines.warnings);
            }
            if let Some(place) = place(second.at, newest) {
                figures.history[place] = p95;
            }
        }
        let steps = |second: &Second| {
            let reported = second.gauges.iter().filter_map(|g| g.stages.get(i));
            let reported = reported.filter(|_| by_processes).map(|stage| stage.count);
            total(reported.chain(second.lines(i, by_processes).map(|lines| lines.count)))
        };
        figures.rate = self.rate(newest, steps);
        let does = |second: &&Second| match i {
            // Its steps are the events stored.
            ACCEPT_TO_STORED => second.p95.is_some_and(|p95| p95[i].is_some()),
            _ => steps(second) > 0,
        };
        if let Some(second) = self.seconds.iter().rev().find(does) {
            self.usual.stepped(i, second.at);
        }
        figures.percentiles = percentile(scratch, 0.5)
            .zip(percentile(scratch, 0.95))
            .map(|(p50, p95)| [p50, p95, percentile(scratch, 0.99).unwrap_or(p95)]);
        scratch.reset();
        let recent = newest - usual::SPAN + 1..=newest;
        for second in self.seconds.iter().filter(|second| recent.contains(&second.at)) {
            second.add_to(i, by_processes, scratch);
        }
        figures.recent = percentile(scratch, 0.95);
        figures.usual = self.usual.p95(i);
        figures
    }

    /// For how many seconds nothing has been stored although events were waiting.
    fn stalled(&self) -> Option<u64> {
        let queue = self.queue.filter(|queue| queue.depth > 0 || queue.spooled > 0)?;
        // Only processes publish what was stored.
        let series = if self.reported.is_some() { ACCEPT_TO_STORED } else { Stage::Worker.index() };
        let stored = self.usual.last_step(series, self.now).or(self.started)?;
        let waiting = match queue.oldest_waiting_ms {
            Some(millis) => Some(self.now.saturating_sub_unsigned(millis / 1000)),
            // While the queue fails, how long its events have waited is not known.
            None => {
                let failure = self.summary.failures[0].as_ref();
                failure.and_then(|failure| failure.since).map(UtcMillis::epoch_seconds)
            }
        };
        let since = waiting.map_or(stored, |waiting| stored.max(waiting));
        let idle = self.now - since;
        (idle >= RATE_SECONDS).then_some(idle.unsigned_abs())
    }

    /// The average over the last complete seconds.
    fn rate(&self, newest: i64, count: impl Fn(&Second) -> u64) -> f64 {
        let started = self.started.unwrap_or(newest).min(newest);
        let seconds = (newest - started + 1).clamp(1, RATE_SECONDS);
        let recent = newest - seconds + 1..=newest;
        let counted =
            total(self.seconds.iter().filter(|second| recent.contains(&second.at)).map(count));
        counted as f64 / seconds as f64
    }
}

/// A sum that cannot overflow, whatever processes publish.
fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// The position of a second in a [`History`] that ends with `newest`.
fn place(at: i64, newest: i64) -> Option<usize> {
    let back = usize::try_from(newest - at).ok()?;
    (SECONDS - 1).checked_sub(back)
}

#[cfg(test)]
mod tests;
