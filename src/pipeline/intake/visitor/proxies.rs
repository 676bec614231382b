//! Which address a request came from, when it passed through proxies.
//!
//! A proxy adds the address it received the request from to a header. Anyone can send these
//! headers, so they count only from trusted proxies, and only the one header that these proxies
//! set: a visitor could send the others through them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hyper::HeaderMap;
use hyper::header::HeaderName;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::address;
use super::forwarded;
use super::networks::{Networks, is_internal};
use crate::intake::enrich::has_any;

/// The most hops of a list that are checked, from the last one.
const MAX_HOPS: usize = 32;

/// A header in which proxies pass on the address of their client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientIpHeader {
    /// A list to which each proxy appends.
    #[default]
    XForwardedFor,
    /// The same, standardised (RFC 7239).
    Forwarded,
    /// The address alone, as nginx is usually configured.
    XRealIp,
    /// The address alone, set by Cloudflare.
    CfConnectingIp,
    /// The address alone, set by Akamai and Cloudflare Enterprise.
    TrueClientIp,
    /// The address alone, set by Fly.io.
    FlyClientIp,
    /// The address alone, set by Fastly.
    FastlyClientIp,
}

/// Their names, which need not be parsed for each request then.
static NAMES: [HeaderName; ClientIpHeader::ALL.len()] = [
    HeaderName::from_static(ClientIpHeader::ALL[0].as_str()),
    HeaderName::from_static(ClientIpHeader::ALL[1].as_str()),
    HeaderName::from_static(ClientIpHeader::ALL[2].as_str()),
    HeaderName::from_static(ClientIpHeader::ALL[3].as_str()),
    HeaderName::from_static(ClientIpHeader::ALL[4].as_str()),
    HeaderName::from_static(ClientIpHeader::ALL[5].as_str()),
    HeaderName::from_static(ClientIpHeader::ALL[6].as_str()),
];

impl ClientIpHeader {
    /// All headers.
    pub const ALL: [Self; 7] = [
        Self::XForwardedFor,
        Self::Forwarded,
        Self::XRealIp,
        Self::CfConnectingIp,
        Self::TrueClientIp,
        Self::FlyClientIp,
        Self::FastlyClientIp,
    ];

    /// Its name, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
            Self::XRealIp => "x-real-ip",
            Self::CfConnectingIp => "cf-connecting-ip",
            Self::TrueClientIp => "true-client-ip",
            Self::FlyClientIp => "fly-client-ip",
            Self::FastlyClientIp => "fastly-client-ip",
        }
    }

    fn name(self) -> &'static HeaderName {
        &NAMES[self as usize]
    }

    /// The address that the header names: in a list, the last one that is not a trusted proxy.
    ///
    /// Addresses further left may be forged by the visitor. If all are trusted, the visitor is in the
    /// proxies' network, and the first one is theirs.
    fn address(self, headers: &HeaderMap, trusted: &Networks) -> Option<IpAddr> {
        let mut lines = headers.get_all(self.name()).iter().rev().map(|line| line.to_str().ok());
        match self {
            Self::XForwardedFor => {
                // What is not text is not an address either.
                let hops = lines.flat_map(|line| line.unwrap_or("?").rsplit(',')).map(str::trim);
                // A list may have empty elements (RFC 9110, 5.6.1).
                let hops = hops.filter(|hop| !hop.is_empty());
                last_untrusted(hops.map(address::parse), trusted)
            }
            Self::Forwarded => {
                let hops = lines.flat_map(|line| {
                    let hops = line.and_then(forwarded::hops).unwrap_or_else(|| vec![None]);
                    hops.into_iter().rev()
                });
                last_untrusted(hops, trusted)
            }
            _ => lines.next().flatten().and_then(|line| address::parse(line.trim())),
        }
    }
}

/// What is not an address ends the part of a list that was written by trusted proxies.
fn last_untrusted(
    hops: impl Iterator<Item = Option<IpAddr>>,
    trusted: &Networks,
) -> Option<IpAddr> {
    let mut last = None;
    for hop in hops.take(MAX_HOPS) {
        let Some(ip) = hop else { break };
        last = Some(ip);
        if !trusted.contains(ip) {
            break;
        }
    }
    last
}

