//! `GET /ready`: whether this process can do its work, for load balancers and orchestrators.
//!
//! Anyone may call it, so it shows no numbers and no addresses, and requests within a second share
//! one observation of the queue.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::{Response, StatusCode};
use serde::Serialize;

use super::HttpContext;
use super::response::{self, ResponseBody};
use crate::metrics::{Acceptance, Part};
use crate::roles::Role;
use bklit_wire::gauges::Health;

/// How long the token store may take.
const TIMEOUT: Duration = Duration::from_secs(1);

const READY: &str = "ready";
const NOT_READY: &str = "not ready";
const FAILED_FULL: &str = "the failed queue is full: retry, export or delete failed events with \
                           `bklit-tui queue retry|export|delete`";
const NO_SOCKETS: &str = "cannot listen on its address";

#[derive(Serialize)]
struct Report {
    status: &'static str,
    roles: BTreeMap<&'static str, &'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// Responds with 200, or with 503 and the reasons.
///
/// In a process that accepts events, over HTTP or WebSocket, only accepting them matters: while the
/// store is unavailable, events wait in the queue, so they need not be sent elsewhere. In other
/// processes the worker decides. A WebSocket server that could not start matters only without HTTP
/// ingestion.
pub async fn ready(context: &HttpContext) -> Response<ResponseBody> {
    context.intake.log().metrics().refresh().await;
    let mut roles = BTreeMap::new();
    let mut reasons = Vec::new();
    let accepts = |role| context.roles.has(role);
    let refuses = match context.roles.accept_events() {
        true => accepting(context).await,
        false => None,
    };
    let sockets = if context.serves_sockets { refuses } else { Some(NO_SOCKETS) };
    let mut decides = match (accepts(Role::Ingestion), accepts(Role::Websocket)) {
        (true, _) => Some(refuses.is_none()),
        (false, true) => Some(sockets.is_none()),
        (false, false) => None,
    };
    for role in context.roles.iter() {
        let reason = match role {
            Role::Ingestion => refuses,
            Role::Websocket => sockets,
            Role::Worker => worker(context),
        };
        decides.get_or_insert(reason.is_none());
        roles.insert(role.as_str(), if reason.is_none() { READY } else { NOT_READY });
        reasons.extend(reason.map(|reason| format!("{}: {reason}", role.as_str())));
    }
    let stopping = context.stopping.is_cancelled();
    if stopping {
        reasons.insert(0, "the process is stopping".to_owned());
    }
    let is_ready = !stopping && decides == Some(true);
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let status = if is_ready { READY } else { NOT_READY };
    response::no_store(response::json(code, &Report { status, roles, reasons }))
}

/// Why events cannot be accepted.
async fn accepting(context: &HttpContext) -> Option<&'static str> {
    let knows_tokens = tokio::time::timeout(TIMEOUT, context.intake.authenticator().knows_tokens());
    if !knows_tokens.await.unwrap_or(false) {
        return Some("no token is known and the token store is unavailable");
    }
    let Some(seen) = context.intake.log().metrics().queue_seen() else {
        return Some("the state of the queue is unknown");
    };
    match seen.acceptance {
        Acceptance::Accepts => None,
        Acceptance::Full => Some("the queue is full"),
        Acceptance::FailedFull => Some(FAILED_FULL),
        Acceptance::Paused => Some("an operator has paused accepting events"),
        Acceptance::Refuses => Some("the queue rejects events"),
        Acceptance::Silent => Some("the queue does not respond"),
    }
}

/// Why events cannot be stored.
fn worker(context: &HttpContext) -> Option<&'static str> {
    let metrics = context.intake.log().metrics();
    match (metrics.health(Part::Worker), metrics.health(Part::Store)) {
        (Health::Ok, Health::Ok) => None,
        (Health::Ok, Health::Failing) => Some("the store cannot be written to"),
        (Health::Failing, _) => Some("the queue cannot be read from"),
        _ => Some("not started yet"),
    }
}
