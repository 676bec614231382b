//! `GET /api/refused`: which events were refused, and why.

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::Peer;
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use crate::refused::Wanted;
use crate::server::access::query;
use bklit_wire::refused::MAX_RECENT;

/// `GET /api/refused?recent=&id=&project=&reason=`.
pub fn list(peer: &Peer, head: &Parts) -> Result<Response<ResponseBody>, Refusal> {
    let number = |name: &'static str, most: u64| match query(&head.uri, name) {
        None => Ok(None),
        Some(text) => match text.parse().ok().filter(|number| *number <= most) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::field(name, format!("must be from 0 to {most}"))),
        },
    };
    let id = number("id", u64::MAX)?;
    let recent = number("recent", MAX_RECENT as u64)?.unwrap_or_else(|| u64::from(id.is_some()));
    let wanted = Wanted {
        most: usize::try_from(recent).unwrap_or(MAX_RECENT),
        id,
        project: query(&head.uri, "project"),
        reason: query(&head.uri, "reason"),
    };
    let view = peer.context.intake.refusals().view(&wanted);
    Ok(response::no_store(response::json(StatusCode::OK, &view)))
}
