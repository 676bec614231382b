//! What a batch's events say about their sessions. Texts are borrowed from the events, because a
//! batch may have tens of thousands of them.

use foldhash::{HashMap, HashMapExt as _};

use super::{Session, Sourced, moment, view_key};
use bklit_wire::event::{Payload, QueuedEvent};

/// A page view, or a detail of one. Ordered by time, then by id.
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

    /// The latest time of an event other than an end, at most when it was queued, in milliseconds
    /// since the epoch.
    pub fn last_seen(&self) -> Option<i64> {
        self.last_seen
    }

    /// The latest end, at most when it was queued, if no other event followed it, in milliseconds
    /// since the epoch.
    pub fn closed(&self) -> Option<i64> {
        self.end_seen.filter(|end| self.last_seen.is_none_or(|seen| *end >= seen))
    }

    /// The state of a session that has only these events.
    pub fn session(&self) -> Session {
        let sourced = |seen: Option<Seen<'_>>| {
            let Seen { at, id, value } = seen?;
            Some(Sourced { key: view_key(at, id), value: value.to_owned() })
        };
        Session {
            entry: sourced(self.entry),
            exit: sourced(self.exit),
            user_agent: sourced(self.user_agent),
            country: sourced(self.country),
            country_code: sourced(self.country_code),
            city: sourced(self.city),
            last_at: self.last_at,
            last_seen: self.last_seen,
            end_at: self.end_at,
            end_seen: self.end_seen,
        }
    }
}

/// What the events say about each of their sessions, by project and session id.
pub fn contributions<'a>(
    events: impl IntoIterator<Item = &'a QueuedEvent>,
) -> HashMap<(&'a str, &'a str), Contribution<'a>> {
    let mut sessions: HashMap<_, Contribution<'a>> = HashMap::new();
    for event in events {
        if let Some(session) = event.payload.session_id() {
            sessions.entry((event.project_id.as_str(), session)).or_default().add(event);
        }
    }
    sessions
}
