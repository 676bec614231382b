//! The console: a model, an `update` that changes it, a view that draws it, and a loop around them.
//! Only the loop, and the threads and tasks that it starts, do I/O.
//!
//! ```text
//! keyboard ─┐                          ┌─ Effect: clipboard, suspend, quit
//! bus ──────┼─ Msg → update → Model ───┤
//! clock ────┘                          └─ view → frame → screen's thread → terminal
//! ```
//!
//! The loop has its own thread, so drawing and filtering never delay the pipeline in the same
//! process. A slow terminal delays only frames, see `display`.
//!
//! - `backend`: the console's requests to the pipeline
//! - `clipboard`: copies through the terminal (OSC 52)
//! - `console`: the loop
//! - `core/`: the package `bklit-console-core`: model, `update`, view and keys, without I/O
//! - `display`: draws frames and writes them in a thread
//! - `editor`: the user's editor
//! - `input`: reads keyboard and mouse
//! - `intake`: receives debug messages from the bus
//! - `jobs`: files, recordings, exports and alert commands
//! - `originals`: keeps failed events before they are edited
//! - `replay`: plays a recording
//! - `terminal`: sets and restores the terminal's modes

pub mod backend;
mod clipboard;
mod console;
mod display;
pub mod editor;
pub mod input;
mod intake;
pub mod jobs;
pub mod originals;
pub mod replay;
pub mod terminal;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::{WrapErr, bail, eyre};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use bklit_alerts::AlertSettings;
use bklit_console_core::settings::ConsoleSettings;
use bklit_wire::backend::Backend;
use bklit_wire::debug_bus::DebugStream;
use console::Console;
use replay::Player;

/// How long the console may take to end before the process continues without it.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// What the console shows, and its settings.
#[derive(Clone, Debug)]
pub struct ConsoleOptions {
    /// The source of the messages, for the header.
    pub source: String,
    /// A command that sends an event, shown while there are no events.
    pub curl: Option<String>,
    /// Settings.
    pub settings: ConsoleSettings,
    /// The number of waiting events above which the console warns.
    pub alarm_depth: u64,
    /// Whether to draw without colours.
    pub no_color: bool,
    /// When to raise alerts.
    pub alerts: AlertSettings,
    /// Whether the watched process runs the alert command for its own alerts.
    pub alerts_run_elsewhere: bool,
    /// Where filters and what was typed are saved.
    pub data_dir: PathBuf,
    /// Whether the process, and a pipeline in it, ends with the console.
    pub stops_pipeline: bool,
    /// The user of the console, as shown to other operators.
    pub user: String,
    /// A file to record to from the start.
    pub record: Option<String>,
}

/// Where messages come from.
pub enum Source {
    /// A bus: messages as they are published.
    Bus(Box<dyn DebugStream>),
    /// A recording: messages at the replay clock's pace.
    Replay(Player),
}

/// Whether the environment requests output without colours: `NO_COLOR` is set and not empty.
pub fn no_color(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Why the console ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleEnd {
    /// The user quit.
    Quit,
    /// `shutdown` was cancelled.
    Shutdown,
    /// The terminal is gone.
    HungUp,
}

/// Checks that there is a terminal that can show the console.
///
/// # Errors
/// If there is none; the message says what to use instead.
pub fn require_terminal() -> color_eyre::Result<()> {
    if !terminal::is_present() {
        bail!(
            "the console needs a terminal for input and output. Without one, run the pipeline \
             with --no-ui, or follow a running one with `bklit-tui logs --follow`"
        );
    }
    if std::env::var("TERM").is_ok_and(|term| term == "dumb") {
        bail!(
            "this terminal (TERM=dumb) cannot show the console. Run the pipeline with --no-ui, follow \
             a running one with `bklit-tui logs --follow`, or set TERM, for example to xterm-256color"
        );
    }
    Ok(())
}

/// Runs the console until it ends, and restores the terminal.
///
/// # Errors
/// If there is no terminal, if its modes cannot be set, or if the console panicked.
pub async fn run(
    options: ConsoleOptions,
    source: Source,
    backend: Option<Arc<dyn Backend>>,
    shutdown: CancellationToken,
) -> color_eyre::Result<ConsoleEnd> {
    require_terminal()?;
    let stop = shutdown.child_token();
    let _ends_the_console = EndOnDrop(stop.clone());
    let (ended, mut end) = oneshot::channel();
    let thread = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(console(options, source, backend, stop)),
            Err(error) => Err(error.into()),
        };
        // The receiver is dropped only when the process ends.
        let _ = ended.send(outcome);
    };
    std::thread::Builder::new()
        .name("console".into())
        .spawn(thread)
        .wrap_err("cannot start the console's thread")?;
    let panicked = || eyre!("the console panicked; this is a bug, its report is above");
    tokio::select! {
        outcome = &mut end => return outcome.map_err(|_| panicked())?,
        () = shutdown.cancelled() => {}
    }
    match tokio::time::timeout(STOP_WAIT, end).await {
        Ok(outcome) => outcome.map_err(|_| panicked())?,
        // The thread hangs in a write; dropping the guard restores the terminal.
        Err(_) => Ok(ConsoleEnd::Shutdown),
    }
}

/// Ends the console and restores the terminal, also when the future that runs it is dropped: the
/// process may be about to exit.
struct EndOnDrop(CancellationToken);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
        terminal::give_back();
    }
}

async fn console(
    options: ConsoleOptions,
    source: Source,
    backend: Option<Arc<dyn Backend>>,
    stop: CancellationToken,
) -> color_eyre::Result<ConsoleEnd> {
    // crossterm's support for `NO_COLOR` also removes reverse video, and with it the selection, so
    // the theme handles it instead.
    crossterm::style::force_color_output(true);
    let session = terminal::Session::start(&stop).wrap_err("cannot set up the terminal")?;
    let Some(_session) = session else { return Ok(ConsoleEnd::Shutdown) };
    let mut console =
        Console::start(options, source, backend).wrap_err("cannot start the console")?;
    let end = console.run(&stop).await;
    console.finish();
    match end {
        Ok(end) => Ok(end),
        Err(error) if is_hang_up(&error) => Ok(ConsoleEnd::HungUp),
        Err(error) => Err(error).wrap_err("cannot write to the terminal"),
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    let gone = [rustix::io::Errno::IO, rustix::io::Errno::NXIO, rustix::io::Errno::BADF];
    error.kind() == io::ErrorKind::BrokenPipe
        || gone.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
