//! `/api/sql…`: queries of operators on the store.

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use serde::de::DeserializeOwned;

use super::Peer;
use super::queue_api::json_of_admin;
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use crate::sql::SqlError;
use bklit_wire::sql::{MAX_QUERY_ID, SqlRequest, StopSql, StoppedSql, query_problem};

/// `POST /api/sql`.
pub async fn run(
    peer: &Peer,
    head: &Parts,
    incoming: Incoming,
) -> Result<Response<ResponseBody>, Refusal> {
    let request: SqlRequest =
        body(peer, head, incoming, "must be {\"query\":\"SELECT …\"}").await?;
    if let Some(problem) = query_problem(&request.query) {
        return Err(Refusal::field("query", problem));
    }
    if let Some(id) = &request.id {
        check_id(id)?;
    }
    let context = &*peer.context;
    let answer = context.queries.run(context.store.as_deref(), &request).await;
    Ok(response::no_store(match answer {
        Ok(answer) => response::json(StatusCode::OK, &answer),
        Err(error) => failure(&error),
    }))
}

/// `POST /api/sql/stop`.
pub async fn stop(
    peer: &Peer,
    head: &Parts,
    incoming: Incoming,
) -> Result<Response<ResponseBody>, Refusal> {
    let StopSql { id } = body(peer, head, incoming, "must be {\"id\":\"…\"}").await?;
    check_id(&id)?;
    let stopped = StoppedSql { stopped: peer.context.queries.stop(&id) };
    Ok(response::no_store(response::json(StatusCode::OK, &stopped)))
}

/// `GET /api/sql/schema`.
pub async fn schema(peer: &Peer) -> Response<ResponseBody> {
    response::no_store(match peer.context.queries.schema(peer.context.store.as_deref()).await {
        Ok(schema) => response::json(StatusCode::OK, &schema),
        Err(error) => failure(&error),
    })
}

async fn body<T: DeserializeOwned>(
    peer: &Peer,
    head: &Parts,
    incoming: Incoming,
    form: &'static str,
) -> Result<T, Refusal> {
    let bytes = json_of_admin(peer, head, incoming, None).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::field("body", format!("{form}: {error}")))
}

fn check_id(id: &str) -> Result<(), Refusal> {
    if (1..=MAX_QUERY_ID).contains(&id.len()) {
        return Ok(());
    }
    Err(Refusal::field("id", format!("must be from 1 to {MAX_QUERY_ID} bytes long")))
}

/// The store's own message, which only administrators see. An error in a query is not a refused
/// request: it is neither counted nor logged.
fn failure(error: &SqlError) -> Response<ResponseBody> {
    let status = match error {
        SqlError::Refused(_) => StatusCode::BAD_REQUEST,
        SqlError::Unavailable(_) | SqlError::NoStore | SqlError::Busy | SqlError::Stopped => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    response::retryable(response::error(status, error.to_string()), None)
}
