//! The state of a visitor's session, folded from its events.
//!
//! Every part of the state is a minimum or maximum over events. So the result does not depend on
//! their order, on how they are split into batches, or on duplicates. A session starts with a page
//! view; what other events contribute before that is kept, but not shown.
//!
//! A session ends at the latest reported end, unless an event follows it: then it continues. A
//! visitor's clock may be fast, so for the order of events, an event counts as having happened no
//! later than it was queued. A clock that is wrong by more than a day is not used at all.

mod contribution;

use std::borrow::Cow;
use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

pub use self::contribution::{Contribution, activities, contributions};
use super::rows::Cell;
use super::schema::TRACKED_SESSION;
use bklit_wire::event::QueuedEvent;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Digits of a time in a key, zero-padded so that keys sort by time.
const MOMENT_DIGITS: usize = 13;

/// How far the time of an event may be ahead of the time it was queued, in milliseconds: a day, for
/// clocks set to another time zone. Beyond that, the time it was queued is used.
const MAX_AHEAD: i64 = 24 * 60 * 60 * 1000;

/// How the ids of rows start, unlike those of Bklit's services.
pub const ROW_ID_PREFIX: &str = "ses_";

/// The longest duration of a session, in seconds: 400 days. A longer one is due to a wrong clock.
const MAX_DURATION: i32 = 400 * 24 * 3600;

/// When an event happened, in milliseconds since the epoch, as far as sessions are concerned.
fn moment(event: &QueuedEvent) -> i64 {
    let (at, queued_at) = (event.timestamp().epoch_millis(), event.queued_at.epoch_millis());
    if at - queued_at > MAX_AHEAD { queued_at } else { at }
}

/// The key of an event that is a page view; see [`view_key`].
pub fn key_of(event: &QueuedEvent) -> String {
    view_key(moment(event), &event.id)
}

/// The key of a page view: its time in milliseconds since the epoch, then its id.
pub fn view_key(millis: i64, id: &str) -> String {
    let mut key = String::with_capacity(MOMENT_DIGITS + id.len());
    // Writing to a text never fails.
    let _ = write!(key, "{millis:0MOMENT_DIGITS$}");
    // Stores keep key and value in one text, separated by a NUL.
    if id.contains('\0') {
        key.push_str(&id.replace('\0', "\u{fffd}"));
    } else {
        key.push_str(id);
    }
    key
}

/// A value and the page view it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced {
    /// The time of the page view, then its id, so that of two at the same time the one accepted
    /// first counts as earlier.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A session's state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// The URL of the first page view.
    pub entry: Option<Sourced>,
    /// The URL of the last page view.
    pub exit: Option<Sourced>,
    /// The first known user agent.
    pub user_agent: Option<Sourced>,
    /// The first known country.
    pub country: Option<Sourced>,
    /// The first known country code.
    pub country_code: Option<Sourced>,
    /// The first known city.
    pub city: Option<Sourced>,
    /// The latest time of an event, according to its sender, in milliseconds since the epoch.
    pub last_at: Option<i64>,
    /// Like `last_at`, but each event counts no later than it was queued.
    pub last_seen: Option<i64>,
    /// The latest reported end, according to its sender, in milliseconds since the epoch.
    pub end_at: Option<i64>,
    /// Like `end_at`, but each end counts no later than it was queued.
    pub end_seen: Option<i64>,
}

impl Session {
    /// Adds an event; adding it again changes nothing.
    pub fn add(&mut self, event: &QueuedEvent) {
        let mut contribution = Contribution::default();
        contribution.add(event);
        self.merge_events(&contribution);
    }

    /// Merges the state from other events of the session.
    pub fn merge(&mut self, other: Self) {
        earliest(&mut self.entry, other.entry);
        latest(&mut self.exit, other.exit);
        earliest(&mut self.user_agent, other.user_agent);
        earliest(&mut self.country, other.country);
        earliest(&mut self.country_code, other.country_code);
        earliest(&mut self.city, other.city);
        self.last_at = self.last_at.max(other.last_at);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.end_at = self.end_at.max(other.end_at);
        self.end_seen = self.end_seen.max(other.end_seen);
    }

    /// Ends it as of its last event, because no other followed.
    pub fn end_as_of_last_event(&mut self) {
        self.end_at = self.end_at.max(self.last_at);
        self.end_seen = self.end_seen.max(self.last_seen);
    }

    /// Whether it has started: without a page view there is nothing to show.
    pub fn begun(&self) -> bool {
        self.entry.is_some()
    }

    /// Whether it has ended, and no event followed.
    pub fn ended(&self) -> bool {
        self.begun() && self.end_seen >= self.last_seen
    }

    /// When it ended, if no event followed, in milliseconds since the epoch. Unlike
    /// [`Session::ended`], this also holds for a session whose page views have not arrived yet.
    pub fn closed(&self) -> Option<i64> {
        self.end_seen.filter(|end| self.last_seen.is_none_or(|seen| *end >= seen))
    }

    /// The time of the last event, an end included, at most when it was queued, in milliseconds
    /// since the epoch.
    pub fn latest(&self) -> Option<i64> {
        self.last_seen.max(self.end_seen)
    }

    /// Whether only one page was viewed.
    pub fn bounced(&self) -> bool {
        let key = |view: &Option<Sourced>| view.as_ref().map(|view| view.key.clone());
        key(&self.entry) == key(&self.exit)
    }

