//! `GET /api/live`: the current visitors.

use std::time::Duration;

use hyper::{Response, StatusCode};
use tokio::time::Instant;

use super::Peer;
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use crate::store::StoreError;
use crate::store::live_view::live_view;
use bklit_net::timeout::within;
use bklit_wire::live_view::LiveView;
use bklit_wire::time::UtcMillis;

/// How long the store may take.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a response is reused, so that many readers cost the store no more than one.
const FRESH: Duration = Duration::from_secs(1);

/// The last response, and when it was made.
pub(super) type Last = Option<(Instant, LiveView)>;

/// `GET /api/live`.
pub async fn now(peer: &Peer) -> Result<Response<ResponseBody>, Refusal> {
    let unavailable = |reason| StoreError::Unavailable(reason).into();
    within(STORE_TIMEOUT, response(peer), unavailable).await
}

async fn response(peer: &Peer) -> Result<Response<ResponseBody>, Refusal> {
    let context = &peer.context;
    let store = context.store.as_deref().ok_or(Refusal::NoStore)?;
    let mut last = context.live.lock().await;
    let fresh = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
    if let Some((_, view)) = fresh {
        return Ok(response::no_store(response::json(StatusCode::OK, view)));
    }
    let view = live_view(store, context.presence.as_deref(), UtcMillis::now()).await?;
    let response = response::json(StatusCode::OK, &view);
    *last = Some((Instant::now(), view));
    Ok(response::no_store(response))
}
