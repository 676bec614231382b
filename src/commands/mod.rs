//! The subcommands, one file or folder each.
//!
//! - `attach`: the console on another process's pipeline
//! - `completions`: shell completion
//! - `doctor`: prints the results of the checks
//! - `logs`: prints another process's debug log
//! - `migrate`: prints the migration of ClickHouse's tables
//! - `queue`: shows and repairs the queue
//! - `refused`: shows refused events and sends them again
//! - `replay`: the console on a recording
//! - `simulate`: sends realistic traffic
//! - `sql`: queries the store
//! - `token`: creates, lists and revokes tokens
//! - `verify`: compares both paths of dual write

pub mod attach;
pub mod completions;
pub mod doctor;
pub mod logs;
pub mod migrate;
pub mod queue;
pub mod refused;
pub mod replay;
pub mod simulate;
pub mod sql;
pub mod token;
pub mod verify;

use std::io::{self, Write as _};

use bklit_console::{ConsoleOptions, no_color};

use crate::config::Settings;
use bklit_pipeline::queue::host_name;

/// Prints to stdout. Returns whether to go on: a pipe that is closed early, as by `head`, is not an
/// error.
fn print(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// `curl` for this machine's own pipeline. Its certificate is for a name, not for this machine's
/// addresses.
pub fn curl(settings: &Settings) -> &'static str {
    if settings.http_scheme() == "https" { "curl -k" } else { "curl" }
}

/// The user, as others know them.
fn user() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    format!("{user}@{}", host_name())
}

/// The options of a console on `source`. A `curl` command is added only where the pipeline's token is
/// known.
pub fn console_options(source: String, settings: &Settings) -> ConsoleOptions {
    ConsoleOptions {
        source,
        user: user(),
        curl: None,
        settings: settings.console.clone(),
        alarm_depth: settings.queue.alarm_depth,
        no_color: no_color(|name| std::env::var(name).ok()),
        alerts: settings.alerts.clone(),
        alerts_run_elsewhere: false,
        data_dir: settings.data_dir.clone(),
        stops_pipeline: false,
        record: settings.record.clone(),
    }
}
