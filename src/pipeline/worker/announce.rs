//! Publishes a stored batch while the next one is being stored.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::bisect::Stored;
use super::{WorkerContext, live_events, presence};

/// Publishes batches one after the other, in order.
#[derive(Default)]
pub(super) struct Announcer(Option<AbortOnDropHandle<()>>);

impl Announcer {
    /// Starts to publish a batch once the previous one has been published.
    pub(super) async fn announce(&mut self, context: &Arc<WorkerContext>, stored: Stored) {
        self.finish().await;
        let context = Arc::clone(context);
        self.0 = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            presence::follow(&context, &stored).await;
            live_events::publish(&context, stored).await;
        })));
    }

    /// Waits until everything has been published.
    pub(super) async fn finish(&mut self) {
        if let Some(task) = self.0.take()
            && let Err(error) = task.await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