impl fmt::Display for ClientIpHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ClientIpHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text));
        known.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("unknown header {text} ({all})")
        })
    }
}

impl Serialize for ClientIpHeader {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ClientIpHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The other end of a request, behind the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its whole address, for use in memory only: see [`super::IpPrivacy::text`].
    pub ip: IpAddr,
    /// Whether the request came through a trusted proxy, whose headers count.
    pub via_proxy: bool,
}

/// The proxies in front of the server.
#[derive(Debug, Default)]
pub struct Proxies {
    trusted: Networks,
    header: ClientIpHeader,
    /// Set once an untrusted proxy was reported, a missing header, and one that names another client.
    reported: [AtomicBool; 3],
}

impl Proxies {
    /// Trusts `header` when it comes from a `trusted` address.
    pub fn new(trusted: Networks, header: ClientIpHeader) -> Self {
        Self { trusted, header, reported: Default::default() }
    }

    /// Whether any proxies are trusted.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.trusted.contains(ip.to_canonical())
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        !self.trusted.is_empty()
    }

    /// Who sent a request: `peer` is the other end of its connection.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let peer = peer.to_canonical();
        if !self.trusted.contains(peer) {
            self.report_untrusted(peer, headers);
            return Client { ip: peer, via_proxy: false };
        }
        let named = self.header.address(headers, &self.trusted);
        match named {
            Some(named) => self.report_another(named, headers),
            None => self.report_missing(headers),
        }
        Client { ip: named.unwrap_or(peer), via_proxy: true }
    }

    /// A proxy on an internal network that is not configured: all its visitors seem to be one.
    /// Headers from the internet are not reported, because anyone can send them.
    fn report_untrusted(&self, peer: IpAddr, headers: &HeaderMap) {
        if !is_internal(peer) || self.reported[0].load(Relaxed) {
            return;
        }
        if let Some(header) = sent(headers)
            && !self.reported[0].swap(true, Relaxed)
        {
            tracing::warn!(
                %header,
                "requests come through a proxy that is not trusted, so all its visitors get its \
                 address: set http.trusted_proxies, and http.client_ip_header to the header it sets"
            );
        }
    }

    /// A trusted proxy that sets another header than the configured one.
    fn report_missing(&self, headers: &HeaderMap) {
        if self.reported[1].load(Relaxed) {
            return;
        }
        if let Some(header) = sent(headers).filter(|sent| *sent != self.header)
            && !self.reported[1].swap(true, Relaxed)
        {
            tracing::warn!(
                expected = %self.header, %header,
                "a trusted proxy does not name its client in the expected header: set \
                 http.client_ip_header to the header it sets"
            );
        }
    }
}

impl Proxies {
    /// A header of a CDN that names another client than the one found: that may be a server of the
    /// CDN, which all visitors seem to be then.
    fn report_another(&self, named: IpAddr, headers: &HeaderMap) {
        if self.reported[2].load(Relaxed) {
            return;
        }
        if let Some(header) = self.naming_another(named, headers)
            && !self.reported[2].swap(true, Relaxed)
        {
            tracing::warn!(
                expected = %self.header, %header,
                "a request through a trusted proxy names another client in another header: if a CDN \
                 in front sets it, set http.client_ip_header to it, or else all visitors get the \
                 addresses of the CDN"
            );
        }
    }

    /// A header with a single address, other than the configured one, that names another client.
    fn naming_another(&self, named: IpAddr, headers: &HeaderMap) -> Option<ClientIpHeader> {
        let mut others = ClientIpHeader::ALL.into_iter().filter(|header| {
            let is_list =
                matches!(header, ClientIpHeader::XForwardedFor | ClientIpHeader::Forwarded);
            !is_list && *header != self.header
        });
        others.find(|header| {
            let other = header.address(headers, &self.trusted);
            // A proxy that another one is in front of names that.
            other.is_some_and(|ip| ip != named && !self.trusted.contains(ip) && !is_internal(ip))
        })
    }
}

/// The first known header that a request has.
fn sent(headers: &HeaderMap) -> Option<ClientIpHeader> {
    if !has_any(headers, &NAMES) {
        return None;
    }
    ClientIpHeader::ALL.into_iter().find(|header| headers.contains_key(header.name()))
}

#[cfg(test)]
mod tests;
