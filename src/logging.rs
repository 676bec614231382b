//! The program's own log: structured lines on stderr, or in a file while the console has the screen.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bklit_wire::diagnostic::{Diagnostic, Severity};
use bklit_wire::text::safe_json;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// The log file in the data dir while the console has the screen.
pub const LOG_FILE: &str = "bklit-tui.log";
/// A larger log file is renamed to `bklit-tui.log.1` at the next start.
const MAX_LOG_BYTES: u64 = 10 * 1024 * 1024;

/// Logs to stderr: text with fields on a terminal, else one JSON object per line.
pub fn to_stderr(filter: &str) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        // It would print to stderr, and panic when writing to stderr is what failed.
        .log_internal_errors(false);
    let done = if io::stderr().is_terminal() {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.with_ansi(colour).with_target(false).finish().try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_writer(|| SafeJson(io::stderr()))
            .finish()
            .try_init()
    };
    // A second call, as in tests that share a process, has no effect.
    let _ = done;
}

/// Logs the result of a check.
pub fn diagnostic(subject: &str, diagnostic: &Diagnostic) {
    let Diagnostic { severity, what, advice } = diagnostic;
    match severity {
        Severity::Good => tracing::info!("{subject}: {what}"),
        Severity::Warning => tracing::warn!(advice, "{subject}: {what}"),
        Severity::Problem => tracing::error!(advice, "{subject}: {what}"),
    }
}

/// Escapes what a terminal would interpret, in JSON syntax. Each event is one write.
struct SafeJson<W>(W);

impl<W: io::Write> io::Write for SafeJson<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let line = text.trim_end_matches('\n');
                let end = &text[line.len()..];
                self.0.write_all(format!("{}{end}", safe_json(line)).as_bytes())?;
            }
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn json_lines_are_safe_to_print() {
        let mut log = SafeJson(Vec::new());
        let line = serde_json::json!({ "error": "\u{9b}31m \u{202e} \u{1b} ü" }).to_string();
        log.write_all(format!("{line}\n").as_bytes()).unwrap();
        let text = String::from_utf8(log.0).unwrap();
        assert!(
            !text.contains(['\u{9b}', '\u{202e}', '\u{1b}']) && text.ends_with("}\n"),
            "{text}"
        );
        let (one, two): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(&text).unwrap(), serde_json::from_str(&line).unwrap());
        assert_eq!(one, two);
    }
}
