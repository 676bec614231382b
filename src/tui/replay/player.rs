//! The thread that plays a recording: it reads messages and sends them when its clock reaches their
//! times.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use color_eyre::eyre::{WrapErr, bail};
use tokio::sync::mpsc;

use super::index::Index;
use super::reader::{Reader, last_time};
use bklit_console_core::playback::{ReplayCommand, ReplayState, Replayed, SPEEDS};
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::time::UtcMillis;

/// How many groups may wait for the console.
const CAPACITY: usize = 4;
/// Messages per group.
const GROUP: usize = 512;
/// How often the clock is sent.
const CLOCK: Duration = Duration::from_millis(200);
/// How many commands may wait for the thread.
const COMMANDS: usize = 64;

/// A running replay. Ends when dropped.
pub struct Player {
    commands: SyncSender<ReplayCommand>,
    groups: mpsc::Receiver<Vec<Replayed>>,
}

impl Player {
    /// Opens a recording and starts to replay it. `speed` is an index into [`SPEEDS`]; `lines` is
    /// how many lines the console keeps.
    ///
    /// # Errors
    /// If the file cannot be opened, or contains nothing readable.
    pub fn start(path: &Path, speed: usize, lines: usize) -> color_eyre::Result<Self> {
        let cannot = || format!("cannot read {}", path.display());
        let mut reader = Reader::open(path).wrap_err_with(cannot)?;
        let Some(first) = reader.next().wrap_err_with(cannot)? else {
            match reader.first_unreadable {
                Some((line, why)) => {
                    bail!(
                        "{} is not a recording: line {line} cannot be read ({why})",
                        path.display()
                    )
                }
                None => bail!("{} has no line of a recording", path.display()),
            }
        };
        let start = first.0;
        let end = last_time(path).wrap_err_with(cannot)?.unwrap_or(start).max(start);
        let state = ReplayState {
            start,
            end,
            at: start,
            speed,
            paused: false,
            seeking: false,
            ended: false,
            unreadable: 0,
            first_unreadable: None,
        };
        let (commands, received) = sync_channel(COMMANDS);
        let (out, groups) = mpsc::channel(CAPACITY);
        let deck = Deck {
            reader,
            index: Index::default(),
            lines: lines as u64,
            next: Some(first),
            state,
            commands: received,
            out,
            clock: start.epoch_millis() as f64,
            last_sent: None,
        };
        std::thread::Builder::new()
            .name("replay".into())
            .spawn(move || deck.run())
            .wrap_err("cannot start the replay's thread")?;
        Ok(Self { commands, groups })
    }

    /// Sends a command to the thread.
    pub fn command(&self, command: ReplayCommand) {
        // A full channel means that a key is held down; losing one command makes no difference.
        let _ = self.commands.try_send(command);
    }

    /// The next group. Cancel-safe.
    pub async fn next(&mut self) -> Vec<Replayed> {
        match self.groups.recv().await {
            Some(group) => group,
            None => std::future::pending().await,
        }
    }
}

/// The console has ended.
struct Gone;

struct Deck {
    reader: Reader,
    index: Index,
    /// How many lines the console keeps.
    lines: u64,
    next: Option<(UtcMillis, DebugMessage)>,
    state: ReplayState,
    commands: Receiver<ReplayCommand>,
    out: mpsc::Sender<Vec<Replayed>>,
    /// The replay's clock, in milliseconds since the epoch.
    clock: f64,
    /// The last second sent to the console.
    last_sent: Option<i64>,
}

impl Deck {
    fn run(mut self) {
        // Ends when the console does.
        let _: Result<(), Gone> = self.play();
    }

    fn play(&mut self) -> Result<(), Gone> {
        // Until now the console used the wall clock.
        self.emit(vec![Replayed::Reset])?;
        loop {
            let before = Instant::now();
            let command = if self.state.paused || self.state.ended {
                Some(self.commands.recv().map_err(|_| Gone)?)
            } else {
                match self.commands.recv_timeout(self.pause()) {
                    Ok(command) => Some(command),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return Err(Gone),
                }
            };
            if !(self.state.paused || self.state.ended) {
                self.advance(before.elapsed());
            }
            if let Some(command) = command {
                self.obey(command)?;
            }
            self.deliver()?;
        }
    }

    /// How long until the next message or the next clock update.
    fn pause(&self) -> Duration {
        let Some(speed) = SPEEDS.get(self.state.speed).copied().flatten() else {
            return Duration::ZERO;
        };
        let Some((at, _)) = &self.next else { return Duration::ZERO };
        let left = (at.epoch_millis() as f64 - self.clock).max(0.0) / speed / 1000.0;
        Duration::try_from_secs_f64(left).unwrap_or(CLOCK).clamp(Duration::from_millis(1), CLOCK)
    }

