//! All known events of one visitor's session, in order, also those that were refused.
//!
//! The ring is searched in slices, newest first, as for a trace; new lines are added as they come.
//! Earlier events, and failed ones, are requested from the pipeline.

use std::collections::HashMap;

use super::cursor::Cursor;
use super::line::{LineRef, OwnedLine, REASONS};
use super::line_ring::LineRing;
use super::pane::cover::Cover;
use super::panels::Polled;
use super::query::ast::{Ast, DataTest, Term, Test};
use super::query::scanner::Scanner;
use super::query::{Query, detail, detail_text};
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::session_lookup::{SessionEvent, SessionTrace};
use bklit_wire::time::UtcMillis;

/// The most rows; beyond it, the oldest are dropped.
pub const MAX_ROWS: usize = 1_000;
/// Lines examined per slice.
const SLICE: u64 = 50_000;
/// How often the session is requested, in milliseconds.
const EVERY: i64 = 5_000;
/// Rows without a line of the ring are numbered from here.
const NOT_OF_RING: u64 = 1 << 63;
/// How far from a line of an event another one with its session is looked for, in lines.
const NEAR: u64 = 20_000;
/// The detail with the id of the session.
const SESSION: &str = "sessionId";
/// How the message about an event's arrival begins.
const RECEIVED: &str = "Event received";

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Not an event: a line about the session, such as of its socket.
    Note,
    /// It was refused.
    Refused,
    /// It was received.
    Received,
    /// It is in the failed queue.
    Failed,
    /// It is stored.
    Stored,
}

impl Fate {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "–",
            Self::Refused => "refused",
            Self::Received => "received",
            Self::Failed => "failed",
            Self::Stored => "stored",
        }
    }
}

/// An event of the session, or a line about it.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Its number, by which it is selected.
    pub number: u64,
    /// When it was accepted, or the time of its line.
    pub at: UtcMillis,
    /// What became of it.
    pub fate: Fate,
    /// The event, if it has an id.
    pub event_id: Option<String>,
    /// Its project.
    pub project: Option<String>,
    /// Its type, if known.
    pub kind: String,
    /// Its URL, or what kind of event it is; empty if not known.
    pub what: String,
    /// Why it was refused or has failed.
    pub reason: Option<String>,
    /// Its line, if there is one.
    pub line: Option<OwnedLine>,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    id: String,
    project: Option<String>,
    query: Query,
    cover: Cover,
    rows: Vec<SessionRow>,
    /// The position of each event's row.
    places: HashMap<String, usize>,
    selected: u64,
    /// The scroll position.
    pub(crate) cursor: Cursor,
    is_cut: bool,
    of_others: u64,
    /// What the pipeline knows of it.
    pub(crate) polled: Polled<Vec<String>>,
}

impl Session {
    /// Starts a search for a session, in one project if that is known. `None` if the id cannot be
    /// searched for.
    pub fn new(
        id: String,
        project: Option<String>,
        selected: u64,
        ring: &LineRing,
    ) -> Option<Self> {
        let test = Test::Data(SESSION.to_owned(), DataTest::Is(id.clone()));
        let query = Query::of(Ast { inverted: false, terms: vec![Term { negated: false, test }] })?;
        let mut session = Self {
            id,
            project,
            query,
            cover: Cover::at(ring.next()),
            rows: Vec::new(),
            places: HashMap::new(),
            selected,
            cursor: Cursor::default(),
            is_cut: false,
            of_others: 0,
            polled: Polled::new(EVERY),
        };
        session.work(ring);
        Some(session)
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its project, if only one is shown.
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// Its events, oldest first.
    pub fn rows(&self) -> &[SessionRow] {
        &self.rows
    }

    /// Whether there were more rows than [`MAX_ROWS`], so that the oldest are missing.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// What the pipeline did not search, and why; and whether it was queried.
    pub fn polled(&self) -> &Polled<Vec<String>> {
        &self.polled
    }

    /// How many events have this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.rows.iter().filter(|row| row.fate == fate).count()
    }

