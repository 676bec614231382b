//! All known lines about one event or batch, in the order in which their steps began: a waterfall.
//!
//! The ring is searched in slices, newest first; new lines are added as they come. Lines found are
//! copied, so that they stay when the ring drops them. Earlier lines, and the event's state, are
//! requested from the pipeline.

use super::line::{LineRef, OwnedLine};
use super::line_ring::LineRing;
use super::pane::cover::{Cover, End};
use super::panels::Polled;
use super::query::ast::{Ast, DataTest, Term, Test};
use super::query::scanner::Scanner;
use super::query::{Query, detail};
use bklit_wire::debug_log::Stage;
use bklit_wire::event_lookup::EventTrace;
use bklit_wire::time::UtcMillis;

/// The most lines in a trace; a batch may have many.
pub const MAX_ROWS: usize = 2_000;
/// The most batches followed for one event: it has several if it was delivered again.
const MAX_BATCHES: usize = 4;
/// Lines examined per slice.
const SLICE: u64 = 50_000;
/// How often the event's state is requested until it is stored, in milliseconds.
const EVERY: i64 = 3_000;
/// Lines that are not from the ring are numbered from here.
const OF_HISTORY: u64 = 1 << 63;
/// The detail with the id of the batch.
const BATCH: &str = "batchId";

/// The subject of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An event, by its id.
    Event(String),
    /// A batch, by its id.
    Batch(String),
}

impl Subject {
    /// The subject of a line.
    pub fn of(line: LineRef<'_>) -> Option<Self> {
        let event = line.event_id().map(|id| Self::Event(id.to_owned()));
        event.or_else(|| batch_of(line).map(Self::Batch))
    }

    fn query(&self) -> Option<Query> {
        let test = match self {
            Self::Event(id) => Test::Id(id.clone()),
            Self::Batch(id) => Test::Data(BATCH.to_owned(), DataTest::Is(id.clone())),
        };
        Query::of(Ast { inverted: false, terms: vec![Term { negated: false, test }] })
    }

    fn is_of(&self, line: LineRef<'_>) -> bool {
        match self {
            Self::Event(id) => line.event_id() == Some(id),
            Self::Batch(id) => batch_of(line).as_ref() == Some(id),
        }
    }
}

fn batch_of(line: LineRef<'_>) -> Option<String> {
    detail(line, BATCH).filter(|id| !id.is_empty())
}

/// A line of the trace.
#[derive(Clone, Debug)]
pub struct TraceRow {
    /// Its number.
    pub number: u64,
    /// The line.
    pub line: OwnedLine,
    /// The start and end of the step, in microseconds.
    pub span: (i64, i64),
    /// The idle time before the step, in microseconds.
    pub waited: i64,
}

/// The search for the lines of one subject.
#[derive(Debug)]
struct Search {
    subject: Subject,
    query: Query,
    cover: Cover,
}

/// A trace.
#[derive(Debug)]
pub struct Trace {
    searches: Vec<Search>,
    rows: Vec<TraceRow>,
    selected: u64,
    /// The number of rows scrolled off at the top.
    pub(crate) top: usize,
    left_out: usize,
    /// The event's state; its lines are also added to the rows.
    pub(crate) place: Polled<EventTrace>,
    /// The number of lines that the ring did not have.
    of_history: u64,
}

impl Trace {
    /// Starts a trace with this line selected.
    pub fn new(subject: Subject, selected: u64, ring: &LineRing) -> Option<Self> {
        let mut trace = Self {
            searches: Vec::new(),
            rows: Vec::new(),
            selected,
            top: 0,
            left_out: 0,
            place: Polled::new(EVERY),
            of_history: 0,
        };
        trace.follow(subject, ring);
        trace.work(ring);
        (!trace.searches.is_empty()).then_some(trace)
    }

    fn follow(&mut self, subject: Subject, ring: &LineRing) {
        let known = self.searches.iter().any(|search| search.subject == subject);
        if known || self.searches.len() > MAX_BATCHES {
            return;
        }
        if let Some(query) = subject.query() {
            self.searches.push(Search { subject, query, cover: Cover::at(ring.next()) });
        }
    }

    /// The subject of the trace.
    pub fn subject(&self) -> Option<&Subject> {
        self.searches.first().map(|search| &search.subject)
    }

    /// The ids of the batches that contained the event.
    pub fn batches(&self) -> impl Iterator<Item = &str> {
        self.searches.iter().filter_map(|search| match &search.subject {
            Subject::Batch(id) => Some(id.as_str()),
            Subject::Event(_) => None,
        })
    }

    /// Its lines in the order in which the steps began.
    pub fn rows(&self) -> &[TraceRow] {
        &self.rows
    }

    /// The number of lines beyond the limit.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The event's state, as last reported by the pipeline.
    pub fn place(&self) -> &Polled<EventTrace> {
        &self.place
    }

    /// The event to request now, if a request is due. A stored event does not change any more.
    pub(crate) fn question(&mut self, now: UtcMillis) -> Option<String> {
        let Some(Subject::Event(id)) = self.subject().cloned() else { return None };
        (!self.is_stored() && self.place.is_due(now)).then_some(id)
    }

    /// Whether the event is known to be stored.
    pub fn is_stored(&self) -> bool {
        self.place.data().is_some_and(|place| !place.stored.is_empty())
    }

