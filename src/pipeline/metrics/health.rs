//! Which parts of the pipeline work, and why others do not.

use super::{Metrics, lock};
use bklit_wire::gauges::{Failure, Health};
use bklit_wire::reason::without_os_error;
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

/// The health of a part, and why it fails.
#[derive(Clone, Default)]
pub(super) struct PartHealth {
    pub(super) health: Health,
    /// Present while it fails.
    pub(super) failure: Option<Failure>,
}

impl Metrics {
    /// Sets the health of a part that does not fail; see [`Metrics::set_failing`].
    pub fn set_health(&self, part: Part, health: Health) {
        lock(&self.parts)[part as usize] = PartHealth { health, failure: None };
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
        if part == Part::Store {
            self.store_failed(reason);
        }
        let now = &mut lock(&self.parts)[part as usize];
        let since = now.failure.as_ref().and_then(|failure| failure.since);
        now.health = Health::Failing;
        now.failure = Some(Failure {
            part: part.name().to_owned(),
            message: message.to_owned(),
            reason: without_os_error(reason).chars().take(MAX_REASON).collect(),
            since: since.or_else(|| Some(UtcMillis::now())),
        });
    }

    /// The last known health of a part.
    pub fn health(&self, part: Part) -> Health {
        lock(&self.parts)[part as usize].health
    }
}