    /// The position of the selected row.
    pub fn selected(&self) -> usize {
        let last = self.rows.len().saturating_sub(1);
        self.rows.iter().position(|row| row.number == self.selected).unwrap_or(last)
    }

    /// The selected row.
    pub fn selected_row(&self) -> Option<&SessionRow> {
        self.rows.get(self.selected())
    }

    pub(crate) fn select(&mut self, place: usize, height: usize) {
        let place = place.min(self.rows.len().saturating_sub(1));
        if let Some(row) = self.rows.get(place) {
            self.selected = row.number;
        }
        self.settle(height);
    }

    /// Keeps the selected row visible.
    pub(crate) fn settle(&mut self, height: usize) {
        self.cursor.select(self.selected(), self.rows.len(), height);
    }

    /// Whether there are lines left to examine.
    pub fn has_work(&self, ring: &LineRing) -> bool {
        !self.cover.is_all_of(&(ring.first_of(Level::Warn)..ring.next()))
    }

    /// Examines one more slice. Returns whether it found something.
    pub(crate) fn work(&mut self, ring: &LineRing) -> bool {
        // Also what was refused before the other lines of its time were dropped.
        let all = ring.first_of(Level::Warn)..ring.next();
        self.cover.forget(all.start);
        let Some((lines, end)) = self.cover.next(&all, None, SLICE) else { return false };
        let wide = ring.older(lines);
        let lines = wide.start.max(all.start)..wide.end;
        let mut found = Vec::new();
        let mut scanner = Scanner::new(&self.query);
        for run in ring.runs(lines.clone()) {
            scanner.enter();
            let mut place = 0;
            while let Some(next) = scanner.skip(&run, place)
                && let Some((start, line)) = run.get(next)
            {
                if scanner.matches(run.text(), start, line) && self.belongs(line) {
                    found.push((run.number(next), line));
                }
                place = next + 1;
            }
        }
        self.cover.grow(&lines, end);
        if found.is_empty() {
            return false;
        }
        found.into_iter().for_each(|(number, line)| self.add_line(number, line));
        self.sort();
        true
    }

    fn belongs(&self, line: LineRef<'_>) -> bool {
        let is_project = |wanted: &str| line.project_id() == Some(wanted);
        self.project.as_deref().is_none_or(is_project)
            && detail_text(line, SESSION).is_some_and(|session| session == self.id)
    }

    /// Applies a response, if it is about this session.
    pub(crate) fn take(&mut self, id: &str, answer: Result<SessionTrace, String>, now: UtcMillis) {
        if id != self.id {
            return;
        }
        let gaps = answer.map(|found| {
            for log in &found.lines {
                let line = OwnedLine::of(log);
                if self.belongs(line.as_ref()) && !self.has_line(line.as_ref()) {
                    let number = self.next_number();
                    self.add_line(number, line.as_ref());
                }
            }
            found.events.into_iter().for_each(|event| self.add_event(event));
            self.sort();
            found.gaps
        });
        self.polled.take(gaps, now);
    }

    fn next_number(&mut self) -> u64 {
        self.of_others += 1;
        NOT_OF_RING + self.of_others
    }

