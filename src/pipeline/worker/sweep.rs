//! Ends the sessions of visitors who left without a word.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{WorkerContext, details, live, presence};
use crate::store::StoreError;
use bklit_net::log_throttle::Outage;
use bklit_wire::debug_log::Stage;
use bklit_wire::duration::seconds;
use bklit_wire::time::UtcMillis;

/// Time between sweeps, and before the first one, without jitter.
const INTERVAL: Duration = Duration::from_secs(60);

/// The most by which the time varies, so that processes that start together sweep apart.
const JITTER: Duration = Duration::from_secs(15);

/// Sessions ended in one step: few enough that batches wait only briefly for it.
const AT_ONCE: usize = 1_000;

/// The longest a step may take before it is left for the next sweep.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Sweeps until `shutdown`.
pub(super) async fn run(context: &WorkerContext, shutdown: &CancellationToken) {
    let outage = Outage::default();
    let sweeps = async {
        loop {
            tokio::time::sleep(INTERVAL + JITTER.mul_f64(fastrand::f64())).await;
            match sweep(context).await {
                Ok(()) => {
                    if let Some(lasted) = outage.over().map(seconds) {
                        tracing::info!(lasted, "idle sessions are ended again");
                    }
                }
                Err(error) => report(context, &outage, &error),
            }
        }
    };
    shutdown.run_until_cancelled(sweeps).await;
}

/// A sweep says nothing of whether batches can be stored, so it leaves the store's health alone.
fn report(context: &WorkerContext, outage: &Outage, error: &StoreError) {
    let Some(lasting) = outage.failed().map(seconds) else { return };
    tracing::warn!(%error, lasting, "cannot end idle sessions");
    context.log.step(Stage::Clickhouse).warn("Cannot end idle sessions, trying again", || {
        details(json!({ "reason": error.to_string() }))
    });
}

async fn sweep(context: &WorkerContext) -> Result<(), StoreError> {
    let timeout = context.settings.session_timeout.as_millis();
    let timeout = i64::try_from(timeout).unwrap_or(i64::MAX);
    let since = UtcMillis::now().epoch_millis().saturating_sub(timeout);
    let since = UtcMillis::from_epoch_millis(since);
    loop {
        let step = context.store.end_idle_sessions(since, AT_ONCE);
        let ended = tokio::time::timeout(STEP_TIMEOUT, step).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!("no answer within {STEP_TIMEOUT:?}")))
        })?;
        let count = ended.len();
        if count > 0 {
            context
                .log
                .step(Stage::Worker)
                .uncounted()
                .info("Idle sessions ended", || details(json!({ "sessions": count })));
            presence::ended(context, &ended).await;
            live::publish_timeouts(context, ended).await;
        }
        if count < AT_ONCE {
            return Ok(());
        }
    }
}
