//! What both servers (HTTP and WebSocket) are made of: accepting connections within bounds, a socket
//! that neither waits for a dead client nor hangs up on one that is sending, and who may read or
//! change anything.

pub mod access;
pub mod connections;
pub mod socket;

use std::time::Duration;

/// Bounds that hold for the requests of both servers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// The largest request body, and the largest WebSocket message.
    pub max_body_bytes: usize,
}
