//! The command line.
//!
//! - `global`: flags of all commands
//! - `queue`: the command line of `queue`
//! - `refused`: the command line of `refused`
//! - `values`: flags with a fixed set of values

mod global;
mod queue;
mod refused;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use bklit_console_core::playback::SPEEDS;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::time::UtcMillis;

pub use global::GlobalArgs;
pub use queue::{ChoiceArgs, EditArgs, FilterArgs, QueueArgs, QueueCommand};
pub use refused::{RefusedArgs, RefusedCommand, SourceArgs};

/// Run and watch Bklit's event pipeline: POST /track, queue, worker, store.
///
/// Without a command, it runs the pipeline and shows it in the console; press ? there for the keys.
/// Everything is kept in SQLite files in the data dir, unless Redis (queue, tokens) or ClickHouse
/// (store) is set.
#[derive(Debug, Parser)]
#[command(name = "bklit-tui", version, about, propagate_version = true)]
#[command(after_help = "Flags override the environment, which overrides the config file.\n\
First steps: run `bklit-tui`, then paste the curl command that it shows into another terminal.")]
pub struct Cli {
    /// Settings for all commands.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The subcommand; without one, pipeline and console.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, list and revoke the tokens that clients send
    Token(TokenArgs),
    /// Send realistic traffic to a running pipeline
    Simulate(SimulateArgs),
    /// Inspect and repair the queue: list, retry, delete and export failed events, drain
    Queue(QueueArgs),
    /// Run a read-only query on the store: bklit-tui sql "SELECT count() FROM page_view_event"
    Sql(SqlArgs),
    /// Open the console on a running daemon, or on Redis: bklit-tui attach redis://host:6379
    Attach(AttachArgs),
    /// Open the console on a recording, or on the output of `logs --json`
    Replay(ReplayArgs),
    /// Print a running daemon's debug log
    Logs(LogsArgs),
    /// Show the events that were refused, and why, and send them again
    Refused(RefusedArgs),
    /// Create ClickHouse's tables or bring them up to date
    Migrate {
        /// Print the statements and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Create replicated tables on all servers of this cluster
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
    },
    /// Compare events that went through the queue with those that --dual-write inserted directly
    Verify(VerifyArgs),
    /// Check servers, data dir and settings, and report what is wrong and what to do
    ///
    /// Changes nothing. Exits with 1 if there is a problem, with 0 otherwise, even if there are warnings.
    Doctor {
        /// Print JSON, one finding per line
        #[arg(long)]
        json: bool,
    },
    /// Print a shell's completion script
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// `token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do with tokens.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Create a token; it is shown only once, because only its hash is stored
    Create {
        /// Project of the token; repeat it for several, '*' for all with --scope read or admin
        #[arg(long, required = true, value_name = "P")]
        project: Vec<String>,
        /// `ingest` tokens may only send events (web pages contain them), `read` tokens may only read, `admin` tokens may also repair the queue and query the store
        #[arg(long, value_enum, default_value_t = ScopeArg::Ingest)]
        scope: ScopeArg,
        /// Name shown by `token list`
        #[arg(long, value_name = "N")]
        name: Option<String>,
        /// Only accept it from web pages of this host and its subdomains; repeat it for several
        #[arg(long, value_name = "HOST")]
        domain: Vec<String>,
        /// Expire after this time, such as 90d
        #[arg(long, value_name = "TIME", value_parser = bklit_wire::duration::parse)]
        expires: Option<Duration>,
        /// Print only the token
        #[arg(long)]
        quiet: bool,
    },
    /// List the tokens; only their beginnings are shown, because secrets are not stored
    List {
        /// Print JSON, one token per line
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token; running pipelines refuse it within seconds
    Revoke {
        /// The token's id, as `token list` shows it
        id: String,
    },
}

/// A token's scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScopeArg {
    /// Writing events.
    Ingest,
    /// Reading streams and metrics.
    Read,
    /// Reading everything, repairing the queue and querying the store.
    Admin,
}

