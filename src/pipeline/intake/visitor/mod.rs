//! Who sent a request: address, location and device of the visitor. No other service is contacted.
//!
//! A visitor's whole address stays in memory. [`IpPrivacy::text`] decides what of it is written
//! anywhere.
//!
//! - `address`: addresses as they may be stored and shown
//! - `cdn`: locations in the headers of content delivery networks
//! - `database`: the location database and its file
//! - `device`: browser, system and kind of device
//! - `forwarded`: reads the header `Forwarded`
//! - `location`: where a visitor is
//! - `networks`: sets of networks
//! - `proxies`: addresses behind trusted proxies
//! - `record`: reads a record of a location database

mod address;
mod cdn;
mod database;
mod device;
mod forwarded;
mod location;
mod networks;
mod proxies;
mod record;

use std::net::IpAddr;
use std::sync::Arc;

use hyper::HeaderMap;

use super::known_texts::KnownTexts;

pub use address::IpPrivacy;
pub use cdn::LocationHeaders;
pub use database::{Check, DatabaseError, Edition, LocationDatabase, Seen, examine};
pub use device::{Device, Form};
pub use location::Location;
pub use networks::Networks;
pub use proxies::{Client, ClientIpHeader, Proxies};

/// The sender of a request, or of all messages of a socket.
#[derive(Clone, Debug)]
pub struct Visitor {
    client: Client,
    shown_ip: Option<String>,
    location: Location,
}

impl Visitor {
    /// Their whole address, for use in memory only.
    pub fn ip(&self) -> IpAddr {
        self.client.ip
    }

    /// Their address as it may be stored and shown.
    pub fn shown_ip(&self) -> Option<&str> {
        self.shown_ip.as_deref()
    }

    /// Where they are.
    pub fn location(&self) -> &Location {
        &self.location
    }
}

/// Identifies who sends requests.
#[derive(Default)]
pub struct Visitors {
    proxies: Proxies,
    location_headers: LocationHeaders,
    privacy: IpPrivacy,
    database: Option<Arc<LocationDatabase>>,
    /// The forms of recent user agents.
    forms: KnownTexts,
}

impl Visitors {
    /// Trusts the location in `location_headers` of requests through `proxies`, and looks up the
    /// others in `database`.
    pub fn new(
        proxies: Proxies,
        location_headers: LocationHeaders,
        privacy: IpPrivacy,
        database: Option<Arc<LocationDatabase>>,
    ) -> Self {
        Self { proxies, location_headers, privacy, database, forms: KnownTexts::default() }
    }

    /// How much of addresses may be shown.
    pub fn privacy(&self) -> IpPrivacy {
        self.privacy
    }

    /// Whether there are trusted proxies in front.
    pub fn behind_proxies(&self) -> bool {
        self.proxies.any()
    }

    /// Whether this is the address of a trusted proxy.
    pub fn is_proxy(&self, ip: IpAddr) -> bool {
        self.proxies.has(ip)
    }

    /// Who sent a request: `peer` is the other end of its connection.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        self.proxies.client(peer, headers)
    }

    /// A client's address as it may be logged and shown.
    pub fn shown(&self, ip: IpAddr) -> Option<String> {
        self.privacy.text(ip)
    }

    /// The code of the country that the database has for an address.
    pub fn country(&self, ip: IpAddr) -> Option<String> {
        self.database.as_ref()?.lookup(ip).country_code
    }

    /// The kind of device that sends this user agent.
    pub fn form_of(&self, user_agent: &str) -> Form {
        let meaning = self.forms.meaning(user_agent, |text| Device::of(text).form as u8);
        Form::ALL.get(usize::from(meaning)).copied().unwrap_or(Form::Other)
    }

    /// What is known about the `client` that sent a request with these headers.
    pub fn visitor(&self, client: Client, headers: &HeaderMap) -> Visitor {
        let from_headers = match client.via_proxy {
            true => self.location_headers.location(headers),
            false => Location::default(),
        };
        // Before the address is cut.
        let location = match &self.database {
            Some(database) => from_headers.or(database.lookup(client.ip)),
            None => from_headers,
        };
        Visitor {
            client,
            shown_ip: self.privacy.text(client.ip),
            location: location.with_country_name(),
        }
    }
}
