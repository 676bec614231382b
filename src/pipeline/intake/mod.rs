//! Accepts events from either server: parses, validates, completes and queues them. Success is
//! reported to the sender strictly after the queue has confirmed.
//!
//! - `accept`: the steps from a parsed event to a queued one
//! - `changes`: what was changed about an event so that it could be accepted
//! - `clock`: corrects the time of an event whose sender's clock is wrong
//! - `enrich`: derives fields of a page view from its request
//! - `envelope`: parses a request's body
//! - `filters`: drops or marks what is not a visit
//! - `globs`: patterns of names
//! - `known_texts`: remembers what recent user agents mean
//! - `page`: the address of a page, taken apart
//! - `rejection`: why an event is rejected
//! - `settings`: the settings of the intake
//! - `urls`: removes credentials from URLs, and shortens them
//! - `validate`: rules for a well-formed event
//! - `visitor`: address, location and device of the sender

mod accept;
mod changes;
mod clock;
mod enrich;
mod envelope;
pub mod filters;
mod globs;
mod known_texts;
mod page;
mod rejection;
mod settings;
mod urls;
pub mod validate;
pub mod visitor;

use std::sync::Arc;
use std::time::Instant;

use hyper::HeaderMap;

use crate::auth::{Authenticator, TokenRecord};
use crate::queue::Queue;
use crate::refused::{Found, Refusals, Refused, RefusedSettings};
use crate::telemetry::Telemetry;
use crate::throttle::{LimitSettings, Throttle};
use crate::verify::BaselineSender;
use crate::who::Traits;

pub use accept::parse;
pub use clock::without_skew;
pub use envelope::Envelope;
pub(crate) use envelope::named;
use filters::Filters;
pub use globs::Globs;
pub use rejection::{Rejected, Rejection};
pub use settings::{ANY_SCHEME, GeoSettings, IntakeSettings, PrivacySettings};
use visitor::{Visitor, Visitors};

/// Accepts events.
pub struct Intake {
    queue: Arc<dyn Queue>,
    authenticator: Arc<Authenticator>,
    log: Arc<Telemetry>,
    settings: IntakeSettings,
    visitors: Arc<Visitors>,
    filters: Filters,
    /// Receives each accepted event during dual-write verification.
    baseline: Option<BaselineSender>,
    throttle: Arc<Throttle>,
    refusals: Refusals,
}

/// The sender of an event.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// Who it is.
    pub visitor: &'a Visitor,
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
        visitors: Visitors,
    ) -> Self {
        let visitors = Arc::new(visitors);
        let throttle = Arc::new(Throttle::new(LimitSettings::default(), u64::MAX));
        let (refusals, filters) = (Refusals::default(), Filters::default());
        Self {
            queue,
            authenticator,
            log,
            settings,
            visitors,
            filters,
            baseline: None,
            throttle,
            refusals,
        }
    }

    /// Refuses what is over a limit.
    #[must_use]
    pub fn with_throttle(self, throttle: Arc<Throttle>) -> Self {
        Self { throttle, ..self }
    }

    /// Keeps as much about refused events as these settings say.
    #[must_use]
    pub fn with_refused(self, settings: &RefusedSettings) -> Self {
        Self { refusals: Refusals::new(settings), ..self }
    }

    /// Drops or marks what these filters find, instead of those with the default settings.
    #[must_use]
    pub fn with_filters(self, filters: Filters) -> Self {
        Self { filters, ..self }
    }

    /// Also hands accepted events to the baseline writer.
    #[must_use]
    pub fn with_baseline(self, baseline: Option<BaselineSender>) -> Self {
        Self { baseline, ..self }
    }

    /// Counts and keeps an event that was refused by either server. Returns what is known of it. Only
    /// what comes here counts as refused: in figures, history, alerts and `GET /api/refused`.
    pub fn refuse(&self, refused: Refused<'_>) -> Found {
        let metrics = self.log.metrics();
        metrics.refused();
        if let Some(project) = refused.project.filter(|_| !refused.is_stranger) {
            metrics.refused_of(project);
        }
        let (client, address, kind) = (refused.client, refused.peer.clone(), refused.kind);
        let found = self.refusals.add(refused, metrics);
        metrics.who().refused(|| {
            Traits::refused(&found, address.as_deref(), kind, self.visitors.country(client))
        });
        found
    }

    /// What was refused.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
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

    /// The same, shared.
    pub fn shared_log(&self) -> Arc<Telemetry> {
        Arc::clone(&self.log)
    }

    /// Identifies who sends requests.
    pub fn visitors(&self) -> &Arc<Visitors> {
        &self.visitors
    }
}
