//! What the HTTP and the WebSocket server share.
//!
//! - `access`: who may read, and who may change the queue
//! - `connections`: accepts and ends connections
//! - `socket`: a client's socket with timeouts

pub mod access;
pub mod connections;
pub mod socket;

use std::time::Duration;

/// Bounds on requests to both servers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// The largest request body or WebSocket message, in bytes.
    pub max_body_bytes: usize,
}
