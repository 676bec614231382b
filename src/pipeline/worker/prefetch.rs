//! Claiming a batch while the one before it is stored.
//!
//! Only a full one: what is less gets company meanwhile. Its lease is kept until its turn comes,
//! and a shutdown gives it back at once.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::batch::{self, Work};
use super::stop::Stop;
use super::{WorkerContext, claim_or_release, in_time};

/// Does `processing`, and meanwhile claims the next batch if a full one waits.
pub(super) async fn beside(
    context: &Arc<WorkerContext>,
    stop: &Stop,
    processing: impl Future<Output = ()>,
) -> Option<Work> {
    let processed = CancellationToken::new();
    let processing = async {
        // Also when this panics or is dropped nobody is left waiting.
        let _guard = processed.clone().drop_guard();
        processing.await;
    };
    let claiming = async {
        let work = claim_full(context, stop).await?;
        tokio::select! {
            biased;
            () = stop.begun.cancelled() => {}
            () = work.lease.lost() => {
                batch::tell_taken_over(context, work.lease.id(), work.size);
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
    let stats = stop.begun.run_until_cancelled(in_time(context.queue.stats())).await?;
    if stats.ok()?.depth < context.settings.batch_size as u64 {
        return None;
    }
    // What is wrong with the queue the next claim will tell, too.
    claim_or_release(context, stop).await.ok()?
}
