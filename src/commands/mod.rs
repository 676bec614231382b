//! One file a subcommand.

pub mod completions;
pub mod simulate;
