//! The HTTP server through real sockets.

mod access;
mod auth;
mod batch;
pub mod client;
mod cors;
mod debug_stream;
mod encodings;
mod history;
mod ingest;
mod json;
mod lifecycle;
mod limits;
mod malformed;
mod pressure;
mod queue;
mod ready;
mod refused;
mod refused_lines;
mod routes;
pub mod server;
mod sql;
mod throttle;
pub mod tls;
mod tracker;
mod who;
