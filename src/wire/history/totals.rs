//! What was counted in a span of time, by one process or by several.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Buckets, MAX_PROJECTS};
use crate::debug_log::Stage;
use crate::gauges::{Gauges, QueueGauges};

/// What was counted in a span of time. Merging adds up counts and keeps the largest depths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Totals {
    /// Accepted events.
    pub accepted: u64,
    /// Refused requests, messages and events of batches.
    pub refused: u64,
    /// Those of them that were over a limit.
    pub throttled: u64,
    /// Events that filters dropped.
    pub filtered: u64,
    /// By stage, in the order of [`Stage::ALL`].
    #[serde(deserialize_with = "stages")]
    pub stages: [StageTotals; Stage::ALL.len()],
    /// Time from acceptance to storage.
    pub accept_to_stored: Buckets,
    /// The queue, if it was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueuePeaks>,
    /// The projects with the most events, at most [`MAX_PROJECTS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<ProjectTotals>,
}

/// What was counted of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageTotals {
    /// Steps taken.
    pub count: u64,
    /// Steps with a warning.
    pub warnings: u64,
    /// Failed steps.
    pub errors: u64,
    /// How long they took.
    pub latencies: Buckets,
}

/// The queue's largest figures in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueuePeaks {
    /// Waiting events.
    pub depth: u64,
    /// Claimed events.
    pub in_flight: u64,
    /// Events in the failed queue.
    pub failed: u64,
    /// Events in a process's spool.
    pub spooled: u64,
    /// The age of the oldest waiting event, in milliseconds.
    pub oldest_waiting_ms: u64,
}

/// What was counted of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectTotals {
    /// Its id.
    pub project: String,
    /// Accepted events.
    pub accepted: u64,
    /// Events refused although they came with a valid token.
    pub refused: u64,
    /// Failed steps with its events.
    pub failed: u64,
}

impl ProjectTotals {
    /// Adds what was counted at another time.
    pub fn add(&mut self, other: &Self) {
        add(&mut self.accepted, other.accepted);
        add(&mut self.refused, other.refused);
        add(&mut self.failed, other.failed);
    }

    /// Everything that was counted, by which projects are ranked.
    pub fn sum(&self) -> u64 {
        [self.refused, self.failed].into_iter().fold(self.accepted, u64::saturating_add)
    }
}

/// Reads totals by stage of a process that may know fewer stages, or more at the end.
fn stages<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[StageTotals; Stage::ALL.len()], D::Error> {
    let mut read = Vec::<StageTotals>::deserialize(deserializer)?.into_iter();
    Ok(std::array::from_fn(|_| read.next().unwrap_or_default()))
}

fn add(sum: &mut u64, n: u64) {
    *sum = sum.saturating_add(n);
}

impl Totals {
    /// Adds what a process counted in a second.
    pub fn add_second(&mut self, gauges: &Gauges) {
        add(&mut self.accepted, gauges.accepted);
        add(&mut self.refused, gauges.refused);
        add(&mut self.throttled, gauges.throttled);
        add(&mut self.filtered, gauges.filtered);
        for (totals, stage) in self.stages.iter_mut().zip(&gauges.stages) {
            add(&mut totals.count, stage.count);
            add(&mut totals.warnings, stage.warnings);
            add(&mut totals.errors, stage.errors);
            totals.latencies.add_latencies(&stage.latencies);
        }
        self.accept_to_stored.add_latencies(&gauges.accept_to_stored);
        if let Some(queue) = gauges.queue {
            self.queue.get_or_insert_default().merge(queue.into());
        }
    }

