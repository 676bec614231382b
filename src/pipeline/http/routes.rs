//! The table of routes: path, methods, access and handler. Dispatch, authorization and the table in the
//! documentation all use it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bklit_wire::backend::Change;
use bklit_wire::event::EventKind;
use hyper::body::{Body, Incoming};
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use super::ingest::{About, Refused, ingest};
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use super::{
    Arrival, Peer, batch, cors, debug_stream, event_api, history_api, live_view, playground,
    queue_api,
};
use super::{ready, refused_api, sql_api, status, tracker, who_api};
use crate::auth::Denied;
use crate::roles::Role;
use crate::server::access::{authorize, authorize_change, query};

/// Who may call a route. Checked before the route's handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
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
    IngestBatch,
    Health,
    Ready,
    Metrics,
    DebugStream,
    Queue,
    Batch,
    Event,
    Session,
    Live,
    History,
    Failed,
    Refused,
    Who,
    Change(Change),
    Edit,
    Pause,
    Sql,
    StopSql,
    SqlSchema,
    Tracker,
    Playground,
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
    route("/api/track-event", POST, Access::Sender, Handler::Ingest(EventKind::Event)),
    route("/session-end", POST, Access::Sender, Handler::Ingest(EventKind::SessionEnd)),
    route("/api/session-end", POST, Access::Sender, Handler::Ingest(EventKind::SessionEnd)),
    // Older SDKs add it to the URL that they track to.
    route("/api/track/session-end", POST, Access::Sender, Handler::Ingest(EventKind::SessionEnd)),
    route("/batch", POST, Access::Sender, Handler::IngestBatch),
    route("/api/batch", POST, Access::Sender, Handler::IngestBatch),
    route("/tracker.js", GET, Access::Public, Handler::Tracker),
    route("/playground", GET, Access::Public, Handler::Playground),
    route("/health", GET, Access::Public, Handler::Health),
    route("/ready", GET, Access::Public, Handler::Ready),
    route("/metrics", GET, Access::Reader, Handler::Metrics),
    route("/api/debug-stream", STREAM, Access::ProjectReader, Handler::DebugStream),
    route("/api/queue", GET, Access::Reader, Handler::Queue),
    route("/api/queue/batch", GET, Access::Reader, Handler::Batch),
    route("/api/event", GET, Access::Reader, Handler::Event),
    route("/api/session", GET, Access::Reader, Handler::Session),
    route("/api/live", GET, Access::Reader, Handler::Live),
    route("/api/history", GET, Access::Reader, Handler::History),
    route("/api/queue/failed", GET, Access::Reader, Handler::Failed),
    route("/api/refused", GET, Access::Reader, Handler::Refused),
    route("/api/who", GET, Access::Reader, Handler::Who),
    route("/api/queue/pause", POST, Access::Admin, Handler::Pause),
    route("/api/queue/failed/retry", POST, Access::Admin, Handler::Change(Change::Retry)),
    route("/api/queue/failed/delete", POST, Access::Admin, Handler::Change(Change::Delete)),
    route("/api/queue/failed/edit", POST, Access::Admin, Handler::Edit),
    route("/api/sql", POST, Access::Admin, Handler::Sql),
    route("/api/sql/stop", POST, Access::Admin, Handler::StopSql),
    route("/api/sql/schema", GET, Access::Admin, Handler::SqlSchema),
];

