//! `GET /ready`: whether this process can do its work now, for load balancers and orchestrators.
//!
//! It shows no figures and no addresses, and asks nothing of the queue, as everybody may send it:
//! it answers from what was seen of the queue in the last second.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::{Response, StatusCode};
use serde::Serialize;

use super::HttpContext;
use super::response::{self, ResponseBody};
use crate::metrics::{Acceptance, Part};
use crate::roles::Role;
use bklit_wire::gauges::Health;

/// How long the tokens' store may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

const READY: &str = "ready";
const NOT_READY: &str = "not ready";
const FAILED_FULL: &str = "the failed queue is full: retry, export or delete failed events with \
                           `bklit-tui queue retry|export|delete`";
const NO_SOCKETS: &str = "it cannot listen on its address";

#[derive(Serialize)]
struct Answer {
    status: &'static str,
    roles: BTreeMap<&'static str, &'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// 200 or 503, with the reasons.
///
/// Where events are accepted, by requests or by sockets, that alone decides: a store that is away is no reason to send
/// visitors' events elsewhere, as they wait in the queue. Elsewhere the worker
/// decides. A WebSocket server that could not be started matters where there are no requests.
pub async fn ready(context: &HttpContext) -> Response<ResponseBody> {
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
    response::no_store(response::json(code, &Answer { status, roles, reasons }))
}

/// Why events cannot be accepted.
async fn accepting(context: &HttpContext) -> Option<&'static str> {
    let knows_tokens = tokio::time::timeout(TIMEOUT, context.intake.authenticator().knows_tokens());
    if !knows_tokens.await.unwrap_or(false) {
        return Some("no token is known, and the tokens cannot be read");
    }
    let Some(seen) = context.intake.log().metrics().queue_seen() else {
        return Some("whether the queue takes events is not known");
    };
    match seen.acceptance {
        Acceptance::Accepts => None,
        Acceptance::Full => Some("the queue is full"),
        Acceptance::FailedFull => Some(FAILED_FULL),
        Acceptance::Refuses => Some("the queue takes no events"),
        Acceptance::Silent => Some("the queue does not answer"),
    }
}

/// Why events cannot be stored.
fn worker(context: &HttpContext) -> Option<&'static str> {
    let metrics = context.intake.log().metrics();
    match (metrics.health(Part::Worker), metrics.health(Part::Store)) {
        (Health::Ok, Health::Ok) => None,
        (Health::Ok, Health::Failing) => Some("the store cannot be written"),
        (Health::Failing, _) => Some("the queue cannot be read"),
        _ => Some("it has not begun yet"),
    }
}