    /// Applies a response, if it is about this event.
    pub(crate) fn take(
        &mut self,
        id: &str,
        mut answer: Result<EventTrace, String>,
        now: UtcMillis,
        ring: &LineRing,
    ) {
        if !matches!(self.subject(), Some(Subject::Event(own)) if own == id) {
            return;
        }
        if let Ok(place) = &mut answer {
            for log in std::mem::take(&mut place.lines) {
                let line = OwnedLine::of(&log);
                let number = OF_HISTORY + self.of_history;
                if self.is_of_it(line.as_ref()) && self.add(number, line.as_ref()) {
                    self.of_history += 1;
                    if let Some(batch) = batch_of(line.as_ref()) {
                        self.follow(Subject::Batch(batch), ring);
                    }
                }
            }
            self.measure();
        }
        self.place.take(answer, now);
    }

    /// Lines about the event's batch belong to the trace; lines about other events in it do not.
    fn is_of_it(&self, line: LineRef<'_>) -> bool {
        line.event_id().is_none() || self.searches.first().is_some_and(|s| s.subject.is_of(line))
    }

    /// The position of the selected line.
    pub fn selected(&self) -> usize {
        self.rows.iter().position(|row| row.number == self.selected).unwrap_or(0)
    }

    /// The selected line.
    pub fn selected_row(&self) -> Option<&TraceRow> {
        self.rows.get(self.selected())
    }

    /// Selects another line and scrolls to it.
    pub fn select(&mut self, place: usize, height: usize) {
        let place = place.min(self.rows.len().saturating_sub(1));
        if let Some(row) = self.rows.get(place) {
            self.selected = row.number;
        }
        self.settle(height);
    }

    /// Scrolls to the selected line.
    pub fn settle(&mut self, height: usize) {
        let place = self.selected();
        let most = self.rows.len().saturating_sub(height);
        self.top = self.top.clamp((place + 1).saturating_sub(height), place).min(most);
    }

    /// The stages that the event has passed, in pipeline order.
    pub fn stages(&self) -> Vec<Stage> {
        let passed =
            |stage: &Stage| self.rows.iter().any(|row| row.line.as_ref().stage() == Some(*stage));
        Stage::ALL.into_iter().filter(passed).collect()
    }

    /// From the first start to the last end, in microseconds.
    pub fn span(&self) -> (i64, i64) {
        let start = self.rows.iter().map(|row| row.span.0).min().unwrap_or(0);
        let end = self.rows.iter().map(|row| row.span.1).max().unwrap_or(0);
        (start, end)
    }

    /// Whether there are lines left to examine.
    pub fn has_work(&self, ring: &LineRing) -> bool {
        let all = ring.first()..ring.next();
        self.searches.iter().any(|search| !search.cover.is_all_of(&all))
    }

    /// Whether the search takes noticeable time: lines from before the trace was opened, or many
    /// new ones. The few new lines that arrive all the time do not count.
    pub fn is_searching(&self, ring: &LineRing) -> bool {
        let all = ring.first()..ring.next();
        let waits =
            |cover: &Cover| cover.low > all.start || all.end.saturating_sub(cover.high) > SLICE;
        !all.is_empty() && self.searches.iter().any(|search| waits(&search.cover))
    }

    /// Examines one more slice. Returns whether it found something.
    pub fn work(&mut self, ring: &LineRing) -> bool {
        let all = ring.first()..ring.next();
        let mut found = Vec::new();
        for search in &mut self.searches {
            search.cover.forget(ring.first());
            let Some((lines, end)) = search.cover.next(&all, None, SLICE) else { continue };
            let mut scanner = Scanner::new(&search.query);
            for run in ring.runs(lines.clone()) {
                scanner.enter();
                let mut place = 0;
                while let Some(next) = scanner.skip(&run, place)
                    && let Some((start, line)) = run.get(next)
                {
                    if scanner.matches(run.text(), start, line) && search.subject.is_of(line) {
                        found.push((run.number(next), line));
                    }
                    place = next + 1;
                }
            }
            search.cover.grow(&lines, end);
            if end == End::Older {
                // Enough for one turn; the next search continues in the next one.
                break;
            }
        }
        let any = !found.is_empty();
        let of_event = matches!(self.subject(), Some(Subject::Event(_)));
        for (number, line) in found {
            if self.is_of_it(line)
                && self.add(number, line)
                && of_event
                && let Some(batch) = batch_of(line)
            {
                self.follow(Subject::Batch(batch), ring);
            }
        }
        if any {
            self.measure();
        }
        any
    }

    fn add(&mut self, number: u64, line: LineRef<'_>) -> bool {
        // A line received from both sources is the same line.
        let is_same = |row: &TraceRow| {
            let other = row.line.as_ref();
            (row.number | number) >= OF_HISTORY
                && (other.time(), other.stage(), other.text())
                    == (line.time(), line.stage(), line.text())
        };
        if self.rows.iter().any(|row| row.number == number || is_same(row)) {
            return false;
        }
        if self.rows.len() >= MAX_ROWS {
            self.left_out += 1;
            return false;
        }
        let end = line.time().epoch_millis().saturating_mul(1_000);
        let took = line.duration().map_or(0.0, |millis| f64::from(millis).max(0.0) * 1e3);
        let span = (end.saturating_sub(took as i64), end);
        let key = |row: &TraceRow| (row.span.0, row.span.1, row.number);
        let place = self.rows.partition_point(|row| key(row) < (span.0, span.1, number));
        self.rows.insert(place, TraceRow { number, line: line.to_owned(), span, waited: 0 });
        true
    }

    /// Computes the idle time before each step.
    fn measure(&mut self) {
        let mut done = self.rows.first().map_or(0, |row| row.span.0);
        for row in &mut self.rows {
            row.waited = row.span.0.saturating_sub(done).max(0);
            done = done.max(row.span.1);
        }
    }
}

#[cfg(test)]
mod tests;
