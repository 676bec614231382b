//! The HTTP server through real sockets.

mod access;
mod auth;
pub mod client;
mod debug_stream;
mod ingest;
mod lifecycle;
mod limits;
mod malformed;
mod pressure;
mod queue;
mod ready;
mod routes;
pub mod server;
pub mod tls;
