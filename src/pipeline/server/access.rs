//! Who may read: the holder of a read token, or a request from this machine itself. Who may
//! change the queue: the holder of an admin token, or this machine.

use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, FORWARDED, HOST, HeaderMap, ORIGIN, REFERER, VIA};
use hyper::http::request::Parts;
use hyper::{Uri, Version};

use crate::auth::{Authenticator, Denied, Site};

/// The client of a connection, as far as its permissions depend on it.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Checks its token.
    pub authenticator: &'a Authenticator,
    /// The other end of the connection.
    pub ip: IpAddr,
    /// Whether the server listens on loopback only.
    pub loopback_only: bool,
    /// Whether a proxy in front is trusted: then everybody seems to come from this machine.
    pub trust_forwarded: bool,
}

/// The token in `Bearer <token>`.
pub fn bearer_token(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, token) = text.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

/// The site that a browser says the request comes from.
pub fn site(headers: &HeaderMap) -> Site<'_> {
    let header = headers.get(ORIGIN).or_else(|| headers.get(REFERER));
    Site(header.and_then(|value| value.to_str().ok()))
}

/// Whether the request may read about `project`, or about everything without one.
pub async fn authorize(
    caller: Caller<'_>,
    head: &Parts,
    project: Option<&str>,
) -> Result<(), Denied> {
    // An EventSource cannot send headers.
    let in_query = || query(&head.uri, "token");
    let secret = match head.headers.get(AUTHORIZATION) {
        Some(value) => Some(bearer_token(value.as_bytes()).ok_or(Denied::Unknown)?.to_owned()),
        None => in_query(),
    };
    match secret {
        Some(secret) => caller.authenticator.identify(&secret).await?.allow_read(project),
        None if is_local(caller, head) => Ok(()),
        None => Err(Denied::NotLocal),
    }
}

/// Whether the request may change the queue. A token in the address, which ends up in logs, does
/// not count.
pub async fn authorize_change(caller: Caller<'_>, head: &Parts) -> Result<(), Denied> {
    match head.headers.get(AUTHORIZATION) {
        Some(value) => {
            let secret = bearer_token(value.as_bytes()).ok_or(Denied::Unknown)?;
            caller.authenticator.identify(secret).await?.allow_admin()
        }
        None if query(&head.uri, "token").is_none() && is_local(caller, head) => Ok(()),
        None => Err(Denied::NotAdmin),
    }
}

/// A parameter of the address, decoded; empty is as good as absent.
pub fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query()?.as_bytes());
    let value = pairs.into_iter().find(|(key, _)| key == name)?.1;
    (!value.is_empty()).then(|| value.into_owned())
}

/// Whether a program on this machine asks for itself: not a proxy for somebody else, and not a
/// browser for a page from elsewhere.
fn is_local(caller: Caller<'_>, head: &Parts) -> bool {
    caller.loopback_only
        && caller.ip.is_loopback()
        // A proxy is in front, and everybody seems to come from this machine.
        && !caller.trust_forwarded
        // Older proxies that hide themselves speak 1.0.
        && head.version == Version::HTTP_11
        && !is_forwarded(&head.headers)
        && is_addressed_to_loopback(head)
        && !is_from_a_page_elsewhere(&head.headers)
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        *name == FORWARDED
            || *name == VIA
            || name.as_str().starts_with("x-forwarded-")
            || matches!(
                name.as_str(),
                "x-real-ip" | "x-client-ip" | "cf-connecting-ip" | "true-client-ip"
            )
    })
}

/// A name that only now resolves to this machine is how a page elsewhere gets around the
/// browser's rules.
fn is_addressed_to_loopback(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let host = host.to_str().ok().and_then(|host| host.parse().ok());
    host.is_some_and(|authority| is_loopback(&authority))
        && head.uri.authority().is_none_or(is_loopback)
}

fn is_loopback(authority: &hyper::http::uri::Authority) -> bool {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn is_from_a_page_elsewhere(headers: &HeaderMap) -> bool {
    let own = |origin: &[u8]| {
        let host = origin.strip_prefix(b"http://");
        host.is_some() && host == headers.get(HOST).map(|host| host.as_bytes())
    };
    let origin_elsewhere = headers.get(ORIGIN).is_some_and(|origin| !own(origin.as_bytes()));
    let fetched_elsewhere = headers
        .get("sec-fetch-site")
        .is_some_and(|site| !matches!(site.as_bytes(), b"none" | b"same-origin"));
    origin_elsewhere || fetched_elsewhere
}
