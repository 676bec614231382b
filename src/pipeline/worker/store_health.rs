//! Checks whether the store works while no batch is being processed.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::WorkerContext;
use crate::metrics::Part;
use bklit_net::timeout::no_response;
use bklit_wire::gauges::Health;

/// The interval of checks.
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest a check may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The number of batches being processed.
#[derive(Default)]
pub(super) struct InHand(AtomicUsize);

/// A batch, counted until dropped.
pub(super) struct Held<'a>(&'a InHand);

impl InHand {
    pub(super) fn hold(&self) -> Held<'_> {
        self.0.fetch_add(1, Relaxed);
        Held(self)
    }

    fn is_empty(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// Checks until `shutdown`, the first time at once.
pub(super) async fn run(context: &WorkerContext, in_hand: &InHand, shutdown: &CancellationToken) {
    let checks = async {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            check(context, in_hand).await;
        }
    };
    shutdown.run_until_cancelled(checks).await;
}

async fn check(context: &WorkerContext, in_hand: &InHand) {
    // Storing a batch says more about the store than a ping.
    if !in_hand.is_empty() {
        return;
    }
    let pinged = tokio::time::timeout(TIMEOUT, context.store.ping()).await;
    if !in_hand.is_empty() {
        return;
    }
    let reason = match pinged {
        Ok(Ok(())) => return context.works(Part::Store),
        Ok(Err(error)) => error.to_string(),
        Err(_) => no_response(TIMEOUT),
    };
    // Logged once, not at every check.
    if context.log.metrics().health(Part::Store) != Health::Failing {
        context.store_failed("Store is unavailable", &reason);
    }
}
