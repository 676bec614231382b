//! Accepts events from either server: parses, validates, completes and queues them. Success is
//! reported to the sender strictly after the queue has confirmed.
//!
//! - `accept`: the steps from a parsed event to a queued one
//! - `changes`: what was changed about an event so that it could be accepted
//! - `clock`: corrects the time of an event whose sender's clock is wrong
//! - `enrich`: derives fields of a page view from its request
//! - `envelope`: parses a request's body
//! - `geo_headers`: the visitor's address and location from a proxy's headers
//! - `rejection`: why an event is rejected
//! - `settings`: the settings of the intake
//! - `urls`: removes credentials from URLs, and shortens them
//! - `validate`: rules for a well-formed event

mod accept;
mod changes;
mod clock;
mod enrich;
mod envelope;
mod geo_headers;
mod rejection;
mod settings;
mod urls;
pub mod validate;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::HeaderMap;

use crate::auth::{Authenticator, TokenRecord};
use crate::queue::Queue;
use crate::telemetry::Telemetry;
use crate::verify::BaselineSender;

pub use accept::parse;
pub use envelope::Envelope;
pub use rejection::{Rejected, Rejection};
pub use settings::{ANY_SCHEME, IntakeSettings};

/// Accepts events.
pub struct Intake {
    queue: Arc<dyn Queue>,
    authenticator: Arc<Authenticator>,
    log: Arc<Telemetry>,
    settings: IntakeSettings,
    /// Whether a proxy in front sets `X-Forwarded-For` and the headers with the visitor's location.
    trust_forwarded: bool,
    /// Receives each accepted event during dual-write verification.
    baseline: Option<BaselineSender>,
}

/// The sender of an event.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// The other end of the connection.
    pub ip: IpAddr,
    /// The headers of the request or, over a WebSocket, of the one that opened it.
    pub headers: &'a HeaderMap,
    /// Its token; only the end of a session may come without one.
    pub token: Option<&'a TokenRecord>,
    /// When the head of the request, or the message, had arrived.
    pub began: Instant,
}

impl Intake {
    /// Queues events in `queue`.
    pub fn new(
        queue: Arc<dyn Queue>,
        authenticator: Arc<Authenticator>,
        log: Arc<Telemetry>,
        settings: IntakeSettings,
        trust_forwarded: bool,
    ) -> Self {
        Self { queue, authenticator, log, settings, trust_forwarded, baseline: None }
    }

    /// Also hands accepted events to the baseline writer.
    #[must_use]
    pub fn with_baseline(self, baseline: Option<BaselineSender>) -> Self {
        Self { baseline, ..self }
    }

    /// The queue.
    pub fn queue(&self) -> &dyn Queue {
        &*self.queue
    }

    /// Checks tokens.
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// The pipeline's log and metrics.
    pub fn log(&self) -> &Telemetry {
        &self.log
    }

    /// Whether forwarding headers are trusted.
    pub fn trusts_forwarded(&self) -> bool {
        self.trust_forwarded
    }
}
