//! Which parts of the pipeline work, and why others do not.

use super::{Metrics, lock};
use bklit_wire::gauges::{Failure, Health};
use bklit_wire::time::UtcMillis;

/// The most characters of a failure's reason.
const MAX_REASON: usize = 500;

/// A part of the pipeline whose health is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The queue.
    Queue,
    /// The store.
    Store,
    /// The worker.
    Worker,
}

impl Part {
    /// The number of parts.
    pub const COUNT: usize = 3;

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Store => "store",
            Self::Worker => "worker",
        }
    }
}

impl Metrics {
    /// Sets the health of a part.
    pub fn set_health(&self, part: Part, health: Health) {
        lock(&self.health)[part as usize] = health;
        if health != Health::Failing {
            lock(&self.failures)[part as usize] = None;
        }
    }

    /// Counts an insert whose events are stored, but not everywhere or not with all values.
    pub fn stored_incompletely(&self, what: &str) {
        self.refusals.stored_incompletely(what.chars().take(MAX_REASON).collect());
    }

    /// Keeps the reason why an event or an insert was not stored.
    pub fn store_failed(&self, reason: &str) {
        self.refusals.store_failed(reason.chars().take(MAX_REASON).collect());
    }

    /// Records that a part fails, and why.
    pub fn set_failing(&self, part: Part, message: &str, reason: &str) {
        self.set_health(part, Health::Failing);
        if part == Part::Store {
            self.store_failed(reason);
        }
        let mut failures = lock(&self.failures);
        let since = failures[part as usize].as_ref().and_then(|failure| failure.since);
        failures[part as usize] = Some(Failure {
            part: part.name().to_owned(),
            message: message.to_owned(),
            reason: reason.chars().take(MAX_REASON).collect(),
            since: since.or_else(|| Some(UtcMillis::now())),
        });
    }

    /// The last known health of a part.
    pub fn health(&self, part: Part) -> Health {
        lock(&self.health)[part as usize]
    }
}
