//! The WebSocket server through real sockets.

mod browsers;
mod dashboards;
mod frames;
mod lifecycle;
mod processes;
mod sdk;
pub mod server;
