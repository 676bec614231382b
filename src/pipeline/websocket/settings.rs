//! The settings of the WebSocket server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The WebSocket server: its address, who may connect, and its bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSocketSettings {
    /// Where to listen; by default at [`WebSocketSettings::DEFAULT_LISTEN`], if that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Origins whose pages may open dashboards without a token.
    #[serde(deserialize_with = "bklit_wire::setting::list")]
    pub allowed_origins: Vec<String>,
    /// Open sockets at once; others wait to be accepted.
    pub max_connections: usize,
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
    /// The default address.
    pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
}

impl Default for WebSocketSettings {
    fn default() -> Self {
        Self {
            listen: None,
            allowed_origins: Vec::new(),
            max_connections: 1024,
            ping_interval: Duration::from_secs(30),
            auth_timeout: Duration::from_secs(30),
            session_grace: Duration::from_secs(10),
        }
    }
}