    /// Adds what was counted elsewhere or at another time. Projects may be more than
    /// [`MAX_PROJECTS`] afterwards; see [`Totals::leave_out_projects`].
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.accepted, other.accepted);
        add(&mut self.refused, other.refused);
        add(&mut self.throttled, other.throttled);
        add(&mut self.filtered, other.filtered);
        for (totals, stage) in self.stages.iter_mut().zip(&other.stages) {
            add(&mut totals.count, stage.count);
            add(&mut totals.warnings, stage.warnings);
            add(&mut totals.errors, stage.errors);
            totals.latencies.merge(&stage.latencies);
        }
        self.accept_to_stored.merge(&other.accept_to_stored);
        if let Some(queue) = other.queue {
            self.queue.get_or_insert_default().merge(queue);
        }
        other.projects.iter().for_each(|project| self.add_project(project));
    }

    fn add_project(&mut self, other: &ProjectTotals) {
        match self.projects.iter_mut().find(|known| known.project == other.project) {
            Some(known) => known.add(other),
            None => self.projects.push(other.clone()),
        }
    }

    /// Keeps only the [`MAX_PROJECTS`] projects with the most events, the largest first.
    pub fn leave_out_projects(&mut self) {
        let order = |project: &ProjectTotals| std::cmp::Reverse(project.sum());
        self.projects.sort_by(|a, b| order(a).cmp(&order(b)).then(a.project.cmp(&b.project)));
        self.projects.truncate(MAX_PROJECTS);
    }

    /// Whether nothing was counted and nothing waited.
    pub fn is_idle(&self) -> bool {
        let steps = self.stages.iter().any(|stage| stage.count > 0 || stage.errors > 0);
        let waits = |queue: QueuePeaks| queue.depth > 0 || queue.in_flight > 0 || queue.spooled > 0;
        let counts = [self.accepted, self.refused, self.throttled, self.filtered];
        counts == [0; 4] && !steps && !self.queue.is_some_and(waits)
    }

    /// Failed steps of all stages.
    pub fn errors(&self) -> u64 {
        self.stages.iter().fold(0, |sum, stage| sum.saturating_add(stage.errors))
    }
}

impl QueuePeaks {
    fn merge(&mut self, other: Self) {
        self.depth = self.depth.max(other.depth);
        self.in_flight = self.in_flight.max(other.in_flight);
        self.failed = self.failed.max(other.failed);
        self.spooled = self.spooled.max(other.spooled);
        self.oldest_waiting_ms = self.oldest_waiting_ms.max(other.oldest_waiting_ms);
    }
}

impl From<QueueGauges> for QueuePeaks {
    fn from(queue: QueueGauges) -> Self {
        Self {
            depth: queue.depth,
            in_flight: queue.in_flight,
            failed: queue.failed,
            spooled: queue.spooled,
            oldest_waiting_ms: queue.oldest_waiting_ms.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(project: &str, accepted: u64) -> ProjectTotals {
        ProjectTotals { project: project.to_owned(), accepted, ..ProjectTotals::default() }
    }

    #[test]
    fn merging_adds_counts_and_keeps_the_largest_depth() {
        let second = |accepted, depth| {
            let queue = Some(QueueGauges { depth, failed: 1, ..QueueGauges::default() });
            let mut gauges = Gauges { accepted, refused: 2, queue, ..Gauges::default() };
            gauges.stages[1].count = accepted;
            gauges.stages[1].errors = 1;
            gauges
        };
        let seconds = [second(3, 9), second(5, 4), second(u64::MAX, 0)];
        let (mut all, mut merged) = (Totals::default(), Totals::default());
        for gauges in &seconds {
            let mut one = Totals::default();
            one.add_second(gauges);
            all.add_second(gauges);
            one.projects = vec![project("p", 1)];
            merged.merge(&one);
        }
        all.projects = vec![project("p", 3)];
        assert_eq!(all, merged);
        assert_eq!((merged.accepted, merged.refused, merged.errors()), (u64::MAX, 6, 3));
        assert_eq!(merged.queue.map(|queue| (queue.depth, queue.failed)), Some((9, 1)));
        assert_eq!(merged.projects, [project("p", 3)]);
    }

    #[test]
    fn the_projects_with_the_most_events_are_kept() {
        let mut totals = Totals::default();
        let many = (0..100).map(|n| project(&format!("p{n:03}"), n)).collect::<Vec<_>>();
        totals.projects = many;
        totals.leave_out_projects();
        assert_eq!(totals.projects.len(), MAX_PROJECTS);
        assert_eq!(totals.projects[0].project, "p099");
        assert_eq!(totals.projects[MAX_PROJECTS - 1].project, "p080");
    }
}
