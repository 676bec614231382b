//! Checks, completes and queues a parsed event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bklit_wire::debug_log::Stage;
use bklit_wire::event::{CustomEvent, EventKind, PageView, Payload, QueuedEvent, SessionEnd};
use bklit_wire::time::UtcMillis;

use super::changes::{Change, Changes};
use super::filters::{Action, Seen, Verdict};
use super::visitor::Device;
use super::{Envelope, Intake, Rejected, Rejection, Sender, clock, enrich, validate};
use crate::queue::{NewItem, Pushed, QueueError};
use crate::repeated::Repeated;
use crate::server::access::site;
use crate::telemetry::Data;
use crate::throttle::{Admission, EndOf, SessionMark, Throttled};
use crate::who::Traits;

/// A valid event, completed and repaired.
struct Checked {
    payload: Payload,
    changes: Changes,
    /// [`Envelope::left_out`].
    left_out: Vec<String>,
    /// What the filters say about it.
    verdict: Option<Verdict>,
    /// The time against which its times were judged, so it is also when the event counts as queued.
    at: UtcMillis,
}

/// What the client said about times, beyond a readable time of the event.
struct Times {
    /// [`Envelope::sent_at`].
    sent_at: Option<UtcMillis>,
    /// [`Envelope::unreadable_time`].
    unreadable: Option<String>,
}

/// What becomes of an accepted event.
enum Prepared {
    /// It is to be queued.
    Ready(Ready),
    /// A filter dropped the event with this id.
    Dropped(String),
}

/// An event that is ready to be queued.
struct Ready {
    item: NewItem,
    /// Unless its limits are those of unknown sessions.
    admission: Option<Admission>,
    /// Its session, unless it ends that.
    session: Option<SessionMark>,
}

impl Intake {
    /// Checks, completes and queues an event. Returns its id once the queue has confirmed, or if a
    /// filter dropped it.
    ///
    /// # Errors
    /// Why it is rejected. Nothing was queued then, unless the queue's response was lost.
    pub async fn accept(
        &self,
        sender: Sender<'_>,
        envelope: Envelope<Payload>,
    ) -> Result<String, Rejected> {
        let ready = match self.prepare(sender, envelope).await? {
            Prepared::Ready(ready) => ready,
            Prepared::Dropped(id) => return Ok(id),
        };
        let pushing = Instant::now();
        let pushed = self.queue.push(ready.item.clone()).await;
        self.finish(ready, pushed, pushing.elapsed(), sender)
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
        let items: Vec<NewItem> = prepared
            .iter()
            .flatten()
            .filter_map(|prepared| match prepared {
                Prepared::Ready(ready) => Some(ready.item.clone()),
                Prepared::Dropped(_) => None,
            })
            .collect();
        let pushing = Instant::now();
        let mut pushed = match items.is_empty() {
            true => Vec::new(),
            false => self.queue.push_many(items).await,
        }
        .into_iter();
        let took = pushing.elapsed();
        let mut finish = |prepared: Prepared| {
            let ready = match prepared {
                Prepared::Ready(ready) => ready,
                Prepared::Dropped(id) => return Ok(id),
            };
            let missing = || Err(QueueError::Unavailable("no result of the push".to_owned()));
            let pushed = pushed.next().unwrap_or_else(missing);
            self.finish(ready, pushed, took, sender).map_err(E::from)
        };
        prepared.into_iter().map(|prepared| prepared.and_then(&mut finish)).collect()
    }

