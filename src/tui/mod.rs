//! The console: a model, an `update` that changes it, a view that draws it, and around them this
//! loop, the only part that does I/O.
//!
//! ```text
//! keyboard ─┐                          ┌─ effects: clipboard, suspend, quit
//! bus ──────┼─ Msg → update → Model ───┤
//! clock ────┘                          └─ view → frame → screen's thread → terminal
//! ```
//!
//! The loop has a thread of its own: what it costs to draw or to filter never delays the
//! pipeline in the same process. A slow terminal delays only frames, see [`screen`].

pub mod backend;
pub mod effects;
pub mod input;
pub mod jobs;
pub mod keymap;
pub mod model;
pub mod msg;
pub mod replay;
pub mod screen;
pub mod terminal;
pub mod text;
pub mod theme;
pub mod update;
pub mod view;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::{WrapErr, bail, eyre};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::{AlertSettings, ConsoleSettings, Settings};
use crate::pipeline::bus::{DebugMessage, DebugStream};
use crate::pipeline::time::UtcMillis;
use backend::{Backend, Tasks};
use effects::Multiplexer;
use input::{Input, Keyboard, Typed};
use jobs::{JobOptions, Jobs};
use keymap::Bindings;
use model::palette::commands::Target;
use model::{Model, ModelOptions, Shell};
use msg::{Effect, Job, Msg, Report};
use replay::{Player, Replayed};
use screen::Screen;
use theme::{Palette, Theme};

/// Messages of the bus that are taken in at a time, before keys are looked at again.
const SLICE: usize = 512;
/// The shortest time between two frames when the second shows what a key did.
const KEY_FRAME_TIME: Duration = Duration::from_millis(20);
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

impl ConsoleOptions {
    /// As the settings say, watching `source`. A `curl` line would need a token of the daemon: it
    /// is for who has one.
    pub fn new(source: String, settings: &Settings) -> Self {
        Self {
            source,
            curl: None,
            settings: settings.console.clone(),
            alarm_depth: settings.queue.alarm_depth,
            no_color: no_color(|name| std::env::var(name).ok()),
            alerts: settings.alerts.clone(),
            data_dir: settings.data_dir.clone(),
            record: settings.record.clone(),
        }
    }
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
    let _session = terminal::Session::start().wrap_err("cannot set up the terminal")?;
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

/// What the loop holds.
struct Console {
    model: Model,
    screen: Screen,
    keyboard: Keyboard,
    /// `None` once the bus has closed.
    stream: Option<Box<dyn DebugStream>>,
    /// What is asked for beside it.
    tasks: Tasks,
    player: Option<Player>,
    jobs: Jobs,
    /// The shortest time between two frames.
    frame_time: Duration,
    last_frame: Option<Instant>,
    /// A key was pressed since.
    is_keyed: bool,
    /// The screen shows something that is not in the model, or lost what it showed.
    is_stale: bool,
    multiplexer: Multiplexer,
    /// Whether the last turn was a slice of work: then messages come first.
    has_worked: bool,
    tick: Interval,
    resized: Signal,
    stop_requested: Signal,
    continued: Signal,
}

impl Console {
    fn start(
        options: ConsoleOptions,
        source: Source,
        backend: Option<Arc<dyn Backend>>,
    ) -> io::Result<Self> {
        let size = terminal::size();
        let variable = |name: &str| std::env::var(name).ok();
        let palette = Palette::find(options.no_color, options.settings.colors, variable);
        let (filters, trouble) = filters(&options);
        let mut jobs = Jobs::new(JobOptions {
            alert_command: options.alerts.command.clone(),
            data_dir: Some(options.data_dir),
            record_max_bytes: options.settings.record_max_bytes,
            source: options.source.clone(),
        });
        let mut model = Model::new(ModelOptions {
            source: options.source,
            curl: options.curl,
            max_lines: options.settings.max_lines,
            max_bytes: options.settings.max_bytes,
            alarm_depth: options.alarm_depth,
            read_only: options.settings.read_only,
            utc: options.settings.utc,
            theme: Theme::of(options.settings.theme, palette),
            shell: Shell {
                ascii: theme::needs_ascii(options.settings.ascii, variable),
                filters,
                alerts: options.alerts,
                // The settings were checked when they were read.
                bindings: Bindings::read(&options.settings.keys).unwrap_or_default(),
            },
            size,
        });
        let target = options.record.map(|path| Target { path, overwrite: false });
        let began = target.and_then(|target| jobs.start(Job::Record(Some(target))));
        let (stream, player) = match source {
            Source::Bus(stream) => (Some(stream), None),
            Source::Replay(player) => (None, Some(player)),
        };
        update::update(&mut model, Msg::Tick(UtcMillis::now()));
        for report in trouble.map(Report::Notice).into_iter().chain(began) {
            update::update(&mut model, Msg::Report(report));
        }
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let stop = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
        let go_on = SignalKind::from_raw(rustix::process::Signal::CONT.as_raw());
        Ok(Self {
            model,
            screen: Screen::start(size)?,
            keyboard: Keyboard::start()?,
            stream,
            tasks: Tasks::new(backend),
            player,
            jobs,
            frame_time: Duration::from_secs(1) / options.settings.fps.max(1),
            last_frame: None,
            is_keyed: false,
            is_stale: true,
            multiplexer: Multiplexer::from_environment(|name| std::env::var(name).ok()),
            has_worked: false,
            tick,
            resized: signal(SignalKind::window_change())?,
            stop_requested: signal(stop)?,
            continued: signal(go_on)?,
        })
    }

