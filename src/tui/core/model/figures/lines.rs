//! What is counted from lines in one second.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use hdrhistogram::Histogram;

use super::percentile;
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::gauges::Latencies;

/// The most steps remembered to recognise further lines about the same one.
const MAX_SEEN: usize = 16_384;

/// A stage's lines in one second.
#[derive(Clone, Debug, Default)]
pub(super) struct StageLines {
    /// Steps.
    pub(super) count: u64,
    /// Errors.
    pub(super) errors: u64,
    /// Warnings.
    pub(super) warnings: u64,
    /// The steps' durations.
    pub(super) latencies: Latencies,
    /// Their p95 in microseconds.
    pub(super) p95: Option<u64>,
}

/// Counts the lines of the current second.
#[derive(Debug)]
pub(super) struct LineCounter {
    stages: [StageLines; Stage::ALL.len()],
    durations: [Histogram<u64>; Stage::ALL.len()],
    seen: Seen,
}

impl Default for LineCounter {
    fn default() -> Self {
        Self {
            stages: Default::default(),
            durations: std::array::from_fn(|_| Latencies::histogram()),
            seen: Seen::default(),
        }
    }
}

impl LineCounter {
    /// Counts a line as a step.
    pub(super) fn count(&mut self, log: &DebugLog) {
        self.stages[log.stage.index()].count += 1;
        self.details(log);
    }

    /// Counts a line; several of one stage about the same event are one step.
    pub(super) fn count_once(&mut self, log: &DebugLog) {
        let is_first = log.event_id.as_ref().is_none_or(|id| self.seen.insert(log.stage, id));
        self.stages[log.stage.index()].count += u64::from(is_first);
        self.details(log);
    }

    fn details(&mut self, log: &DebugLog) {
        let stage = log.stage.index();
        let lines = &mut self.stages[stage];
        lines.errors += u64::from(log.level == Level::Error);
        lines.warnings += u64::from(log.level == Level::Warn);
        if let Some(millis) = log.duration.filter(|ms| ms.is_finite() && *ms >= 0.0) {
            self.durations[stage].saturating_record((millis * 1000.0) as u64);
        }
    }

    /// The lines of the second that ends; `None` without any.
    pub(super) fn take(&mut self) -> Option<[StageLines; Stage::ALL.len()]> {
        let is_empty = |lines: &StageLines| lines.count + lines.errors + lines.warnings == 0;
        if self.stages.iter().all(is_empty) {
            return None;
        }
        for (lines, durations) in self.stages.iter_mut().zip(&mut self.durations) {
            lines.latencies = Latencies::of(durations);
            lines.p95 = percentile(durations, 0.95);
            durations.reset();
        }
        Some(std::mem::take(&mut self.stages))
    }
}

/// The last steps counted, by stage and event.
#[derive(Debug, Default)]
struct Seen {
    hasher: RandomState,
    known: HashSet<u64>,
    oldest_first: VecDeque<u64>,
}

impl Seen {
    /// Returns whether the step is new.
    fn insert(&mut self, stage: Stage, event: &str) -> bool {
        let step = self.hasher.hash_one((stage, event));
        if !self.known.insert(step) {
            return false;
        }
        self.oldest_first.push_back(step);
        if self.oldest_first.len() > MAX_SEEN
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
