//! The client side of a pipeline in another process: its HTTP client, its stream of debug lines, and
//! the console's backend over its API.

pub mod backend;
pub mod client;
pub mod sse;
