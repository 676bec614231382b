//! Redis (or Valkey).

pub mod bus;
pub mod connection;
pub mod presence;
pub mod queue;
pub mod tokens;
