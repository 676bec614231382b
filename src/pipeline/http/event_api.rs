//! `GET /api/event?id=`: finds out where one event is. `GET /api/session?id=`: the events of a session.

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
use crate::session_lookup;

/// How long a lookup may take, including the wait for earlier ones: there is one at a time.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Looks up the event with the id in the query.
pub async fn find(peer: &Peer, head: &Parts) -> Result<Response<ResponseBody>, Refusal> {
    let id = id_of(head)?;
    lookup(peer, async |sources| event_lookup::find(sources, &id).await).await
}

/// Looks up the session with the id in the query.
pub async fn session(peer: &Peer, head: &Parts) -> Result<Response<ResponseBody>, Refusal> {
    let (id, project) = (id_of(head)?, query(&head.uri, "projectId"));
    let wanted = session_lookup::Wanted { session: &id, project: project.as_deref() };
    lookup(peer, async |sources| session_lookup::find(sources, wanted).await).await
}

fn id_of(head: &Parts) -> Result<String, Refusal> {
    let id = query(&head.uri, "id").unwrap_or_default();
    id_problem(&id).map_or(Ok(id), |problem| Err(Refusal::field("id", problem)))
}

async fn lookup<T: serde::Serialize>(
    peer: &Peer,
    find: impl AsyncFnOnce(Sources<'_>) -> T,
) -> Result<Response<ResponseBody>, Refusal> {
    let context = &peer.context;
    let search = async {
        let _turn = context.lookups.lock().await;
        let store = context.store.as_deref();
        Ok(find(Sources { queue: context.intake.queue(), store, bus: &*context.debug_bus }).await)
    };
    let found = within(TIMEOUT, search, QueueError::Unavailable).await?;
    Ok(response::no_store(response::json(StatusCode::OK, &found)))
}