    /// Checks and completes an event.
    async fn prepare(
        &self,
        sender: Sender<'_>,
        envelope: Envelope<Payload>,
    ) -> Result<Prepared, Rejected> {
        let Envelope { project_id, event_id, sent_at, unreadable_time, left_out, event } = envelope;
        let times = Times { sent_at, unreadable: unreadable_time };
        let project = project_id.ok_or_else(|| Rejection::field("projectId", "missing"))?;
        validate::id("projectId", &project)?;

        let site = site(sender.headers);
        let allowed = match sender.token {
            Some(token) => token.allow_ingest(&project, site, self.authenticator.domain_rules()),
            None => self.authenticator.authorize_beacon(&project, site).await,
        };
        // Otherwise anyone could choose an id that makes another sender's event look like a retry.
        let client_id = event_id.filter(|_| sender.token.is_some());
        let checked = allowed.map_err(Rejection::from).and_then(|()| {
            client_id.as_deref().map_or(Ok(()), validate::event_id)?;
            let mut checked = self.complete(event, times, sender)?;
            let is_dropped = checked.verdict.is_some_and(|it| it.action == Action::Drop);
            let admission = match is_dropped {
                true => None,
                false => self.admit(&project, &mut checked.payload, sender)?,
            };
            Ok((checked, admission, is_dropped))
        });
        match checked {
            Ok((checked, _, true)) => {
                Ok(Prepared::Dropped(self.dropped(&checked, &project, client_id, sender)))
            }
            Ok((checked, admission, false)) => {
                let checked = Checked { left_out, ..checked };
                let session = match &checked.payload {
                    Payload::SessionEnd(_) => None,
                    payload => payload.session_id(),
                };
                let session = session.map(|session| self.throttle.mark(&project, session));
                let item = self.received(checked, project, client_id, sender);
                Ok(Prepared::Ready(Ready { item, admission, session }))
            }
            Err(why) => Err(Rejected { why, project: Some(project) }),
        }
    }

    /// Validates and repairs the event, and adds what is known from its request.
    fn complete(
        &self,
        mut payload: Payload,
        times: Times,
        sender: Sender<'_>,
    ) -> Result<Checked, Rejection> {
        let (mut changes, at) = (Changes::default(), UtcMillis::now());
        let mut page = None;
        match &mut payload {
            Payload::Pageview(view) => {
                let unwanted = self.filters.stripped_parameters();
                let url = validate::page_view(view, &self.settings, unwanted, &mut changes)?;
                enrich::page_view(view, &url, sender.headers, sender.visitor, &self.visitors);
                validate::limit_texts(view, &mut changes)?;
                page = Some(url);
            }
            Payload::Event(event) => validate::custom_event(event, &mut changes)?,
            Payload::SessionEnd(end) => validate::session_end(end, &mut changes)?,
        }
        let bounds = self.settings.time_bounds();
        clock::correct(payload.timestamp_mut(), times.sent_at, at, bounds, &mut changes);
        if let Some(sent) = times.unreadable {
            *payload.timestamp_mut() = Some(at);
            changes.add("timestamp", Change::NotATime { sent });
        }
        let verdict = self.filters.check(Seen::new(&payload, page.as_ref(), sender));
        if let Some(verdict) = verdict {
            self.log.metrics().filtered(verdict);
        }
        Ok(Checked { payload, changes, left_out: Vec::new(), verdict, at })
    }

    /// Checks the limits. The end of a session that came without a token is marked if the session is
    /// unknown here, and is at no later time than now.
    fn admit(
        &self,
        project: &str,
        payload: &mut Payload,
        sender: Sender<'_>,
    ) -> Result<Option<Admission>, Throttled> {
        if let Payload::SessionEnd(end) = payload {
            end.unverified = false;
            if sender.token.is_none() {
                end.timestamp = end.timestamp.map(|at| at.min(UtcMillis::now()));
                let end_of =
                    self.throttle.end_session(project, &end.session_id, sender.visitor.ip())?;
                end.unverified = end_of == EndOf::Unknown;
                if end.unverified {
                    return Ok(None);
                }
            }
        }
        let token = sender.token.map(|token| token.id.as_str());
        self.throttle.admit(project, token).map(Some)
    }

