//! Claiming a batch while the one before it is stored.
//!
//! Only a full one: what is less gets company meanwhile. Its lease is kept until its turn comes,
//! and a shutdown gives it back.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::batch::{self, Work};
use super::poison::Stored;
use super::{WorkerContext, answer_in_time, claim, lease};

/// Does `processing`, and meanwhile claims the next batch if a full one waits.
pub(super) async fn beside(
    context: &Arc<WorkerContext>,
    shutdown: &CancellationToken,
    processing: impl Future<Output = Option<Stored>>,
) -> (Option<Stored>, Option<Work>) {
    let processed = CancellationToken::new();
    let processing = async {
        // Also when this panics or is dropped nobody is left waiting.
        let _guard = processed.clone().drop_guard();
        processing.await
    };
    let claiming = async {
        let work = claim_full(context, shutdown).await?;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {
                batch::release(context, &work.id).await;
                None
            }
            () = processed.cancelled() => Some(work),
            () = lease::keep(context, &work.id) => {
                batch::tell_taken_over(context, &work.id, work.size);
                None
            }
        }
    };
    tokio::join!(processing, claiming)
}

/// In a task of its own, as reading a batch takes a core for a while.
async fn claim_full(context: &Arc<WorkerContext>, shutdown: &CancellationToken) -> Option<Work> {
    let (context, shutdown) = (Arc::clone(context), shutdown.clone());
    let claiming = async move {
        let stats = answer_in_time(context.queue.stats()).await.ok()?;
        if stats.depth < context.settings.batch_size as u64 || shutdown.is_cancelled() {
            return None;
        }
        // What is wrong with the queue the next claim will tell, too.
        claim(&context).await.ok()?
    };
    match AbortOnDropHandle::new(tokio::spawn(claiming)).await {
        Ok(work) => work,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}
