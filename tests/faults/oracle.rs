//! What a run promised against what was stored.

use std::collections::{BTreeMap, BTreeSet};

/// A request as its sender saw it. Urls are unique, so a stored row names its request.
#[derive(Clone, Debug)]
pub struct Sent {
    pub url: String,
    pub title: String,
    /// The event id of the 200; `None` when no answer came, so it may be stored or not.
    pub answered: Option<String>,
}

/// A row of `page_view_event`.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: String,
    pub url: String,
    pub title: String,
}

/// What is wrong, one line each; empty when the promise was kept.
pub fn violations(sent: &[Sent], stored: &[Stored]) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_url: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
    for row in stored {
        by_url.entry(&row.url).or_default().push(row);
    }
    for request in sent {
        let rows = by_url.remove(request.url.as_str()).unwrap_or_default();
        match (&request.answered, rows.as_slice()) {
            (None, []) => {}
            (Some(id), []) => found.push(format!("lost: {id} {}", request.url)),
            (_, [row]) => {
                if request.answered.as_ref().is_some_and(|id| *id != row.id) {
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
        Sent { url: format!("u{n}"), title: format!("t{n}"), answered }
    }

    fn stored(n: u32) -> Stored {
        Stored { id: format!("evt_{n}"), url: format!("u{n}"), title: format!("t{n}") }
    }

    #[test]
    fn a_kept_promise_passes() {
        let sent = [sent(1, true), sent(2, false), sent(3, false)];
        assert_eq!(violations(&sent, &[stored(1), stored(3)]), Vec::<String>::new());
    }

    #[test]
    fn every_way_of_breaking_it_is_found() {
        let requests = [sent(1, true), sent(2, false)];
        let wrong_id = Stored { id: "evt_9".into(), ..stored(1) };
        let wrong_title = Stored { title: "t9".into(), ..stored(1) };
        for (rows, word) in [
            (vec![], "lost"),
            (vec![stored(1), stored(1)], "stored 2 times"),
            (vec![stored(1), stored(2), stored(2)], "stored 2 times"),
            (vec![stored(1), stored(7)], "never sent"),
            (vec![wrong_id], "another id"),
            (vec![wrong_title], "changed"),
        ] {
            let found = violations(&requests, &rows);
            assert!(found.iter().any(|line| line.contains(word)), "{word}: {found:?}");
        }
    }
}
