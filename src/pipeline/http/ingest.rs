//! `POST /track` and the other routes that accept events.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bklit_wire::event::EventKind;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;

use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use super::{Peer, body};
use crate::auth::Denied;
use crate::intake::{self, Rejected, Sender};
use crate::server::access::bearer_token;

/// A refused request, with the project it concerns if that is known.
pub struct Refused {
    pub why: Refusal,
    pub project: Option<String>,
}

impl<T: Into<Refusal>> From<T> for Refused {
    fn from(why: T) -> Self {
        Self { why: why.into(), project: None }
    }
}

impl From<Rejected> for Refused {
    fn from(Rejected { why, project }: Rejected) -> Self {
        Self { why: why.into(), project }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted<'a> {
    message: &'static str,
    event_id: &'a str,
}

/// Accepts an event of `kind`. `began` is when the head of its request had arrived.
pub(super) async fn ingest(
    peer: &Peer,
    kind: EventKind,
    request: Request<Incoming>,
    began: Instant,
) -> Result<Response<ResponseBody>, Refused> {
    let context = &*peer.context;
    let (head, incoming) = request.into_parts();
    body::check_head(&head.headers, &incoming, context.settings.max_body_bytes)?;
    // Without a valid token the body is not read.
    let token = match bearer(&head.headers) {
        Some(secret) => Some(context.intake.authenticator().identify(secret?).await?),
        None if kind == EventKind::SessionEnd => None,
        None => return Err(Denied::Missing.into()),
    };
    let bytes = body::read(incoming, &context.settings).await?;
    peer.linger.store(false, Relaxed);
    let envelope = intake::parse(kind, &bytes)?;
    let token = token.as_deref();
    let visitor = context.intake.visitors().visitor(peer.ip, &head.headers);
    let sender = Sender { visitor: &visitor, headers: &head.headers, token, began };
    let id = context.intake.accept(sender, envelope).await?;
    let accepted = Accepted { message: "Event queued", event_id: &id };
    Ok(response::json(StatusCode::OK, &accepted))
}

/// The bearer token; `None` without the header, an error if the header has another form.
fn bearer(headers: &HeaderMap) -> Option<Result<&str, Denied>> {
    let value = headers.get(AUTHORIZATION)?;
    Some(bearer_token(value.as_bytes()).ok_or(Denied::Unknown))
}