    async fn run(&mut self, stop: &CancellationToken) -> io::Result<ConsoleEnd> {
        self.update(Msg::Tick(UtcMillis::now()))?;
        loop {
            let frame_at = self.next_frame();
            let works = self.model.has_work();
            let works_first = works && !std::mem::take(&mut self.has_worked);
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => Some(ConsoleEnd::Shutdown),
                input = self.keyboard.next() => self.take_input(input)?,
                Some(()) = self.stop_requested.recv() => self.suspend().await?,
                Some(()) = self.continued.recv() => {
                    terminal::resume()?;
                    self.resize()?
                }
                Some(()) = self.resized.recv() => self.resize()?,
                written = self.screen.written() => {
                    written?;
                    None
                }
                () = until(frame_at) => {
                    self.draw()?;
                    None
                }
                _ = self.tick.tick() => self.tick()?,
                answer = self.tasks.next() => self.update(Msg::Answer(answer))?,
                report = self.jobs.report() => self.update(Msg::Report(report))?,
                // Slices and messages take turns: neither waits for a flood of the other.
                () = std::future::ready(()), if works_first => self.work().await?,
                messages = next_slice(&mut self.stream) => {
                    // In a flood nothing else would let the runtime look at clock and signals.
                    tokio::task::yield_now().await;
                    self.jobs.record(&messages);
                    self.update(Msg::Feed(messages))?
                }
                replayed = next_replayed(&mut self.player) => {
                    tokio::task::yield_now().await;
                    self.update(Msg::Replay(replayed))?
                }
                () = std::future::ready(()), if works => self.work().await?,
            };
            if let Some(end) = ended {
                return Ok(end);
            }
        }
    }

    fn tick(&mut self) -> io::Result<Option<ConsoleEnd>> {
        if let Some(report) = self.jobs.recorded() {
            self.update(Msg::Report(report))?;
        }
        self.update(Msg::Tick(UtcMillis::now()))
    }

    async fn work(&mut self) -> io::Result<Option<ConsoleEnd>> {
        tokio::task::yield_now().await;
        self.has_worked = true;
        self.update(Msg::Work)
    }

    /// When the next frame is due, if one is and the screen can take it. What a key did is shown
    /// sooner than what came in.
    fn next_frame(&self) -> Option<Instant> {
        if !self.screen.is_ready() || !(self.is_stale || self.model.needs_redraw()) {
            return None;
        }
        let apart =
            if self.is_keyed { self.frame_time.min(KEY_FRAME_TIME) } else { self.frame_time };
        Some(self.last_frame.map_or_else(Instant::now, |last| last + apart))
    }

    fn draw(&mut self) -> io::Result<()> {
        let model = &self.model;
        self.screen.draw(|frame| view::render(model, frame))?;
        self.model.drawn();
        self.is_stale = false;
        self.is_keyed = false;
        self.last_frame = Some(Instant::now());
        Ok(())
    }

