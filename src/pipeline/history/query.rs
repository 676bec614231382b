//! Merges minutes into the points of a graph.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::Minute;
use bklit_wire::history::{
    History, HistoryPoint, HistoryQuery, MAX_PROCESSES, ProcessSeen, Totals,
};
use bklit_wire::numbers::plural;
use bklit_wire::time::UtcMillis;

/// Collects minutes. Its size depends on the number of points, not on how many minutes there are.
pub struct Collector {
    query: HistoryQuery,
    points: Vec<Option<Totals>>,
    processes: HashMap<String, ProcessSeen>,
    /// Minutes that are added later, unless the store has them as well.
    awaited: HashSet<(String, u64)>,
    unreadable: u64,
}

impl Collector {
    /// Collects for this range.
    pub fn new(query: HistoryQuery) -> Self {
        Self {
            query,
            points: vec![None; query.points()],
            processes: HashMap::new(),
            awaited: HashSet::new(),
            unreadable: 0,
        }
    }

    /// The range.
    pub fn query(&self) -> HistoryQuery {
        self.query
    }

    /// Adds a minute; one outside of the range does not count.
    pub fn add(&mut self, minute: &Minute) {
        let Some(place) = self.query.place(minute.at) else { return };
        let totals = self.points[place].get_or_insert_default();
        totals.merge(&minute.totals);
        totals.leave_out_projects();
        if !self.awaited.is_empty() {
            self.awaited.remove(&(minute.process.clone(), minute.number));
        }
        if !self.processes.contains_key(&minute.process) && self.processes.len() >= MAX_PROCESSES {
            return;
        }
        let seen = self.processes.entry(minute.process.clone()).or_insert_with(|| ProcessSeen {
            process: minute.process.clone(),
            ..ProcessSeen::default()
        });
        if seen.last.is_none_or(|last| last <= minute.at) {
            (seen.last, seen.about) = (Some(minute.at), minute.about.clone());
        }
        seen.accepted = seen.accepted.saturating_add(minute.totals.accepted);
        seen.refused = seen.refused.saturating_add(minute.totals.refused);
        seen.errors = seen.errors.saturating_add(minute.totals.errors());
    }

    /// Counts a minute that is in the store, but cannot be read.
    pub fn unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// Announces minutes that [`Collector::add_awaited`] adds, unless the store has them as well.
    pub(super) fn awaiting<'a>(mut self, minutes: impl Iterator<Item = &'a Minute>) -> Self {
        self.awaited = minutes.map(|minute| (minute.process.clone(), minute.number)).collect();
        self
    }

    /// Adds a minute that was announced.
    pub(super) fn add_awaited(&mut self, minute: &Minute) {
        if self.awaited.contains(&(minute.process.clone(), minute.number)) {
            self.add(minute);
        }
    }

    /// What was collected.
    pub fn history(self) -> History {
        let (from, step) = (self.query.from().epoch_millis(), self.query.step());
        let points = (0..).zip(self.points).filter_map(|(nth, totals)| {
            Some(HistoryPoint {
                at: UtcMillis::from_epoch_millis(from + nth * step),
                totals: totals?,
            })
        });
        let mut processes: Vec<_> = self.processes.into_values().collect();
        processes.sort_by(|a, b| (Reverse(a.last), &a.process).cmp(&(Reverse(b.last), &b.process)));
        History {
            from: self.query.from(),
            to: self.query.to(),
            step_ms: step,
            points: points.collect(),
            processes,
            incomplete: (self.unreadable > 0)
                .then(|| format!("{} cannot be read", plural(self.unreadable, "minute"))),
        }
    }
}
