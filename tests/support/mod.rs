//! What several tests need.

pub mod redis;
pub mod servers;
