//! Who may read: the holder of a read token, or a request from this machine. Who may change the
//! queue: the holder of an admin token, or a request from this machine.

use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN, REFERER, VIA};
use hyper::http::request::Parts;
use hyper::{Uri, Version};

use crate::auth::{Authenticator, Denied, Secret, Site};
use crate::intake::visitor::ClientIpHeader;

/// What the permissions of a connection's client depend on.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Checks tokens.
    pub authenticator: &'a Authenticator,
    /// The client's address, behind trusted proxies.
    pub ip: IpAddr,
    /// Whether the server listens on loopback only.
    pub loopback_only: bool,
    /// Whether there are trusted proxies in front: then all requests may seem to come from this
    /// machine.
    pub behind_proxies: bool,
}

/// The token in `Bearer <token>`.
pub fn bearer_token(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, token) = text.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

/// The secret in a header `Authorization`.
///
/// # Errors
/// [`Denied::NoBearer`] if the header has another form.
pub fn secret(header: &HeaderValue) -> Result<&str, Denied> {
    let token = bearer_token(header.as_bytes());
    token.filter(|token| token.starts_with(Secret::PREFIX)).ok_or(Denied::NoBearer)
}

/// The site that a browser sent the request from.
pub fn site(headers: &HeaderMap) -> Site<'_> {
    let header = headers.get(ORIGIN).or_else(|| headers.get(REFERER));
    Site(header.and_then(|value| readable(value.as_bytes())))
}

/// The text of an address up to the first byte in its path that is not UTF-8; its host comes before.
fn readable(address: &[u8]) -> Option<&str> {
    let error = match std::str::from_utf8(address) {
        Ok(text) => return Some(text),
        Err(error) => error,
    };
    let text = std::str::from_utf8(address.get(..error.valid_up_to())?).ok()?;
    // Otherwise the rest could belong to the host.
    let (_, rest) = text.split_once("://")?;
    rest.contains('/').then_some(text)
}

/// Checks that the request may read `project`, or everything for `None`.
pub async fn authorize(
    caller: Caller<'_>,
    head: &Parts,
    project: Option<&str>,
) -> Result<(), Denied> {
    // In the query too, because an EventSource cannot send headers.
    let in_query = || query(&head.uri, "token");
    let token = match head.headers.get(AUTHORIZATION) {
        Some(value) => Some(secret(value)?.to_owned()),
        None => in_query(),
    };
    match token {
        Some(token) => {
            caller.authenticator.identify_from(caller.ip, &token).await?.allow_read(project)
        }
        None if is_local(caller, head) => Ok(()),
        None => Err(Denied::NotLocal),
    }
}

/// Checks that the request may change the queue. A token in the query does not count, because URLs
/// end up in logs.
pub async fn authorize_change(caller: Caller<'_>, head: &Parts) -> Result<(), Denied> {
    match head.headers.get(AUTHORIZATION) {
        Some(value) => {
            caller.authenticator.identify_from(caller.ip, secret(value)?).await?.allow_admin()
        }
        None if query(&head.uri, "token").is_none() && is_local(caller, head) => Ok(()),
        None => Err(Denied::NotAdmin),
    }
}

/// A decoded parameter of the query; empty counts as absent.
pub fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(uri.query()?.as_bytes());
    let value = pairs.into_iter().find(|(key, _)| key == name)?.1;
    (!value.is_empty()).then(|| value.into_owned())
}

/// Whether the request is from a program on this machine itself: not a proxy for another client,
/// and not a browser for a page of another site.
pub(crate) fn is_local(caller: Caller<'_>, head: &Parts) -> bool {
    is_from_this_machine(caller, head) && !is_from_another_site(&head.headers)
}

/// Whether the request is from this machine, even if a browser sent it for a page of any site.
pub fn is_from_this_machine(caller: Caller<'_>, head: &Parts) -> bool {
    caller.loopback_only
        && caller.authenticator.trusts_loopback()
        && caller.ip.is_loopback()
        // Behind a proxy, all requests seem to come from this machine.
        && !caller.behind_proxies
        // Older proxies that add no headers speak HTTP/1.0.
        && head.version == Version::HTTP_11
        && !is_forwarded(&head.headers)
        && is_addressed_to_loopback(head)
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        *name == VIA
            || *name == "x-client-ip"
            || name.as_str().starts_with("x-forwarded-")
            || ClientIpHeader::ALL.iter().any(|header| header.as_str() == name.as_str())
    })
}

/// Prevents DNS rebinding: a page of another site can make its own host name resolve to this machine.
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

fn is_from_another_site(headers: &HeaderMap) -> bool {
    let own = |origin: &[u8]| {
        // Only one of them can be served on this port.
        let host = origin.strip_prefix(b"http://").or(origin.strip_prefix(b"https://"));
        host.is_some() && host == headers.get(HOST).map(|host| host.as_bytes())
    };
    let origin_elsewhere = headers.get(ORIGIN).is_some_and(|origin| !own(origin.as_bytes()));
    let fetched_elsewhere = headers
        .get("sec-fetch-site")
        .is_some_and(|site| !matches!(site.as_bytes(), b"none" | b"same-origin"));
    origin_elsewhere || fetched_elsewhere
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_referer_that_is_not_utf8_names_its_site() {
        for (referer, read) in [
            (&b"https://shop.example/caf\xe9?q"[..], Some("https://shop.example/caf")),
            ("https://shop.example/café".as_bytes(), Some("https://shop.example/café")),
            (b"https://shop.example\xe9.evil.example/", None),
            (b"\xe9", None),
        ] {
            assert_eq!(readable(referer), read);
        }
    }
}
