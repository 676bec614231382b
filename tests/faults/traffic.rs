//! The events of a sender.

use serde_json::{Value, json};

use super::oracle::{Kind, Sent};
use bklit_wire::time::UtcMillis;

/// Events of one session before the next one begins.
pub const EVENTS: usize = 10;
/// A visitor returns after this many other sessions.
const RETURNS_AFTER: usize = 40;
/// By how much times are older than the requests, in milliseconds: those of a request with several
/// events are not in the future.
const AGE: i64 = 50;

/// The kinds of events to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Page views without sessions.
    Views,
    /// Sessions: page views, a custom event, for every other one an end, and later another view.
    Sessions,
}

/// The events of one sender, all different.
pub struct Traffic {
    name: String,
    mix: Mix,
    /// Whether the sender chooses the ids of its events.
    chooses_ids: bool,
    sent: usize,
    /// The time of the last event, in milliseconds since the epoch.
    last: i64,
}

impl Traffic {
    pub fn new(name: String, mix: Mix, chooses_ids: bool) -> Self {
        Self { name, mix, chooses_ids, sent: 0, last: 0 }
    }

    /// The next events.
    pub fn next(&mut self, count: usize) -> Vec<Sent> {
        (0..count).map(|_| self.next_one()).collect()
    }

    fn next_one(&mut self) -> Sent {
        let (name, n) = (&self.name, self.sent);
        self.sent += 1;
        let (kind, session) = match self.mix {
            Mix::Views => (Kind::View, None),
            Mix::Sessions => {
                let (session, place) = (n / EVENTS, n % EVENTS);
                let (kind, session) = match place {
                    3 => (Kind::Custom, session),
                    5 => (Kind::View, session.checked_sub(RETURNS_AFTER).unwrap_or(session)),
                    9 if session % 2 == 0 => (Kind::End, session),
                    _ => (Kind::View, session),
                };
                self.last = (self.last + 1).max(UtcMillis::now().epoch_millis() - AGE);
                (kind, Some((format!("{name}/{session}"), self.last)))
            }
        };
        Sent {
            kind,
            url: format!("https://example.com/{name}/{n}"),
            title: format!("„{name}“ \u{1b}[31m 🦀 {n}"),
            session,
            id: self.chooses_ids.then(|| format!("{name}/{n}")),
            answered: None,
        }
    }
}

impl Sent {
    /// Where it is sent.
    pub fn path(&self) -> &'static str {
        match self.kind {
            Kind::View => "/track",
            Kind::Custom => "/track-event",
            Kind::End => "/session-end",
        }
    }

    /// The body.
    pub fn body(&self) -> Value {
        let mut body = match self.kind {
            Kind::View => json!({ "type": "pageview", "url": self.url, "title": self.title }),
            Kind::Custom => json!({ "type": "event", "trackingId": "signup", "eventType": "click",
                "metadata": { "url": self.url, "title": self.title } }),
            Kind::End => json!({ "type": "session_end", "reason": "closed" }),
        };
        body["projectId"] = json!("default");
        if let Some((session, at)) = &self.session {
            body["sessionId"] = json!(session);
            body["timestamp"] = json!(at);
        }
        if let Some(id) = &self.id {
            body["eventId"] = json!(id);
        }
        body
    }
}
