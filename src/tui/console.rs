//! The console's loop: passes input, messages and clock ticks to `update`, carries out the effects
//! that it returns, and draws the changes.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::backend::{BulkTask, Tasks};
use super::clipboard::{self, Multiplexer};
use super::display::Display;
use super::editor::{self, Editor};
use super::input::{self, Input, Keyboard, Typed};
use super::intake::Intake;
use super::jobs::{self, JobOptions, Jobs};
use super::replay::Player;
use super::{ConsoleEnd, ConsoleOptions, Source, terminal};
use bklit_console_core::appearance::Scheme;
use bklit_console_core::keymap::Bindings;
use bklit_console_core::model::{Model, ModelOptions, Shell};
use bklit_console_core::msg::{Effect, Job, Msg, Report, Target};
use bklit_console_core::playback::Replayed;
use bklit_console_core::settings::{skin_of, skins};
use bklit_console_core::theme::{self, Palette, Theme};
use bklit_console_core::{update, view};
use bklit_wire::backend::Backend;
use bklit_wire::time::UtcMillis;

/// The shortest time between two frames that show the effect of a key.
const KEY_FRAME_TIME: Duration = Duration::from_millis(20);

/// The state of the loop.
pub(super) struct Console {
    model: Model,
    display: Display,
    /// `None` while an editor has the terminal.
    keyboard: Option<Keyboard>,
    editor: Option<Editor>,
    intake: Intake,
    /// Requests to the pipeline.
    tasks: Tasks,
    bulk: BulkTask,
    player: Option<Player>,
    jobs: Jobs,
    /// The shortest time between two frames.
    frame_time: Duration,
    last_frame: Option<Instant>,
    last_key_frame: Option<Instant>,
    /// Whether a key was pressed since the last frame.
    is_keyed: bool,
    /// Whether the next frame must be drawn in full.
    is_stale: bool,
    multiplexer: Multiplexer,
    /// Whether the last turn was a slice of work; if so, messages come first.
    has_worked: bool,
    tick: Interval,
    resized: Signal,
    stop_requested: Signal,
    continued: Signal,
}

