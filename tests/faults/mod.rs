//! Faults, and the oracle that says whether the promise was kept.

mod chaos;
mod controls;
mod kill;
mod load;
mod oracle;
mod points;
mod poison;
mod redis_groups;
mod servers;
mod shards;
mod workers;
