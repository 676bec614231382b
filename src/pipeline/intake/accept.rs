//! Checks, completes and queues a parsed event.

use std::sync::Arc;
use std::time::Instant;

use bklit_wire::debug_log::Stage;
use bklit_wire::event::{CustomEvent, EventKind, PageView, Payload, QueuedEvent, SessionEnd};
use bklit_wire::time::UtcMillis;
use hyper::HeaderMap;

use super::visitor::Device;
use super::{Envelope, Intake, Rejected, Rejection, Sender, enrich, validate};
use crate::queue::{NewItem, Pushed};
use crate::server::access::site;
use crate::telemetry::Data;

impl Intake {
    /// Checks, completes and queues an event. Returns its id once the queue has confirmed.
    ///
    /// # Errors
    /// Why it is rejected. Nothing was queued then, unless the queue's response was lost.
    pub async fn accept(
        &self,
        sender: Sender<'_>,
        envelope: Envelope<Payload>,
    ) -> Result<String, Rejected> {
        let Envelope { project_id, event_id, event } = envelope;
        let project = project_id.ok_or_else(|| Rejection::field("projectId", "missing"))?;
        validate::id("projectId", &project)?;

        let site = site(sender.headers);
        let allowed = match sender.token {
            Some(token) => token.allow_ingest(&project, site),
            None => self.authenticator.authorize_beacon(&project, site).await,
        };
        // Otherwise anybody could choose an id that makes somebody else's event look like a retry.
        let client_id = event_id.filter(|_| sender.token.is_some());
        let checked = allowed.map_err(Rejection::from).and_then(|()| {
            client_id.as_deref().map_or(Ok(()), validate::event_id)?;
            self.complete(event, sender)
        });
        match checked {
            Ok(payload) => self.push(payload, project, client_id, sender).await,
            Err(why) => Err(Rejected { why, project: Some(project) }),
        }
    }

    /// Validates the event and adds what is known from its request.
    fn complete(&self, mut payload: Payload, sender: Sender<'_>) -> Result<Payload, Rejection> {
        match &mut payload {
            Payload::Pageview(view) => {
                let url = validate::page_view(view)?;
                enrich::page_view(view, &url, sender.headers, sender.visitor);
            }
            Payload::Event(event) => validate::custom_event(event)?,
            Payload::SessionEnd(end) => validate::session_end(end)?,
        }
        Ok(payload)
    }

    async fn push(
        &self,
        payload: Payload,
        project: String,
        client_id: Option<String>,
        sender: Sender<'_>,
    ) -> Result<String, Rejected> {
        let kind = payload.kind();
        let is_clients = client_id.is_some();
        let id = client_id.unwrap_or_else(QueuedEvent::new_id);
        let step = |stage| self.log.step(stage).event(&id).project(&project);
        step(Stage::Ingestion)
            .took(sender.began.elapsed())
            .info("Event received", || details(&payload, sender.headers));

        let event = Arc::new(QueuedEvent {
            id: id.clone(),
            payload,
            queued_at: UtcMillis::now(),
            project_id: project.clone(),
            push_ticket: None,
        });
        // Cloned before the push: the copy must not contain what the queue adds.
        let copy = self.baseline.as_ref().map(|baseline| (baseline, Arc::clone(&event)));
        let pushing = Instant::now();
        let pushed = self.queue.push(NewItem { event, client_id: is_clients }).await;
        let took = pushing.elapsed();
        match pushed {
            Ok(pushed) => {
                self.log.metrics().accepted();
                if let Some((baseline, event)) = copy
                    && pushed == Pushed::Queued
                {
                    baseline.offer(event);
                }
                step(Stage::Queue).took(took).info(queued_message(pushed), || {
                    Data::from_iter([("type".to_owned(), kind.as_str().into())])
                });
                Ok(id)
            }
            Err(error) => {
                let reason = error.to_string();
                step(Stage::Queue).took(took).error("Event not queued", || {
                    Data::from_iter([("error".to_owned(), reason.into())])
                });
                Err(Rejected { why: error.into(), project: Some(project) })
            }
        }
    }
}

/// Parses an event of `kind` from its JSON.
///
/// # Errors
/// [`Rejection`] with the invalid field.
pub fn parse(kind: EventKind, bytes: &[u8]) -> Result<Envelope<Payload>, Rejection> {
    fn read<'a, T: serde::Deserialize<'a>>(
        bytes: &'a [u8],
        payload: impl FnOnce(T) -> Payload,
    ) -> Result<Envelope<Payload>, Rejection> {
        let Envelope { project_id, event_id, event } = Envelope::<T>::parse(bytes)?;
        Ok(Envelope { project_id, event_id, event: payload(event) })
    }
    match kind {
        EventKind::Pageview => read::<Box<PageView>>(bytes, Payload::Pageview),
        EventKind::Event => read::<CustomEvent>(bytes, Payload::Event),
        EventKind::SessionEnd => read::<SessionEnd>(bytes, Payload::SessionEnd),
    }
}

fn queued_message(pushed: Pushed) -> &'static str {
    match pushed {
        Pushed::Queued => "Event queued",
        Pushed::Duplicate => "Event was queued before: a retry",
    }
}

/// The fields of an event that a debug line shows.
fn details(payload: &Payload, headers: &HeaderMap) -> Data {
    let mut data = Data::new();
    let mut show = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            data.insert(name.to_owned(), value.into());
        }
    };
    show("type", Some(payload.kind().as_str()));
    show("sessionId", payload.session_id());
    match payload {
        Payload::Pageview(view) => {
            show("url", Some(&view.url));
            show("title", view.title.as_deref());
            show("referrer", view.referrer.as_deref());
            show("countryCode", view.country_code.as_deref());
            if let Some(Device { form, browser, os }) = enrich::device(view, headers) {
                show("browser", browser);
                show("os", os);
                show("device", Some(form.as_str()));
            }
        }
        Payload::Event(event) => {
            show("trackingId", Some(&event.tracking_id));
            show("eventType", Some(&event.event_type));
        }
        Payload::SessionEnd(end) => show("reason", end.reason.as_deref()),
    }
    data
}
