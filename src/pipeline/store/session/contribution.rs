//! What a batch's events say about their sessions. Texts are borrowed from the events, because a
//! batch may have tens of thousands of them.

use foldhash::{HashMap, HashMapExt as _};

use super::{Session, Sourced, moment, view_key};
use bklit_wire::event::{Payload, QueuedEvent};

/// A value of a page view. Ordered by time, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen<'a> {
    at: i64,
    id: &'a str,
    value: &'a str,
}

/// What some events say about their session.
#[derive(Clone, Debug, Default)]
pub struct Contribution<'a> {
    entry: Option<Seen<'a>>,
    exit: Option<Seen<'a>>,
    user_agent: Option<Seen<'a>>,
    country: Option<Seen<'a>>,
    country_code: Option<Seen<'a>>,
    city: Option<Seen<'a>>,
    last_at: Option<i64>,
    last_seen: Option<i64>,
    end_at: Option<i64>,
    end_seen: Option<i64>,
}

impl<'a> Contribution<'a> {
    /// Adds an event; adding it again changes nothing.
    pub fn add(&mut self, event: &'a QueuedEvent) {
        let at = moment(event);
        let seen = Some(at.min(event.queued_at.epoch_millis()));
        if let Payload::SessionEnd(_) = &event.payload {
            self.end_at = self.end_at.max(Some(at));
            self.end_seen = self.end_seen.max(seen);
            return;
        }
        self.last_at = self.last_at.max(Some(at));
        self.last_seen = self.last_seen.max(seen);
        let Payload::Pageview(view) = &event.payload else { return };
        let seen = |value: &'a str| Seen { at, id: &event.id, value };
        let firsts = [
            (&mut self.entry, Some(view.url.as_str())),
            (&mut self.user_agent, view.user_agent.as_deref()),
            (&mut self.country, view.country.as_deref()),
            (&mut self.country_code, view.country_code.as_deref()),
            (&mut self.city, view.city.as_deref()),
        ];
        for (first, value) in firsts {
            if let Some(value) = value.map(seen)
                && first.is_none_or(|first| value < first)
            {
                *first = Some(value);
            }
        }
        self.exit = self.exit.max(Some(seen(&view.url)));
    }

    /// The time of the last event, an end included, at most when it was queued, in milliseconds
    /// since the epoch.
    pub fn latest(&self) -> Option<i64> {
        self.last_seen.max(self.end_seen)
    }

    /// Its values from page views, in the order of [`Session`]'s fields.
    fn views(&self) -> [Option<Seen<'a>>; 6] {
        [self.entry, self.exit, self.user_agent, self.country, self.country_code, self.city]
    }

    /// Its times, in the order of [`Session`]'s fields, in milliseconds since the epoch.
    fn times(&self) -> [Option<i64>; 4] {
        [self.last_at, self.last_seen, self.end_at, self.end_seen]
    }

    /// The state of a session that has only these events.
    pub fn session(&self) -> Session {
        let sourced = |seen: Seen<'_>| Sourced {
            key: view_key(seen.at, seen.id),
            value: seen.value.to_owned(),
        };
        let [entry, exit, user_agent, country, country_code, city] =
            self.views().map(|seen| seen.map(sourced));
        let [last_at, last_seen, end_at, end_seen] = self.times();
        Session {
            entry,
            exit,
            user_agent,
            country,
            country_code,
            city,
            last_at,
            last_seen,
            end_at,
            end_seen,
        }
    }
}

/// When the sessions of some events were last active.
#[derive(Clone, Copy, Debug, Default)]
pub struct Activity {
    /// The latest time of an event other than an end, at most when it was queued, in milliseconds
    /// since the epoch.
    pub last_seen: Option<i64>,
    end_seen: Option<i64>,
}

impl Activity {
    /// Adds an event.
    pub fn add(&mut self, event: &QueuedEvent) {
        let seen = Some(moment(event).min(event.queued_at.epoch_millis()));
        let is_end = matches!(&event.payload, Payload::SessionEnd(_));
        let latest = if is_end { &mut self.end_seen } else { &mut self.last_seen };
        *latest = (*latest).max(seen);
    }

    /// The latest end, at most when it was queued, if no other event followed it, in milliseconds
    /// since the epoch.
    pub fn closed(&self) -> Option<i64> {
        self.end_seen.filter(|end| self.last_seen.is_none_or(|seen| *end >= seen))
    }
}

/// Sessions, by project and session id.
type BySession<'a, T> = HashMap<(&'a str, &'a str), T>;

/// What the events say about each of their sessions.
pub fn contributions<'a>(
    events: impl IntoIterator<Item = &'a QueuedEvent>,
) -> BySession<'a, Contribution<'a>> {
    by_session(events, Contribution::add)
}

/// When each session of the events was last active.
pub fn activities<'a>(
    events: impl IntoIterator<Item = &'a QueuedEvent>,
) -> BySession<'a, Activity> {
    by_session(events, Activity::add)
}

fn by_session<'a, T: Default>(
    events: impl IntoIterator<Item = &'a QueuedEvent>,
    add: impl Fn(&mut T, &'a QueuedEvent),
) -> BySession<'a, T> {
    let mut sessions = BySession::new();
    for event in events {
        if let Some(session) = event.payload.session_id() {
            add(sessions.entry((event.project_id.as_str(), session)).or_default(), event);
        }
    }
    sessions
}
