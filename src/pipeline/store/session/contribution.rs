//! What a batch's events say about their sessions. Texts are borrowed from the events, because a
//! batch may have tens of thousands of them.

use std::cmp::Ordering;

use foldhash::{HashMap, HashMapExt as _};

use super::{MOMENT_DIGITS, Session, Sourced, moment, view_key};
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
}

impl Seen<'_> {
    /// Compares its key (see [`view_key`]) with another one, without allocating it.
    fn cmp_key(self, key: &str) -> Ordering {
        let parts = key.split_at_checked(MOMENT_DIGITS);
        let parts = parts.and_then(|(at, id)| Some((at.parse::<i64>().ok()?, id)));
        match parts {
            Some(parts) if !self.id.contains('\0') => (self.at, self.id).cmp(&parts),
            _ => view_key(self.at, self.id).as_str().cmp(key),
        }
    }
}

impl Session {
    /// Merges what some events of the session say; merging it again changes nothing.
    pub fn merge_events(&mut self, events: &Contribution<'_>) {
        let views = [
            (&mut self.entry, events.entry, Ordering::Less),
            (&mut self.exit, events.exit, Ordering::Greater),
            (&mut self.user_agent, events.user_agent, Ordering::Less),
            (&mut self.country, events.country, Ordering::Less),
            (&mut self.country_code, events.country_code, Ordering::Less),
            (&mut self.city, events.city, Ordering::Less),
        ];
        for (known, seen, replaces) in views {
            if let Some(seen) = seen
                && known.as_ref().is_none_or(|known| seen.cmp_key(&known.key) == replaces)
            {
                let key = view_key(seen.at, seen.id);
                *known = Some(Sourced { key, value: seen.value.to_owned() });
            }
        }
        self.last_at = self.last_at.max(events.last_at);
        self.last_seen = self.last_seen.max(events.last_seen);
        self.end_at = self.end_at.max(events.end_at);
        self.end_seen = self.end_seen.max(events.end_seen);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_as_if_they_were_texts() {
        let views = [(5, "b"), (5, "a"), (10, ""), (1_700_000_000_000, "a\0b"), (0, "\u{fffd}")];
        let odd = ["", "x", "00000000000ø1", "0000000000005", "0000000000005b"].map(str::to_owned);
        let keys = views.map(|(at, id)| view_key(at, id)).into_iter().chain(odd);
        for key in keys {
            for (at, id) in views {
                let seen = Seen { at, id, value: "" };
                assert_eq!(seen.cmp_key(&key), view_key(at, id).cmp(&key), "{at} {id:?} {key:?}");
            }
        }
    }
}