    /// Whether a line that came another way is already shown.
    fn has_line(&self, line: LineRef<'_>) -> bool {
        let is_same = |other: LineRef<'_>| {
            (other.time(), other.stage(), other.text()) == (line.time(), line.stage(), line.text())
        };
        self.rows.iter().any(|row| row.line.as_ref().is_some_and(|known| is_same(known.as_ref())))
    }

    fn add_line(&mut self, number: u64, line: LineRef<'_>) {
        self.add(SessionRow::of_line(number, line));
    }

    fn add_event(&mut self, event: SessionEvent) {
        let number = self.next_number();
        self.add(SessionRow::of_event(number, event));
    }

    /// Adds a row, or merges it into the row of its event.
    fn add(&mut self, new: SessionRow) {
        let place = new.event_id.as_ref().and_then(|id| self.places.get(id));
        if let Some(row) = place.and_then(|&place| self.rows.get_mut(place)) {
            return row.merge(new);
        }
        // An event whose row was dropped does not come back.
        if self.is_cut && self.rows.first().is_some_and(|oldest| new.at < oldest.at) {
            return;
        }
        if let Some(id) = &new.event_id {
            self.places.insert(id.clone(), self.rows.len());
        }
        self.rows.push(new);
        if self.rows.len() >= 2 * MAX_ROWS {
            self.sort();
        }
    }

    /// Puts the rows in order, and drops the oldest beyond the limit.
    fn sort(&mut self) {
        self.rows.sort_by_key(|row| (row.at, row.number));
        let beyond = self.rows.len().saturating_sub(MAX_ROWS);
        self.rows.drain(..beyond);
        self.is_cut |= beyond > 0;
        let ids = self.rows.iter().enumerate();
        let ids = ids.filter_map(|(place, row)| Some((row.event_id.clone()?, place)));
        self.places = ids.collect();
    }
}

impl SessionRow {
    fn of_line(number: u64, line: LineRef<'_>) -> Self {
        let event_id = line.event_id().map(str::to_owned);
        let named = |name| detail(line, name).filter(|text| !text.is_empty());
        let fate = match line.stage() {
            Some(Stage::Clickhouse) if line.level() == Level::Info => Fate::Stored,
            _ if event_id.is_some() && line.message().starts_with(RECEIVED) => Fate::Received,
            _ if event_id.is_none() && line.level() > Level::Info => Fate::Refused,
            _ => Fate::Note,
        };
        Self {
            number,
            at: line.time(),
            fate,
            event_id,
            project: line.project_id().map(str::to_owned),
            kind: named("type").unwrap_or_default(),
            what: named("url").or_else(|| named("eventType")).unwrap_or_default(),
            reason: REASONS.into_iter().find_map(named),
            line: Some(line.to_owned()),
        }
    }

    fn of_event(number: u64, event: SessionEvent) -> Self {
        let at = event.accepted_at.or(event.at).unwrap_or(UtcMillis::MIN);
        Self {
            number,
            at,
            fate: if event.failed.is_some() { Fate::Failed } else { Fate::Stored },
            event_id: Some(event.event_id).filter(|id| !id.is_empty()),
            project: Some(event.project_id),
            kind: event.r#type,
            what: event.what,
            reason: event.failed,
            line: None,
        }
    }

    /// Adds what else is known of the same event.
    fn merge(&mut self, other: Self) {
        let arrives = other.fate == Fate::Received;
        // The line of its arrival has its details, and the exact time.
        if arrives || (self.line.is_none() && other.line.is_some()) {
            self.at = other.at;
            (self.number, self.line) = (other.number, other.line);
        }
        if self.kind.is_empty() || (arrives && !other.kind.is_empty()) {
            self.kind = other.kind;
        }
        if arrives || self.what.is_empty() {
            self.what = other.what;
        }
        if other.fate == Fate::Failed {
            self.reason = other.reason;
        }
        self.fate = self.fate.max(other.fate);
        if self.fate == Fate::Stored {
            self.reason = None;
        }
    }
}

/// The session of a line: its own, or that of another line of the same event.
pub fn session_of(line: LineRef<'_>, number: u64, ring: &LineRing) -> Option<String> {
    let own = |line| detail(line, SESSION).filter(|id| !id.is_empty());
    own(line).or_else(|| {
        let event = line.event_id()?;
        let from = number.min(ring.next());
        let near = from.saturating_sub(NEAR)..from.saturating_add(NEAR);
        let lines = ring.lines(near).filter(|(_, other)| other.event_id() == Some(event));
        lines.into_iter().find_map(|(_, other)| own(other))
    })
}

#[cfg(test)]
mod tests;
