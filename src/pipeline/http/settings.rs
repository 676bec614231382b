//! The settings of the HTTP server.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds of the HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// The largest request body, in bytes, also when decompressed; in a batch, the largest event.
    pub max_body_bytes: usize,
    /// The largest body of a batch, in bytes.
    pub max_batch_bytes: usize,
    /// Open connections at once; others wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request.
    #[serde(with = "bklit_wire::duration")]
    pub header_timeout: Duration,
    /// How long a client may take to send the body of a request.
    #[serde(with = "bklit_wire::duration")]
    pub body_timeout: Duration,
    /// Whether a proxy in front sets `X-Forwarded-For` and the headers with the visitor's location.
    pub trust_forwarded: bool,
    /// Who may open `GET /playground`.
    pub playground: Playground,
}

/// Who may open the page to try the tracker on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Playground {
    /// Nobody.
    #[default]
    Off,
    /// Browsers on this machine; the server must listen on loopback only.
    Local,
    /// Everybody.
    Public,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1024,
            max_batch_bytes: 1 << 20,
            max_connections: 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            trust_forwarded: false,
            playground: Playground::Off,
        }
    }
}
