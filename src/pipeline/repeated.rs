//! Folds log lines that repeat, such as those about refused requests: they must not crowd out all
//! other lines.
//!
//! Of each kind, the first lines within a time span are shown. Every two seconds, one line reports
//! how many others there were. Counters do not depend on this.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::Data;
use crate::throttle::network;
use bklit_wire::debug_log::{self, Stage};

/// For how long the first lines of a kind are shown only once.
pub(crate) const SPAN: Duration = Duration::from_secs(10);
/// How long lines are folded into one.
pub(crate) const REPORTED_AFTER: Duration = Duration::from_secs(2);
/// Lines of one kind that are shown within that time.
const SHOWN_OF_KIND: u64 = 10;
/// Lines of all kinds that are shown within that time.
const SHOWN: u64 = 200;
/// Kinds that are distinguished within that time; all others count as one.
const MAX_KINDS: usize = 64;

/// Details that are about a single event.
const OF_ONE: [&str; 4] = ["url", "sessionId", "token", "title"];

/// The kind of a line that may repeat often.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repeated {
    reason: &'static str,
    cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Cause {
    Address(IpAddr),
    Project(String),
    Others,
}

impl Repeated {
    /// What a client at this address causes, for this reason.
    pub fn from_address(reason: &'static str, address: IpAddr) -> Self {
        Self { reason, cause: Cause::Address(network(address)) }
    }

    /// What the clients of a project cause, for this reason. Only for projects that exist: clients
    /// could make up any number of others.
    pub fn of_project(reason: &'static str, project: &str) -> Self {
        Self { reason, cause: Cause::Project(project.to_owned()) }
    }
}

/// The lines of the current time span.
#[derive(Default)]
pub(crate) struct Folder {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    began: Option<Instant>,
    /// When folded lines were last reported, or the time span began.
    reported: Option<Instant>,
    shown: u64,
    kinds: HashMap<Repeated, Kind>,
}

struct Kind {
    shown: u64,
    folded: u64,
    stage: Stage,
    message: &'static str,
    /// Of the first line that was folded.
    data: Data,
    /// The project of all folded lines; `None` if they have none, or several.
    project: Option<String>,
}

/// A line in place of several.
#[derive(Debug, PartialEq)]
pub(crate) struct Folded {
    pub(crate) stage: Stage,
    pub(crate) message: String,
    pub(crate) data: Data,
    /// If all were about the same one.
    pub(crate) project: Option<String>,
}

impl Folder {
    /// Counts a line; returns its data if it is to be shown.
    pub(crate) fn add(
        &self,
        kind: Repeated,
        (stage, project): (Stage, Option<&str>),
        message: &'static str,
        data: impl FnOnce() -> Data,
    ) -> Option<Data> {
        let mut state = self.state();
        let state = &mut *state;
        let began = *state.began.get_or_insert_with(Instant::now);
        state.reported.get_or_insert(began);
        let is_known = state.kinds.contains_key(&kind);
        let kind = match is_known || state.kinds.len() < MAX_KINDS {
            true => kind,
            false => Repeated { reason: "several", cause: Cause::Others },
        };
        let new = || Kind { shown: 0, folded: 0, stage, message, data: Data::new(), project: None };
        let kind = state.kinds.entry(kind).or_insert_with(new);
        if kind.shown < SHOWN_OF_KIND && state.shown < SHOWN {
            kind.shown += 1;
            state.shown += 1;
            return Some(data());
        }
        kind.folded += 1;
        if kind.folded == 1 {
            kind.data = data();
            kind.project = project.map(str::to_owned);
        } else if kind.project.as_deref() != project {
            kind.project = None;
        }
        None
    }

