//! Writes the rows of sessions that the store had to postpone.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{WorkerContext, details};
use crate::store::StoreError;
use bklit_net::log_throttle::LogThrottle;
use bklit_net::timeout::within;
use bklit_wire::debug_log::Stage;
use bklit_wire::duration::seconds;

/// The interval of attempts: the resolution of the times in the tables.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest an attempt may take before the next one.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The interval of attempts during a shutdown.
const LAST_INTERVAL: Duration = Duration::from_millis(100);

/// The longest the last attempts may delay a shutdown. What it does not write, the next process does.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes what is due, once a second until `shutdown`.
pub(super) async fn run(context: &WorkerContext, shutdown: &CancellationToken) {
    let throttle = LogThrottle::default();
    let writes = async {
        loop {
            tokio::time::sleep(INTERVAL).await;
            match write(context, TIMEOUT).await {
                Ok(_) => {
                    if let Some(lasted) = throttle.recovered().map(seconds) {
                        tracing::info!(lasted, "writing postponed sessions again");
                    }
                }
                Err(error) => report(context, &throttle, &error),
            }
        }
    };
    shutdown.run_until_cancelled(writes).await;
}

/// Writes what the last batches postponed, after a shutdown.
pub(super) async fn finish(context: &WorkerContext) {
    let last = async {
        while write(context, TIMEOUT).await? {
            tokio::time::sleep(LAST_INTERVAL).await;
        }
        Ok(())
    };
    if let Err(error) = within(LAST_TIMEOUT, last, StoreError::Unavailable).await {
        tracing::warn!(%error, "postponed sessions are left for the next process");
    }
}

async fn write(context: &WorkerContext, longest: Duration) -> Result<bool, StoreError> {
    within(longest, context.store.write_postponed(), StoreError::Unavailable).await
}

fn report(context: &WorkerContext, throttle: &LogThrottle, error: &StoreError) {
    let Some(lasting) = throttle.failure().map(seconds) else { return };
    tracing::warn!(%error, lasting, "cannot write postponed sessions");
    context.log.step(Stage::Clickhouse).warn("Cannot write postponed sessions, retrying", || {
        details(json!({ "reason": error.to_string() }))
    });
}
