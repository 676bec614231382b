//! The table of routes: path, methods, access and handler. Dispatch, authorization and the table in the
//! documentation all use it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bklit_wire::backend::Change;
use bklit_wire::debug_log::Stage;
use bklit_wire::event::EventKind;
use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use serde_json::Value;

use super::ingest::{Refused, ingest};
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use super::{Peer, debug_stream, event_api, live_view, queue_api, ready, status};
use crate::auth::Denied;
use crate::roles::Role;
use crate::server::access::{authorize, authorize_change, query};

/// The longest path that is logged.
const MAX_PATH: usize = 200;

/// Who may call a route. Checked before the route's handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Everybody,
    /// An ingest token of the event's project, from a domain that the token allows. A session may
    /// be ended without one.
    Sender,
    /// A read token for all projects, or a request from this machine.
    Reader,
    /// A read token for the project in the query, or a request from this machine.
    ProjectReader,
    /// An admin token, or a request from this machine.
    Admin,
}

/// The handler of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handler {
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
}

/// A route.
#[derive(Debug)]
pub struct Route {
    /// Its path.
    pub path: &'static str,
    /// Its methods, as in the header `Allow`.
    pub methods: &'static str,
    /// Who may call it.
    pub access: Access,
    handler: Handler,
}

const fn route(
    path: &'static str,
    methods: &'static str,
    access: Access,
    handler: Handler,
) -> Route {
    Route { path, methods, access, handler }
}

const POST: &str = "POST, OPTIONS";
const GET: &str = "GET, HEAD, OPTIONS";
const STREAM: &str = "GET, OPTIONS";

/// All routes.
pub const ROUTES: &[Route] = &[
    route("/track", POST, Access::Sender, Handler::Ingest(EventKind::Pageview)),
    route("/api/track", POST, Access::Sender, Handler::Ingest(EventKind::Pageview)),
    route("/track-event", POST, Access::Sender, Handler::Ingest(EventKind::Event)),
    route("/session-end", POST, Access::Sender, Handler::Ingest(EventKind::SessionEnd)),
    route("/health", GET, Access::Everybody, Handler::Health),
    route("/ready", GET, Access::Everybody, Handler::Ready),
    route("/metrics", GET, Access::Reader, Handler::Metrics),
    route("/api/debug-stream", STREAM, Access::ProjectReader, Handler::DebugStream),
    route("/api/queue", GET, Access::Reader, Handler::Queue),
    route("/api/queue/batch", GET, Access::Reader, Handler::Batch),
    route("/api/event", GET, Access::Reader, Handler::Event),
    route("/api/live", GET, Access::Reader, Handler::Live),
    route("/api/queue/failed", GET, Access::Reader, Handler::Failed),
    route("/api/queue/failed/retry", POST, Access::Admin, Handler::Change(Change::Retry)),
    route("/api/queue/failed/delete", POST, Access::Admin, Handler::Change(Change::Delete)),
];

impl Route {
    fn of(path: &str) -> Option<&'static Self> {
        ROUTES.iter().find(|route| route.path == path)
    }

    /// Whether pages of other sites may read the response.
    fn is_for_pages(&self) -> bool {
        matches!(self.access, Access::Sender)
    }

    fn knows(&self, method: &Method) -> bool {
        self.methods.split(", ").any(|known| known == method.as_str())
    }
}

/// Responds to a request.
pub async fn respond(peer: &Arc<Peer>, request: Request<Incoming>) -> Response<ResponseBody> {
    let began = Instant::now();
    peer.linger.store(!request.body().is_end_stream(), Relaxed);
    let route = Route::of(request.uri().path());
    // Kept for the log line about a refusal; cheap to clone.
    let uri = request.uri().clone();
    let client = peer.shown(request.headers());
    let response = match dispatch(peer, route, request, began).await {
        Ok(response) => response,
        Err(refused) => refuse(peer, client, uri.path(), &refused, began),
    };
    let response = match route {
        Some(route) if !route.is_for_pages() => response,
        _ => response::allow_any_origin(response),
    };
    peer.context.intake.log().metrics().request(response.status().as_u16());
    response
}

async fn dispatch(
    peer: &Arc<Peer>,
    route: Option<&'static Route>,
    request: Request<Incoming>,
    began: Instant,
) -> Result<Response<ResponseBody>, Refused> {
    let is_options = request.method() == Method::OPTIONS;
    let Some(route) = route else {
        return if is_options {
            Ok(response::preflight(POST))
        } else {
            Err(Refusal::NotFound.into())
        };
    };
    if is_options {
        let options = if route.is_for_pages() { response::preflight } else { response::options };
        return Ok(options(route.methods));
    }
    if !route.knows(request.method()) {
        return Err(Refusal::Method(route.methods).into());
    }
    if let Handler::Ingest(kind) = route.handler {
        if !peer.context.roles.has(Role::Ingestion) {
            return Err(Refusal::NoIngestion.into());
        }
        return ingest(peer, kind, request, began).await;
    }
    let (head, body) = request.into_parts();
    check(peer, route.access, &head).await?;
    Ok(handle(peer, route.handler, &head, body).await?)
}

/// Checks that the caller may call a route with this access. Events are checked by the intake, which
/// knows their project.
async fn check(peer: &Peer, access: Access, head: &Parts) -> Result<(), Denied> {
    let caller = peer.caller();
    match access {
        Access::Everybody | Access::Sender => Ok(()),
        Access::Reader => authorize(caller, head, None).await,
        Access::ProjectReader => {
            authorize(caller, head, query(&head.uri, "projectId").as_deref()).await
        }
        Access::Admin => authorize_change(caller, head).await,
    }
}

async fn handle(
    peer: &Arc<Peer>,
    handler: Handler,
    head: &Parts,
    body: Incoming,
) -> Result<Response<ResponseBody>, Refusal> {
    match handler {
        // Handled above.
        Handler::Ingest(_) => Err(Refusal::NotFound),
        Handler::Health => Ok(status::health(peer, head).await),
        Handler::Ready => Ok(ready::ready(&peer.context).await),
        Handler::Metrics => Ok(status::metrics(peer)),
        Handler::DebugStream => debug_stream::open(peer, head),
        Handler::Queue => queue_api::overview(peer).await,
        Handler::Batch => queue_api::batch(peer, head).await,
        Handler::Event => event_api::find(peer, head).await,
        Handler::Live => live_view::now(peer).await,
        Handler::Failed => queue_api::failed(peer, head).await,
        Handler::Change(change) => queue_api::change(peer, change, head, body).await,
    }
}

/// Logs and counts a refused request, and builds the response.
fn refuse(
    peer: &Peer,
    client: Option<(String, Value)>,
    path: &str,
    refused: &Refused,
    began: Instant,
) -> Response<ResponseBody> {
    let log = peer.context.intake.log();
    log.metrics().refused();
    let mut step = log.step(Stage::Ingestion).took(began.elapsed());
    if let Some(project) = &refused.project {
        step = step.project(project);
    }
    step.warn("Request refused", || {
        let about = [
            ("status".to_owned(), refused.why.status().as_u16().into()),
            ("error".to_owned(), refused.why.to_string().into()),
            ("path".to_owned(), path.chars().take(MAX_PATH).collect::<String>().into()),
        ];
        about.into_iter().chain(client).collect()
    });
    response::refusal(&refused.why)
}
