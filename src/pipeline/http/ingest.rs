//! An event's way from the request into the queue. The answer is 200 strictly after the queue
//! has said yes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, ORIGIN, REFERER};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;

use super::envelope::Envelope;
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use super::{Client, HttpContext, Peer, body, enrich, validate};
use crate::pipeline::auth::{Denied, Site, TokenRecord};
use crate::pipeline::debug_log::Stage;
use crate::pipeline::event::{CustomEvent, EventKind, PageView, Payload, QueuedEvent, SessionEnd};
use crate::pipeline::queue::{NewItem, Pushed};
use crate::pipeline::stage_log::Data;
use crate::pipeline::time::UtcMillis;

/// A refused request, with the project it was about as far as that is known.
pub struct Refused {
    pub why: Refusal,
    pub project: Option<String>,
}

impl<T: Into<Refusal>> From<T> for Refused {
    fn from(why: T) -> Self {
        Self { why: why.into(), project: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted<'a> {
    message: &'static str,
    event_id: &'a str,
}

/// Takes an event of `kind` in. `began` is when its request's head was there.
pub(super) async fn ingest(
    peer: &Peer,
    kind: EventKind,
    request: Request<Incoming>,
    began: Instant,
) -> Result<Response<ResponseBody>, Refused> {
    let context = &*peer.context;
    let (head, incoming) = request.into_parts();
    body::check_head(&head.headers, &incoming, context.settings.max_body_bytes)?;
    // Who has no valid token is not listened to any further.
    let token = match bearer(&head.headers) {
        Some(secret) => Some(context.authenticator.identify(secret?).await?),
        None if kind == EventKind::SessionEnd => None,
        None => return Err(Denied::Missing.into()),
    };
    let bytes = body::read(incoming, &context.settings).await?;
    peer.linger.store(false, Relaxed);
    let envelope = parse(kind, &bytes)?;
    let id = accept(peer.client(), &head.headers, token.as_deref(), envelope, began).await?;
    let accepted = Accepted { message: "Event queued", event_id: &id };
    Ok(response::json(StatusCode::OK, &accepted))
}

/// Takes in an event that could be read, whichever way it came. `headers` are those of the
/// request that it came with or, over a WebSocket, of the one that opened it. Returns the event's
/// id, strictly after the queue has said yes.
pub async fn accept(
    client: Client<'_>,
    headers: &HeaderMap,
    token: Option<&TokenRecord>,
    envelope: Envelope<Payload>,
    began: Instant,
) -> Result<String, Refused> {
    let Envelope { project_id, event_id, event } = envelope;
    let project = project_id.ok_or_else(|| Refusal::field("projectId", "missing"))?;
    validate::id("projectId", &project)?;

    let site = site(headers);
    let checked = match token {
        Some(token) => token.allow_ingest(&project, site),
        None => client.context.authenticator.authorize_beacon(&project, site).await,
    };
    // An id that anybody could choose would let strangers pass events off as retries.
    let client_id = event_id.filter(|_| token.is_some());
    let checked = checked.map_err(Refusal::from).and_then(|()| {
        client_id.as_deref().map_or(Ok(()), validate::event_id)?;
        complete(event, client, headers)
    });
    match checked {
        Ok(payload) => push(client.context, payload, project, client_id, began).await,
        Err(why) => Err(Refused { why, project: Some(project) }),
    }
}

/// `None` without the header; an error if it is something else than a bearer token.
fn bearer(headers: &HeaderMap) -> Option<Result<&str, Denied>> {
    let value = headers.get(AUTHORIZATION)?;
    Some(bearer_token(value.as_bytes()).ok_or(Denied::Unknown))
}

/// The token in `Bearer <token>`.
pub fn bearer_token(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, token) = text.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

/// Where a browser says it is.
pub fn site(headers: &HeaderMap) -> Site<'_> {
    let header = headers.get(ORIGIN).or_else(|| headers.get(REFERER));
    Site(header.and_then(|value| value.to_str().ok()))
}

/// Reads an event of `kind`.
pub fn parse(kind: EventKind, bytes: &[u8]) -> Result<Envelope<Payload>, Refusal> {
    fn read<'a, T: serde::Deserialize<'a>>(
        bytes: &'a [u8],
        payload: impl FnOnce(T) -> Payload,
    ) -> Result<Envelope<Payload>, Refusal> {
        let Envelope { project_id, event_id, event } = Envelope::<T>::parse(bytes)?;
        Ok(Envelope { project_id, event_id, event: payload(event) })
    }
    match kind {
        EventKind::Pageview => read::<Box<PageView>>(bytes, Payload::Pageview),
        EventKind::Event => read::<CustomEvent>(bytes, Payload::Event),
        EventKind::SessionEnd => read::<SessionEnd>(bytes, Payload::SessionEnd),
    }
}

/// Checks the event and fills in what the request says beside it.
fn complete(
    mut payload: Payload,
    client: Client<'_>,
    headers: &HeaderMap,
) -> Result<Payload, Refusal> {
    match &mut payload {
        Payload::Pageview(view) => {
            let url = validate::page_view(view)?;
            let trust = client.context.settings.trust_forwarded;
            enrich::page_view(view, &url, headers, client.ip, trust);
        }
        Payload::Event(event) => validate::custom_event(event)?,
        Payload::SessionEnd(end) => validate::session_end(end)?,
    }
    Ok(payload)
}

async fn push(
    context: &HttpContext,
    payload: Payload,
    project: String,
    client_id: Option<String>,
    began: Instant,
) -> Result<String, Refused> {
    let kind = payload.kind();
    let is_clients = client_id.is_some();
    let id = client_id.unwrap_or_else(QueuedEvent::new_id);
    let step = |stage| context.log.step(stage).event(&id).project(&project);
    step(Stage::Ingestion).took(began.elapsed()).info("Event received", || details(&payload));

    let event = Arc::new(QueuedEvent {
        id: id.clone(),
        payload,
        queued_at: UtcMillis::now(),
        project_id: project.clone(),
        push_ticket: None,
    });
    // As it is now: what the queue makes of it has no part in the copy.
    let copy = context.baseline.as_ref().map(|baseline| (baseline, Arc::clone(&event)));
    let pushing = Instant::now();
    let pushed = context.queue.push(NewItem { event, client_id: is_clients }).await;
    let took = pushing.elapsed();
    match pushed {
        Ok(pushed) => {
            context.log.metrics().accepted();
            if let Some((baseline, event)) = copy
                && pushed == Pushed::Queued
            {
                baseline.offer(event);
            }
            step(Stage::Queue).took(took).info(queued_message(pushed), || {
                Data::from_iter([("type".to_owned(), kind.as_str().into())])
            });
        }
        Err(error) => {
            let reason = error.to_string();
            step(Stage::Queue).took(took).error("Event not queued", || {
                Data::from_iter([("error".to_owned(), reason.into())])
            });
            return Err(Refused { why: error.into(), project: Some(project) });
        }
    }
    Ok(id)
}

fn queued_message(pushed: Pushed) -> &'static str {
    match pushed {
        Pushed::Queued => "Event queued",
        Pushed::Duplicate => "Event was queued before: a retry",
    }
}

/// What a line tells of an event.
fn details(payload: &Payload) -> Data {
    let mut data = Data::new();
    let mut tell = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            data.insert(name.to_owned(), value.into());
        }
    };
    tell("type", Some(payload.kind().as_str()));
    tell("sessionId", payload.session_id());
    match payload {
        Payload::Pageview(view) => {
            tell("url", Some(&view.url));
            tell("title", view.title.as_deref());
            tell("referrer", view.referrer.as_deref());
            tell("countryCode", view.country_code.as_deref());
            if let Some(mobile) = view.mobile {
                data.insert("mobile".to_owned(), mobile.into());
            }
        }
        Payload::Event(event) => {
            tell("trackingId", Some(&event.tracking_id));
            tell("eventType", Some(&event.event_type));
        }
        Payload::SessionEnd(end) => tell("reason", end.reason.as_deref()),
    }
    data
}
