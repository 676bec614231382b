//! The figures as shown.

use super::{History, SECONDS};
use bklit_wire::debug_log::Stage;
use bklit_wire::gauges::{Health, QueueGauges, VerifyGauges};

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
}

impl StageFigures {
    pub(super) fn add(&mut self, errors: u64, warnings: u64) {
        self.errors = self.errors.saturating_add(errors);
        self.warnings = self.warnings.saturating_add(warnings);
    }
}

impl Default for StageFigures {
    fn default() -> Self {
        Self { rate: 0.0, errors: 0, warnings: 0, percentiles: None, history: [None; SECONDS] }
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
    /// One in this many events is shown.
    pub sampling: u32,
    /// The results of dual-write verification, if it is enabled.
    pub verify: Option<VerifyGauges>,
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
            sampling: 1,
            verify: None,
            throttled: 0,
            filtered: 0,
        }
    }
}
