//! The phases of a shutdown: its start and its deadline.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long after the start of a shutdown claimed batches may still be processed.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Stops all tasks of the workers: there is one deadline, however many steps are left.
#[derive(Clone)]
pub(super) struct Stop {
    /// Cancelled when the shutdown starts: nothing more is claimed.
    pub(super) started: CancellationToken,
    /// Cancelled [`PATIENCE`] later: unfinished batches are released.
    pub(super) expired: CancellationToken,
}

impl Stop {
    /// A shutdown that starts when `started` is cancelled.
    pub(super) fn new(started: CancellationToken) -> Self {
        Self { started, expired: CancellationToken::new() }
    }

    /// Enforces the deadline; returns when it has passed.
    pub(super) async fn run(&self) {
        self.started.cancelled().await;
        tokio::time::sleep(PATIENCE).await;
        self.expired.cancel();
    }
}
