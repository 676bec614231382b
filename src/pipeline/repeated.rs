//! Folds log lines that repeat, such as those about refused requests: they must not crowd out all
//! other lines, whoever causes them.
//!
//! Of each kind, the first lines within a while are shown. At the end, one line reports how many
//! others there were. Counters do not depend on this.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::Data;
use crate::throttle::network;
use bklit_wire::debug_log::{self, Stage};

/// How long lines are folded into one.
pub(crate) const SPAN: Duration = Duration::from_secs(10);
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

    /// What the clients of a project cause, for this reason. Only for projects that exist: others
    /// could be made up without end.
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
        stage: Stage,
        message: &'static str,
        data: impl FnOnce() -> Data,
    ) -> Option<Data> {
        let mut state = self.state();
        let state = &mut *state;
        state.began.get_or_insert_with(Instant::now);
        let is_known = state.kinds.contains_key(&kind);
        let kind = match is_known || state.kinds.len() < MAX_KINDS {
            true => kind,
            false => Repeated { reason: "several", cause: Cause::Others },
        };
        let new = || Kind { shown: 0, folded: 0, stage, message, data: Data::new() };
        let kind = state.kinds.entry(kind).or_insert_with(new);
        if kind.shown < SHOWN_OF_KIND && state.shown < SHOWN {
            kind.shown += 1;
            state.shown += 1;
            return Some(data());
        }
        kind.folded += 1;
        if kind.folded == 1 {
            kind.data = data();
        }
        None
    }

    /// The lines in place of those that were folded, once their time is over.
    pub(crate) fn take(&self) -> Vec<Folded> {
        let mut state = self.state();
        if state.began.is_none_or(|began| began.elapsed() < SPAN) {
            return Vec::new();
        }
        let State { kinds, .. } = std::mem::take(&mut *state);
        drop(state);
        let mut kinds: Vec<_> = kinds.into_iter().filter(|(_, kind)| kind.folded > 0).collect();
        kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.folded));
        kinds.into_iter().map(|(repeated, kind)| kind.folded(repeated)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    /// The line in place of the folded ones. What differs between them is left out.
    fn folded(self, Repeated { reason, cause }: Repeated) -> Folded {
        let Self { folded, stage, message, mut data, .. } = self;
        OF_ONE.into_iter().for_each(|name| drop(data.remove(name)));
        data.insert("reason".to_owned(), reason.into());
        data.insert("count".to_owned(), folded.into());
        let project = match cause {
            Cause::Address(_) => None,
            Cause::Project(project) => Some(project),
            Cause::Others => {
                data.retain(|name, _| name == "reason" || name == "count");
                None
            }
        };
        if project.is_some() {
            data.remove("peer");
        }
        let message = debug_log::folded(message, folded);
        Folded { stage, message, data, project }
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
            folder.add(kind, Stage::Ingestion, "Request refused", || data("x")).is_some()
        };
        let flood = Repeated::from_address("not authorized", ip(1));
        let shown = (0..10_000).filter(|_| add(flood.clone())).count();
        assert_eq!(shown as u64, SHOWN_OF_KIND);
        assert!(add(Repeated::from_address("not authorized", ip(2))), "another address");
        assert!(add(Repeated::from_address("invalid event", ip(1))), "another reason");
        assert!(add(Repeated::of_project("queue", "p")), "a project");
        assert_eq!(folder.take(), []);
        tokio::time::advance(SPAN).await;
        let folded = folder.take();
        let [line] = folded.as_slice() else { panic!("{folded:?}") };
        assert_eq!(line.message, "Request refused: 9,990 more like this");
        assert_eq!(line.data["count"], 9_990);
        assert!(!line.data.contains_key("sessionId"), "of a single one");
        assert_eq!(
            (&line.data["reason"], &line.data["peer"]),
            (&"not authorized".into(), &"192.0.2.1".into())
        );
        assert!(add(flood), "shown again");
        assert_eq!(folder.take(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn many_kinds_are_bounded_and_none_is_lost() {
        let folder = Folder::default();
        let total: u64 = 5_000;
        let kinds = (0..total).map(|n| Repeated::of_project("queue", &n.to_string()));
        let add = |kind| folder.add(kind, Stage::Ingestion, "Request refused", || data("x"));
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
