//! The command line of `queue`.

use std::time::Duration;

use clap::{Args, Subcommand};

/// `queue`.
#[derive(Debug, Args)]
pub struct QueueArgs {
    /// What to do with the queue.
    #[command(subcommand)]
    pub command: QueueCommand,
}

/// What to do with the queue.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Show what waits, what is in flight and with whom, and what has failed
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List failed events, newest first, or waiting ones, oldest first
    List {
        /// Which ones.
        #[command(flatten)]
        filter: FilterArgs,
        /// List what waits instead of what failed
        #[arg(long, conflicts_with = "reason")]
        waiting: bool,
        /// The most to list
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// Print JSON, one event a line
        #[arg(long)]
        json: bool,
    },
    /// Put failed events back into the queue; what is stored already is not stored twice
    Retry {
        /// Which ones.
        #[command(flatten)]
        choice: ChoiceArgs,
    },
    /// Delete failed events for good, or waiting ones
    Delete {
        /// Which ones.
        #[command(flatten)]
        choice: ChoiceArgs,
        /// Delete what waits instead of what failed
        #[arg(long, conflicts_with = "reason")]
        waiting: bool,
        /// Do not ask; needed where there is no terminal to ask on
        #[arg(long, short)]
        yes: bool,
    },
    /// Write failed events, or waiting ones, to a file as JSON Lines; they stay where they are
    Export {
        /// Which ones.
        #[command(flatten)]
        filter: FilterArgs,
        /// Write what waits instead of what failed
        #[arg(long, conflicts_with = "reason")]
        waiting: bool,
        /// The file, which appears once it is whole; - is standard output
        #[arg(value_hint = clap::ValueHint::AnyPath)]
        file: String,
    },
    /// Store what waits, with a worker of this command's own, until nothing is left
    Drain {
        /// Give up after this time, such as 10m
        #[arg(long, value_name = "D", value_parser = bklit_wire::duration::parse)]
        timeout: Option<Duration>,
    },
}

/// Which events of a list.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Only of this project
    #[arg(long, value_name = "P")]
    pub project: Option<String>,
    /// Only with this text in the reason, in capitals or not
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Events by their ids, or all.
#[derive(Clone, Debug, Args)]
pub struct ChoiceArgs {
    /// Ids as `queue list` shows them
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with_all = ["all", "project", "reason"])]
    pub ids: Vec<String>,
    /// All of them, or all that --project and --reason leave
    #[arg(long)]
    pub all: bool,
    /// Which ones of all.
    #[command(flatten)]
    pub filter: FilterArgs,
}
