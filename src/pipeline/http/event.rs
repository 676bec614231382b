//! `GET /api/event?id=`: where one event is.

use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use tokio::time::timeout;

use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use super::{Peer, access};
use crate::pipeline::lookup::{self, Sources};
use crate::pipeline::queue::QueueError;

/// How long it may take, with those before it: one event is looked for at a time.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where the event of this id is.
pub async fn find(peer: &Peer, head: &Parts) -> Result<Response<ResponseBody>, Refusal> {
    access::authorize(peer.client(), head, None).await?;
    let id = access::query(&head.uri, "id").unwrap_or_default();
    if let Some(problem) = lookup::id_problem(&id) {
        return Err(Refusal::field("id", problem));
    }
    let context = &peer.context;
    let answer = async {
        let _turn = context.lookups.lock().await;
        let store = context.store.as_deref();
        let sources = Sources { queue: &*context.queue, store, bus: &*context.debug_bus };
        lookup::find(sources, &id).await
    };
    let late = |_| QueueError::Unavailable(format!("no answer within {TIMEOUT:?}"));
    let found = timeout(TIMEOUT, answer).await.map_err(late)?;
    Ok(response::no_store(response::json(StatusCode::OK, &found)))
}
