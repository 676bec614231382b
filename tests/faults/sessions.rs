//! Compares stored sessions with their stored events and the ends that were sent.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::oracle::{Kind, Sent, Stored};
use crate::support::servers::ClickHouse;

/// A version of a session in `tracked_session`; times in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub id: String,
    pub started: i64,
    pub ended: Option<i64>,
    pub duration: Option<i64>,
    pub bounced: bool,
    pub entry: String,
    pub exit: String,
    pub updated: i64,
}

/// The state of a session in `bklit_session_state`; times in milliseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub entry: String,
    pub exit: String,
    pub last: Option<i64>,
    pub end: Option<i64>,
}

/// The expected state of a session once all activity has ended.
#[derive(Default)]
struct Expected<'a> {
    /// The stored page views by time.
    views: BTreeMap<i64, &'a str>,
    /// The last stored event other than an end.
    last: Option<i64>,
    /// The latest end that was answered 200.
    end: Option<i64>,
    /// Ends that may have been accepted.
    possible_ends: Vec<i64>,
}

type Sessions<'a> = BTreeMap<&'a str, Expected<'a>>;

fn expected<'a>(sent: &'a [Sent], stored: &[Stored]) -> Sessions<'a> {
    let stored: BTreeSet<_> = stored.iter().map(|row| row.url.as_str()).collect();
    let mut sessions = Sessions::new();
    for event in sent {
        let Some((session, at)) = &event.session else { continue };
        let session = sessions.entry(session).or_default();
        match event.kind {
            Kind::End if event.answered.is_some() => session.end = session.end.max(Some(*at)),
            Kind::End => session.possible_ends.push(*at),
            Kind::View | Kind::Custom if !stored.contains(event.url.as_str()) => {}
            Kind::View | Kind::Custom => {
                session.last = session.last.max(Some(*at));
                if event.kind == Kind::View {
                    session.views.insert(*at, &event.url);
                }
            }
        }
    }
    sessions
}

impl Expected<'_> {
    /// When it may end, in milliseconds since the epoch: with each end that may have been accepted,
    /// or without.
    fn ends(&self) -> BTreeSet<Option<i64>> {
        let known = self.end.max(self.last);
        let possible = self.possible_ends.iter().map(|end| known.max(Some(*end)));
        possible.chain([known]).collect()
    }

    fn entry_and_exit(&self) -> Option<(&str, &str)> {
        Some((self.views.first_key_value()?.1, self.views.last_key_value()?.1))
    }

    fn started(&self) -> Option<i64> {
        self.views.keys().next().map(|at| at.div_euclid(1000))
    }
}

/// Errors in the versions, one per line, once every session has ended: by its end or, as none has a
/// recent event, by a sweep.
pub fn wrong_versions(
    sent: &[Sent],
    stored: &[Stored],
    versions: &[(String, Version)],
) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_session: BTreeMap<&str, Vec<&Version>> = BTreeMap::new();
    for (session, version) in versions {
        by_session.entry(session).or_default().push(version);
    }
    for (session, expected) in expected(sent, stored) {
        let versions = by_session.remove(session).unwrap_or_default();
        let updated = versions.iter().map(|version| version.updated).max();
        let mut latest: Vec<_> =
            versions.iter().filter(|version| Some(version.updated) == updated).collect();
        latest.dedup();
        let ids: BTreeSet<_> = versions.iter().map(|version| &version.id).collect();
        if ids.len() > 1 {
            found.push(format!("{session} has several ids: {ids:?}"));
        }
        match (expected.entry_and_exit(), latest.as_slice()) {
            (None, []) => {}
            (None, latest) => found.push(format!("{session} has no page view: {latest:?}")),
            (Some(_), []) => found.push(format!("{session} has no row")),
            (Some((entry, exit)), [latest]) => {
                let started = expected.started();
                let seconds = |end: Option<i64>| end.map(|end| end.div_euclid(1000));
                let is_right = (latest.entry.as_str(), latest.exit.as_str()) == (entry, exit)
                    && Some(latest.started) == started
                    && latest.bounced == (expected.views.len() == 1)
                    && expected.ends().into_iter().any(|end| seconds(end) == latest.ended)
                    && latest.duration == latest.ended.map(|end| end - latest.started);
                if !is_right {
                    let ends = expected.ends();
                    found.push(format!(
                        "{session}: {latest:?}, but it has {} views from {entry} to {exit}, \
                         started {started:?}, ended {ends:?}",
                        expected.views.len()
                    ));
                }
            }
            (Some(_), latest) => found.push(format!("{session} has two latest: {latest:?}")),
        }
    }
    found.extend(by_session.keys().map(|session| format!("{session} was never sent")));
    found
}

