//! The front behaves as a ClickHouse server does, as far as the official client and
//! our tests look at it.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod client;
mod faults;
mod process;
mod protocol;
mod server;
