//! The settings of the worker.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the worker claims and stores batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// Workers in this process. The first one always works, the others while full batches wait.
    pub workers: usize,
    /// The most events in a batch.
    pub batch_size: usize,
    /// How long the first event of a batch waits for others.
    #[serde(with = "bklit_wire::duration")]
    pub batch_wait: Duration,
    /// How long a claim lasts unless it is renewed.
    #[serde(with = "bklit_wire::duration")]
    pub lease: Duration,
    /// The longest pause between attempts while the store fails.
    #[serde(with = "bklit_wire::duration")]
    pub max_backoff: Duration,
    /// A session ends after this long without an event.
    #[serde(with = "bklit_wire::duration")]
    pub session_timeout: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            workers: 3,
            batch_size: 15_000,
            batch_wait: Duration::from_millis(50),
            lease: Duration::from_secs(30),
            max_backoff: Duration::from_secs(10),
            session_timeout: Duration::from_secs(30 * 60),
        }
    }
}
