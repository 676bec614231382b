//! A shutdown: when it begins, and when the time for what is in hand is over.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// After a shutdown has begun, how long the store and the queue may take for what is in hand.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What all tasks of the workers stop by: one deadline, however many steps are left.
#[derive(Clone)]
pub(super) struct Stop {
    /// Cancelled when it begins: nothing new is claimed.
    pub(super) begun: CancellationToken,
    /// Cancelled [`PATIENCE`] later: what is not done is given back.
    pub(super) over: CancellationToken,
}

impl Stop {
    /// One that begins with `begun`.
    pub(super) fn new(begun: CancellationToken) -> Self {
        Self { begun, over: CancellationToken::new() }
    }

    /// Ends when the time is over.
    pub(super) async fn run(&self) {
        self.begun.cancelled().await;
        tokio::time::sleep(PATIENCE).await;
        self.over.cancel();
    }
}