/// Errors in the states, one per line, as soon as all events are stored.
pub fn wrong_states(
    sent: &[Sent],
    stored: &[Stored],
    mut states: BTreeMap<String, State>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (session, expected) in expected(sent, stored) {
        let state = states.remove(session).unwrap_or_default();
        let (entry, exit) = expected.entry_and_exit().unwrap_or_default();
        // A sweep may have ended it as of any event.
        let is_end = |end: &i64| {
            expected.end == Some(*end)
                || expected.possible_ends.contains(end)
                || expected.last.is_some_and(|last| *end <= last)
        };
        let is_right = (state.entry.as_str(), state.exit.as_str()) == (entry, exit)
            && state.last == expected.last
            && state.end.is_none_or(|end| is_end(&end))
            && state.end >= expected.end;
        if !is_right {
            found.push(format!(
                "{session}: {state:?}, but it has {} views from {entry} to {exit}, the last event \
                 at {:?}, an end at {:?} or {:?}",
                expected.views.len(),
                expected.last,
                expected.end,
                expected.possible_ends
            ));
        }
    }
    found.extend(states.keys().map(|session| format!("{session} was never sent")));
    found
}

/// All versions, each with its session.
pub fn versions(clickhouse: &ClickHouse) -> Vec<(String, Version)> {
    let rows = rows(
        clickhouse,
        "SELECT session_id, id, toInt64(toUnixTimestamp(started_at)) AS started, \
         toInt64(toUnixTimestamp(ended_at)) AS ended, duration, toUInt8(did_bounce) AS bounced, \
         entry_page, exit_page, toInt64(toUnixTimestamp(updated_at)) AS updated \
         FROM analytics.tracked_session",
    );
    let version = |row: Value| {
        let version = Version {
            id: text(&row["id"]),
            started: number(&row["started"]).expect("a start"),
            ended: number(&row["ended"]),
            duration: number(&row["duration"]),
            bounced: number(&row["bounced"]) == Some(1),
            entry: text(&row["entry_page"]),
            exit: text(&row["exit_page"]),
            updated: number(&row["updated"]).expect("a time"),
        };
        (text(&row["session_id"]), version)
    };
    rows.map(version).collect()
}

/// The states of all sessions.
pub fn states(clickhouse: &ClickHouse) -> BTreeMap<String, State> {
    let rows = rows(
        clickhouse,
        "SELECT session_id, min(entry) AS first, max(exit) AS last, max(last_at) AS at, \
         max(end_at) AS end FROM analytics.bklit_session_state WHERE project_id != '' \
         GROUP BY session_id",
    );
    // Their time and id come first.
    let url = |value: &Value| {
        text(value).split_once('\0').map(|(_, url)| url.to_owned()).unwrap_or_default()
    };
    let state = |row: Value| {
        let state = State {
            entry: url(&row["first"]),
            exit: url(&row["last"]),
            last: number(&row["at"]),
            end: number(&row["end"]),
        };
        (text(&row["session_id"]), state)
    };
    rows.map(state).collect()
}

