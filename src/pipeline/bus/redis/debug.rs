//! The debug bus: lines on the channel that all parts of Bklit use, figures on one of their own.

use std::sync::Arc;

use async_trait::async_trait;

use super::relay::{Bus, Listening, Outgoing, Relay};
use crate::pipeline::bus::local::LocalDebugBus;
use crate::pipeline::bus::{DebugBus, DebugMessage, DebugStream};
use crate::pipeline::debug_log::{DebugLog, Level, Stage};
use crate::pipeline::event::parse_naming_field;
use crate::pipeline::metrics::Metrics;
use crate::pipeline::redis::RedisServer;

const LINES: &str = "debug-logs";
const GAUGES: &str = "bklit:gauges";

/// The [`DebugBus`] of all processes at one Redis.
pub struct RedisDebugBus {
    local: Arc<Local>,
    relay: Relay,
}

struct Local {
    bus: LocalDebugBus,
    metrics: Arc<Metrics>,
}

impl RedisDebugBus {
    /// Joins the bus; lines that are lost are counted in `metrics`. Connects by itself, again and
    /// again. Call it within a tokio runtime.
    pub fn new(server: RedisServer, metrics: Arc<Metrics>) -> Self {
        let bus = LocalDebugBus::new(Arc::clone(&metrics));
        let local = Arc::new(Local { bus, metrics });
        let relay = Relay::new(server, &local);
        Self { local, relay }
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(payload: &'a [u8]) -> Option<T> {
    parse_naming_field(payload, "").ok()
}

impl Bus for Local {
    const CHANNELS: &'static [&'static str] = &[LINES, GAUGES];

    fn local_subscribers(&self) -> usize {
        usize::from(self.bus.has_subscribers())
    }

    fn received(&self, channel: &str, payload: &[u8]) {
        let message = match channel {
            GAUGES => parse(payload).map(|gauges| DebugMessage::Gauges(Arc::new(gauges))),
            _ => parse(payload).map(|line| DebugMessage::Log(Arc::new(line))),
        };
        let unparsed = || DebugMessage::Unparsed(String::from_utf8_lossy(payload).into());
        self.bus.publish(message.unwrap_or_else(unparsed));
    }

    fn connected(&self) {
        self.bus.publish(DebugMessage::Connected);
    }

    fn disconnected(&self, reason: &str) {
        self.bus.publish(DebugMessage::Disconnected(reason.into()));
    }

    fn lost(&self, messages: u64) {
        self.metrics.lines_lost(messages);
    }

    fn notice(&self, messages: u64) -> Option<Outgoing> {
        let mut line = DebugLog::new(Stage::Pubsub, Level::Warn, "Debug lines were not published");
        line.data.insert("lost".to_owned(), messages.into());
        Some((LINES, serde_json::to_vec(&line).ok()?))
    }
}

impl DebugBus for RedisDebugBus {
    fn publish(&self, message: DebugMessage) {
        if self.relay.remote_subscribers() > 0 {
            let json = match &message {
                DebugMessage::Log(line) => Some((LINES, serde_json::to_vec(&**line))),
                DebugMessage::Gauges(gauges) => Some((GAUGES, serde_json::to_vec(&**gauges))),
                // Those are of a subscriber's own connection.
                _ => None,
            };
            if let Some((channel, Ok(json))) = json {
                // What is lost is counted, and told once something gets through.
                let _ = self.relay.publish(channel, json);
            }
        }
        self.local.bus.publish(message);
    }

    fn has_subscribers(&self) -> bool {
        self.local.bus.has_subscribers() || self.relay.remote_subscribers() > 0
    }

    fn subscribe(&self) -> Box<dyn DebugStream> {
        let inner = self.local.bus.subscribe();
        // Changes are heard from the bus.
        let first = match self.relay.subscribed() {
            Listening::Begins => None,
            Listening::Already => Some(DebugMessage::Connected),
            Listening::Fails(reason) => Some(DebugMessage::Disconnected(reason.into())),
        };
        Box::new(RedisDebugStream { first, inner })
    }
}

struct RedisDebugStream {
    first: Option<DebugMessage>,
    inner: Box<dyn DebugStream>,
}

#[async_trait]
impl DebugStream for RedisDebugStream {
    async fn next(&mut self) -> Option<DebugMessage> {
        match self.first.take() {
            Some(message) => Some(message),
            None => self.inner.next().await,
        }
    }
}
