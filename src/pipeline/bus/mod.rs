//! The port `LiveBus`: stored events, for dashboards. Publishing never waits; a subscriber that is
//! too slow loses events and learns how many.

use std::sync::Arc;

use async_trait::async_trait;
use bklit_wire::event::LiveEvent;

/// What a dashboard's stream yields.
#[derive(Clone, Debug)]
pub enum LiveMessage {
    /// An event.
    Event(Arc<LiveEvent>),
    /// This many events did not reach this subscriber.
    Lost(u64),
    /// The connection to other processes' buses was cut; it is tried again. What they publish
    /// meanwhile is missing.
    Interrupted,
}

/// One subscription to a [`LiveBus`].
#[async_trait]
pub trait LiveStream: Send {
    /// The next message; `None` once the bus has closed. Safe to cancel.
    async fn next(&mut self) -> Option<LiveMessage>;
}

/// Stored events, for dashboards.
#[async_trait]
pub trait LiveBus: Send + Sync {
    /// Hands an event to all subscribers; returns how many there are.
    ///
    /// # Errors
    /// Why it could not be published, for the operator. Nothing depends on it: the event is
    /// stored.
    async fn publish(&self, event: LiveEvent) -> Result<u64, String>;

    /// Whether anybody may be listening: when not, making an event can be saved. Cheap enough to
    /// be called for every batch.
    ///
    /// True at once for a subscriber of this process, within about a second for one of another
    /// process, and for as long as it is not known. What is published before a subscriber of
    /// another process is noticed does not reach it.
    fn has_subscribers(&self) -> bool;

    /// Starts to listen.
    fn subscribe(&self) -> Box<dyn LiveStream>;
}
