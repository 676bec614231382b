//! Tests specific to Redis: other programs on the same keys and channels, and failing servers.

mod arrivals;
mod bus;
mod claims;
mod cluster;
mod declared_keys;
mod faults;
mod history;
mod presence;
mod protocol;
mod queue;
mod refused_writes;
mod sentinel;
mod shards;
mod spool;
mod tokens;
mod transport;
