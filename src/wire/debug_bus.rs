//! The port `DebugBus`: debug lines and gauges for consoles. Publishing never waits; a subscriber
//! that is too slow loses messages and receives their number.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;

use crate::debug_log::DebugLog;
use crate::gauges::{Gauges, QueueGauges};

/// What a console receives from a bus.
#[derive(Clone, Debug)]
pub enum DebugMessage {
    /// A line.
    Log(Arc<DebugLog>),
    /// A process's gauges of the last second.
    Gauges(Arc<Gauges>),
    /// The state of the queue, as observed by the subscriber's own side: not every process on the queue
    /// publishes gauges.
    Queue(QueueGauges),
    /// The lines kept from before the subscription end here.
    HistoryEnd,
    /// A message in another format than [`DebugLog`]: shown as text, never dropped.
    Unparsed(Arc<str>),
    /// The number of messages that this subscriber lost because it was too slow.
    Lost(u64),
    /// The connection to another process's bus is up.
    Connected,
    /// The connection was lost, with the reason; it is being restored.
    Disconnected(Arc<str>),
}

/// One subscription to a [`DebugBus`].
#[async_trait]
pub trait DebugStream: Send {
    /// The next message; `None` once the bus has closed. Cancel-safe.
    async fn next(&mut self) -> Option<DebugMessage>;
}

/// Debug lines and gauges for consoles.
pub trait DebugBus: Send + Sync {
    /// Sends a message to all subscribers without waiting for any of them.
    fn publish(&self, message: DebugMessage);

    /// Whether anything receives lines; if not, they need not be built. To be called when there is
    /// something to publish: a bus between processes then looks for subscribers in the others.
    fn has_subscribers(&self) -> bool;

    /// Whether there are subscribers now. Lines may also be needed for the history alone.
    fn is_watched(&self) -> bool {
        self.has_subscribers()
    }

    /// Subscribes to all messages from now on.
    fn subscribe(&self) -> Box<dyn DebugStream>;

    /// Like [`DebugBus::subscribe`], preceded by up to `_history` of the latest lines kept and
    /// [`DebugMessage::HistoryEnd`].
    fn subscribe_after(&self, _history: usize) -> Box<dyn DebugStream> {
        self.subscribe()
    }

    /// Up to `_most` of the latest lines kept; the stream ends after them.
    fn recall(&self, _most: usize) -> Box<dyn DebugStream> {
        Box::new(Recalled::new(Vec::new()))
    }
}

/// A stream of given lines that ends after them.
pub struct Recalled(VecDeque<Arc<DebugLog>>);

impl Recalled {
    /// A stream of `lines`.
    pub fn new(lines: Vec<Arc<DebugLog>>) -> Self {
        Self(lines.into())
    }
}

#[async_trait]
impl DebugStream for Recalled {
    async fn next(&mut self) -> Option<DebugMessage> {
        self.0.pop_front().map(DebugMessage::Log)
    }
}
