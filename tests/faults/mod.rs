//! Faults, and the oracle that checks whether the guarantees hold.

mod chaos;
mod connection;
mod controls;
mod kill;
mod load;
mod memory;
mod oracle;
mod points;
mod poison;
mod redis_groups;
mod servers;
mod sessions;
mod shards;
mod traffic;
mod workers;
