//! Claims the next batch while the current one is being stored.
//!
//! Only a full batch is claimed; a smaller one can still fill up. Its lease is renewed until it is
//! processed, and a shutdown releases it at once.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::batch::{self, Work};
use super::stop::Stop;
use super::{WorkerContext, claim_or_release, in_time};

/// Runs `processing`, and meanwhile claims the next batch if a full one waits.
pub(super) async fn during(
    context: &Arc<WorkerContext>,
    stop: &Stop,
    processing: impl Future<Output = ()>,
) -> Option<Work> {
    let processed = CancellationToken::new();
    let processing = async {
        // On drop, also after a panic, so that `claiming` does not wait forever.
        let _guard = processed.clone().drop_guard();
        processing.await;
    };
    let claiming = async {
        let work = claim_full(context, stop).await?;
        tokio::select! {
            biased;
            () = stop.started.cancelled() => {}
            () = work.lease.lost() => {
                batch::log_taken_over(context, work.lease.id(), work.size);
                return None;
            }
            () = processed.cancelled() => return Some(work),
        }
        batch::release(context, work.lease).await;
        None
    };
    let ((), work) = tokio::join!(processing, claiming);
    work
}

async fn claim_full(context: &Arc<WorkerContext>, stop: &Stop) -> Option<Work> {
    let stats = stop.started.run_until_cancelled(in_time(context.queue.stats())).await?;
    if stats.ok()?.depth < context.settings.batch_size as u64 {
        return None;
    }
    // If this fails, the next claim reports the error.
    claim_or_release(context, stop).await.ok()?
}
