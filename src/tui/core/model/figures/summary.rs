//! The figures as shown.

use super::{History, SECONDS};
use crate::state::State;
use bklit_wire::debug_log::Stage;
use bklit_wire::gauges::{Failure, Gauges, Health, QueueGauges, VerifyGauges};
use bklit_wire::pause::{Pausable, Paused};

/// The parts of the pipeline that have a health.
pub const PARTS: [&str; 3] = ["queue", "store", "worker"];

/// The figures of one stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StageFigures {
    /// Steps per second.
    pub rate: f64,
    /// Steps that failed.
    pub errors: u64,
    /// Steps with a warning, such as refused requests.
    pub warnings: u64,
    /// Latencies in microseconds: p50, p95, p99; `None` without steps.
    pub percentiles: Option<[u64; 3]>,
    /// The p95 of each second.
    pub history: History,
    /// The p95 of the last ten seconds.
    pub recent: Option<u64>,
    /// The median p95 of the last ten minutes; `None` until enough is known.
    pub usual: Option<u64>,
}

impl StageFigures {
    /// How a p95 compares with the usual one.
    pub fn state_of(&self, p95: u64) -> State {
        State::latency(p95, self.usual)
    }

    /// How the current p95 compares with the usual one.
    pub fn latency(&self) -> State {
        self.recent.map_or(State::Idle, |p95| self.state_of(p95))
    }

    pub(super) fn add(&mut self, errors: u64, warnings: u64) {
        self.errors = self.errors.saturating_add(errors);
        self.warnings = self.warnings.saturating_add(warnings);
    }
}

impl Default for StageFigures {
    fn default() -> Self {
        Self {
            rate: 0.0,
            errors: 0,
            warnings: 0,
            percentiles: None,
            history: [None; SECONDS],
            recent: None,
            usual: None,
        }
    }
}

/// All figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Events per second.
    pub events_per_second: f64,
    /// By stage, in pipeline order.
    pub stages: [StageFigures; Stage::ALL.len()],
    /// From accepted to stored.
    pub accept_to_stored: StageFigures,
    /// The queue, if a process sees it.
    pub queue: Option<QueueGauges>,
    /// The queue's depth in each second.
    pub depth_history: History,
    /// Of queue, store and worker.
    pub health: [Health; 3],
    /// The failures of queue, store and worker, each since it began.
    pub failures: [Option<Failure>; 3],
    /// What an operator has paused.
    pub paused: Paused,
    /// For how many seconds nothing has been stored although events were waiting.
    pub stalled: Option<u64>,
    /// The second since which no process stores events, although some wait or arrive.
    pub no_worker: Option<i64>,
    /// One in this many events is shown.
    pub sampling: u32,
    /// The results of dual-write verification, if it is enabled.
    pub verify: Option<VerifyGauges>,
    /// Accepted events of the last minute.
    pub accepted: u64,
    /// Requests refused in the last minute.
    pub refused: u64,
    /// Requests and messages over a limit.
    pub throttled: u64,
    /// Events that filters dropped.
    pub filtered: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            events_per_second: 0.0,
            stages: Default::default(),
            accept_to_stored: StageFigures::default(),
            queue: None,
            depth_history: [None; SECONDS],
            health: [Health::Unknown; 3],
            failures: Default::default(),
            paused: Paused::default(),
            stalled: None,
            no_worker: None,
            sampling: 1,
            verify: None,
            accepted: 0,
            refused: 0,
            throttled: 0,
            filtered: 0,
        }
    }
}

impl Summary {
    /// The queue, if its state is known now. While it cannot be read, processes repeat what they knew
    /// before, except for ages.
    pub fn known_queue(&self) -> Option<QueueGauges> {
        let is_failing = self.health[0] == Health::Failing;
        self.queue.filter(|queue| !is_failing || queue.lapsed.is_some())
    }

    /// The share of the events that was refused in the last minute, in percent.
    pub fn refused_percent(&self) -> u64 {
        let all = self.accepted.saturating_add(self.refused).max(1);
        u64::try_from(u128::from(self.refused) * 100 / u128::from(all)).unwrap_or(100)
    }

    /// Takes what the watched processes report about their state.
    pub(super) fn take_state<'a>(
        &mut self,
        processes: &(impl Iterator<Item = &'a Gauges> + Clone),
    ) {
        let all = || processes.clone();
        self.health = [
            worst(all().map(|gauges| gauges.queue_health)),
            worst(all().map(|gauges| gauges.store_health)),
            worst(all().map(|gauges| gauges.worker_health)),
        ];
        self.failures = PARTS.map(|part| {
            let failures = all().flat_map(|gauges| &gauges.failures);
            failures.filter(|failure| failure.part == part).min_by_key(|f| f.since).cloned()
        });
        for part in Pausable::ALL {
            let find = |gauges: &Gauges| gauges.paused.clone().part_mut(part).take();
            *self.paused.part_mut(part) = all().find_map(find);
        }
        self.sampling = all().map(|gauges| gauges.sampling).max().unwrap_or(1).max(1);
        // Each process verifies its own events.
        self.verify = all().filter_map(|gauges| gauges.verify).reduce(VerifyGauges::merged);
    }
}

fn worst(health: impl Iterator<Item = Health>) -> Health {
    let rank = |health: &Health| match health {
        Health::Absent => 0,
        Health::Unknown => 1,
        Health::Ok => 2,
        Health::Failing => 3,
    };
    health.max_by_key(rank).unwrap_or_default()
}
