//! Which request goes where, and what is told of those that are refused.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use hyper::body::{Body, Incoming};
use hyper::{Method, Request, Response};

use super::ingest::{Refused, ingest};
use super::queue::{self, Change};
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use super::{Peer, debug_stream, event, live, ready, status};
use crate::config::Role;
use crate::pipeline::debug_log::Stage;
use crate::pipeline::event::EventKind;
use crate::pipeline::stage_log::Data;

/// The longest path that is told in a line.
const MAX_PATH: usize = 200;

#[derive(Clone, Copy, PartialEq)]
enum Route {
    Ingest(EventKind),
    Health,
    Ready,
    Metrics,
    DebugStream,
    Queue,
    Batch,
    Event,
    Live,
    Failed,
    Change(Change),
    Unknown,
}

impl Route {
    fn of(path: &str) -> Self {
        match path {
            "/track" | "/api/track" => Self::Ingest(EventKind::Pageview),
            "/track-event" => Self::Ingest(EventKind::Event),
            "/session-end" => Self::Ingest(EventKind::SessionEnd),
            "/health" => Self::Health,
            "/ready" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/api/debug-stream" => Self::DebugStream,
            "/api/queue" => Self::Queue,
            "/api/queue/batch" => Self::Batch,
            "/api/event" => Self::Event,
            "/api/live" => Self::Live,
            "/api/queue/failed" => Self::Failed,
            "/api/queue/failed/retry" => Self::Change(Change::Retry),
            "/api/queue/failed/delete" => Self::Change(Change::Delete),
            _ => Self::Unknown,
        }
    }

    /// The methods it knows.
    fn allowed(self) -> &'static str {
        match self {
            Self::Ingest(_) | Self::Change(_) | Self::Unknown => "POST, OPTIONS",
            Self::Health
            | Self::Ready
            | Self::Metrics
            | Self::Queue
            | Self::Batch
            | Self::Event
            | Self::Live
            | Self::Failed => "GET, HEAD, OPTIONS",
            Self::DebugStream => "GET, OPTIONS",
        }
    }

    /// Whether pages of other sites have no business with the answer.
    fn is_for_readers(self) -> bool {
        !matches!(self, Self::Ingest(_) | Self::Unknown)
    }
}

/// Answers a request.
pub async fn respond(peer: &Arc<Peer>, request: Request<Incoming>) -> Response<ResponseBody> {
    let began = Instant::now();
    peer.linger.store(!request.body().is_end_stream(), Relaxed);
    let route = Route::of(request.uri().path());
    let accepts = peer.context.roles.has(Role::Ingestion);
    let mut response = match (route, request.method()) {
        (Route::Ingest(kind), &Method::POST) if accepts => {
            // Kept for a line about a refusal; a copy costs nothing.
            let uri = request.uri().clone();
            match ingest(peer, kind, request, began).await {
                Ok(response) => response,
                Err(refused) => refuse(peer, uri.path(), &refused, began),
            }
        }
        _ => {
            let path = request.uri().path().to_owned();
            match others(peer, route, request).await {
                Ok(response) => response,
                Err(why) => refuse(peer, &path, &why.into(), began),
            }
        }
    };
    if !route.is_for_readers() {
        response::allow_any_origin(&mut response);
    }
    peer.context.log.metrics().request(response.status().as_u16());
    response
}

async fn others(
    peer: &Arc<Peer>,
    route: Route,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Refusal> {
    let (head, body) = request.into_parts();
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    match route {
        Route::Ingest(_) | Route::Unknown if head.method == Method::OPTIONS => {
            Ok(response::preflight(route.allowed()))
        }
        Route::Unknown => Err(Refusal::NotFound),
        Route::Ingest(_) if head.method == Method::POST => Err(Refusal::NoIngestion),
        _ if head.method == Method::OPTIONS => Ok(response::options(route.allowed())),
        Route::Health if reads => Ok(status::health(peer, &head).await),
        Route::Ready if reads => Ok(ready::ready(&peer.context).await),
        Route::Metrics if reads => status::metrics(peer, &head).await,
        Route::DebugStream if head.method == Method::GET => debug_stream::open(peer, &head).await,
        Route::Queue if reads => queue::overview(peer, &head).await,
        Route::Batch if reads => queue::batch(peer, &head).await,
        Route::Event if reads => event::find(peer, &head).await,
        Route::Live if reads => live::now(peer, &head).await,
        Route::Failed if reads => queue::failed(peer, &head).await,
        Route::Change(change) if head.method == Method::POST => {
            queue::change(peer, change, &head, body).await
        }
        _ => Err(Refusal::Method(route.allowed())),
    }
}

/// The answer to a refused request, which is told and counted.
fn refuse(peer: &Peer, path: &str, refused: &Refused, began: Instant) -> Response<ResponseBody> {
    let log = &peer.context.log;
    log.metrics().refused();
    let mut step = log.step(Stage::Ingestion).took(began.elapsed());
    if let Some(project) = &refused.project {
        step = step.project(project);
    }
    step.warn("Request refused", || {
        Data::from_iter([
            ("status".to_owned(), refused.why.status().as_u16().into()),
            ("error".to_owned(), refused.why.to_string().into()),
            ("path".to_owned(), path.chars().take(MAX_PATH).collect::<String>().into()),
            ("peer".to_owned(), peer.ip.to_string().into()),
        ])
    });
    response::refusal(&refused.why)
}