/// The rows that a query returns.
pub fn rows(clickhouse: &ClickHouse, sql: &str) -> impl Iterator<Item = Value> {
    let text = clickhouse.query(&format!("{sql} FORMAT JSONEachRow"));
    let rows: Vec<_> =
        text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    rows.into_iter()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// 64-bit numbers may be texts.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

mod tests {
    use super::*;

    const START: i64 = 1_700_000_000_000;

    fn sent(kind: Kind, n: i64, answered: bool) -> Sent {
        Sent {
            kind,
            url: format!("u{n}"),
            title: String::new(),
            session: Some(("s".to_owned(), START + n * 1500)),
            id: None,
            answered: answered.then(|| format!("evt_{n}")),
        }
    }

    fn stored(n: i64) -> Stored {
        Stored { id: format!("evt_{n}"), url: format!("u{n}"), title: String::new() }
    }

    /// Two views, a custom event, a view that was not stored, and an end that may have been accepted.
    fn traffic() -> (Vec<Sent>, Vec<Stored>) {
        let sent = vec![
            sent(Kind::View, 0, true),
            sent(Kind::View, 2, true),
            sent(Kind::Custom, 4, true),
            sent(Kind::View, 6, false),
            sent(Kind::End, 8, false),
        ];
        (sent, vec![stored(0), stored(2), stored(4)])
    }

    fn right() -> Version {
        let started = START / 1000;
        Version {
            id: "ses_1".to_owned(),
            started,
            ended: Some(started + 6),
            duration: Some(6),
            bounced: false,
            entry: "u0".to_owned(),
            exit: "u2".to_owned(),
            updated: started + 100,
        }
    }

    fn wrong(versions: &[Version]) -> Vec<String> {
        let (sent, stored) = traffic();
        let versions: Vec<_> =
            versions.iter().map(|version| ("s".to_owned(), version.clone())).collect();
        wrong_versions(&sent, &stored, &versions)
    }

    #[test]
    fn correct_versions_pass() {
        let with_end = Version { ended: Some(START / 1000 + 12), duration: Some(12), ..right() };
        let earlier = Version { ended: None, exit: "u0".to_owned(), updated: 1, ..right() };
        for versions in [vec![right()], vec![with_end], vec![earlier, right()]] {
            assert_eq!(wrong(&versions), Vec::<String>::new());
        }
    }

    #[test]
    fn every_wrong_version_is_found() {
        let open = Version { ended: None, duration: None, ..right() };
        let versions = [
            vec![],
            vec![open.clone()],
            vec![right(), open],
            vec![Version { bounced: true, ..right() }],
            vec![Version { entry: "u2".to_owned(), ..right() }],
            vec![Version { exit: "u6".to_owned(), ..right() }],
            vec![Version { started: 5, ..right() }],
            vec![Version { duration: Some(7), ..right() }],
            vec![Version { ended: Some(START / 1000 + 9), duration: Some(9), ..right() }],
            vec![Version { id: "ses_2".to_owned(), updated: 1, ..right() }, right()],
        ];
        for versions in versions {
            assert_ne!(wrong(&versions), Vec::<String>::new(), "{versions:?}");
        }
        let other = [("s".to_owned(), right()), ("other".to_owned(), right())];
        let (sent, stored) = traffic();
        assert_eq!(wrong_versions(&sent, &stored, &other), ["other was never sent"]);
    }

    #[test]
    fn every_wrong_state_is_found() {
        let (mut sent, stored) = traffic();
        let state = State {
            entry: "u0".to_owned(),
            exit: "u2".to_owned(),
            last: Some(START + 6000),
            end: None,
        };
        let wrong = |sent: &[Sent], state: &State| {
            let states = BTreeMap::from([("s".to_owned(), state.clone())]);
            wrong_states(sent, &stored, states).len()
        };
        let swept = State { end: state.last, ..state.clone() };
        let ended = State { end: Some(START + 12_000), ..state.clone() };
        for right in [&state, &swept, &ended] {
            assert_eq!(wrong(&sent, right), 0, "{right:?}");
        }
        for state in [
            State { entry: "u2".to_owned(), ..state.clone() },
            State { exit: "u0".to_owned(), ..state.clone() },
            State { last: Some(START + 9000), ..state.clone() },
            State { last: None, ..state.clone() },
            State { end: Some(START + 13_000), ..state.clone() },
            State::default(),
        ] {
            assert_eq!(wrong(&sent, &state), 1, "{state:?}");
        }
        sent[4].answered = Some("evt_8".to_owned());
        assert_eq!((wrong(&sent, &state), wrong(&sent, &ended)), (1, 0), "the end is lost");
    }
}