impl Console {
    pub(super) fn start(
        options: ConsoleOptions,
        source: Source,
        backend: Option<Arc<dyn Backend>>,
    ) -> io::Result<Self> {
        let size = terminal::size();
        let (filters, problem) = filters(&options);
        let mut model = Model::new(model_options(&options, filters, size));
        let mut jobs = Jobs::new(JobOptions {
            alert_command: options.alerts.command,
            alerts_run_elsewhere: options.alerts_run_elsewhere,
            data_dir: Some(options.data_dir.clone()),
            record_max_bytes: options.settings.record_max_bytes,
            source: options.source,
        });
        let is_replay = matches!(source, Source::Replay(_));
        let remembers = options.settings.remember;
        let dir = options.data_dir.clone();
        let target = options.record.map(|path| Target { path, overwrite: false });
        let began = target.and_then(|target| jobs.start(Job::Record(Some(target))));
        let (stream, player) = match source {
            Source::Bus(stream) => (Some(stream), None),
            Source::Replay(player) => (None, Some(player)),
        };
        update::update(&mut model, Msg::Tick(UtcMillis::now()));
        let layout = remembers.then(|| restore_layout(&mut model, &dir, is_replay)).flatten();
        let notices = layout.into_iter().chain(problem).map(Report::Notice);
        for report in notices.chain(began) {
            update::update(&mut model, Msg::Report(report));
        }
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let stop = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
        let go_on = SignalKind::from_raw(rustix::process::Signal::CONT.as_raw());
        let mut display = Display::start(size)?;
        if model.mouse() {
            display.append(terminal::mouse(true).as_bytes());
        }
        Ok(Self {
            model,
            display,
            keyboard: Some(Keyboard::start()?),
            editor: None,
            intake: Intake::new(stream),
            bulk: BulkTask::new(backend.clone(), options.data_dir.clone()),
            tasks: Tasks::new(backend, &options.user, options.data_dir),
            player,
            jobs,
            frame_time: Duration::from_secs(1) / options.settings.fps.max(1),
            last_frame: None,
            last_key_frame: None,
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

    pub(super) async fn run(&mut self, stop: &CancellationToken) -> io::Result<ConsoleEnd> {
        self.update(Msg::Tick(UtcMillis::now()))?;
        loop {
            let frame_at = self.next_frame();
            let works = self.model.has_work();
            let works_first = works && !std::mem::take(&mut self.has_worked);
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => Some(ConsoleEnd::Shutdown),
                input = input::next(&mut self.keyboard) => self.take_input(input)?,
                Some(()) = self.stop_requested.recv() => self.suspend().await?,
                Some(()) = self.continued.recv() => self.resume()?,
                Some(()) = self.resized.recv(), if self.editor.is_none() => self.resize()?,
                edited = editor::edited(&mut self.editor) => self.take_edited(edited)?,
                written = self.display.written() => {
                    written?;
                    None
                }
                () = until(frame_at) => {
                    self.draw()?;
                    None
                }
                _ = self.tick.tick() => self.tick()?,
                answer = self.tasks.next() => self.update(Msg::Answer(answer))?,
                report = self.bulk.next() => self.update(Msg::Report(Report::Bulk(report)))?,
                report = self.jobs.report() => self.update(Msg::Report(report))?,
                // Slices and messages take turns, so neither starves the other.
                () = std::future::ready(()), if works_first => self.work().await?,
                messages = self.intake.next() => {
                    // Without this, a flood would keep the runtime from polling timers and signals.
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

    /// Waits for what must not be lost, at the end.
    pub(super) fn finish(&mut self) {
        self.jobs.finish();
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

    /// When the next frame is due, if there is one and the screen is ready. The effect of a key is
    /// shown sooner than new messages.
    fn next_frame(&self) -> Option<Instant> {
        if self.editor.is_some() {
            return None;
        }
        if !self.display.is_ready() || !(self.is_stale || self.model.needs_redraw()) {
            return None;
        }
        let (last, apart) = if self.is_keyed {
            (self.last_key_frame, self.frame_time.min(KEY_FRAME_TIME))
        } else {
            (self.last_frame, self.frame_time)
        };
        Some(last.map_or_else(Instant::now, |last| last + apart))
    }

    fn draw(&mut self) -> io::Result<()> {
        let model = &self.model;
        self.display.draw(|frame| view::render(model, frame))?;
        self.model.drawn();
        self.is_stale = false;
        self.last_frame = Some(Instant::now());
        if std::mem::take(&mut self.is_keyed) {
            self.last_key_frame = self.last_frame;
        }
        Ok(())
    }

    fn take_input(&mut self, input: Input) -> io::Result<Option<ConsoleEnd>> {
        self.is_keyed = true;
        match input {
            Input::Typed(Typed::Key(key)) => self.update(Msg::Key(key)),
            Input::Typed(Typed::Paste(text)) => self.update(Msg::Paste(text)),
            Input::Typed(Typed::Mouse(mouse)) => self.update(Msg::Mouse(mouse)),
            Input::HungUp => Ok(Some(ConsoleEnd::HungUp)),
        }
    }

    fn resize(&mut self) -> io::Result<Option<ConsoleEnd>> {
        let (columns, rows) = terminal::size();
        self.display.resize((columns, rows))?;
        self.is_stale = true;
        self.update(Msg::Resize(columns, rows))
    }

    /// Hands the terminal to the editor.
    fn edit(&mut self, text: &str) -> io::Result<Option<ConsoleEnd>> {
        if let Some(keyboard) = self.keyboard.take() {
            keyboard.end();
        }
        terminal::lend();
        match Editor::start(text) {
            Ok(editor) => {
                self.editor = Some(editor);
                Ok(None)
            }
            Err(why) => self.take_edited(Err(why)),
        }
    }

    /// Takes the terminal back.
    fn take_edited(&mut self, edited: Result<String, String>) -> io::Result<Option<ConsoleEnd>> {
        self.editor = None;
        terminal::resume()?;
        self.keyboard = Some(Keyboard::start()?);
        let end = self.resize()?;
        Ok(end.or(self.update(Msg::Report(Report::Edited(edited)))?))
    }

    fn resume(&mut self) -> io::Result<Option<ConsoleEnd>> {
        if self.editor.is_some() {
            // The editor continues, too.
            return Ok(None);
        }
        terminal::resume()?;
        self.resize()
    }

    async fn suspend(&mut self) -> io::Result<Option<ConsoleEnd>> {
        if !terminal::can_suspend() {
            return Ok(None);
        }
        if self.editor.is_some() {
            editor::suspend();
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
                let sequence = clipboard::copy_sequence(&text, self.multiplexer);
                self.append(sequence.as_bytes());
            }
            Effect::Mouse(on) => self.append(terminal::mouse(on).as_bytes()),
            Effect::Bell => self.append(b"\x07"),
            Effect::Redraw => return self.resize(),
            Effect::Ask(request) => self.tasks.ask(request),
            Effect::Edit(text) => return self.edit(&text),
            Effect::Bulk(plan) => self.bulk.begin(plan),
            Effect::StopBulk => self.bulk.stop(),
            Effect::StopSql => self.tasks.stop_sql(),
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
        self.display.append(bytes);
        self.is_stale = true;
    }
}

/// The model's options, with those that depend on the system.
fn model_options(
    options: &ConsoleOptions,
    filters: BTreeMap<String, String>,
    size: (u16, u16),
) -> ModelOptions {
    let variable = |name: &str| std::env::var(name).ok();
    let settings = &options.settings;
    let palette = Palette::find(options.no_color, settings.colors, variable);
    let skins = skins(settings);
    ModelOptions {
        source: options.source.clone(),
        curl: options.curl.clone(),
        max_lines: settings.max_lines,
        max_bytes: settings.max_bytes,
        max_problem_lines: settings.max_problem_lines,
        max_problem_bytes: settings.max_problem_bytes,
        alarm_depth: options.alarm_depth,
        read_only: settings.read_only,
        utc: settings.utc,
        local_zone: TimeZone::system(),
        theme: Theme::of(skin_of(&settings.theme, &skins).unwrap_or(Scheme::Dark.into()), palette),
        shell: Shell {
            ascii: theme::needs_ascii(settings.ascii, variable),
            mouse: settings.mouse,
            filters,
            queries: settings.queries.clone(),
            alerts: options.alerts.clone(),
            skins,
            // The settings were validated when they were read.
            bindings: Bindings::read(&settings.keys).unwrap_or_default(),
            histories: jobs::saved_histories(&options.data_dir),
            theme_name: settings.theme.clone(),
            stops_pipeline: options.stops_pipeline,
        },
        size,
    }
}

/// Restores the layout of the last run; in a replay without its filters, and nothing is saved.
/// Returns a notice about it.
fn restore_layout(model: &mut Model, dir: &Path, is_replay: bool) -> Option<String> {
    let layout = match jobs::saved_layout(dir) {
        Ok(layout) => layout.unwrap_or_default(),
        Err(problem) => {
            if !is_replay {
                update::begin(model);
            }
            return Some(problem);
        }
    };
    if is_replay {
        return update::restore(model, &layout.without_filters());
    }
    let notice = update::restore(model, &layout);
    update::begin(model);
    notice
}

/// The filters from the settings and the saved ones, which take precedence; and the error if the
/// saved ones cannot be read.
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

/// The next step of the replay; pending forever without one. Cancel-safe.
async fn next_replayed(player: &mut Option<Player>) -> Vec<Replayed> {
    match player {
        Some(player) => player.next().await,
        None => std::future::pending().await,
    }
}

/// Waits until `time`, or forever if it is `None`. Returns immediately if that time has passed,
/// because the runtime's clock only advances between two waits.
async fn until(time: Option<Instant>) {
    match time {
        None => std::future::pending().await,
        Some(time) if time <= Instant::now() => {}
        Some(time) => tokio::time::sleep_until(time).await,
    }
}
