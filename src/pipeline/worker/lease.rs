//! Renews the lease of a batch while a worker has it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{WorkerContext, details};
use crate::queue::{ClaimId, QueueError};
use bklit_net::timeout::no_response;
use bklit_wire::debug_log::Stage;

/// Renewals per lease, so that one or two may fail.
const RENEWALS: u32 = 3;

/// A claim that is renewed until this is dropped, whatever its worker is waiting for.
pub(super) struct Lease {
    id: ClaimId,
    lost: CancellationToken,
    _renewing: AbortOnDropHandle<()>,
}

impl Lease {
    /// Starts to renew a claim.
    pub(super) fn hold(context: &Arc<WorkerContext>, id: ClaimId) -> Self {
        let lost = CancellationToken::new();
        let (context, claim, taken_over) = (Arc::clone(context), id.clone(), lost.clone());
        let renewing = tokio::spawn(async move {
            renew(&context, &claim).await;
            taken_over.cancel();
        });
        Self { id, lost, _renewing: AbortOnDropHandle::new(renewing) }
    }

    /// The claim.
    pub(super) fn id(&self) -> &ClaimId {
        &self.id
    }

    /// Waits until another worker has taken over the batch.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

/// Renews the claim; returns when another worker has taken over the batch.
async fn renew(context: &WorkerContext, claim: &ClaimId) {
    let lease = context.settings.lease;
    let pause = (lease / RENEWALS).max(Duration::from_millis(1));
    loop {
        tokio::time::sleep(pause).await;
        let reason = match tokio::time::timeout(pause, context.queue.renew(claim, lease)).await {
            Ok(Ok(())) => continue,
            Ok(Err(QueueError::Stale(_))) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => no_response(pause),
        };
        // If the lease expires, another worker stores the batch again, which adds nothing, and
        // our acknowledgement fails.
        context.log.step(Stage::Worker).warn("Cannot renew a batch's lease", || {
            details(json!({ "batchId": claim.batch, "reason": reason }))
        });
    }
}
