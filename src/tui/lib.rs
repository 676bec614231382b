//! The console: a model, an `update` that changes it, a view that draws it, and around them a
//! loop, the only part that does I/O.
//!
//! ```text
//! keyboard ─┐                          ┌─ Effect: clipboard, suspend, quit
//! bus ──────┼─ Msg → update → Model ───┤
//! clock ────┘                          └─ view → frame → screen's thread → terminal
//! ```
//!
//! The loop has a thread of its own: what it costs to draw or to filter never delays the
//! pipeline in the same process. A slow terminal delays only frames, see `display`.

pub mod backend;
mod clipboard;
mod console;
mod display;
pub mod input;
mod intake;
pub mod jobs;
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

/// How long the console may take to end, before the process goes on without it.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// What the console is to show.
#[derive(Clone, Debug)]
pub struct ConsoleOptions {
    /// What it is connected to, for the header.
    pub source: String,
    /// A command that sends an event, for the empty state.
    pub curl: Option<String>,
    /// Settings.
    pub settings: ConsoleSettings,
    /// Events waiting above which it warns.
    pub alarm_depth: u64,
    /// Whether to do without colours.
    pub no_color: bool,
    /// When to raise alerts.
    pub alerts: AlertSettings,
    /// What is watched tells of its alerts by itself, by the same command.
    pub alerts_are_told: bool,
    /// Where filters are saved.
    pub data_dir: PathBuf,
    /// A file to record to from the beginning.
    pub record: Option<String>,
}

/// Where messages come from.
pub enum Source {
    /// A bus, as they are published.
    Bus(Box<dyn DebugStream>),
    /// A recording, as its clock says.
    Replay(Player),
}

/// Whether the environment asks for output without colours: `NO_COLOR` is set and not empty.
pub fn no_color(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Why the console ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleEnd {
    /// The person at it wanted that.
    Quit,
    /// It was told to by `shutdown`.
    Shutdown,
    /// The terminal is gone.
    HungUp,
}

/// Checks that there is a terminal to run on.
///
/// # Errors
/// Says what to do without one.
pub fn require_terminal() -> color_eyre::Result<()> {
    if !terminal::is_present() {
        bail!(
            "the console needs a terminal for input and output. Without one, run the pipeline \
             with --no-ui, or follow a running one with `bklit-tui logs --follow`"
        );
    }
    Ok(())
}

/// Runs the console until it ends; the terminal is as before then.
///
/// # Errors
/// Without a terminal, when the terminal refuses, or when the console panicked.
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
        // The receiver gives up only when the process ends.
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
        // It hangs in a write; dropping the guard gives the terminal back.
        Err(_) => Ok(ConsoleEnd::Shutdown),
    }
}

/// Ends the console also when the future that runs it is dropped, and has given the terminal
/// back by then: who drops it may be about to end the process.
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
    // crossterm's own way to do without colours also loses reverse video, and with it the
    // selection; the theme does it instead.
    crossterm::style::force_color_output(true);
    let session = terminal::Session::start(&stop).wrap_err("cannot set up the terminal")?;
    let Some(_session) = session else { return Ok(ConsoleEnd::Shutdown) };
    let mut console =
        Console::start(options, source, backend).wrap_err("cannot start the console")?;
    match console.run(&stop).await {
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
