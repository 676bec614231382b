//! What the HTTP and the WebSocket server share.
//!
//! - `access`: who may read, and who may change the queue
//! - `connection`: one open connection and its timeouts
//! - `connections`: accepts and ends connections
//! - `malformed`: responses to requests that are not valid HTTP
//! - `socket`: a client's socket with timeouts
//! - `table`: which connection gets a slot, and which is closed to make room
//! - `tls`: the certificate and key
//! - `transport`: bytes with or without TLS

pub mod access;
pub mod connection;
pub mod connections;
mod malformed;
pub mod socket;
pub mod table;
pub mod tls;
pub mod transport;

use std::time::Duration;

pub use table::Reason;

/// The most connections that a server has open beyond its limit.
pub const MAX_BEYOND: usize = table::RESERVED + table::MAX_CLOSING;

/// Bounds on requests to both servers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a client may take to send the head of a request.
    pub header_timeout: Duration,
    /// The largest request body or WebSocket message, in bytes.
    pub max_body_bytes: usize,
}
