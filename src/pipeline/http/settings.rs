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
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Open connections at once; others wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request.
    #[serde(with = "bklit_wire::duration")]
    pub header_timeout: Duration,
    /// How long a client may take to send the body of a request.
    #[serde(with = "bklit_wire::duration")]
    pub body_timeout: Duration,
    /// The proxies in front of the server, whose headers count.
    pub trusted_proxies: Networks,
    /// The header in which these proxies name their client.
    pub client_ip_header: ClientIpHeader,
    /// The network whose location headers count, if they come from these proxies.
    pub location_headers: LocationHeaders,
}

impl HttpSettings {
    /// Finds out who sends requests, with the locations in `database`.
    pub fn visitors(
        &self,
        privacy: &PrivacySettings,
        database: Option<Arc<LocationDatabase>>,
    ) -> Visitors {
        let proxies = Proxies::new(self.trusted_proxies.clone(), self.client_ip_header);
        Visitors::new(proxies, self.location_headers, privacy.ip, database)
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1024,
            max_connections: 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            trusted_proxies: Networks::default(),
            client_ip_header: ClientIpHeader::default(),
            location_headers: LocationHeaders::default(),
        }
    }
}
