//! The commands, one file or folder each.

pub mod completions;
pub mod simulate;
pub mod sql;
pub mod token;
