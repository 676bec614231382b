//! `GET /api/who`: where events come from.

use std::str::FromStr;

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::Peer;
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use crate::server::access::query;
use crate::who;
use bklit_wire::who::WhoQuery;

/// `GET /api/who?by=&span=&sort=`.
pub async fn read(peer: &Peer, head: &Parts) -> Result<Response<ResponseBody>, Refusal> {
    fn named<T: FromStr<Err = String> + Default>(
        head: &Parts,
        name: &'static str,
    ) -> Result<T, Refusal> {
        let text = query(&head.uri, name);
        text.map_or(Ok(T::default()), |text| text.parse())
            .map_err(|problem| Refusal::field(name, problem))
    }
    let wanted =
        WhoQuery { by: named(head, "by")?, span: named(head, "span")?, sort: named(head, "sort")? };
    let context = &peer.context;
    let metrics = context.intake.log().metrics();
    let view = who::answer(metrics, context.history.as_deref(), wanted).await;
    Ok(response::no_store(response::json(StatusCode::OK, &view)))
}
