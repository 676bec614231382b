//! The command line of `queue`.

use std::time::Duration;

use clap::{Args, Subcommand};

use bklit_wire::edit_rule::EditRule;
use bklit_wire::pause::Pausable;

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
    /// Show how many events are waiting, in flight (and with which worker) and failed
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
        /// List waiting events instead of failed ones
        #[arg(long, conflicts_with = "reason")]
        waiting: bool,
        /// Most events to list
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// Print JSON, one event per line
        #[arg(long)]
        json: bool,
    },
    /// Pause accepting events (intake) or storing them (workers), in all processes that share the
    /// queue
    Pause {
        /// intake or workers
        part: Pausable,
        /// Why, shown to other operators
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Resume what was paused
    Resume {
        /// intake or workers
        part: Pausable,
    },
    /// Put failed events back into the queue; events that are already stored are not stored twice
    Retry {
        /// Which ones.
        #[command(flatten)]
        choice: ChoiceArgs,
    },
    /// Edit failed events, in $EDITOR or by rules, and put them back into the queue
    Edit(EditArgs),
    /// Permanently delete failed events, or waiting ones
    Delete {
        /// Which ones.
        #[command(flatten)]
        choice: ChoiceArgs,
        /// Delete waiting events instead of failed ones
        #[arg(long, conflicts_with = "reason")]
        waiting: bool,
        /// Do not ask for confirmation; required if stdin is not a terminal
        #[arg(long, short)]
        yes: bool,
    },
    /// Write failed events, or waiting ones, to a file as JSON Lines; they stay in the queue
    Export {
        /// Which ones.
        #[command(flatten)]
        filter: FilterArgs,
        /// Export waiting events instead of failed ones
        #[arg(long, conflicts_with = "reason")]
        waiting: bool,
        /// Overwrite the file if it exists
        #[arg(long)]
        force: bool,
        /// Output file, which appears once it is complete; - for stdout
        #[arg(value_hint = clap::ValueHint::AnyPath)]
        file: String,
    },
    /// Run a worker in this process until no events are left
    Drain {
        /// Give up after this time, such as 10m
        #[arg(long, value_name = "D", value_parser = bklit_wire::duration::parse)]
        timeout: Option<Duration>,
    },
}

/// `queue edit`.
#[derive(Clone, Debug, Args)]
pub struct EditArgs {
    /// Which events.
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Change them by this rule instead of in an editor: `set FIELD = JSON`, `remove FIELD` or
    /// `cut FIELD CHARACTERS`; can be repeated
    #[arg(long = "rule", value_name = "RULE")]
    pub rules: Vec<EditRule>,
    /// Only show what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation; required if stdin is not a terminal
    #[arg(long, short)]
    pub yes: bool,
}

/// Which events to select.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Only this project
    #[arg(long, value_name = "P")]
    pub project: Option<String>,
    /// Only reasons that contain this text, ignoring case
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Events by their ids, or all.
#[derive(Clone, Debug, Args)]
pub struct ChoiceArgs {
    /// Ids as shown by `queue list`
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with_all = ["all", "project", "reason"])]
    pub ids: Vec<String>,
    /// All events, or those selected by --project and --reason
    #[arg(long)]
    pub all: bool,
    /// Which of all events.
    #[command(flatten)]
    pub filter: FilterArgs,
}
