//! Publishes a stored batch while the next one is being stored.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::{WorkerContext, live_events, presence};
use bklit_wire::event::QueuedEvent;

/// What is to be published about a batch.
pub(super) struct Announcement {
    /// Its sessions, if presence is recorded.
    pub(super) seen: Option<presence::Seen>,
    /// Its stored events, oldest first, if somebody may be interested.
    pub(super) events: Vec<QueuedEvent>,
}

/// Publishes batches one after the other, in order.
#[derive(Default)]
pub(super) struct Announcer(Option<AbortOnDropHandle<()>>);

impl Announcer {
    /// Starts to publish a batch once the previous one has been published.
    pub(super) async fn announce(&mut self, context: &Arc<WorkerContext>, batch: Announcement) {
        self.finish().await;
        let context = Arc::clone(context);
        self.0 = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            if let Some(seen) = batch.seen {
                presence::follow(&context, &seen).await;
            }
            live_events::publish(&context, batch.events).await;
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
