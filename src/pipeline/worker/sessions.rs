//! Writes the rows of sessions, where the store does not write them with the events.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{WorkerContext, details, presence};
use crate::store::StoreError;
use bklit_net::log_throttle::LogThrottle;
use bklit_net::timeout::within;
use bklit_wire::debug_log::Stage;
use bklit_wire::duration::seconds;

/// The pause between two writes: the resolution of the times in the tables.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest a write may take before the next one.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two writes during a shutdown.
const LAST_INTERVAL: Duration = Duration::from_millis(100);

/// The longest the last writes may delay a shutdown. Rows that they do not write are written by
/// another process.
const LAST_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes what is due, once a second until `shutdown`.
pub(super) async fn run(context: &WorkerContext, shutdown: &CancellationToken) {
    let throttle = LogThrottle::default();
    let writes = async {
        loop {
            tokio::time::sleep(INTERVAL).await;
            match write(context, TIMEOUT).await {
                Ok(_) => {
                    if let Some(lasted) = throttle.recovered().map(seconds) {
                        tracing::info!(lasted, "writing sessions again");
                    }
                }
                Err(error) => report(context, &throttle, &error),
            }
        }
    };
    shutdown.run_until_cancelled(writes).await;
}

/// Writes what the last batches changed, during a shutdown.
pub(super) async fn finish(context: &WorkerContext) {
    let last = async {
        while write(context, TIMEOUT).await? {
            tokio::time::sleep(LAST_INTERVAL).await;
        }
        Ok(())
    };
    if let Err(error) = within(LAST_TIMEOUT, last, StoreError::Unavailable).await {
        tracing::warn!(%error, "the rows of some sessions are left for another process");
    }
}

/// Returns whether other rows are due in a moment.
async fn write(context: &WorkerContext, longest: Duration) -> Result<bool, StoreError> {
    let written = within(longest, context.store.write_sessions(), StoreError::Unavailable).await?;
    context.log_notes(&written.notes);
    presence::ended(context, &written.closed).await;
    Ok(written.more)
}

fn report(context: &WorkerContext, throttle: &LogThrottle, error: &StoreError) {
    let Some(lasting) = throttle.failure().map(seconds) else { return };
    tracing::warn!(%error, lasting, "cannot write sessions");
    context.log.step(Stage::Clickhouse).warn("Cannot write sessions, retrying", || {
        details(json!({ "reason": error.to_string() }))
    });
}
