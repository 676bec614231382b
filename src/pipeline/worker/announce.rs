//! Telling of what was stored, while the next batch is.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::bisect::Stored;
use super::{WorkerContext, live_events, presence};

/// Tells of one batch after the other, in their order.
#[derive(Default)]
pub(super) struct Announcer(Option<AbortOnDropHandle<()>>);

impl Announcer {
    /// Begins to tell of a batch, once the one before it was told of.
    pub(super) async fn announce(&mut self, context: &Arc<WorkerContext>, stored: Stored) {
        self.finish().await;
        let context = Arc::clone(context);
        self.0 = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            presence::follow(&context, &stored).await;
            live_events::publish(&context, stored).await;
        })));
    }

    /// Waits until all was told.
    pub(super) async fn finish(&mut self) {
        if let Some(task) = self.0.take()
            && let Err(error) = task.await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
