//! `/api/queue…`: shows waiting, in-flight and failed events; retries, edits and deletes failed ones.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use bklit_net::timeout::within;
use bklit_wire::backend::Change;
use bklit_wire::debug_log::Stage;
use bklit_wire::event::parse_naming_field;
use bklit_wire::pause::PauseRequest;
use bklit_wire::queue::{
    ChangeError, Changed, Chosen, EditRequest, Edited, MAX_EDIT_BYTES, MAX_PAGE,
};

use super::body::Expected;
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use super::{Peer, body};
use crate::intake::named;
use crate::queue::api::EDITED;
use crate::queue::{QueueError, api, changes};
use crate::server::access::query;

/// How long a call to the queue may take.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);
/// The error if only some events were changed.
const PARTLY: &str = "a part of the queue is unavailable; try again later";
/// Items of a page by default.
const PAGE: usize = 50;

/// `GET /api/queue`.
pub async fn overview(peer: &Peer) -> Result<Response<ResponseBody>, Refusal> {
    let view = in_time(api::overview(peer.context.intake.queue())).await?;
    Ok(response::no_store(response::json(StatusCode::OK, &view)))
}

/// `GET /api/queue/batch?id=`: `null` once the batch is done.
pub async fn batch(peer: &Peer, head: &Parts) -> Result<Response<ResponseBody>, Refusal> {
    let id = query(&head.uri, "id")
        .ok_or_else(|| Refusal::field("id", "must be the id of a batch in flight"))?;
    let view = in_time(api::batch(peer.context.intake.queue(), &id)).await?;
    Ok(response::no_store(response::json(StatusCode::OK, &view)))
}

/// `GET /api/queue/failed?after=&limit=`.
pub async fn failed(peer: &Peer, head: &Parts) -> Result<Response<ResponseBody>, Refusal> {
    let limit = match query(&head.uri, "limit") {
        None => PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_PAGE).contains(limit))
            .ok_or_else(|| Refusal::field("limit", format!("must be from 1 to {MAX_PAGE}")))?,
    };
    let after = query(&head.uri, "after");
    let (queue, privacy) = (peer.context.intake.queue(), peer.context.intake.visitors().privacy());
    let page = in_time(api::failed(queue, privacy, after.as_deref(), limit)).await?;
    Ok(response::no_store(response::json(StatusCode::OK, &page)))
}

/// `POST /api/queue/failed/retry` and `/delete`.
pub async fn change(
    peer: &Peer,
    change: Change,
    head: &Parts,
    incoming: Incoming,
) -> Result<Response<ResponseBody>, Refusal> {
    let context = &*peer.context;
    let bytes = json_of_admin(peer, head, incoming, None).await?;
    let Chosen { ids } = object(&bytes, "{\"ids\":[\"…\"]}")?;
    check_count("ids", ids.len())?;
    let queue = context.intake.queue();
    let (changed, message) = match change {
        Change::Retry => (in_time(queue.retry_failed(&ids)).await, "Failed events put back"),
        Change::Delete => (in_time(queue.delete_failed(&ids)).await, "Failed events deleted"),
    };
    let result = changes::counted(changed);
    respond(peer, head, message, result, |Edited { changed, .. }| Changed { changed })
}

/// `POST /api/queue/failed/edit`: puts failed events back with other bodies, or only checks those.
pub async fn edit(
    peer: &Peer,
    head: &Parts,
    incoming: Incoming,
) -> Result<Response<ResponseBody>, Refusal> {
    let bytes = json_of_admin(peer, head, incoming, Some(MAX_EDIT_BYTES)).await?;
    let request: EditRequest = object(&bytes, "{\"edits\":[{\"id\":\"…\",\"body\":\"…\"}]}")?;
    check_count("edits", request.edits.len())?;
    let edited = in_time(api::edit(peer.context.intake.queue(), &request)).await;
    if request.dry_run {
        return Ok(response::no_store(response::json(StatusCode::OK, &edited?)));
    }
    respond(peer, head, EDITED, edited, |edited| edited)
}

