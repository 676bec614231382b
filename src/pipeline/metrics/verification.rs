//! Counters of dual-write verification since the start of the process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use bklit_wire::gauges::VerifyGauges;
use bklit_wire::time::UtcMillis;

/// The result of comparing an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The same on both sides.
    Matched,
    /// Not stored through the queue.
    MissingInQueue,
    /// Not in the baseline, although it was written there.
    MissingInBaseline,
    /// On both sides, but different or more than once.
    Different,
    /// Not written to the baseline: the store was too slow or rejected it.
    NotWritten,
    /// Written but not compared: there were too many.
    NotCompared,
}

impl Outcome {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Matched, "matched"),
        (Self::MissingInQueue, "missing_in_queue_path"),
        (Self::MissingInBaseline, "missing_in_baseline"),
        (Self::Different, "different"),
        (Self::NotWritten, "not_written"),
        (Self::NotCompared, "not_compared"),
    ];
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The counters of one process.
#[derive(Debug)]
pub struct VerificationFigures {
    /// When counting started; unset if verification is off.
    since: OnceLock<UtcMillis>,
    family: Family<OutcomeLabel, Counter>,
    /// By outcome: looking up a label costs more than counting.
    counters: [Counter; Outcome::ALL.len()],
    waiting: AtomicU64,
}

impl Default for VerificationFigures {
    fn default() -> Self {
        let family = Family::<OutcomeLabel, Counter>::default();
        let counters =
            Outcome::ALL.map(|(_, outcome)| family.get_or_create_owned(&OutcomeLabel { outcome }));
        Self { since: OnceLock::new(), family, counters, waiting: AtomicU64::new(0) }
    }
}

impl VerificationFigures {
    /// Registers the counters for Prometheus.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Events of dual-write verification, by outcome";
        registry.register("verified_events", help, self.family.clone());
    }

    /// Starts counting.
    pub fn start(&self) {
        let _ = self.since.set(UtcMillis::now());
    }

    /// Counts events with an outcome.
    pub fn count(&self, outcome: Outcome, events: u64) {
        self.counters[outcome as usize].inc_by(events);
    }

    /// The number of events with an outcome.
    pub fn counted(&self, outcome: Outcome) -> u64 {
        self.counters[outcome as usize].get()
    }

    /// Sets the number of events still to be compared.
    pub fn set_waiting(&self, events: u64) {
        self.waiting.store(events, Relaxed);
    }

    /// The counters; `None` if verification is off.
    pub fn gauges(&self) -> Option<VerifyGauges> {
        let counted = |outcome| self.counted(outcome);
        Some(VerifyGauges {
            since: Some(*self.since.get()?),
            matched: counted(Outcome::Matched),
            missing_in_queue_path: counted(Outcome::MissingInQueue),
            missing_in_baseline: counted(Outcome::MissingInBaseline),
            different: counted(Outcome::Different),
            not_written: counted(Outcome::NotWritten),
            not_compared: counted(Outcome::NotCompared),
            waiting: self.waiting.load(Relaxed),
        })
    }
}
