//! The port `DebugBus`: debug lines and figures, for consoles. Publishing never waits; a subscriber
//! that is too slow loses messages and learns how many.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;

use crate::debug_log::DebugLog;
use crate::gauges::Gauges;

/// What a console hears from a bus.
#[derive(Clone, Debug)]
pub enum DebugMessage {
    /// A line.
    Log(Arc<DebugLog>),
    /// A process's figures of the last second.
    Gauges(Arc<Gauges>),
    /// A line that is none of the contract's: shown as it is, never dropped.
    Unparsed(Arc<str>),
    /// This many messages did not reach this subscriber, because it was too slow.
    Lost(u64),
    /// The connection to another process's bus stands.
    Connected,
    /// It was cut, for this reason; it is tried again.
    Disconnected(Arc<str>),
}

/// One subscription to a [`DebugBus`].
#[async_trait]
pub trait DebugStream: Send {
    /// The next message; `None` once the bus has closed. Safe to cancel.
    async fn next(&mut self) -> Option<DebugMessage>;
}

/// Lines and gauges for consoles.
pub trait DebugBus: Send + Sync {
    /// Hands a message to all subscribers, at once and without waiting for any.
    fn publish(&self, message: DebugMessage);

    /// Whether anybody listens: with nobody there, making a line can be saved.
    fn has_subscribers(&self) -> bool;

    /// Whether somebody looks now; lines may be wanted also to be kept for later.
    fn is_watched(&self) -> bool {
        self.has_subscribers()
    }

    /// Starts to listen.
    fn subscribe(&self) -> Box<dyn DebugStream>;

    /// The same, and first come the last lines from before, as many as are kept of so many.
    fn subscribe_after(&self, _history: usize) -> Box<dyn DebugStream> {
        self.subscribe()
    }

    /// The last lines alone, as many as are kept of so many; the stream ends after them.
    fn recall(&self, _most: usize) -> Box<dyn DebugStream> {
        Box::new(Recalled::new(Vec::new()))
    }
}

/// Lines alone, after which the stream ends.
pub struct Recalled(VecDeque<Arc<DebugLog>>);

impl Recalled {
    /// These lines.
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
