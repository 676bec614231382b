//! What is special about the Redis adapters: other programs at the same keys and channels, and
//! servers that fail.

mod bus;
mod claims;
mod faults;
mod history;
mod queue;
mod refused_writes;
mod spool;
mod tokens;
mod transport;
