//! The settings of the WebSocket server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The WebSocket server: its address, who may connect, and its bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSocketSettings {
    /// Where to listen; by default at [`WebSocketSettings::DEFAULT_LISTEN`], if that is free.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bklit_wire::setting::optional_address"
    )]
    pub listen: Option<SocketAddr>,
    /// Origins whose pages may open dashboards without a token; by default, on this machine only,
    /// [`WebSocketSettings::DEFAULT_ORIGINS`].
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bklit_wire::setting::optional_list"
    )]
    pub allowed_origins: Option<Vec<String>>,
    /// Open sockets at once; for another one, the one that was open the longest without a valid
    /// token is closed.
    pub max_connections: usize,
    /// The most of them from one IPv4 address or IPv6 /64; loopback and proxies are exempt.
    pub max_connections_per_address: usize,
    /// How often a ping is sent to check that the peer is alive.
    #[serde(with = "bklit_wire::duration")]
    pub ping_interval: Duration,
    /// How long a browser's socket may stay open without a valid token.
    #[serde(with = "bklit_wire::duration")]
    pub auth_timeout: Duration,
    /// How long a session may be without a socket before it ends.
    #[serde(with = "bklit_wire::duration")]
    pub session_grace: Duration,
}

impl WebSocketSettings {
    /// Where Bklit's dashboard runs on a developer's machine.
    pub const DEFAULT_ORIGINS: [&str; 3] =
        ["http://localhost:3000", "http://localhost:3002", "http://localhost:5173"];

    /// The default address.
    pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
}

impl Default for WebSocketSettings {
    fn default() -> Self {
        Self {
            listen: None,
            allowed_origins: None,
            max_connections: 1024,
            max_connections_per_address: 256,
            ping_interval: Duration::from_secs(30),
            auth_timeout: Duration::from_secs(30),
            session_grace: Duration::from_secs(10),
        }
    }
}