    fn advance(&mut self, passed: Duration) {
        match SPEEDS.get(self.state.speed).copied().flatten() {
            Some(speed) => self.clock += passed.as_secs_f64() * 1000.0 * speed,
            // One group at a time, so that commands are processed in between.
            None => {
                let next =
                    self.next.as_ref().map_or(self.clock, |(at, _)| at.epoch_millis() as f64);
                self.clock = self.clock.max(next + 1000.0);
            }
        }
        // Nothing follows after the end.
        self.clock = self.clock.min(self.state.end.epoch_millis() as f64 + 1.0);
    }

    fn obey(&mut self, command: ReplayCommand) -> Result<(), Gone> {
        match command {
            ReplayCommand::Toggle => self.state.paused = !self.state.paused,
            ReplayCommand::Faster => {
                self.state.speed = (self.state.speed + 1).min(SPEEDS.len() - 1);
            }
            ReplayCommand::Slower => self.state.speed = self.state.speed.saturating_sub(1),
            ReplayCommand::Seek(by) => self.seek(by)?,
        }
        self.emit(Vec::new())
    }

    fn seek(&mut self, by: i64) -> Result<(), Gone> {
        let (start, end) = (self.state.start.epoch_millis(), self.state.end.epoch_millis());
        let to = (self.clock as i64).saturating_add(by).clamp(start, end);
        self.state.seeking = true;
        if by < 0 {
            // The state up to that time is rebuilt.
            let place = self.index.before(UtcMillis::from_epoch_millis(to), self.lines);
            let place = place.cloned().unwrap_or_default();
            let pending = place.pending();
            if let Err(error) = self.reader.go_back(place) {
                return self.fail(&error);
            }
            self.read_next()?;
            self.last_sent = None;
            self.state.ended = false;
            let mut group = vec![Replayed::Reset];
            push_feed(&mut group, &mut { pending });
            self.emit(group)?;
        }
        self.clock = to as f64;
        Ok(())
    }

    fn read_next(&mut self) -> Result<(), Gone> {
        match self.reader.next() {
            Ok(next) => {
                self.next = next;
                self.index.note(&self.reader.passed);
            }
            Err(error) => self.fail(&error)?,
        }
        Ok(())
    }

    fn fail(&mut self, why: &std::io::Error) -> Result<(), Gone> {
        self.next = None;
        let notice = format!("cannot read the recording: {why}");
        self.emit(vec![Replayed::Feed(vec![DebugMessage::Unparsed(notice.into())])])
    }

    /// Sends all messages that are due.
    fn deliver(&mut self) -> Result<(), Gone> {
        loop {
            let mut group = Vec::new();
            let mut feed = Vec::new();
            let mut taken = 0;
            while taken < GROUP {
                let Some((at, _)) = &self.next else { break };
                let at = *at;
                if at.epoch_millis() as f64 > self.clock {
                    break;
                }
                if self.last_sent != Some(at.epoch_seconds()) {
                    self.last_sent = Some(at.epoch_seconds());
                    push_feed(&mut group, &mut feed);
                    group.push(Replayed::Clock(at));
                }
                if let Some((_, message)) = self.next.take() {
                    feed.push(message);
                    taken += 1;
                }
                self.read_next()?;
            }
            let is_full = taken >= GROUP;
            push_feed(&mut group, &mut feed);
            if !is_full {
                self.state.seeking = false;
                self.state.ended = self.next.is_none();
            }
            self.emit(group)?;
            // Pending commands come before the rest.
            if !is_full {
                return Ok(());
            }
            if let Ok(command) = self.commands.try_recv() {
                self.obey(command)?;
            }
        }
    }

    /// Sends a group, with the state and the clock.
    fn emit(&mut self, mut group: Vec<Replayed>) -> Result<(), Gone> {
        let clock = self.clock as i64;
        let shown = match &self.next {
            Some((at, _)) => clock.min(at.epoch_millis()),
            None => clock,
        };
        let at = UtcMillis::from_epoch_millis(shown);
        if self.last_sent.is_none_or(|sent| sent < at.epoch_seconds()) && !self.state.seeking {
            self.last_sent = Some(at.epoch_seconds());
            group.push(Replayed::Clock(at));
        }
        self.state.at = at;
        self.state.end = self.state.end.max(at);
        self.state.unreadable = self.reader.passed.unreadable;
        self.state.first_unreadable.clone_from(&self.reader.first_unreadable);
        group.push(Replayed::State(self.state.clone()));
        self.out.blocking_send(group).map_err(|_| Gone)
    }
}

fn push_feed(group: &mut Vec<Replayed>, feed: &mut Vec<DebugMessage>) {
    if !feed.is_empty() {
        group.push(Replayed::Feed(std::mem::take(feed)));
    }
}
