//! Ends the sessions of visitors who left without a word.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{WorkerContext, details, live, presence};
use crate::metrics::Part;
use crate::store::StoreError;
use bklit_wire::debug_log::Stage;
use bklit_wire::time::UtcMillis;

/// Time between sweeps, and before the first one.
const INTERVAL: Duration = Duration::from_secs(60);

/// Sessions ended in one step: few enough that batches wait only briefly for it.
const AT_ONCE: usize = 1_000;

/// The longest a step may take before it is left for the next sweep.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Sweeps until `shutdown`.
pub(super) async fn run(context: &WorkerContext, shutdown: &CancellationToken) {
    let sweeps = async {
        loop {
            tokio::time::sleep(INTERVAL).await;
            sweep(context).await;
        }
    };
    shutdown.run_until_cancelled(sweeps).await;
}

async fn sweep(context: &WorkerContext) {
    let timeout = context.settings.session_timeout.as_millis();
    let timeout = i64::try_from(timeout).unwrap_or(i64::MAX);
    let since = UtcMillis::now().epoch_millis().saturating_sub(timeout);
    let since = UtcMillis::from_epoch_millis(since);
    loop {
        let step = context.store.end_idle_sessions(since, AT_ONCE);
        let answer = tokio::time::timeout(STEP_TIMEOUT, step).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable(format!("no answer within {STEP_TIMEOUT:?}")))
        });
        match answer {
            Ok(ended) => {
                context.works(Part::Store);
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
                    return;
                }
            }
            Err(error) => {
                return context.store_failed("Cannot end idle sessions", &error.to_string());
            }
        }
    }
}
