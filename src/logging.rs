//! What the program logs about itself: structured lines on stderr, or in a file under the console.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// The log file under the console, in the data dir.
pub const LOG_FILE: &str = "bklit-tui.log";
/// A log file larger than this is put aside as `bklit-tui.log.1` at the next start.
const MAX_LOG_BYTES: u64 = 10 * 1024 * 1024;

/// Logs to stderr: text with fields where it is a terminal, else a JSON object a line.
pub fn to_stderr(filter: &str) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        // It would print to stderr, and panic where that is what failed.
        .log_internal_errors(false);
    let done = if io::stderr().is_terminal() {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.with_ansi(colour).with_target(false).finish().try_init()
    } else {
        builder.json().flatten_event(true).finish().try_init()
    };
    // A second call, as tests in one process make it, keeps the first.
    let _ = done;
}

/// Logs to `bklit-tui.log` in `data_dir`; returns the file's path.
///
/// # Errors
/// When the file cannot be written.
pub fn to_file(filter: &str, data_dir: &Path) -> io::Result<PathBuf> {
    let path = data_dir.join(LOG_FILE);
    if path.metadata().is_ok_and(|meta| meta.len() > MAX_LOG_BYTES) {
        std::fs::rename(&path, path.with_extension("log.1"))?;
    }
    let file: File = OpenOptions::new().create(true).append(true).open(&path)?;
    let done = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(Arc::new(file))
        .finish()
        .try_init();
    let _ = done;
    Ok(path)
}
