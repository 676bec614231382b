//! The queue: batches in flight and failed events, and one batch in full.

use super::Polled;
use crate::bulk::{Known, Marks, Which, contains};
use crate::keymap::Action;
use crate::model::cursor::{Cursor, target};
use crate::requests::QueueSnapshot;
use bklit_wire::queue::BatchInFlight;
use bklit_wire::queue::{EventView, FailedView};
use bklit_wire::time::UtcMillis;

/// The polling interval while the screen is open, in milliseconds.
const QUEUE_EVERY: i64 = 2_000;
const BATCH_EVERY: i64 = 2_000;
/// How many failed events are requested at first; four times as many at the end of the list.
const FIRST_FAILED: usize = 100;
/// The interval grows by [`QUEUE_EVERY`] for each of this many failed events.
const FEW_FAILED: usize = 1_000;
/// The most failed events shown. Changes of all of them include the rest.
pub const MAX_FAILED: usize = 5_000;

/// The lists of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueList {
    /// The batches in flight.
    Batches,
    /// The failed events.
    Failed,
}

/// The queue, and the selections in its lists.
#[derive(Debug)]
pub struct QueuePanel {
    /// The last answer.
    pub polled: Polled<QueueSnapshot>,
    /// How many failed events to request.
    pub wanted: usize,
    /// Only failed events that contain this text, in lower case.
    pub(crate) filter: String,
    /// The positions of the shown ones in the answer.
    shown: Vec<usize>,
    /// The marked failed events.
    pub(crate) marks: Marks,
    /// The focused list.
    pub(crate) list: QueueList,
    /// The selected batch.
    pub(crate) batch: Cursor,
    /// The selected one of the failed events shown.
    pub(crate) cursor: Cursor,
    /// Whether a change of one event is in progress.
    pub(crate) changes: bool,
}

impl Default for QueuePanel {
    fn default() -> Self {
        Self {
            polled: Polled::new(QUEUE_EVERY),
            wanted: FIRST_FAILED,
            filter: String::new(),
            shown: Vec::new(),
            marks: Marks::default(),
            list: QueueList::Failed,
            batch: Cursor::default(),
            cursor: Cursor::default(),
            changes: false,
        }
    }
}

impl QueuePanel {
    /// All failed events received.
    pub fn all(&self) -> &[FailedView] {
        self.polled.data().map_or(&[], |snapshot| snapshot.failed.as_slice())
    }

    /// The number of failed events that were not received.
    pub fn unknown(&self) -> u64 {
        let Some(snapshot) = self.polled.data() else { return 0 };
        let known = snapshot.failed.len() as u64;
        snapshot.view.failed.saturating_sub(known).max(snapshot.has_more.into())
    }

    /// How many of them are shown.
    pub fn count(&self) -> usize {
        self.shown.len()
    }

    /// The failed events shown, from a position on.
    pub fn shown(&self, from: usize) -> impl Iterator<Item = &FailedView> {
        self.shown.iter().skip(from).filter_map(|&place| self.all().get(place))
    }

    /// The focused list.
    pub fn list(&self) -> QueueList {
        self.list
    }

    /// The batches in flight.
    pub fn batches(&self) -> &[BatchInFlight] {
        self.polled.data().map_or(&[], |snapshot| snapshot.view.batches.as_slice())
    }

    /// The selected batch, if that list has the focus.
    pub fn selected_batch(&self) -> Option<&BatchInFlight> {
        let batch = self.batches().get(self.batch.selected());
        batch.filter(|_| self.list == QueueList::Batches)
    }

    /// The position of the selected one among the failed events shown.
    pub fn selected(&self) -> usize {
        self.cursor.selected()
    }

    /// The selected failed event, if that list has the focus.
    pub fn selected_item(&self) -> Option<&FailedView> {
        self.item().filter(|_| self.list == QueueList::Failed)
    }

    fn item(&self) -> Option<&FailedView> {
        self.all().get(*self.shown.get(self.cursor.selected())?)
    }

    /// The marked failed events.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Marks the selected failed event, or removes its mark.
    pub(crate) fn toggle_mark(&mut self) {
        let item = self.selected_item().cloned();
        item.iter().for_each(|item| self.marks.toggle(item));
    }

    /// The marked failed events, or without marks all those that match the filter, loaded or not.
    pub(crate) fn chosen(&self) -> (Which, Known) {
        if self.marks.count() > 0 {
            let known = Known { count: self.marks.count(), is_exact: true };
            return (Which::Marked(self.marks.clone()), known);
        }
        let is_exact = self.unknown() == 0 || self.filter.is_empty();
        let count = match self.filter.is_empty() {
            true => self.all().len() as u64 + self.unknown(),
            false => self.shown.len() as u64,
        };
        (Which::With(self.filter.clone()), Known { count, is_exact })
    }

    /// The number of all failed events.
    pub(crate) fn total(&self) -> u64 {
        self.all().len() as u64 + self.unknown()
    }

    /// When they were counted, by the clock of the pipeline.
    pub(crate) fn counted_at(&self) -> Option<UtcMillis> {
        self.polled.data()?.view.at
    }

    /// When the newest of those loaded failed. Others may have failed later: the list of a spool comes
    /// before that of the queue.
    pub(crate) fn newest(&self) -> Option<UtcMillis> {
        self.all().iter().filter_map(|item| item.failed_at).max()
    }

