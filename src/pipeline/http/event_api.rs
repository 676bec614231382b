//! `GET /api/event?id=`: finds out where one event is.

use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use bklit_net::timeout::within;
use bklit_wire::event_lookup::id_problem;

use super::Peer;
use crate::event_lookup::{self, Sources};
use crate::queue::QueueError;
use crate::server::access::query;

/// How long a lookup may take, including the wait for earlier ones: there is one at a time.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Looks up the event with the id in the query.
pub async fn find(peer: &Peer, head: &Parts) -> Result<Response<ResponseBody>, Refusal> {
    let id = query(&head.uri, "id").unwrap_or_default();
    if let Some(problem) = id_problem(&id) {
        return Err(Refusal::field("id", problem));
    }
    let context = &peer.context;
    let search = async {
        let _turn = context.lookups.lock().await;
        let store = context.store.as_deref();
        let sources = Sources { queue: context.intake.queue(), store, bus: &*context.debug_bus };
        Ok(event_lookup::find(sources, &id).await)
    };
    let found = within(TIMEOUT, search, QueueError::Unavailable).await?;
    Ok(response::no_store(response::json(StatusCode::OK, &found)))
}