/// The daemon to connect to, and the token for it.
#[derive(Clone, Debug, Args)]
pub struct DaemonArgs {
    /// URL of the daemon [default: the address in this machine's settings]
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    /// Token with scope read; not needed on the daemon's own machine if it listens only on loopback [env: BKLIT_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// `attach`.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Recording made with --record or :record, or the output of `logs --json`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Speed: 0.25, 0.5, 1, 2, 5, 10, 60 or max
    #[arg(long, value_name = "SPEED", default_value = "1", value_parser = parse_speed, add = values::speeds())]
    pub speed: usize,
}

/// The index of a speed in [`SPEEDS`].
fn parse_speed(text: &str) -> Result<usize, String> {
    let wanted = match text {
        "max" => None,
        text => Some(text.parse::<f64>().map_err(|_| "not a number or max".to_owned())?),
    };
    let index = SPEEDS.iter().position(|speed| *speed == wanted);
    index.ok_or_else(|| "must be 0.25, 0.5, 1, 2, 5, 10, 60 or max".to_owned())
}

/// `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Keep printing new lines; without it, print the kept ones and exit
    #[arg(long, short)]
    pub follow: bool,
    /// Start with the last N kept lines [default: 0 with --follow, else all]
    #[arg(long, value_name = "N")]
    pub history: Option<usize>,
    /// Only these stages
    #[arg(long, value_delimiter = ',', value_name = "STAGE", value_parser = values::stage())]
    pub stage: Vec<Stage>,
    /// Only this level and above
    #[arg(long, value_name = "LEVEL", value_parser = values::level())]
    pub level: Option<Level>,
    /// Only this project
    #[arg(long, value_name = "P")]
    pub project: Option<String>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX")]
    pub grep: Option<String>,
    /// Print each line as JSON, as received
    #[arg(long)]
    pub json: bool,
}

/// `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Requests per second
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = parse_rate)]
    pub rate: f64,
    /// Stop after this time, such as 90s [default: at Ctrl-C]
    #[arg(long, value_name = "D", value_parser = bklit_wire::duration::parse)]
    pub duration: Option<Duration>,
    /// URL of the pipeline [default: the address in this machine's settings]
    #[arg(long, value_name = "U")]
    pub url: Option<String>,
    /// Ingest token [env: BKLIT_TOKEN] [default: the one in the data dir]
    #[arg(long, value_name = "T")]
    pub token: Option<String>,
    /// Project to send to
    #[arg(long, value_name = "P", default_value = "default")]
    pub project: String,
    /// Percentage of requests that are invalid on purpose
    #[arg(long, value_name = "PERCENT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub bad: u8,
    /// Seed of the random choices, to repeat the same visitors and pages
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Write the ids of accepted page views and custom events to this file, one per line, to check
    /// afterwards that each is stored
    #[arg(long, value_name = "FILE")]
    pub ids: Option<PathBuf>,
}

/// The highest rate of `simulate`, in requests per second.
const MAX_RATE: f64 = 100_000.0;

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.001..=MAX_RATE).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("must be from 0.001 to {MAX_RATE}"))
    }
}

/// `sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// SELECT statement; - reads it from stdin
    pub query: String,
    /// Print one JSON object per row
    #[arg(long)]
    pub json: bool,
    /// Most rows to print
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub limit: usize,
    /// Give up after this time
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = bklit_wire::duration::parse)]
    pub timeout: Duration,
}

/// `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Start of the time range: an age such as 24h, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub since: Moment,
    /// End of the time range: an age or a time
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_moment)]
    pub until: Moment,
    /// Only this project
    #[arg(long, value_name = "P")]
    pub project: Option<String>,
    /// Print JSON: one object per mismatch, the counts at the end
    #[arg(long)]
    pub json: bool,
    /// Most mismatches to print; all are counted
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub limit: u64,
}

/// A moment as given on the command line.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// This long ago.
    Ago(Duration),
    /// This moment.
    At(UtcMillis),
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Ok(ago) = bklit_wire::duration::parse(text) {
        return Ok(Moment::Ago(ago));
    }
    text.parse().map(Moment::At).map_err(|_| {
        "invalid time: try an age such as 24h, or a time such as 2026-01-31T12:00:00Z".to_owned()
    })
}
