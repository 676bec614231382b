//! Holding a batch while it is worked on.

use std::time::Duration;

use serde_json::json;

use super::{WorkerContext, details};
use crate::queue::{ClaimId, QueueError};
use bklit_wire::debug_log::Stage;

/// Renewals within a lease, so that one or two may fail.
const RENEWALS: u32 = 3;

/// Renews the claim for as long as it is polled; returns when another worker has the batch.
pub(super) async fn keep(context: &WorkerContext, claim: &ClaimId) {
    let lease = context.settings.lease;
    let pause = (lease / RENEWALS).max(Duration::from_millis(1));
    loop {
        tokio::time::sleep(pause).await;
        let reason = match tokio::time::timeout(pause, context.queue.renew(claim, lease)).await {
            Ok(Ok(())) => continue,
            Ok(Err(QueueError::Stale(_))) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {pause:?}"),
        };
        // Should the lease run out, another worker stores the batch again, which adds nothing,
        // and the acknowledgement tells.
        context.log.step(Stage::Worker).warn("Cannot renew a batch's lease", || {
            details(json!({ "batchId": claim.batch, "reason": reason }))
        });
    }
}
