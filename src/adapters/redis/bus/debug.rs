//! The debug bus: lines on the channel that all parts of Bklit use, gauges on a separate one.

use std::sync::Arc;

use async_trait::async_trait;

use super::history::{AfterShared, Reader};
use super::keeper::{Entry, Keeper};
use super::rate_limit::RateLimit;
use super::relay::{Bus, Listening, Outgoing, Relay};
use crate::local::LocalDebugBus;
use crate::local::history::Ring;
use crate::redis::connection::RedisServer;
use bklit_pipeline::metrics::Metrics;
use bklit_wire::debug_bus::Recalled;
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::event::parse_naming_field;

const LINES: &str = "debug-logs";
const GAUGES: &str = "bklit:gauges";

/// The [`DebugBus`] of all processes that share a Redis server, which keeps the last lines.
pub struct RedisDebugBus {
    local: Arc<Local>,
    relay: Relay,
    /// Lines of this process, some of which Redis lacks: those not sent yet, and those made while
    /// it was unavailable.
    ring: Ring,
    reader: Arc<Reader>,
    rate_limit: RateLimit,
}

struct Local {
    bus: LocalDebugBus,
    metrics: Arc<Metrics>,
}

impl RedisDebugBus {
    /// Joins the bus and reconnects by itself. Lost lines are counted in `metrics`; Redis keeps
    /// about the last `history` lines of all processes. Must be called in a tokio runtime.
    pub fn new(server: RedisServer, metrics: Arc<Metrics>, history: usize) -> Self {
        let keeper = (history > 0).then(|| Keeper::new(history, metrics.process(), &server));
        let bus = LocalDebugBus::new(Arc::clone(&metrics));
        let local = Arc::new(Local { bus, metrics });
        let reader = Arc::new(Reader::new(server.clone()));
        let relay = Relay::new(server, &local, keeper);
        Self { local, relay, ring: Ring::new(history), reader, rate_limit: RateLimit::new() }
    }

    /// The message to send for a line, to subscribers and to the history. For the history alone
    /// nothing is sent while Redis is unavailable.
    fn line(&self, line: &Arc<DebugLog>) -> Option<Outgoing> {
        let number = self.ring.keep(line);
        let is_awaited = self.relay.remote_subscribers() > 0;
        let keeps = self.ring.most() > 0 && !self.relay.is_down();
        let is_kept = keeps && (is_awaited || self.rate_limit.allows());
        if !is_awaited && !is_kept {
            return None;
        }
        let payload = serde_json::to_vec(&**line).ok()?;
        let entry = if is_kept { Entry::new(number, line, &payload) } else { None };
        Some(Outgoing { channel: LINES, payload, is_awaited, entry })
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
        Some(Outgoing::awaited(LINES, serde_json::to_vec(&line).ok()?))
    }
}

impl DebugBus for RedisDebugBus {
    fn publish(&self, message: DebugMessage) {
        let outgoing = match &message {
            DebugMessage::Log(line) => self.line(line),
            DebugMessage::Gauges(gauges) if self.relay.remote_subscribers() > 0 => {
                let json = serde_json::to_vec(&**gauges).ok();
                json.map(|json| Outgoing::awaited(GAUGES, json))
            }
            // Other messages concern a subscriber's own connection.
            _ => None,
        };
        if let Some(outgoing) = outgoing {
            // A lost message is counted, and reported once publishing works again.
            let _ = self.relay.publish(outgoing);
        }
        self.local.bus.publish(message);
    }

    /// Lines are also created for the history.
    fn has_subscribers(&self) -> bool {
        self.relay.used();
        self.ring.most() > 0 || self.is_watched()
    }

    fn is_watched(&self) -> bool {
        self.local.bus.has_subscribers() || self.relay.remote_subscribers() > 0
    }

    fn subscribe(&self) -> Box<dyn DebugStream> {
        let inner = self.local.bus.subscribe();
        // Later changes arrive over the bus.
        let first = match self.relay.subscribed() {
            Listening::Starting => None,
            Listening::Active => Some(DebugMessage::Connected),
            Listening::Failed(reason) => Some(DebugMessage::Disconnected(reason.into())),
        };
        Box::new(RedisDebugStream { first, inner })
    }

    fn subscribe_after(&self, history: usize) -> Box<dyn DebugStream> {
        // In this order no line is missed.
        let live = self.subscribe();
        let own = (self.local.metrics.process(), self.ring.recent(history));
        let reception = Some(self.relay.reception());
        Box::new(AfterShared::new(&self.reader, history, own, reception, live))
    }

    fn recall(&self, most: usize) -> Box<dyn DebugStream> {
        let own = (self.local.metrics.process(), self.ring.recent(most));
        let nothing = Box::new(Recalled::new(Vec::new()));
        Box::new(AfterShared::new(&self.reader, most, own, None, nothing))
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
