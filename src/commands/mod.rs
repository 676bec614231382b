//! The commands, one file or folder each.

pub mod sql;
pub mod token;
