//! Claims the next batch while the current one is being stored.
//!
//! Only a large batch is claimed; a smaller one can still fill up. Its lease is renewed until it is
//! processed, and a shutdown releases it at once. While the store fails, none is claimed: it would
//! only take up memory.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::batch::{self, Work};
use super::stop::Stop;
use super::{WorkerContext, claim_or_release, in_time};
use crate::metrics::Part;
use bklit_wire::gauges::Health;

/// Events from which a batch is claimed ahead, if a full one has more.
const LARGE: u64 = 5_000;

/// Runs `processing`, and meanwhile claims the next batch if a large one waits.
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
        let work = claim_from(large(context), context, stop).await?;
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

/// From how many events a batch counts as large.
pub(super) fn large(context: &WorkerContext) -> u64 {
    LARGE.min(context.settings.batch_size as u64)
}

/// Claims a batch if at least this many events wait and the store works.
pub(super) async fn claim_from(
    least: u64,
    context: &Arc<WorkerContext>,
    stop: &Stop,
) -> Option<Work> {
    if context.log.metrics().health(Part::Store) == Health::Failing {
        return None;
    }
    let stats = stop.started.run_until_cancelled(in_time(context.queue.stats())).await?;
    if stats.ok()?.depth < least {
        return None;
    }
    // If this fails, the next claim reports the error.
    claim_or_release(context, stop).await.ok()?
}
