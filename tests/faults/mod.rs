//! Faults, and the oracle that says whether the promise was kept.

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
