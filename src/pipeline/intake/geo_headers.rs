//! Reads the visitor's address and location from the headers of a trusted proxy or CDN.

use std::net::IpAddr;

use hyper::HeaderMap;

use super::enrich::header;
use bklit_wire::event::PageView;

/// The visitor's address from `X-Forwarded-For`: the last one that is not private.
///
/// Each proxy appends the address it received the request from. Addresses further left may be forged
/// by the visitor, and private ones at the right are our own proxies.
pub fn visitor(headers: &HeaderMap) -> Option<IpAddr> {
    let lists = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.rsplit(','));
    let mut last = None;
    for hop in hops {
        // Anything that is not an address ends the part written by proxies.
        let Some(ip) = address(hop.trim()) else { break };
        last.get_or_insert(ip);
        if !is_private(ip) {
            return Some(ip);
        }
    }
    last
}

/// Parses an address with an optional port: `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`,
/// `[2001:db8::7]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(text);
    let parsed = bare.parse().ok();
    let ip: IpAddr = parsed.or_else(|| bare.parse().ok().map(|s: std::net::SocketAddr| s.ip()))?;
    Some(ip.to_canonical())
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// Fills in the location from the headers of Cloudflare, Vercel and CloudFront.
pub fn fill(view: &mut PageView, headers: &HeaderMap) {
    let first = |names: &[&str]| names.iter().find_map(|name| header(headers, name));
    let text = |names: &[&str]| first(names).map(decoded);
    let number = |names: &[&str], most: f64| {
        let number: f64 = first(names)?.parse().ok()?;
        (number.abs() <= most).then_some(number)
    };
    view.country_code = text(&["cf-ipcountry", "x-vercel-ip-country", "cloudfront-viewer-country"])
        // Cloudflare's codes for an unknown country and for Tor.
        .filter(|code| !matches!(code.as_str(), "XX" | "T1"));
    view.country = text(&["cloudfront-viewer-country-name"]).or_else(|| view.country_code.clone());
    view.region =
        text(&["cf-region-code", "x-vercel-ip-country-region", "cloudfront-viewer-country-region"]);
    view.region_name = text(&["cf-region", "cloudfront-viewer-country-region-name"]);
    view.city = text(&["cf-ipcity", "x-vercel-ip-city", "cloudfront-viewer-city"]);
    view.zip =
        text(&["cf-postal-code", "x-vercel-ip-postal-code", "cloudfront-viewer-postal-code"]);
    view.timezone = text(&["cf-timezone", "x-vercel-ip-timezone", "cloudfront-viewer-time-zone"]);
    view.lat =
        number(&["cf-iplatitude", "x-vercel-ip-latitude", "cloudfront-viewer-latitude"], 90.0);
    view.lon =
        number(&["cf-iplongitude", "x-vercel-ip-longitude", "cloudfront-viewer-longitude"], 180.0);
}

/// Decodes names, which Vercel and CloudFront send percent-encoded. A `+` stays a `+`.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visitor_is_the_last_public_hop() {
        for (lists, ip) in [
            (&["203.0.113.9"][..], Some("203.0.113.9")),
            (&["6.6.6.6, 203.0.113.9:4711, 127.0.0.1"], Some("203.0.113.9")),
            (&["[2001:db8::7]:80, fd00::1"], Some("2001:db8::7")),
            (&["::ffff:203.0.113.9"], Some("203.0.113.9")),
            (&["6.6.6.6", "203.0.113.9"], Some("203.0.113.9")),
            (&["10.0.0.1, 192.168.0.2"], Some("192.168.0.2")),
            (&["6.6.6.6, unknown"], None),
            (&["6.6.6.6, unknown, 10.0.0.1"], Some("10.0.0.1")),
            (&[""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append("x-forwarded-for", list.parse().unwrap());
            }
            assert_eq!(visitor(&headers), ip.map(|ip| ip.parse().unwrap()), "{lists:?}");
        }
    }

    #[test]
    fn names_are_decoded() {
        for (sent, read) in
            [("S%C3%A3o%20Paulo", "São Paulo"), ("A+B%20C", "A+B C"), ("a&b=c", "a&b=c")]
        {
            assert_eq!(decoded(sent), read);
        }
    }
}
