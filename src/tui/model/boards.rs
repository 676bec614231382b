//! The views beside the log: what was answered to them, and where the reader is in them.

use std::collections::VecDeque;

use super::line::OwnedLine;
use crate::pipeline::debug_log::DebugLog;
use crate::pipeline::queue::view::FailedView;
use crate::pipeline::store::live::LiveView;
use crate::pipeline::time::UtcMillis;
use crate::pipeline::verify;
use crate::tui::backend::QueueSnapshot;

/// Milliseconds between two questions while a view is open.
const QUEUE_EVERY: i64 = 2_000;
const LIVE_EVERY: i64 = 3_000;
/// What is older than this is shown with its age.
const OLD: i64 = 8_000;
/// Failed events asked for at first, and how many more at the end of the list.
const FIRST_FAILED: usize = 100;
/// Failed events shown at most: what is behind them is for `bklit-tui queue`.
pub const MAX_FAILED: usize = 5_000;
/// What the verifier told that is kept, the newest of it.
const MAX_FINDINGS: usize = 500;

/// What is asked for again and again while it is looked at. The last answer stays on the screen
/// when a new one does not come.
#[derive(Debug)]
pub struct Polled<T> {
    every: i64,
    /// The last answer, and when it came.
    data: Option<(T, i64)>,
    /// Why there is none to the last question.
    error: Option<String>,
    asked: Option<i64>,
    waits: bool,
}

impl<T> Polled<T> {
    fn new(every: i64) -> Self {
        Self { every, data: None, error: None, asked: None, waits: false }
    }

    /// The last answer.
    pub fn data(&self) -> Option<&T> {
        self.data.as_ref().map(|(data, _)| data)
    }

    /// Why there is no newer one.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// How many milliseconds old the last answer is, where that is worth telling.
    pub fn age(&self, now: UtcMillis) -> Option<i64> {
        let (_, at) = self.data.as_ref()?;
        let age = now.epoch_millis().saturating_sub(*at);
        (self.error.is_some() || age >= OLD).then_some(age.max(0))
    }

    /// Whether to ask now. Notes that it is asked then.
    pub(in crate::tui) fn is_due(&mut self, now: UtcMillis) -> bool {
        let now = now.epoch_millis();
        // A clock that was set back must not stop the questions.
        let is_due =
            self.asked.is_none_or(|at| !(at..at.saturating_add(self.every)).contains(&now));
        self.begins(is_due, now)
    }

    /// The same, whenever it was asked last.
    pub(in crate::tui) fn is_free(&mut self, now: UtcMillis) -> bool {
        self.begins(true, now.epoch_millis())
    }

    fn begins(&mut self, wanted: bool, now: i64) -> bool {
        let begins = wanted && !self.waits;
        if begins {
            (self.waits, self.asked) = (true, Some(now));
        }
        begins
    }

