//! Tests specific to Redis: other programs on the same keys and channels, and failing servers.

mod arrivals;
mod bus;
mod claims;
mod faults;
mod history;
mod presence;
mod queue;
mod refused_writes;
mod spool;
mod tokens;
mod transport;
