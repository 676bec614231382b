//! What was counted by project since the last second.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;

use foldhash::fast::RandomState;
use thread_local::ThreadLocal;

use super::{Metrics, lock};
use crate::who::Who;
use bklit_wire::history::ProjectTotals;

/// The most projects that a thread counts separately in a second. Events of further ones count only
/// in the totals of the process.
pub const MAX_COUNTED: usize = 1_000;

type Counts = HashMap<Box<str>, ProjectTotals, RandomState>;

/// Counters by project. Each thread has its own, under a lock that only `take` contends for, so
/// counting costs a hash and a look-up.
#[derive(Default)]
pub(super) struct ProjectFigures(ThreadLocal<Mutex<Counts>>);

impl ProjectFigures {
    pub(super) fn count(&self, project: &str, count: impl FnOnce(&mut ProjectTotals)) {
        let mut counts = lock(self.0.get_or_default());
        if let Some(totals) = counts.get_mut(project) {
            return count(totals);
        }
        if counts.len() < MAX_COUNTED {
            count(counts.entry(project.into()).or_default());
        }
    }

    pub(super) fn take(&self) -> Vec<ProjectTotals> {
        let mut all = Counts::default();
        for counts in &self.0 {
            let counts = std::mem::take(&mut *lock(counts));
            for (project, counted) in counts {
                let totals = all.entry(project).or_default();
                totals.accepted = totals.accepted.saturating_add(counted.accepted);
                totals.refused = totals.refused.saturating_add(counted.refused);
                totals.failed = totals.failed.saturating_add(counted.failed);
            }
        }
        let named =
            |(project, totals): (Box<str>, _)| ProjectTotals { project: project.into(), ..totals };
        all.into_iter().map(named).collect()
    }
}

impl Metrics {
    /// Where events come from.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Counts an accepted event of a project.
    pub fn accepted(&self, project: &str) {
        self.accepted.fetch_add(1, Relaxed);
        self.projects.count(project, |totals| totals.accepted += 1);
    }

    /// Counts for its project what was refused although it came with a valid token.
    pub fn refused_of(&self, project: &str) {
        self.projects.count(project, |totals| totals.refused += 1);
    }

    /// Counts a failed step with an event of a project.
    pub fn failed_of(&self, project: &str) {
        self.projects.count(project, |totals| totals.failed += 1);
    }

    /// What was counted by project since the last call, in no order.
    pub fn take_projects(&self) -> Vec<ProjectTotals> {
        self.projects.take()
    }
}
