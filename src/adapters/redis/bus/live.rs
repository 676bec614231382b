//! The live bus: stored events, on the channel that dashboard servers subscribe to.

use std::sync::Arc;

use async_trait::async_trait;

use super::relay::{Bus, Outgoing, Relay};
use crate::local::LocalLiveBus;
use crate::redis::connection::RedisServer;
use bklit_pipeline::bus::{LiveBus, LiveMessage, LiveStream};
use bklit_wire::event::{LiveEvent, parse_naming_field};

const EVENTS: &str = "live-events";

/// The [`LiveBus`] of all processes that share a Redis server.
pub struct RedisLiveBus {
    local: Arc<LocalLiveBus>,
    relay: Relay,
}

impl RedisLiveBus {
    /// Joins the bus and reconnects by itself. Must be called in a tokio runtime.
    pub fn new(server: RedisServer) -> Self {
        let local = Arc::new(LocalLiveBus::default());
        let relay = Relay::new(server, &local, None);
        Self { local, relay }
    }
}

impl Bus for LocalLiveBus {
    const CHANNELS: &'static [&'static str] = &[EVENTS];

    fn local_subscribers(&self) -> usize {
        self.subscribers()
    }

    fn received(&self, _channel: &str, payload: &[u8]) {
        match parse_naming_field::<LiveEvent>(payload, "") {
            Ok(event) => self.send(LiveMessage::Event(Arc::new(event))),
            Err(error) => tracing::debug!(%error, "a message on {EVENTS} is not an event"),
        }
    }

    fn connected(&self) {}

    fn disconnected(&self, _reason: &str) {
        self.send(LiveMessage::Interrupted);
    }

    fn lost(&self, messages: u64) {
        tracing::warn!(events = messages, "live events were not published");
    }

    fn notice(&self, _messages: u64) -> Option<Outgoing> {
        // The channel has no message for this.
        None
    }
}

#[async_trait]
impl LiveBus for RedisLiveBus {
    async fn publish(&self, event: LiveEvent) -> Result<u64, String> {
        let event = Arc::new(event);
        let published = if self.relay.may_have_remote_subscribers() {
            let json = serde_json::to_vec(&*event).map_err(|error| error.to_string());
            json.and_then(|json| self.relay.publish(Outgoing::awaited(EVENTS, json)))
        } else {
            Ok(())
        };
        let local = self.local.subscribers() as u64;
        self.local.send(LiveMessage::Event(event));
        published.map(|()| local + self.relay.remote_subscribers())
    }

    async fn may_have_subscribers(&self) -> bool {
        if self.local.subscribers() == 0 {
            self.relay.counted().await;
        }
        self.has_subscribers()
    }

    fn has_subscribers(&self) -> bool {
        self.relay.used();
        self.local.subscribers() > 0 || self.relay.may_have_remote_subscribers()
    }

    fn subscribe(&self) -> Box<dyn LiveStream> {
        let stream = self.local.subscribe();
        let _ = self.relay.subscribed();
        stream
    }
}
