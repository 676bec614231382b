//! One module a subcommand.

pub mod token;
