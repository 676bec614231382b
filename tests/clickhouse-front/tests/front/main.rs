//! The front behaves like a ClickHouse server, as far as the official client and our tests need it.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod client;
mod faults;
mod process;
mod protocol;
mod server;
