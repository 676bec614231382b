//! To be written.

pub mod msg;
