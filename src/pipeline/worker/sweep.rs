//! Ends idle sessions.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::active_batches::ActiveBatches;
use super::{WorkerContext, details, live_events, presence};
use crate::store::StoreError;
use bklit_net::log_throttle::LogThrottle;
use bklit_net::timeout::within;
use bklit_wire::debug_log::Stage;
use bklit_wire::duration::seconds;
use bklit_wire::time::UtcMillis;

/// The interval of sweeps, also before the first one, without jitter.
const INTERVAL: Duration = Duration::from_secs(60);

/// The most by which the interval varies, so that processes that start together do not sweep at the
/// same time.
const JITTER: Duration = Duration::from_secs(15);

/// Sessions ended in one step: few enough that batches wait only briefly.
const AT_ONCE: usize = 1_000;

/// The longest a step may take before it is left for the next sweep.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// While there is nothing to end, presence is swept only this often, in intervals: other programs
/// remove their sessions themselves.
const PRESENCE_WHILE_IDLE: u64 = 10;

/// Sweeps until `shutdown`.
pub(super) async fn run(
    context: &WorkerContext,
    active: &ActiveBatches,
    shutdown: &CancellationToken,
) {
    let throttle = LogThrottle::default();
    let sweeps = async {
        // The number of batches after which no session was left that may become idle, and the
        // number at the previous sweep: what a store writes a moment after a batch has been written
        // by the next sweep.
        let (mut done_after, mut begun_before) = (None, None);
        for nth in 0.. {
            tokio::time::sleep(INTERVAL + JITTER.mul_f64(fastrand::f64())).await;
            let begun = active.begun();
            let is_idle = done_after == Some(begun);
            if !is_idle || nth % PRESENCE_WHILE_IDLE == 0 {
                presence::sweep(context).await;
            }
            if is_idle {
                continue;
            }
            let is_quiet = active.is_empty() && begun_before.replace(begun) == Some(begun);
            match sweep(context).await {
                Ok(more_to_come) => {
                    done_after = (is_quiet && !more_to_come).then_some(begun);
                    if let Some(lasted) = throttle.recovered().map(seconds) {
                        tracing::info!(lasted, "ending idle sessions again");
                    }
                }
                Err(error) => report(context, &throttle, &error),
            }
        }
    };
    shutdown.run_until_cancelled(sweeps).await;
}

/// A failed sweep does not mean that batches cannot be stored, so it does not affect the store's
/// health.
fn report(context: &WorkerContext, throttle: &LogThrottle, error: &StoreError) {
    let Some(lasting) = throttle.failure().map(seconds) else { return };
    tracing::warn!(%error, lasting, "cannot end idle sessions");
    context.log.step(Stage::Clickhouse).warn("Cannot end idle sessions, retrying", || {
        details(json!({ "reason": error.to_string() }))
    });
}

/// Returns whether there are sessions that may become idle later.
async fn sweep(context: &WorkerContext) -> Result<bool, StoreError> {
    let timeout = context.settings.session_timeout.as_millis();
    let timeout = i64::try_from(timeout).unwrap_or(i64::MAX);
    let since = UtcMillis::now().epoch_millis().saturating_sub(timeout);
    let since = UtcMillis::from_epoch_millis(since);
    loop {
        let step = context.store.end_idle_sessions(since, AT_ONCE);
        let ended = within(STEP_TIMEOUT, step, StoreError::Unavailable).await?;
        let count = ended.len();
        if count > 0 {
            context
                .log
                .step(Stage::Worker)
                .uncounted()
                .info("Idle sessions ended", || details(json!({ "sessions": count })));
            live_events::publish_timeouts(context, ended).await;
        }
        if count < AT_ONCE {
            let later = context.store.has_sessions_since(since);
            return within(STEP_TIMEOUT, later, StoreError::Unavailable).await;
        }
    }
}
