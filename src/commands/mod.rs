//! The commands, one file or folder each.

pub mod attach;
pub mod completions;
pub mod doctor;
pub mod logs;
pub mod migrate;
pub mod queue;
pub mod replay;
pub mod simulate;
pub mod sql;
pub mod token;
pub mod verify;
