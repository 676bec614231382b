//! The subcommands and the daemon, run as the real program.

mod addresses;
mod completions;
mod daemon;
mod help;
mod logs;
pub(crate) mod queue;
mod queue_edit;
mod simulate;
mod sql;
mod token;
