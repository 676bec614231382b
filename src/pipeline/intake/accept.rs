//! Checks, completes and queues a parsed event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bklit_wire::debug_log::Stage;
use bklit_wire::event::{CustomEvent, EventKind, PageView, Payload, QueuedEvent, SessionEnd};
use bklit_wire::time::UtcMillis;

use super::{Envelope, Intake, Rejected, Rejection, Sender, enrich, validate};
use crate::queue::{NewItem, Pushed, QueueError};
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
        let item = self.prepare(sender, envelope).await?;
        let pushing = Instant::now();
        let pushed = self.queue.push(item.clone()).await;
        self.finish(&item, pushed, pushing.elapsed())
    }

    /// Like [`Intake::accept`], for several events of one sender that are queued together. What is an
    /// error already stays one. Returns the results in order.
    pub async fn accept_many<E: From<Rejected>>(
        &self,
        sender: Sender<'_>,
        envelopes: Vec<Result<Envelope<Payload>, E>>,
    ) -> Vec<Result<String, E>> {
        let mut prepared = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            prepared.push(match envelope {
                Ok(envelope) => self.prepare(sender, envelope).await.map_err(E::from),
                Err(why) => Err(why),
            });
        }
        let items: Vec<NewItem> = prepared.iter().flatten().cloned().collect();
        let pushing = Instant::now();
        let mut pushed = match items.is_empty() {
            true => Vec::new(),
            false => self.queue.push_many(items).await,
        }
        .into_iter();
        let took = pushing.elapsed();
        let mut finish = |item: NewItem| {
            let missing = || Err(QueueError::Unavailable("no result of the push".to_owned()));
            let pushed = pushed.next().unwrap_or_else(missing);
            self.finish(&item, pushed, took).map_err(E::from)
        };
        prepared.into_iter().map(|item| item.and_then(&mut finish)).collect()
    }

    /// Checks and completes an event.
    async fn prepare(
        &self,
        sender: Sender<'_>,
        envelope: Envelope<Payload>,
    ) -> Result<NewItem, Rejected> {
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
            Ok(payload) => Ok(self.received(payload, project, client_id, sender.began)),
            Err(why) => Err(Rejected { why, project: Some(project) }),
        }
    }

    /// Validates the event and adds what is known from its request.
    fn complete(&self, mut payload: Payload, sender: Sender<'_>) -> Result<Payload, Rejection> {
        match &mut payload {
            Payload::Pageview(view) => {
                let url = validate::page_view(view)?;
                enrich::page_view(view, &url, sender.headers, sender.ip, self.trust_forwarded);
            }
            Payload::Event(event) => validate::custom_event(event)?,
            Payload::SessionEnd(end) => validate::session_end(end)?,
        }
        Ok(payload)
    }

    /// The item to queue, with the line about its arrival.
    fn received(
        &self,
        payload: Payload,
        project_id: String,
        client_id: Option<String>,
        began: Instant,
    ) -> NewItem {
        let is_clients = client_id.is_some();
        let id = client_id.unwrap_or_else(QueuedEvent::new_id);
        let step = self.log.step(Stage::Ingestion).event(&id).project(&project_id);
        step.took(began.elapsed()).info("Event received", || details(&payload));
        let queued_at = UtcMillis::now();
        let event = QueuedEvent { id, payload, queued_at, project_id, push_ticket: None };
        NewItem { event: Arc::new(event), client_id: is_clients }
    }

    /// Reports the result of a push that took `took`. `item` is as it was before the push: the copy for
    /// the baseline must not contain what the queue adds.
    fn finish(
        &self,
        item: &NewItem,
        pushed: Result<Pushed, QueueError>,
        took: Duration,
    ) -> Result<String, Rejected> {
        let event = &item.event;
        let step = self.log.step(Stage::Queue).event(&event.id).project(&event.project_id);
        let step = step.took(took);
        match pushed {
            Ok(pushed) => {
                self.log.metrics().accepted();
                if let Some(baseline) = &self.baseline
                    && pushed == Pushed::Queued
                {
                    baseline.offer(Arc::clone(event));
                }
                step.info(queued_message(pushed), || {
                    Data::from_iter([("type".to_owned(), event.payload.kind().as_str().into())])
                });
                Ok(event.id.clone())
            }
            Err(error) => {
                let reason = error.to_string();
                step.error("Event not queued", || {
                    Data::from_iter([("error".to_owned(), reason.into())])
                });
                Err(Rejected { why: error.into(), project: Some(event.project_id.clone()) })
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
fn details(payload: &Payload) -> Data {
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
            if let Some(mobile) = view.mobile {
                data.insert("mobile".to_owned(), mobile.into());
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
