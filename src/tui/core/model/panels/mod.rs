//! Data of screens that outlives them: the last answers, and the selections in the lists.
//!
//! - `bars`: the history next to the figures
//! - `history`: the history of figures
//! - `problems`: warnings, errors and failed events, grouped
//! - `processes`: the processes of the pipeline
//! - `queue`: the queue and its failed events
//! - `visitors`: current visitors
//! - `who`: where events come from

mod bars;
mod history;
mod problems;
mod processes;
mod queue;
mod visitors;
mod who;

use std::collections::VecDeque;

use super::line::OwnedLine;
use super::sql::SqlPanel;
pub use bars::BarsPanel;
use bklit_wire::debug_log::DebugLog;
use bklit_wire::time::UtcMillis;
use bklit_wire::verification;
pub use history::{HistoryList, HistoryPanel};
pub use problems::{FailedGroup, Problem, ProblemKey, ProblemsPanel, SortBy, Span};
pub use processes::{ProcessRow, ProcessState, ProcessesPanel};
pub use queue::{BatchPanel, MAX_FAILED, QueueList, QueuePanel};
pub use visitors::{VisitorsItem, VisitorsList, VisitorsPanel};
pub use who::WhoPanel;

/// An answer older than this, in milliseconds, is shown with its age.
const OLD: i64 = 8_000;
/// A request without an answer is repeated after this time, which exceeds every timeout.
const LOST: i64 = 60_000;
/// The most findings kept; the oldest are dropped.
const MAX_FINDINGS: usize = 500;

/// Data that is polled while it is visible. The last answer stays until a new one arrives.
#[derive(Debug)]
pub struct Polled<T> {
    every: i64,
    /// The last answer, and when it was received.
    data: Option<(T, i64)>,
    /// Why the last request failed.
    error: Option<String>,
    asked: Option<i64>,
    waits: bool,
}

impl<T> Polled<T> {
    /// Creates it with this interval in milliseconds.
    pub(super) fn new(every: i64) -> Self {
        Self { every, data: None, error: None, asked: None, waits: false }
    }

    /// The last answer.
    pub fn data(&self) -> Option<&T> {
        self.data.as_ref().map(|(data, _)| data)
    }

    /// Why the last request failed, if it did.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// When the last answer was received.
    pub fn answered(&self) -> Option<UtcMillis> {
        self.data.as_ref().map(|(_, at)| UtcMillis::from_epoch_millis(*at))
    }

    /// Changes the interval, in milliseconds, and polls soon.
    pub(super) fn set_every(&mut self, every: i64) {
        (self.every, self.asked) = (every, None);
    }

    /// The age of the last answer in milliseconds, if it is old enough to be shown.
    pub fn age(&self, now: UtcMillis) -> Option<i64> {
        let (_, at) = self.data.as_ref()?;
        let age = now.epoch_millis().saturating_sub(*at);
        (self.error.is_some() || age >= OLD).then_some(age.max(0))
    }

    /// Whether to poll now. If so, a request is recorded as sent.
    pub(crate) fn is_due(&mut self, now: UtcMillis) -> bool {
        let now = now.epoch_millis();
        // Polling must continue even if the clock was set back.
        let is_due =
            self.asked.is_none_or(|at| !(at..at.saturating_add(self.every)).contains(&now));
        self.begins(is_due, now)
    }

    /// The same, regardless of the interval.
    pub(crate) fn is_free(&mut self, now: UtcMillis) -> bool {
        self.begins(true, now.epoch_millis())
    }

    fn begins(&mut self, wanted: bool, now: i64) -> bool {
        // A request replaced by another one of its kind gets no answer.
        let is_lost = self.asked.is_some_and(|at| !(at..at.saturating_add(LOST)).contains(&now));
        let begins = wanted && (!self.waits || is_lost);
        if begins {
            (self.waits, self.asked) = (true, Some(now));
        }
        begins
    }

    /// Applies an answer.
    pub(crate) fn take(&mut self, answer: Result<T, String>, now: UtcMillis) {
        self.waits = false;
        match answer {
            Ok(data) => {
                self.data = Some((data, now.epoch_millis()));
                self.error = None;
            }
            Err(reason) => self.error = Some(reason),
        }
    }
}

/// The findings of the verifier.
#[derive(Debug, Default)]
pub struct VerifyPanel {
    findings: VecDeque<(u64, OwnedLine)>,
    selected: usize,
    /// The number of rows scrolled off at the top.
    pub(crate) top: usize,
}

impl VerifyPanel {
    /// The findings, newest first, with the lines' numbers.
    pub fn findings(&self) -> impl Iterator<Item = &(u64, OwnedLine)> {
        self.findings.iter().rev()
    }

    /// The number of findings kept.
    pub fn count(&self) -> usize {
        self.findings.len()
    }

    /// The position of the selected one.
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The selected one.
    pub fn selected_line(&self) -> Option<&(u64, OwnedLine)> {
        self.findings().nth(self.selected)
    }

    /// Whether a line is a finding.
    pub(crate) fn wants(log: &DebugLog) -> bool {
        log.level > bklit_wire::debug_log::Level::Info && verification::is_finding(&log.message)
    }

    /// Adds a line. The selection stays at the same finding.
    pub(crate) fn take(&mut self, number: u64, line: OwnedLine) {
        self.findings.push_back((number, line));
        if self.findings.len() > MAX_FINDINGS {
            self.findings.pop_front();
        }
        // A selection of the newest one stays at the newest.
        if self.selected > 0 {
            let moved = (self.selected + 1).min(self.findings.len() - 1);
            // A selection of the oldest one that is kept stays visible too.
            self.top += moved - self.selected;
            self.selected = moved;
        }
    }

    /// Selects a position, and scrolls only as far as needed to show it.
    pub(crate) fn select(&mut self, place: usize, height: usize) {
        self.selected = place.min(self.findings.len().saturating_sub(1));
        let least = (self.selected + 1).saturating_sub(height.max(1));
        let most = self.selected.min(self.findings.len().saturating_sub(height));
        self.top = self.top.clamp(least, most.max(least));
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Panels {
    /// The problems.
    pub problems: ProblemsPanel,
    /// The queue.
    pub queue: QueuePanel,
    /// Current visitors.
    pub visitors: VisitorsPanel,
    /// The findings of the verifier.
    pub verify: VerifyPanel,
    /// The history of figures.
    pub history: HistoryPanel,
    /// The history next to the figures.
    pub bars: BarsPanel,
    /// Queries on the store.
    pub sql: SqlPanel,
    /// The list of processes.
    pub processes: ProcessesPanel,
    /// Where events come from.
    pub who: WhoPanel,
}