    /// Takes an answer.
    pub(in crate::tui) fn take(&mut self, answer: Result<T, String>, now: UtcMillis) {
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

/// The queue, and where the reader is among its failed events.
#[derive(Debug)]
pub struct QueueBoard {
    /// What was answered.
    pub polled: Polled<QueueSnapshot>,
    /// How many failed events are asked for.
    pub wanted: usize,
    /// Only failed events with this in them, in small letters.
    pub(in crate::tui) filter: String,
    /// Places of those shown, in the answer.
    shown: Vec<usize>,
    selected: usize,
    /// Rows scrolled out at the top.
    pub(in crate::tui) top: usize,
    /// A change is on its way.
    pub(in crate::tui) changes: bool,
    /// A file is being written.
    pub(in crate::tui) exports: bool,
}

impl Default for QueueBoard {
    fn default() -> Self {
        Self {
            polled: Polled::new(QUEUE_EVERY),
            wanted: FIRST_FAILED,
            filter: String::new(),
            shown: Vec::new(),
            selected: 0,
            top: 0,
            changes: false,
            exports: false,
        }
    }
}

impl QueueBoard {
    /// All failed events that are known.
    pub fn all(&self) -> &[FailedView] {
        self.polled.data().map_or(&[], |snapshot| snapshot.failed.as_slice())
    }

    /// How many of them are shown.
    pub fn count(&self) -> usize {
        self.shown.len()
    }

    /// The failed events shown, from a place on.
    pub fn shown(&self, from: usize) -> impl Iterator<Item = &FailedView> {
        self.shown.iter().skip(from).filter_map(|&place| self.all().get(place))
    }

    /// The place of the selected one among those shown.
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The selected one.
    pub fn selected_item(&self) -> Option<&FailedView> {
        self.all().get(*self.shown.get(self.selected)?)
    }

    /// What the shown ones have in them.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// Takes an answer. The reader stays at the same event, or at the same place if it is gone.
    pub(in crate::tui) fn take(&mut self, answer: Result<QueueSnapshot, String>, now: UtcMillis) {
        let before = self.selected_item().map(|item| item.id.clone());
        self.polled.take(answer, now);
        self.refilter(before.as_deref());
    }

    /// Shows only what has this in it.
    pub(in crate::tui) fn set_filter(&mut self, filter: &str) {
        let before = self.selected_item().map(|item| item.id.clone());
        self.filter = filter.to_lowercase();
        self.refilter(before.as_deref());
    }

    fn refilter(&mut self, selected: Option<&str>) {
        let matches = |item: &FailedView| self.filter.is_empty() || has(item, &self.filter);
        let shown = self.all().iter().enumerate().filter(|(_, item)| matches(item));
        self.shown = shown.map(|(place, _)| place).collect();
        let same = selected.and_then(|id| self.shown.iter().position(|&p| self.all()[p].id == id));
        self.selected = same.unwrap_or(self.selected).min(self.shown.len().saturating_sub(1));
    }

    /// Selects a place, and scrolls as little as needed to have it among so many rows.
    pub(in crate::tui) fn select(&mut self, place: usize, height: usize) {
        self.selected = place.min(self.shown.len().saturating_sub(1));
        self.settle(height);
        let has_more = self.polled.data().is_some_and(|snapshot| snapshot.has_more);
        if has_more && self.selected + 1 == self.shown.len() && self.wanted <= self.all().len() {
            self.wanted = (self.all().len() + 4 * FIRST_FAILED).min(MAX_FAILED);
        }
    }

    /// Keeps the selected one among so many rows.
    pub(in crate::tui) fn settle(&mut self, height: usize) {
        let least = (self.selected + 1).saturating_sub(height.max(1));
        let most = self.selected.min(self.shown.len().saturating_sub(height));
        self.top = self.top.clamp(least, most.max(least));
    }
}

/// Whether an event has the text somewhere: in what is shown of it, or in what was queued.
fn has(item: &FailedView, filter: &str) -> bool {
    let fields = [Some(&item.reason), Some(&item.body), item.event.event_id.as_ref()];
    let fields = fields.into_iter().chain([item.event.project_id.as_ref()]).flatten();
    fields.into_iter().any(|field| field.to_lowercase().contains(filter))
}

/// What the verifier told.
#[derive(Debug, Default)]
pub struct VerifyBoard {
    findings: VecDeque<(u64, OwnedLine)>,
    selected: usize,
    /// Rows scrolled out at the top.
    pub(in crate::tui) top: usize,
}

impl VerifyBoard {
    /// What it told, newest first, with the lines' numbers.
    pub fn findings(&self) -> impl Iterator<Item = &(u64, OwnedLine)> {
        self.findings.iter().rev()
    }

    /// How much of it is kept.
    pub fn count(&self) -> usize {
        self.findings.len()
    }

    /// The place of the selected one.
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The selected one.
    pub fn selected_line(&self) -> Option<&(u64, OwnedLine)> {
        self.findings().nth(self.selected)
    }

    /// Whether a line belongs here.
    pub(in crate::tui) fn wants(log: &DebugLog) -> bool {
        log.level > crate::pipeline::debug_log::Level::Info && verify::is_finding(&log.message)
    }

    /// Takes a line. The reader stays at the same one.
    pub(in crate::tui) fn take(&mut self, number: u64, line: OwnedLine) {
        self.findings.push_back((number, line));
        if self.findings.len() > MAX_FINDINGS {
            self.findings.pop_front();
        }
        // Whoever is at the newest one stays there.
        if self.selected > 0 {
            self.selected = (self.selected + 1).min(self.findings.len() - 1);
            self.top += 1;
        }
    }

    /// Selects a place, and scrolls as little as needed to have it among so many rows.
    pub(in crate::tui) fn select(&mut self, place: usize, height: usize) {
        self.selected = place.min(self.findings.len().saturating_sub(1));
        let least = (self.selected + 1).saturating_sub(height.max(1));
        let most = self.selected.min(self.findings.len().saturating_sub(height));
        self.top = self.top.clamp(least, most.max(least));
    }
}

/// All of them.
#[derive(Debug)]
pub struct Boards {
    /// The queue.
    pub queue: QueueBoard,
    /// Who is there now.
    pub live: Polled<LiveView>,
    /// What the verifier told.
    pub verify: VerifyBoard,
}

impl Default for Boards {
    fn default() -> Self {
        let (queue, verify) = (QueueBoard::default(), VerifyBoard::default());
        Self { queue, live: Polled::new(LIVE_EVERY), verify }
    }
}
