//! Checks whether the store works while no batch is being processed. Only on demand, or while it
//! fails: a server that sleeps while it is idle must not be kept awake.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::WorkerContext;
use super::active_batches::ActiveBatches;
use crate::metrics::{OnDemand, Part};
use bklit_net::timeout::no_response;
use bklit_wire::gauges::Health;

/// The interval of checks while a console is attached or the store fails.
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest a check may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Checks until `shutdown`, the first time at once.
pub(super) async fn run(
    context: &WorkerContext,
    active: &ActiveBatches,
    shutdown: &CancellationToken,
) {
    let demand = context.log.metrics().store_check();
    let _checking = demand.begin();
    let checks = async {
        loop {
            check(context, active).await;
            demand.checked();
            is_due(context, demand).await;
        }
    };
    shutdown.run_until_cancelled(checks).await;
}

/// Waits until the next check.
async fn is_due(context: &WorkerContext, demand: &OnDemand) {
    loop {
        tokio::select! {
            () = demand.requested() => return,
            () = tokio::time::sleep(INTERVAL) => {
                let fails = context.log.metrics().health(Part::Store) == Health::Failing;
                if fails || context.log.is_watched() {
                    return;
                }
            }
        }
    }
}

async fn check(context: &WorkerContext, active: &ActiveBatches) {
    // Storing a batch says more about the store than a ping.
    if !active.is_empty() {
        return;
    }
    let pinged = tokio::time::timeout(TIMEOUT, context.store.ping()).await;
    if !active.is_empty() {
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
