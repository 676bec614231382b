//! The ports `DebugBus` (lines and gauges for consoles) and `LiveBus` (events for dashboards).
//!
//! Both are for onlookers: publishing never waits. Who is too slow loses messages and is told
//! how many.

pub mod history;
pub mod local;
pub mod redis;
pub mod sse;

use std::sync::Arc;

use async_trait::async_trait;

use super::debug_log::DebugLog;
use super::event::LiveEvent;
use super::gauges::Gauges;
use super::store::SessionKey;
use super::time::UtcMillis;

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
        Box::new(history::Recalled::new(Vec::new()))
    }
}

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

/// Which sessions are active, for the visitors that dashboards show.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Notes when sessions were last active; an earlier moment than is known changes nothing.
    ///
    /// # Errors
    /// Why it could not be noted, for the operator. Nothing depends on it.
    async fn active(&self, sessions: &[(SessionKey, UtcMillis)]) -> Result<(), String>;

    /// Notes that sessions have ended.
    ///
    /// # Errors
    /// Why it could not be noted, for the operator.
    async fn ended(&self, sessions: &[SessionKey]) -> Result<(), String>;

    /// How many sessions of a project are active.
    ///
    /// # Errors
    /// Why it is not known, for the operator.
    async fn count(&self, project_id: &str) -> Result<u64, String>;
}
