//! What is known of a visitor's session, folded from its events.
//!
//! Every part of it is a smallest or a largest over events. So the result does not depend on the
//! order in which they come, on how they are cut into batches or on repeats.
//! It begins with a page view: before one is known, what other events say is kept aside.
//!
//! The end is the latest end that was reported, unless something happened after it: then the
//! session goes on. A visitor's clock may be fast, so for what comes after what, an event is taken
//! to have happened when it was queued at the latest.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::rows::Cell;
use super::schema::TRACKED_SESSION;
use bklit_wire::event::{Payload, QueuedEvent};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Digits of a moment in a key, so that keys sort as moments do.
const MOMENT_DIGITS: usize = 13;

/// A value and the page view it is from: its moment, then its id, so that of two in the same
/// moment the one that was accepted first counts as earlier.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced {
    pub key: String,
    pub value: String,
}

/// A session's state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    pub entry: Option<Sourced>,
    pub exit: Option<Sourced>,
    pub user_agent: Option<Sourced>,
    pub country: Option<Sourced>,
    pub country_code: Option<Sourced>,
    pub city: Option<Sourced>,
    /// The latest moment of an event, as its sender says.
    pub last_at: Option<i64>,
    /// The same, no later than it was queued.
    pub last_seen: Option<i64>,
    pub end_at: Option<i64>,
    pub end_seen: Option<i64>,
}

impl Session {
    /// Adds an event; adding it again changes nothing.
    pub fn add(&mut self, event: &QueuedEvent) {
        let at = event.timestamp().epoch_millis();
        let seen = Some(at.min(event.queued_at.epoch_millis()));
        if let Payload::SessionEnd(_) = &event.payload {
            self.end_at = self.end_at.max(Some(at));
            self.end_seen = self.end_seen.max(seen);
            return;
        }
        self.last_at = self.last_at.max(Some(at));
        self.last_seen = self.last_seen.max(seen);
        if let Payload::Pageview(view) = &event.payload {
            let mut key = format!("{at:0MOMENT_DIGITS$}{}", event.id);
            // Stores keep key and value in one text with a NUL between them.
            if key.contains('\0') {
                key = key.replace('\0', "\u{fffd}");
            }
            let firsts = [
                (&mut self.entry, Some(&view.url)),
                (&mut self.user_agent, view.user_agent.as_ref()),
                (&mut self.country, view.country.as_ref()),
                (&mut self.country_code, view.country_code.as_ref()),
                (&mut self.city, view.city.as_ref()),
            ];
            for (known, value) in firsts {
                if let Some(value) = value
                    && known.as_ref().is_none_or(|known| key < known.key)
                {
                    *known = Some(Sourced { key: key.clone(), value: value.clone() });
                }
            }
            if self.exit.as_ref().is_none_or(|known| known.key < key) {
                self.exit = Some(Sourced { key, value: view.url.clone() });
            }
        }
    }

    /// Adds what other events of the session say.
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

    /// Ends it as of its last event, for nothing more came.
    pub fn end_as_of_last_event(&mut self) {
        self.end_at = self.end_at.max(self.last_at);
        self.end_seen = self.end_seen.max(self.last_seen);
    }

    /// Whether it is shown: without a page view there is nothing to show.
    pub fn begun(&self) -> bool {
        self.entry.is_some()
    }

    /// Whether it has ended, and nothing happened since.
    pub fn ended(&self) -> bool {
        self.begun() && self.end_seen >= self.last_seen
    }

    /// Whether no second page was viewed.
    fn bounced(&self) -> bool {
        let key = |view: &Option<Sourced>| view.as_ref().map(|view| view.key.clone());
        key(&self.entry) == key(&self.exit)
    }

    fn ended_at(&self) -> Option<UtcMillis> {
        let end = if self.ended() { self.end_at.max(self.last_at) } else { None };
        end.map(UtcMillis::from_epoch_millis)
    }

    pub fn started_at(&self) -> Option<UtcMillis> {
        let moment = self.entry.as_ref()?.key.get(..MOMENT_DIGITS)?;
        Some(UtcMillis::from_epoch_millis(moment.parse().ok()?))
    }

    /// Since when nothing has happened, for as long as the sweep has to look at it.
    pub fn idle_since(&self) -> Option<i64> {
        if self.ended() { None } else { self.last_seen.max(self.end_seen) }
    }

    /// Its row in `tracked_session`, in the order of the columns.
    pub fn cells<'a>(
        &'a self,
        key: &'a SessionKey,
        updated_at: UtcMillis,
    ) -> [Cell<'a>; TRACKED_SESSION.columns.len()] {
        let (started, ended) = (self.started_at(), self.ended_at());
        let seconds = |end: UtcMillis| end.epoch_seconds() - started.unwrap_or(end).epoch_seconds();
        let duration = ended.map(|end| i32::try_from(seconds(end).max(0)).unwrap_or(i32::MAX));
        let moment = |moment: Option<UtcMillis>| moment.map_or(Cell::Null, Cell::Moment);
        [
            id(key).into(),
            key.session_id.as_str().into(),
            moment(started),
            moment(ended),
            duration.map_or(Cell::Null, Cell::Int),
            Cell::Bool(self.bounced()),
            // Nothing that clients send names a visitor.
            Cell::Null,
            value(&self.entry),
            value(&self.exit),
            value(&self.user_agent),
            value(&self.country),
            value(&self.country_code),
            value(&self.city),
            key.project_id.as_str().into(),
            updated_at.into(),
        ]
    }
}

fn value(sourced: &Option<Sourced>) -> Cell<'_> {
    sourced.as_ref().map_or(Cell::Null, |sourced| sourced.value.as_str().into())
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

/// The row's id: made from its key, so that it is the same whenever and wherever it is made.
fn id(key: &SessionKey) -> String {
    let mut hash = Sha256::new();
    hash.update((key.project_id.len() as u64).to_be_bytes());
    hash.update(&key.project_id);
    hash.update(&key.session_id);
    format!("ses_{}", HEXLOWER.encode(&hash.finalize()[..16]))
}