/// Parses a body that must be an object like `example`.
fn object<T: DeserializeOwned>(bytes: &[u8], example: &str) -> Result<T, Refusal> {
    parse_naming_field(bytes, "").map_err(|error| {
        let problem = named(error).to_string();
        let problem = problem.strip_prefix("body: ").unwrap_or(&problem);
        Refusal::field("body", format!("must be {example}: {problem}"))
    })
}

fn check_count(field: &'static str, count: usize) -> Result<(), Refusal> {
    if (1..=MAX_PAGE).contains(&count) {
        return Ok(());
    }
    Err(Refusal::field(field, format!("must be from 1 to {MAX_PAGE}")))
}

/// Logs a change of failed events, and responds with what was done: all of it, or a part.
fn respond<T: Serialize>(
    peer: &Peer,
    head: &Parts,
    message: &'static str,
    result: Result<Edited, QueueError>,
    complete: impl FnOnce(Edited) -> T,
) -> Result<Response<ResponseBody>, Refusal> {
    let (done, failure) = match result {
        Ok(done) => (done, None),
        Err(QueueError::Partly { done, reason }) => (done, Some(reason)),
        Err(error) => return Err(error.into()),
    };
    log(peer, head, message, done.changed);
    let response = match failure {
        None => response::json(StatusCode::OK, &complete(done)),
        Some(reason) => {
            // The reason may name our servers.
            tracing::warn!(%reason, "{message}, but not all of them");
            let partly = ChangeError { done, error: PARTLY.to_owned() };
            response::retryable(response::json(StatusCode::SERVICE_UNAVAILABLE, &partly), None)
        }
    };
    Ok(response::no_store(response))
}

/// Logs a change of failed events.
fn log(peer: &Peer, head: &Parts, message: &'static str, changed: u64) {
    peer.context.intake.log().step(Stage::Queue).warn(message, || {
        let events = [("events".to_owned(), changed.into())];
        events.into_iter().chain(peer.shown(peer.client(&head.headers).ip)).collect()
    });
}

/// `POST /api/queue/pause`.
pub async fn pause(
    peer: &Peer,
    head: &Parts,
    incoming: Incoming,
) -> Result<Response<ResponseBody>, Refusal> {
    let queue = peer.context.intake.queue();
    let bytes = json_of_admin(peer, head, incoming, None).await?;
    let example = "{\"part\":\"workers\",\"paused\":true,\"by\":\"…\"}";
    let request: PauseRequest = object(&bytes, example)?;
    if request.by.trim().is_empty() {
        return Err(Refusal::field("by", "missing: who pauses or resumes it"));
    }
    in_time(queue.pause(request.part, request.pause().as_ref())).await?;
    let paused = in_time(queue.paused()).await?;
    Ok(response::no_store(response::json(StatusCode::OK, &paused)))
}

/// The JSON that an administrator sent; `most` bytes of it, or those of an event.
pub(super) async fn json_of_admin(
    peer: &Peer,
    head: &Parts,
    incoming: Incoming,
    most: Option<usize>,
) -> Result<Bytes, Refusal> {
    let context = &*peer.context;
    // Rejects what a form in a web page could also send.
    if !head.headers.contains_key(CONTENT_TYPE) || body::is_text(&head.headers) {
        return Err(Refusal::Unsupported("Content-Type must be application/json"));
    }
    let most = most.unwrap_or(context.settings.max_body_bytes);
    let expected = Expected { most, lines: false };
    let coding = body::check_head(&head.headers, &incoming, expected)?;
    let bytes = body::read(incoming, context.settings.body_timeout, most).await?;
    peer.linger.store(false, Relaxed);
    coding.decode(bytes).await
}

async fn in_time<T>(call: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
    within(QUEUE_TIMEOUT, call, QueueError::Unavailable).await
}
