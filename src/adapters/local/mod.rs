//! Adapters that need no server: in-process buses (bounded ring buffers, in which a slow subscriber
//! loses messages), their history, what is paused, and definitions where the tracking id is the definition.

pub mod history;
pub mod pauses;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast::{self, error::RecvError};

use bklit_pipeline::bus::{LiveBus, LiveMessage, LiveStream};
use bklit_pipeline::definitions::{DefinitionName, Definitions, DefinitionsError};
use bklit_pipeline::metrics::Metrics;
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::event::LiveEvent;

/// How many messages a subscriber may lag behind before it loses some.
const CAPACITY: usize = 16_384;

/// The in-process [`DebugBus`].
pub struct LocalDebugBus {
    sender: broadcast::Sender<DebugMessage>,
    metrics: Arc<Metrics>,
}

impl LocalDebugBus {
    /// Creates a bus. Messages that subscribers lose are counted in `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { sender: broadcast::Sender::new(CAPACITY), metrics }
    }
}

impl DebugBus for LocalDebugBus {
    fn publish(&self, message: DebugMessage) {
        // An error means that there are no subscribers.
        let _ = self.sender.send(message);
    }

    fn has_subscribers(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    fn subscribe(&self) -> Box<dyn DebugStream> {
        let metrics = Arc::clone(&self.metrics);
        Box::new(LocalDebugStream { receiver: self.sender.subscribe(), metrics })
    }
}

struct LocalDebugStream {
    receiver: broadcast::Receiver<DebugMessage>,
    metrics: Arc<Metrics>,
}

#[async_trait]
impl DebugStream for LocalDebugStream {
    async fn next(&mut self) -> Option<DebugMessage> {
        match self.receiver.recv().await {
            Ok(message) => Some(message),
            Err(RecvError::Lagged(lost)) => {
                self.metrics.lines_lost(lost);
                Some(DebugMessage::Lost(lost))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

/// The in-process [`LiveBus`].
pub struct LocalLiveBus {
    sender: broadcast::Sender<LiveMessage>,
}

impl LocalLiveBus {
    /// Number of subscribers.
    pub(crate) fn subscribers(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Sends a message to all subscribers.
    pub(crate) fn send(&self, message: LiveMessage) {
        // An error means that there are no subscribers.
        let _ = self.sender.send(message);
    }
}

impl Default for LocalLiveBus {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(CAPACITY) }
    }
}

#[async_trait]
impl LiveBus for LocalLiveBus {
    async fn publish(&self, event: LiveEvent) -> Result<u64, String> {
        // An error means that there are no subscribers.
        Ok(self.sender.send(LiveMessage::Event(Arc::new(event))).unwrap_or(0) as u64)
    }

    fn has_subscribers(&self) -> bool {
        self.subscribers() > 0
    }

    fn subscribe(&self) -> Box<dyn LiveStream> {
        Box::new(LocalLiveStream(self.sender.subscribe()))
    }
}

struct LocalLiveStream(broadcast::Receiver<LiveMessage>);

#[async_trait]
impl LiveStream for LocalLiveStream {
    async fn next(&mut self) -> Option<LiveMessage> {
        match self.0.recv().await {
            Ok(message) => Some(message),
            Err(RecvError::Lagged(lost)) => Some(LiveMessage::Lost(lost)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// [`Definitions`] without a database: every tracking id is its own definition.
pub struct TrackingIdIsDefinition;

#[async_trait]
impl Definitions for TrackingIdIsDefinition {
    async fn find(
        &self,
        names: &[DefinitionName],
    ) -> Result<HashMap<DefinitionName, String>, DefinitionsError> {
        Ok(names.iter().map(|name| (name.clone(), name.tracking_id.clone())).collect())
    }
}
