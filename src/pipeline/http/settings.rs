//! The settings of the HTTP server.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::intake::PrivacySettings;
use crate::intake::visitor::{
    ClientIpHeader, LocationDatabase, LocationHeaders, Networks, Proxies, Visitors,
};

/// Bounds of the HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// The largest request body, in bytes, also when decompressed; in a batch, the largest event.
    pub max_body_bytes: usize,
    /// The largest body of a batch, in bytes.
    pub max_batch_bytes: usize,
    /// Open connections at once; for another one, the one that was idle the longest is closed.
    pub max_connections: usize,
    /// The most of them from one IPv4 address or IPv6 /64; loopback and proxies are exempt.
    pub max_connections_per_address: usize,
    /// How long a client may take to send the head of a request.
    #[serde(with = "bklit_wire::duration")]
    pub header_timeout: Duration,
    /// How long a connection may be idle between two requests.
    #[serde(with = "bklit_wire::duration")]
    pub idle_timeout: Duration,
    /// How long a client may take to send the body of a request.
    #[serde(with = "bklit_wire::duration")]
    pub body_timeout: Duration,
    /// The proxies in front of the server, whose headers count.
    pub trusted_proxies: Networks,
    /// The header in which these proxies name their client.
    pub client_ip_header: ClientIpHeader,
    /// The network whose location headers count, if they come from these proxies.
    pub location_headers: LocationHeaders,
    /// Whether to serve HTTP over TLS, too, if a certificate is set; otherwise only WebSockets are.
    #[serde(deserialize_with = "bklit_wire::setting::boolean")]
    pub tls: bool,
    /// Who may open `GET /playground`.
    pub playground: Playground,
}

impl HttpSettings {
    /// Identifies who sends requests, with the locations in `database`.
    pub fn visitors(
        &self,
        privacy: &PrivacySettings,
        database: Option<Arc<LocationDatabase>>,
    ) -> Visitors {
        let proxies = Proxies::new(self.trusted_proxies.clone(), self.client_ip_header);
        Visitors::new(proxies, self.location_headers, privacy.ip, database)
    }
}

/// Who may open the page to try the tracker on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Playground {
    /// No one.
    #[default]
    Off,
    /// Browsers on this machine; the server must listen on loopback only.
    Local,
    /// Anyone.
    Public,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1024,
            max_batch_bytes: 1 << 20,
            max_connections: 1024,
            max_connections_per_address: 256,
            header_timeout: Duration::from_secs(10),
            // Longer than load balancers usually keep an idle connection: a request that they send
            // while we close it would fail.
            idle_timeout: Duration::from_secs(120),
            body_timeout: Duration::from_secs(10),
            trusted_proxies: Networks::default(),
            client_ip_header: ClientIpHeader::default(),
            location_headers: LocationHeaders::default(),
            playground: Playground::Off,
            tls: true,
        }
    }
}
