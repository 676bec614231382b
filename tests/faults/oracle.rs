//! Compares what a run guaranteed with what was stored.

use std::collections::{BTreeMap, BTreeSet};

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    View,
    Custom,
    /// The end of a session, which has no row of its own.
    End,
}

/// An event as its sender saw it. URLs are unique, so a stored row identifies its event.
#[derive(Clone, Debug)]
pub struct Sent {
    pub kind: Kind,
    pub url: String,
    pub title: String,
    /// The session, and the event's time in milliseconds since the epoch; `None` for a page view
    /// without a session, which has the server's time.
    pub session: Option<(String, i64)>,
    /// The id that the sender chose, if it did; the event is then repeated until it is answered.
    pub id: Option<String>,
    /// The event id in the 200 response; `None` without a response, so it may or may not be stored.
    pub answered: Option<String>,
}

/// A row of `page_view_event` or `tracked_event`.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: String,
    pub url: String,
    pub title: String,
}

/// Violations, one per line; empty if the guarantees hold.
pub fn violations(sent: &[Sent], stored: &[Stored]) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_url: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
    for row in stored {
        by_url.entry(&row.url).or_default().push(row);
    }
    for request in sent.iter().filter(|request| request.kind != Kind::End) {
        let rows = by_url.remove(request.url.as_str()).unwrap_or_default();
        match (&request.answered, rows.as_slice()) {
            (None, []) => {}
            (Some(id), []) => found.push(format!("lost: {id} {}", request.url)),
            (_, [row]) => {
                let promised = request.answered.as_ref().or(request.id.as_ref());
                if promised.is_some_and(|id| *id != row.id) {
                    found.push(format!("another id: {} for {request:?}", row.id));
                }
                if row.title != request.title {
                    found.push(format!("changed: {:?} for {request:?}", row.title));
                }
            }
            (_, rows) => found.push(format!("stored {} times: {}", rows.len(), request.url)),
        }
    }
    found.extend(by_url.keys().map(|url| format!("never sent: {url}")));
    let ids: BTreeSet<_> = stored.iter().map(|row| &row.id).collect();
    if ids.len() != stored.len() {
        found.push(format!("{} rows have {} ids", stored.len(), ids.len()));
    }
    found
}

mod tests {
    use super::*;

    fn sent(n: u32, answered: bool) -> Sent {
        let answered = answered.then(|| format!("evt_{n}"));
        let (url, title) = (format!("u{n}"), format!("t{n}"));
        Sent { kind: Kind::View, url, title, session: None, id: None, answered }
    }

    fn stored(n: u32) -> Stored {
        Stored { id: format!("evt_{n}"), url: format!("u{n}"), title: format!("t{n}") }
    }

    #[test]
    fn a_kept_promise_passes() {
        let end = Sent { kind: Kind::End, ..sent(4, true) };
        let sent = [sent(1, true), sent(2, false), sent(3, false), end];
        assert_eq!(violations(&sent, &[stored(1), stored(3)]), Vec::<String>::new());
    }

    #[test]
    fn every_way_of_breaking_it_is_found() {
        let chosen = Sent { id: Some("chosen".into()), ..sent(3, false) };
        let requests = [sent(1, true), sent(2, false), chosen];
        let wrong_id = Stored { id: "evt_9".into(), ..stored(1) };
        let wrong_title = Stored { title: "t9".into(), ..stored(1) };
        for (rows, word) in [
            (vec![], "lost"),
            (vec![stored(1), stored(1)], "stored 2 times"),
            (vec![stored(1), stored(2), stored(2)], "stored 2 times"),
            (vec![stored(1), stored(7)], "never sent"),
            (vec![wrong_id], "another id"),
            (vec![stored(1), stored(3)], "another id"),
            (vec![wrong_title], "changed"),
        ] {
            let found = violations(&requests, &rows);
            assert!(found.iter().any(|line| line.contains(word)), "{word}: {found:?}");
        }
    }
}