    /// Whether it had started, had not ended and had no event since `since`, in milliseconds since
    /// the epoch.
    pub fn idle(&self, since: i64) -> bool {
        self.begun() && !self.ended() && self.last_seen.is_some_and(|seen| seen < since)
    }

    fn ended_at(&self) -> Option<UtcMillis> {
        let end = if self.ended() { self.end_at.max(self.last_at) } else { None };
        // Since it has ended, this is the latest time at which anything of it arrived.
        let latest = self.end_seen.map_or(i64::MAX, |seen| seen.saturating_add(MAX_AHEAD));
        end.map(|end| UtcMillis::from_epoch_millis(end.min(latest)))
    }

    /// When it started; `None` without a page view.
    pub fn started_at(&self) -> Option<UtcMillis> {
        let moment = self.entry.as_ref()?.key.get(..MOMENT_DIGITS)?;
        Some(UtcMillis::from_epoch_millis(moment.parse().ok()?))
    }

    /// The time of the last event, in milliseconds since the epoch; `None` once it has ended, when
    /// the sweep need not check it any more.
    pub fn idle_since(&self) -> Option<i64> {
        if self.ended() { None } else { self.last_seen.max(self.end_seen) }
    }

    /// What its row in `tracked_session` shows.
    pub fn shown<'a>(&'a self, key: &SessionKey) -> Shown<'a> {
        let (started_at, ended_at) = (self.started_at(), self.ended_at());
        let value = |sourced: &'a Option<Sourced>| sourced.as_ref().map(|one| one.value.as_str());
        Shown {
            id: id(key).into(),
            started_at,
            ended_at,
            duration: ended_at.map(|end| duration(started_at.unwrap_or(end), end)),
            did_bounce: self.bounced(),
            // Clients send nothing that identifies a visitor.
            visitor_id: None,
            entry_page: value(&self.entry),
            exit_page: value(&self.exit),
            user_agent: value(&self.user_agent),
            country: value(&self.country),
            country_code: value(&self.country_code),
            city: value(&self.city),
        }
    }
}

/// What a row of `tracked_session` shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown<'a> {
    /// The row's id, the same for all versions of the session.
    pub id: Cow<'a, str>,
    /// The time of the first page view; `None` before there is one.
    pub started_at: Option<UtcMillis>,
    /// When it ended; `None` while it continues.
    pub ended_at: Option<UtcMillis>,
    /// From start to end, in seconds; `None` while it continues.
    pub duration: Option<i32>,
    /// Whether only one page was viewed.
    pub did_bounce: bool,
    /// The visitor, if another program knows it.
    pub visitor_id: Option<&'a str>,
    /// The URL of the first page view.
    pub entry_page: Option<&'a str>,
    /// The URL of the last page view.
    pub exit_page: Option<&'a str>,
    /// The first known user agent.
    pub user_agent: Option<&'a str>,
    /// The first known country.
    pub country: Option<&'a str>,
    /// The first known country code.
    pub country_code: Option<&'a str>,
    /// The first known city.
    pub city: Option<&'a str>,
}

impl<'a> Shown<'a> {
    /// The row, in the order of the columns.
    pub fn cells(
        &self,
        key: &'a SessionKey,
        updated_at: UtcMillis,
    ) -> [Cell<'a>; TRACKED_SESSION.columns.len()] {
        // Whole seconds, by which versions are looked up, whatever the column could store.
        let whole = |moment: UtcMillis| UtcMillis::from_epoch_millis(moment.epoch_seconds() * 1000);
        let moment = |moment: Option<UtcMillis>| moment.map_or(Cell::Null, |at| whole(at).into());
        let text = |text: Option<&'a str>| text.map_or(Cell::Null, Cell::from);
        [
            Cell::Text(self.id.clone()),
            key.session_id.as_str().into(),
            moment(self.started_at),
            moment(self.ended_at),
            self.duration.map_or(Cell::Null, Cell::Int),
            Cell::Bool(self.did_bounce),
            text(self.visitor_id),
            text(self.entry_page),
            text(self.exit_page),
            text(self.user_agent),
            text(self.country),
            text(self.country_code),
            text(self.city),
            key.project_id.as_str().into(),
            updated_at.into(),
        ]
    }
}

/// Seconds from start to end, at least zero and at most [`MAX_DURATION`].
fn duration(start: UtcMillis, end: UtcMillis) -> i32 {
    let seconds = end.epoch_seconds() - start.epoch_seconds();
    i32::try_from(seconds.max(0)).unwrap_or(MAX_DURATION).min(MAX_DURATION)
}

fn earliest(known: &mut Option<Sourced>, other: Option<Sourced>) {
    let Some(other) = other else { return };
    if known.as_ref().is_none_or(|known| other.key < known.key) {
        *known = Some(other);
    }
}

fn latest(known: &mut Option<Sourced>, other: Option<Sourced>) {
    let Some(other) = other else { return };
    if known.as_ref().is_none_or(|known| known.key < other.key) {
        *known = Some(other);
    }
}

/// The row's id: derived from the key, so that it is the same in every process and version.
fn id(key: &SessionKey) -> String {
    let mut hash = Sha256::new();
    hash.update((key.project_id.len() as u64).to_be_bytes());
    hash.update(&key.project_id);
    hash.update(&key.session_id);
    format!("{ROW_ID_PREFIX}{}", HEXLOWER.encode(&hash.finalize()[..16]))
}