    /// Reports that an event has been received, and what was changed about it.
    fn report(&self, id: &str, project: &str, checked: &Checked, sender: Sender<'_>) {
        let Checked { payload, changes, left_out, verdict, .. } = checked;
        changes.count(self.log.metrics());
        let data = || {
            let mut data = details(payload, sender);
            changes.describe(&mut data);
            if !left_out.is_empty() {
                data.insert("leftOut".to_owned(), left_out.clone().into());
            }
            if let Some(marked) = verdict.filter(|verdict| verdict.action == Action::Mark) {
                data.insert("filter".to_owned(), marked.rule.as_str().into());
            }
            data
        };
        let step = self.log.step(Stage::Ingestion).event(id).project(project);
        let step = step.took(sender.began.elapsed());
        if changes.replaced_time() {
            // The token is public, so anyone can cause this.
            let repeated = Repeated::of_project("timestamp", project);
            let message = "Event received with an implausible timestamp, which was replaced";
            step.warn_repeated(repeated, message, data);
        } else {
            step.info("Event received", data);
        }
    }

    /// Reports that a filter dropped an event; returns its id.
    fn dropped(
        &self,
        checked: &Checked,
        project: &str,
        client_id: Option<String>,
        sender: Sender<'_>,
    ) -> String {
        let id = client_id.unwrap_or_else(QueuedEvent::new_id);
        let step = self.log.step(Stage::Ingestion).event(&id).project(project);
        step.took(sender.began.elapsed()).info("Event dropped by a filter", || {
            let mut data = details(&checked.payload, sender);
            data.extend(checked.verdict.map(|it| ("filter".to_owned(), it.rule.as_str().into())));
            data
        });
        id
    }

    /// The item to queue, with the line about its arrival.
    fn received(
        &self,
        checked: Checked,
        project_id: String,
        client_id: Option<String>,
        sender: Sender<'_>,
    ) -> NewItem {
        let is_clients = client_id.is_some();
        let id = client_id.unwrap_or_else(QueuedEvent::new_id);
        self.report(&id, &project_id, &checked, sender);
        let Checked { mut payload, at, .. } = checked;
        payload.default_timestamp(at);
        let event = QueuedEvent { id, payload, queued_at: at, project_id, push_ticket: None };
        NewItem { event: Arc::new(event), client_id: is_clients }
    }

    /// Reports the result of a push that took `took`. The item is as it was before the push: the copy
    /// for the baseline must not contain what the queue adds.
    fn finish(
        &self,
        ready: Ready,
        pushed: Result<Pushed, QueueError>,
        took: Duration,
        sender: Sender<'_>,
    ) -> Result<String, Rejected> {
        let event = &ready.item.event;
        let step = self.log.step(Stage::Queue).event(&event.id).project(&event.project_id);
        let step = step.took(took);
        match pushed {
            Ok(pushed) => {
                self.log.metrics().accepted(&event.project_id);
                self.log.metrics().who().accepted(|| Traits::sent(event, sender));
                if pushed == Pushed::Queued {
                    ready.admission.into_iter().for_each(Admission::queued);
                    ready.session.into_iter().for_each(|session| self.throttle.saw(session));
                }
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
            // Reported as a refusal; a pause is not a failure.
            Err(error @ (QueueError::IdTaken | QueueError::Paused(_))) => {
                Err(Rejected { why: error.into(), project: Some(event.project_id.clone()) })
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
    Ok(match kind {
        EventKind::Pageview => Envelope::<Box<PageView>>::parse(bytes)?.map(Payload::Pageview),
        EventKind::Event => Envelope::<CustomEvent>::parse(bytes)?.map(Payload::Event),
        EventKind::SessionEnd => Envelope::<SessionEnd>::parse(bytes)?.map(Payload::SessionEnd),
    })
}

fn queued_message(pushed: Pushed) -> &'static str {
    match pushed {
        Pushed::Queued => "Event queued",
        Pushed::Duplicate => "Event was queued before: a retry",
    }
}

/// The fields of an event that a debug line shows, and its sender.
fn details(payload: &Payload, sender: Sender<'_>) -> Data {
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
            if let Some(Device { form, browser, os }) = enrich::device(view, sender.headers) {
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
    show("peer", sender.visitor.shown_ip());
    show("token", sender.token.map(|token| &*token.id));
    data
}