impl Route {
    /// The route of a path; trailing and repeated slashes do not count.
    fn of(path: &str) -> Option<&'static Self> {
        let exact = ROUTES.iter().find(|route| route.path == path);
        exact.or_else(|| ROUTES.iter().find(|route| segments(route.path).eq(segments(path))))
    }

    /// Whether pages of other sites may read the response.
    fn is_for_pages(&self) -> bool {
        matches!(self.access, Access::Sender)
    }

    fn knows(&self, method: &Method) -> bool {
        self.methods == method.as_str()
            || self.methods.split(", ").any(|known| known == method.as_str())
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Responds to a request; without a slot, only that there is none.
pub async fn respond(
    peer: &Arc<Peer>,
    request: Request<Incoming>,
    has_slot: bool,
) -> Response<ResponseBody> {
    let arrival = Arrival { began: Instant::now(), client: peer.client(request.headers()) };
    peer.linger.store(!request.body().is_end_stream(), Relaxed);
    let route = Route::of(request.uri().path());
    // Requests of browsers and scanners, and preflights, were not meant to be events. A client with
    // the wrong path sends a token.
    let has_token = request.headers().contains_key(AUTHORIZATION);
    let for_events =
        *request.method() == Method::POST && route.map_or(has_token, Route::is_for_pages);
    let about = About::new(arrival.client.ip, request.uri(), request.headers(), for_events);
    let done = match has_slot {
        true => dispatch(peer, route, request, arrival).await,
        false => Err(Refusal::NoSlot.into()),
    };
    let response = match done {
        Ok(response) => response,
        Err(refused) => {
            refused.log(peer, &about, arrival.began.elapsed());
            response::refusal(&refused.why)
        }
    };
    let response = match route {
        Some(route) if !route.is_for_pages() => response,
        _ => cors::allow(response, about.origin),
    };
    peer.context.intake.log().metrics().request(response.status().as_u16());
    response
}

async fn dispatch(
    peer: &Arc<Peer>,
    route: Option<&'static Route>,
    request: Request<Incoming>,
    arrival: Arrival,
) -> Result<Response<ResponseBody>, Refused> {
    if *request.method() == Method::OPTIONS {
        return Ok(options(peer, route, &request, arrival)?);
    }
    let Some(route) = route else { return Err(Refusal::NotFound.into()) };
    if !route.knows(request.method()) {
        return Err(Refusal::Method(route.methods).into());
    }
    if route.access == Access::Sender && !peer.context.roles.has(Role::Ingestion) {
        return Err(Refusal::NoIngestion.into());
    }
    let (head, body) = request.into_parts();
    check(peer, route.access, &head).await?;
    let done = match route.handler {
        Handler::Ingest(kind) => return ingest(peer, kind, arrival, &head, body).await,
        Handler::IngestBatch => return batch::ingest(peer, arrival, &head, body).await,
        Handler::Health => Ok(status::health(peer, &head).await),
        Handler::Ready => Ok(ready::ready(&peer.context).await),
        Handler::Metrics => Ok(status::metrics(peer).await),
        Handler::DebugStream => debug_stream::open(peer, &head),
        Handler::Queue => queue_api::overview(peer).await,
        Handler::Batch => queue_api::batch(peer, &head).await,
        Handler::Event => event_api::find(peer, &head).await,
        Handler::Session => event_api::session(peer, &head).await,
        Handler::Live => live_view::now(peer).await,
        Handler::History => history_api::read(peer, &head).await,
        Handler::Failed => queue_api::failed(peer, &head).await,
        Handler::Refused => refused_api::list(peer, &head),
        Handler::Who => who_api::read(peer, &head).await,
        Handler::Change(change) => queue_api::change(peer, change, &head, body).await,
        Handler::Edit => queue_api::edit(peer, &head, body).await,
        Handler::Pause => queue_api::pause(peer, &head, body).await,
        Handler::Sql => sql_api::run(peer, &head, body).await,
        Handler::StopSql => sql_api::stop(peer, &head, body).await,
        Handler::SqlSchema => Ok(sql_api::schema(peer).await),
        Handler::Tracker => Ok(tracker::script(&head)),
        Handler::Playground => playground::page(peer, &head).await,
    };
    Ok(done?)
}

/// The response to `OPTIONS`. A preflight for an unknown path is granted, so that the page can read why
/// its request fails.
fn options(
    peer: &Peer,
    route: Option<&'static Route>,
    request: &Request<Incoming>,
    arrival: Arrival,
) -> Result<Response<ResponseBody>, Refusal> {
    let (path, headers) = (request.uri().path(), request.headers());
    let problem = |problem: &str| {
        if cors::is_preflight(request.method(), headers) {
            cors::log_failed_preflight(peer, arrival.client.ip, path, headers, problem);
        }
    };
    match route {
        Some(route) if !route.is_for_pages() => {
            problem("this route is not for pages of other sites");
            Ok(response::options(route.methods))
        }
        Some(route) => cors::preflight(route.methods, headers)
            .inspect_err(|refusal| problem(&refusal.to_string())),
        None => {
            if path != "*" {
                problem("no such path");
            }
            cors::preflight(POST, headers)
        }
    }
}

/// Checks that the caller may call a route with this access. Events are checked by the intake, which
/// knows their project.
async fn check(peer: &Peer, access: Access, head: &Parts) -> Result<(), Denied> {
    let caller = || peer.caller(&head.headers);
    match access {
        Access::Public | Access::Sender => Ok(()),
        Access::Reader => authorize(caller(), head, None).await,
        Access::ProjectReader => {
            authorize(caller(), head, query(&head.uri, "projectId").as_deref()).await
        }
        Access::Admin => authorize_change(caller(), head).await,
    }
}