    /// The lines in place of those that were folded, every [`REPORTED_AFTER`].
    pub(crate) fn take(&self) -> Vec<Folded> {
        let mut state = self.state();
        if state.reported.is_none_or(|reported| reported.elapsed() < REPORTED_AFTER) {
            return Vec::new();
        }
        state.reported = Some(Instant::now());
        let folded = state.kinds.iter_mut().filter(|(_, kind)| kind.folded > 0);
        let mut folded: Vec<_> =
            folded.map(|(repeated, kind)| (kind.folded, kind.report(repeated))).collect();
        if state.began.is_some_and(|began| began.elapsed() >= SPAN) {
            *state = State::default();
        }
        drop(state);
        folded.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        folded.into_iter().map(|(_, line)| line).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    /// The line in place of the folded ones, which are forgotten. What differs between them is left
    /// out.
    fn report(&mut self, Repeated { reason, cause }: &Repeated) -> Folded {
        let folded = std::mem::take(&mut self.folded);
        let (mut data, project) = (std::mem::take(&mut self.data), self.project.take());
        OF_ONE.into_iter().for_each(|name| drop(data.remove(name)));
        data.insert("reason".to_owned(), (*reason).into());
        data.insert("count".to_owned(), folded.into());
        let project = match cause {
            Cause::Address(_) => project,
            Cause::Project(project) => {
                data.remove("peer");
                Some(project.clone())
            }
            Cause::Others => {
                data.retain(|name, _| name == "reason" || name == "count");
                None
            }
        };
        let message = debug_log::folded(self.message, folded);
        Folded { stage: self.stage, message, data, project }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(name: &str) -> Data {
        let named = [("error", name), ("peer", "192.0.2.1"), ("sessionId", "s_1")];
        named.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
    }

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_becomes_one_line_and_others_are_shown() {
        let folder = Folder::default();
        let add = |kind: Repeated| {
            let place = (Stage::Ingestion, Some("p"));
            folder.add(kind, place, "Request refused", || data("x")).is_some()
        };
        let flood = Repeated::from_address("not authorized", ip(1));
        let shown = (0..10_000).filter(|_| add(flood.clone())).count();
        assert_eq!(shown as u64, SHOWN_OF_KIND);
        assert!(add(Repeated::from_address("not authorized", ip(2))), "another address");
        assert!(add(Repeated::from_address("invalid event", ip(1))), "another reason");
        assert!(add(Repeated::of_project("queue", "p")), "a project");
        assert_eq!(folder.take(), []);
        tokio::time::advance(REPORTED_AFTER).await;
        let folded = folder.take();
        let [line] = folded.as_slice() else { panic!("{folded:?}") };
        assert_eq!(line.message, "Request refused: 9,990 more like this");
        assert_eq!(line.data["count"], 9_990);
        assert!(!line.data.contains_key("sessionId"), "of a single one");
        assert_eq!(
            (&line.data["reason"], &line.data["peer"]),
            (&"not authorized".into(), &"192.0.2.1".into())
        );
        assert_eq!(line.project.as_deref(), Some("p"), "of all");
        // The flood goes on.
        assert!((0..7).all(|_| !add(flood.clone())), "enough are shown");
        assert_eq!(folder.take(), []);
        tokio::time::advance(REPORTED_AFTER).await;
        let message = |folded: Vec<Folded>| folded.into_iter().map(|line| line.message).collect();
        let lines: Vec<String> = message(folder.take());
        assert_eq!(lines, ["Request refused: 7 more like this"]);
        tokio::time::advance(SPAN).await;
        assert_eq!(folder.take(), []);
        assert!(add(flood), "shown again");
        tokio::time::advance(SPAN).await;
        assert_eq!(folder.take(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn lines_of_several_projects_have_none() {
        let folder = Folder::default();
        for (last, projects) in [(1, ["a", "b"]), (2, ["b", "a"])] {
            for project in projects.iter().cycle().take(20) {
                let place = (Stage::Ingestion, Some(*project));
                let kind = Repeated::from_address("not authorized", ip(last));
                folder.add(kind, place, "Request refused", || data("x"));
            }
        }
        tokio::time::advance(REPORTED_AFTER).await;
        let folded = folder.take();
        assert!(folded.len() == 2 && folded.iter().all(|line| line.project.is_none()));
    }

    #[tokio::test(start_paused = true)]
    async fn many_kinds_are_bounded_and_none_is_lost() {
        let folder = Folder::default();
        let total: u64 = 5_000;
        let kinds = (0..total).map(|n| Repeated::of_project("queue", &n.to_string()));
        let place = (Stage::Ingestion, None);
        let add = |kind| folder.add(kind, place, "Request refused", || data("x"));
        let shown = kinds.filter_map(add).count() as u64;
        assert!(shown <= SHOWN, "{shown}");
        tokio::time::advance(SPAN).await;
        let folded = folder.take();
        assert!(folded.len() <= MAX_KINDS + 1);
        let counted: u64 = folded.iter().map(|line| line.data["count"].as_u64().unwrap()).sum();
        assert_eq!(shown + counted, total);
        assert!(folded[0].data.get("peer").is_none(), "of several");
    }
}