    fn take_input(&mut self, input: Input) -> io::Result<Option<ConsoleEnd>> {
        self.is_keyed = true;
        match input {
            Input::Typed(Typed::Key(key)) => self.update(Msg::Key(key)),
            Input::Typed(Typed::Paste(text)) => self.update(Msg::Paste(text)),
            Input::HungUp => Ok(Some(ConsoleEnd::HungUp)),
        }
    }

    fn resize(&mut self) -> io::Result<Option<ConsoleEnd>> {
        let (columns, rows) = terminal::size();
        self.screen.resize((columns, rows))?;
        self.is_stale = true;
        self.update(Msg::Resize(columns, rows))
    }

    async fn suspend(&mut self) -> io::Result<Option<ConsoleEnd>> {
        if !terminal::can_suspend() {
            return Ok(None);
        }
        terminal::suspend();
        self.continued.recv().await;
        terminal::resume()?;
        self.resize()
    }

    fn update(&mut self, message: Msg) -> io::Result<Option<ConsoleEnd>> {
        let mut effects: VecDeque<_> =
            update::update(&mut self.model, message).into_iter().collect();
        effects.extend(self.model.take_outbox());
        while let Some(effect) = effects.pop_front() {
            if let Some(end) = self.carry_out(effect)? {
                return Ok(Some(end));
            }
            effects.extend(self.model.take_outbox());
        }
        Ok(None)
    }

    fn carry_out(&mut self, effect: Effect) -> io::Result<Option<ConsoleEnd>> {
        match effect {
            Effect::Quit => return Ok(Some(ConsoleEnd::Quit)),
            Effect::Suspend => terminal::request_suspend(),
            Effect::Copy(text) => {
                let sequence = effects::copy_sequence(&text, self.multiplexer);
                self.append(sequence.as_bytes());
            }
            Effect::Bell => self.append(b"\x07"),
            Effect::Redraw => return self.resize(),
            Effect::Ask(request) => self.tasks.ask(request),
            Effect::Replay(command) => {
                if let Some(player) = &self.player {
                    player.command(command);
                }
            }
            Effect::Job(job) => {
                if let Some(report) = self.jobs.start(job) {
                    return self.update(Msg::Report(report));
                }
            }
        }
        Ok(None)
    }

    /// Sends bytes that are not part of a frame.
    fn append(&mut self, bytes: &[u8]) {
        self.screen.append(bytes);
        self.is_stale = true;
    }
}

/// The filters of the settings and those saved, which are newer; and what is wrong with these.
fn filters(options: &ConsoleOptions) -> (BTreeMap<String, String>, Option<String>) {
    let mut filters = options.settings.filters.clone();
    match jobs::saved_filters(&options.data_dir) {
        Ok(saved) => {
            filters.extend(saved);
            (filters, None)
        }
        Err(error) => (filters, Some(format!("the saved filters cannot be read: {error}"))),
    }
}

/// What a replay does next; never anything without one. Safe to cancel.
async fn next_replayed(player: &mut Option<Player>) -> Vec<Replayed> {
    match player {
        Some(player) => player.next().await,
        None => std::future::pending().await,
    }
}

/// Waits until then; for ever without a time. A time that has come is not left to the clock of
/// the runtime, which goes on only between two waits.
async fn until(time: Option<Instant>) {
    match time {
        None => std::future::pending().await,
        Some(time) if time <= Instant::now() => {}
        Some(time) => tokio::time::sleep_until(time).await,
    }
}

/// The next messages of the bus, as many as are there; never any once it has closed. Safe to
/// cancel.
async fn next_slice(stream: &mut Option<Box<dyn DebugStream>>) -> Vec<DebugMessage> {
    let Some(open) = stream else { return std::future::pending().await };
    let Some(first) = open.next().await else {
        *stream = None;
        return Vec::new();
    };
    let mut messages = vec![first];
    // Nothing below waits, so nothing taken is lost by a cancellation.
    while messages.len() < SLICE {
        let more = tokio::select! {
            biased;
            message = open.next() => message,
            () = std::future::ready(()) => break,
        };
        match more {
            Some(message) => messages.push(message),
            None => {
                *stream = None;
                break;
            }
        }
    }
    messages
}
