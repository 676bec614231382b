//! The port `LiveBus`: stored events for dashboards. Publishing never waits; a subscriber that is too
//! slow loses events and receives their number.

use std::sync::Arc;

use async_trait::async_trait;
use bklit_wire::event::LiveEvent;

/// An item of a dashboard's stream.
#[derive(Clone, Debug)]
pub enum LiveMessage {
    /// An event.
    Event(Arc<LiveEvent>),
    /// The number of events that this subscriber lost.
    Lost(u64),
    /// The connection to other processes' buses was lost and is being restored. Events that they
    /// publish meanwhile are missing.
    Interrupted,
}

/// One subscription to a [`LiveBus`].
#[async_trait]
pub trait LiveStream: Send {
    /// The next message; `None` once the bus has closed. Cancel-safe.
    async fn next(&mut self) -> Option<LiveMessage>;
}

/// Stored events for dashboards.
#[async_trait]
pub trait LiveBus: Send + Sync {
    /// Sends an event to all subscribers; returns their number.
    ///
    /// # Errors
    /// Why it could not be published, for the operator. Nothing depends on it: the event is already
    /// stored.
    async fn publish(&self, event: LiveEvent) -> Result<u64, String>;

    /// Whether there may be subscribers; if not, there is no need to build events. Cheap enough to
    /// call for every batch.
    ///
    /// True immediately for a subscriber in this process, within about a second for one in another
    /// process if this is called that often, and while it is not known. Events published before a
    /// subscriber in another process is noticed do not reach it.
    fn has_subscribers(&self) -> bool;

    /// The same, at most a second old even if it has not been called for long: may query a server,
    /// and takes at most a quarter of a second.
    async fn may_have_subscribers(&self) -> bool {
        self.has_subscribers()
    }

    /// Subscribes to all events from now on.
    fn subscribe(&self) -> Box<dyn LiveStream>;
}
