//! The command line of `refused`.

use clap::{Args, Subcommand};

/// `refused`.
#[derive(Debug, Args)]
pub struct RefusedArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RefusedCommand,
}

/// What to do with refused events.
#[derive(Debug, Subcommand)]
pub enum RefusedCommand {
    /// Show how many events the pipeline has refused, by reason, project, page and token
    List {
        /// Which pipeline.
        #[command(flatten)]
        source: SourceArgs,
        /// Only this project
        #[arg(long, value_name = "P")]
        project: Option<String>,
        /// Print JSON: one group per line, with the last event of each that is kept
        #[arg(long)]
        json: bool,
    },
    /// Print a refused event as JSON, with its body as far as it is kept
    Show {
        /// Id as shown by `refused list`
        #[arg(value_name = "ID")]
        id: u64,
        /// Which pipeline.
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Send refused events again; events that are sent again twice are stored once
    Resend {
        /// Ids as shown by `refused list`
        #[arg(value_name = "ID", required = true)]
        ids: Vec<u64>,
        /// Which pipeline.
        #[command(flatten)]
        source: SourceArgs,
        /// Ingest token to send them with [default: the one that the first start wrote to the data dir]
        #[arg(long, value_name = "TOKEN")]
        ingest_token: Option<String>,
    },
}

/// The process that refused the events.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// URL of the daemon [default: the address in this machine's settings]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Token with scope read; not needed on the daemon's own machine if it listens only on loopback [env: BKLIT_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}
