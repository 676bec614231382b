//! CORS for the routes that pages of other sites may use.
//!
//! The origin is echoed and credentials are allowed, because browsers send them with
//! `navigator.sendBeacon` and refuse `*` then. That reveals nothing: these routes use no cookies or
//! other credentials that a browser adds on its own, and their responses contain only what the page
//! sent and why it was refused. Routes for readers never get these headers: a page that a reader
//! happens to visit must not see their data.

use std::fmt::Write as _;
use std::net::IpAddr;

use bklit_wire::debug_log::Stage;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, RETRY_AFTER, VARY,
};
use hyper::{Method, Response};

use super::Peer;
use super::ingest::shown;
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use crate::repeated::Repeated;
use crate::telemetry::Data;

/// The most headers that a preflight may request.
pub const MAX_REQUESTED_HEADERS: usize = 64;
/// The most bytes of the names of the headers that a preflight requests.
pub const MAX_REQUESTED_BYTES: usize = 4096;

/// Seconds for which a browser may cache a preflight.
const PREFLIGHT_SECONDS: &str = "86400";
/// The request headers that are allowed if a preflight names none.
const USUAL_HEADERS: &str = "Authorization, Content-Type, Content-Encoding";
/// What a preflight's response depends on.
const PREFLIGHT_VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, \
                              Access-Control-Request-Private-Network";

const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

/// Lets the page at `origin` read the response; without an origin, nothing needs to be allowed.
pub fn allow(
    mut response: Response<ResponseBody>,
    origin: Option<HeaderValue>,
) -> Response<ResponseBody> {
    let may_retry = response.headers().contains_key(RETRY_AFTER);
    let headers = response.headers_mut();
    headers.entry(VARY).or_insert(HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return response };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    if may_retry {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    }
    response
}

/// Whether this is a preflight, with which a browser asks whether it may send a page's request.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The response to `OPTIONS` on a route for pages, with the methods `allowed`.
///
/// # Errors
/// [`Refusal::Method`], or [`Refusal::Preflight`] with what is wrong with the requested headers.
pub fn preflight(
    allowed: &'static str,
    headers: &HeaderMap,
) -> Result<Response<ResponseBody>, Refusal> {
    if let Some(method) = headers.get(ACCESS_CONTROL_REQUEST_METHOD)
        && !allowed.split(", ").any(|known| known.as_bytes() == method.as_bytes())
    {
        return Err(Refusal::Method(allowed));
    }
    let allowed_headers = requested_headers(headers)?;
    let mut response = response::options(allowed);
    let own = response.headers_mut();
    own.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allowed));
    own.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers);
    own.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
    own.insert(VARY, HeaderValue::from_static(PREFLIGHT_VARY));
    if headers.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
        own.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The names of the requested headers, all of which are allowed: tracing libraries add their own to
/// every request of a page.
fn requested_headers(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let mut allowed = String::new();
    let mut count = 0;
    let values = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    for name in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        let name = name.trim_ascii();
        if name.is_empty() {
            continue;
        }
        let name = HeaderName::from_bytes(name)
            .map_err(|_| Refusal::Preflight("requests a header whose name is not valid"))?;
        count += 1;
        let separator = if allowed.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(allowed, "{separator}{name}");
        if count > MAX_REQUESTED_HEADERS || allowed.len() > MAX_REQUESTED_BYTES {
            return Err(Refusal::Preflight("requests too many headers"));
        }
    }
    let invalid = |_| Refusal::Preflight("requests a header whose name is not valid");
    match allowed.as_str() {
        "" => Ok(HeaderValue::from_static(USUAL_HEADERS)),
        allowed => allowed.parse().map_err(invalid),
    }
}

/// Reports that a browser will not send a page's request, or that the request will fail: otherwise
/// it would leave no trace here.
pub fn log_failed_preflight(
    peer: &Peer,
    client: IpAddr,
    path: &str,
    headers: &HeaderMap,
    problem: &str,
) {
    let text = |name| headers.get(name).map(shown).unwrap_or_default();
    let (origin, path) = (text(ORIGIN), shown(path));
    if peer.context.failed_preflights.failure().is_some() {
        tracing::warn!(%origin, %path, problem, "a page's request failed its CORS preflight");
    }
    let repeated = Repeated::from_address("preflight", client);
    let step = peer.context.intake.log().step(Stage::Ingestion);
    step.warn_repeated(repeated, "Preflight failed", || {
        let mut data = Data::from_iter([
            ("error".to_owned(), problem.into()),
            ("path".to_owned(), path.into()),
            ("origin".to_owned(), origin.into()),
            ("method".to_owned(), text(ACCESS_CONTROL_REQUEST_METHOD).into()),
            ("headers".to_owned(), text(ACCESS_CONTROL_REQUEST_HEADERS).into()),
        ]);
        data.extend(peer.shown(client));
        data
    });
}
