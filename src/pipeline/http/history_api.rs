//! `GET /api/history`: figures by minute, of the last eight days.

use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::Peer;
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use crate::server::access::query;
use bklit_net::timeout::within;
use bklit_wire::duration;
use bklit_wire::history::HistoryQuery;
use bklit_wire::time::UtcMillis;

/// The length of a point by default.
const STEP: Duration = Duration::from_secs(60);
/// How long reading may take, including the wait for earlier readers.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The range by default, in milliseconds.
const RANGE: i64 = 60 * 60 * 1000;

/// `GET /api/history?from=&to=&step=`.
pub async fn read(peer: &Peer, head: &Parts) -> Result<Response<ResponseBody>, Refusal> {
    let wanted = wanted(head)?;
    let history = peer.context.history.as_ref().ok_or(Refusal::NoHistory)?;
    let history =
        within(TIMEOUT, history.read(wanted), |late| late).await.map_err(|_| Refusal::NoHistory)?;
    Ok(response::no_store(response::json(StatusCode::OK, &history)))
}

fn wanted(head: &Parts) -> Result<HistoryQuery, Refusal> {
    let time = |name: &'static str| match query(&head.uri, name) {
        None => Ok(None),
        Some(text) => {
            let time = text.parse::<UtcMillis>();
            let wrong = "must be a time such as 2026-01-02T03:04:00Z";
            time.map(Some).map_err(|_| Refusal::field(name, wrong))
        }
    };
    let to = time("to")?.unwrap_or_else(UtcMillis::now);
    let before = || UtcMillis::from_epoch_millis(to.epoch_millis().saturating_sub(RANGE));
    let from = time("from")?.unwrap_or_else(before);
    if from > to {
        return Err(Refusal::field("from", "must not be after to"));
    }
    let step = match query(&head.uri, "step") {
        None => STEP,
        Some(text) => {
            let wrong = |_| Refusal::field("step", "must be a duration such as 1m, 10m or 1h");
            duration::parse(&text).map_err(wrong)?
        }
    };
    HistoryQuery::new(from, to, step).map_err(|problem| Refusal::field("step", problem))
}