    /// The text that the shown ones contain.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// Applies an answer. The selections stay at the same event and batch, or at the same position
    /// if they are gone.
    pub(crate) fn take(&mut self, answer: Result<QueueSnapshot, String>, now: UtcMillis) {
        let before = self.item().map(|item| item.id.clone());
        let batch = self.batches().get(self.batch.selected()).map(|batch| batch.id.clone());
        self.polled.take(answer, now);
        let same = batch.and_then(|id| self.batches().iter().position(|batch| batch.id == id));
        self.batch.follow(same, self.batches().len());
        if self.batches().is_empty() {
            self.list = QueueList::Failed;
        }
        if self.unknown() == 0 && self.polled.error().is_none() {
            // Others may be marked and no longer loaded.
            let mut marks = std::mem::take(&mut self.marks);
            marks.retain(self.all().iter());
            self.marks = marks;
        }
        self.refilter(before.as_deref());
    }

    /// Shows only failed events that contain a text.
    pub(crate) fn set_filter(&mut self, filter: &str) {
        let before = self.item().map(|item| item.id.clone());
        self.list = QueueList::Failed;
        self.filter = filter.to_lowercase();
        if !filter.is_empty() && self.unknown() > 0 {
            // There may be matches among older events.
            self.want(MAX_FAILED);
        }
        self.refilter(before.as_deref());
    }

    /// Sets how many failed events to request; the more, the less often.
    pub(crate) fn want(&mut self, events: usize) {
        self.wanted = events.min(MAX_FAILED);
        let pages = i64::try_from(self.wanted / FEW_FAILED).unwrap_or(0);
        self.polled.set_every(QUEUE_EVERY * (1 + pages));
    }

    /// Requests as many failed events as the list shows: fewer arrive sooner.
    pub(crate) fn want_shown(&mut self) {
        if self.filter.is_empty() {
            let marked = self.all().iter().rposition(|item| self.marks.has(item));
            let last = self.cursor.selected().max(marked.unwrap_or(0));
            self.want(FIRST_FAILED.max(last + 1));
        }
    }

    fn refilter(&mut self, selected: Option<&str>) {
        let matches = |item: &FailedView| contains(item, &self.filter);
        let shown = self.all().iter().enumerate().filter(|(_, item)| matches(item));
        self.shown = shown.map(|(place, _)| place).collect();
        let same = selected.and_then(|id| self.shown.iter().position(|&p| self.all()[p].id == id));
        self.cursor.follow(same, self.shown.len());
    }

    /// Selects a failed event, and scrolls only as far as needed to show it.
    pub(crate) fn select(&mut self, place: usize, height: usize) {
        self.list = QueueList::Failed;
        self.cursor.select(place, self.shown.len(), height);
        let has_more = self.polled.data().is_some_and(|snapshot| snapshot.has_more);
        if has_more && self.selected() + 1 == self.shown.len() && self.wanted <= self.all().len() {
            self.want(self.all().len() + 4 * FIRST_FAILED);
        }
    }

    /// The same for a batch, if there are any.
    pub(crate) fn select_batch(&mut self, place: usize, height: usize) {
        let count = self.batches().len();
        if count > 0 {
            self.list = QueueList::Batches;
            self.batch.select(place, count, height);
        }
    }

    /// Keeps both selections visible.
    pub(crate) fn settle(&mut self, batches: usize, failed: usize) {
        self.batch.settle(self.batches().len(), batches);
        self.cursor.settle(self.shown.len(), failed);
    }
}

/// The details of a batch in flight: its owner and its events.
#[derive(Debug)]
pub struct BatchPanel {
    /// The batch as it was when it was opened.
    pub batch: BatchInFlight,
    /// The last answer.
    pub polled: Polled<Vec<EventView>>,
    /// Whether it is done: its events are stored, or in the failed queue.
    done: bool,
    /// The selected event.
    pub(crate) cursor: Cursor,
}

impl BatchPanel {
    /// Creates it for a batch.
    pub fn new(batch: BatchInFlight) -> Self {
        let (polled, cursor) = (Polled::new(BATCH_EVERY), Cursor::default());
        Self { batch, polled, done: false, cursor }
    }

    /// Its events, if known.
    pub fn events(&self) -> &[EventView] {
        self.polled.data().map_or(&[], Vec::as_slice)
    }

    /// Whether it is done: its events are stored, or in the failed queue.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The selected event.
    pub fn selected(&self) -> Option<&EventView> {
        self.events().get(self.cursor.selected())
    }

    /// Applies an answer. The content of a batch does not change, so it stays known once the batch
    /// is done.
    pub(crate) fn take(&mut self, answer: Result<Option<Vec<EventView>>, String>, now: UtcMillis) {
        self.done = matches!(answer, Ok(None));
        let before = || self.polled.data().cloned().unwrap_or_default();
        let answer = answer.map(|events| events.unwrap_or_else(before));
        self.polled.take(answer, now);
    }

    /// Moves the selection.
    pub(crate) fn scroll(&mut self, action: Action, height: usize) {
        let place = target(action, self.cursor.selected(), height);
        self.cursor.select(place, self.events().len(), height);
    }
}
