//! `logs`: prints another process's debug log to stdout.
//!
//! - `filter`: which lines to print
//! - `format`: how a line is printed
//! - `history`: holds kept lines back until it is known which are the last ones
//! - `sampling`: reports sampled and lost lines

mod filter;
mod format;
mod history;
mod sampling;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use color_eyre::eyre::WrapErr as _;
use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::time::Instant;

use crate::cli::LogsArgs;
use crate::client;
use crate::config::Settings;
use bklit_console::no_color;
use bklit_remote::sse::{ENDED, Endpoint, Received, SseDebugStream};
use bklit_wire::debug_bus::{DebugMessage, DebugStream};
use bklit_wire::text::safe;
use filter::Filter;
use format::Format;
use history::History;
use sampling::{Losses, Sampling};

/// While more lines are ready, output is buffered up to this many bytes.
const HELD_BYTES: usize = 32 * 1024;
/// More than any daemon keeps.
const ALL_LINES: usize = 1_000_000;
/// How often to check whether the reader has closed the pipe.
const READER_CHECK: Duration = Duration::from_secs(1);

/// The lines that a command line requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// New lines.
    New,
    /// Up to this many kept lines, then new ones.
    KeptAndNew(usize),
    /// Up to this many kept lines.
    Kept(usize),
}

/// The lines to request for `args`. All kept ones if a filter comes first: the last N are those that
/// pass it.
pub fn wanted(args: &LogsArgs) -> Wanted {
    let most = args.history.unwrap_or(ALL_LINES);
    let kept = if most > 0 && filter::drops_lines(args) { ALL_LINES } else { most };
    match (args.follow, args.history) {
        (true, None) => Wanted::New,
        (true, Some(_)) => Wanted::KeptAndNew(kept),
        (false, _) => Wanted::Kept(kept),
    }
}

/// Lines to print other than a daemon's.
pub struct Followed {
    /// Their source, for reports.
    pub source: String,
    /// The lines.
    pub stream: Box<dyn DebugStream>,
}

/// The lines of a daemon, or of another source.
enum Lines {
    Daemon(SseDebugStream),
    Other(Box<dyn DebugStream>),
}

impl Lines {
    async fn next(&mut self) -> Option<Received> {
        match self {
            Self::Daemon(stream) => stream.next_received().await,
            Self::Other(stream) => stream.next().await.map(Received::from),
        }
    }
}

/// Prints lines until the reader closes the pipe; reports on the connection go to stderr.
///
/// # Errors
/// When a filter is wrong, the daemon refuses, or stdout cannot be written.
pub async fn run(
    args: &LogsArgs,
    settings: &Settings,
    followed: Option<Followed>,
) -> color_eyre::Result<()> {
    let filter = Filter::new(args)?;
    let (lines, origin) = match followed {
        Some(Followed { source, stream }) => (Lines::Other(stream), source),
        None => connect(args, settings).await?,
    };
    let is_terminal = io::stdout().is_terminal();
    let format = Format {
        json: args.json,
        zone: if settings.console.utc { TimeZone::UTC } else { TimeZone::system() },
        colors: is_terminal && !no_color(|name| std::env::var(name).ok()),
    };
    let printer = Printer {
        filter,
        format,
        history: args.history.filter(|_| filter::drops_lines(args)).map(History::new),
        held: String::new(),
        reports: Reports { origin, losses: Losses::default(), sampling: Sampling::default() },
    };
    match printer.follow(lines, args.follow).await {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.wrap_err("cannot print the lines"),
    }
}

async fn connect(args: &LogsArgs, settings: &Settings) -> color_eyre::Result<(Lines, String)> {
    let base = client::base_url(args.daemon.url.as_deref(), settings)?;
    let token = client::given_token(args.daemon.token.as_deref());
    let mut endpoint = Endpoint::new(&base, token.as_deref())?;
    if let Some(project) = &args.project {
        endpoint = endpoint.of_project(project);
    }
    endpoint = match wanted(args) {
        Wanted::New => endpoint,
        Wanted::KeptAndNew(lines) => endpoint.after_history(lines),
        Wanted::Kept(lines) => endpoint.after_history(lines).ending(),
    };
    let origin = endpoint.origin();
    let stream = SseDebugStream::connect(client::connect(settings)?, endpoint).await?;
    Ok((Lines::Daemon(stream), origin))
}

struct Printer {
    filter: Filter,
    format: Format,
    /// Set while kept lines arrive of which only the last ones are printed.
    history: Option<History>,
    /// Not printed yet.
    held: String,
    reports: Reports,
}

impl Printer {
    async fn follow(mut self, mut lines: Lines, follows: bool) -> io::Result<()> {
        let mut reader_check = tokio::time::interval(READER_CHECK);
        loop {
            let received = tokio::select! {
                biased;
                received = lines.next() => received,
                () = std::future::ready(()), if !self.held.is_empty() => {
                    print(&mut self.held)?;
                    continue;
                }
                _ = reader_check.tick() => {
                    check_reader()?;
                    report(self.reports.sampling.report(Instant::now()), &mut self.held)?;
                    continue;
                }
            };
            let Some(received) = received else {
                self.end_history();
                return print(&mut self.held);
            };
            if !follows {
                match &received.message {
                    DebugMessage::Connected => continue,
                    DebugMessage::Disconnected(reason) if **reason == *ENDED => {
                        self.end_history();
                        return print(&mut self.held);
                    }
                    DebugMessage::Disconnected(reason) => {
                        print(&mut self.held)?;
                        let reason = format!("{}: {}", self.reports.origin, safe(reason));
                        return Err(io::Error::other(reason));
                    }
                    _ => {}
                }
            }
            self.take(&received)?;
        }
    }

    fn take(&mut self, received: &Received) -> io::Result<()> {
        // After a reconnection only new lines follow.
        if matches!(received.message, DebugMessage::HistoryEnd | DebugMessage::Disconnected(_)) {
            self.end_history();
        }
        report(self.reports.of(&received.message), &mut self.held)?;
        if let Some(line) = line(received, &self.filter, &self.format) {
            match &mut self.history {
                Some(history) => history.add(line),
                None => {
                    self.held.push_str(&line);
                    self.held.push('\n');
                }
            }
        }
        if self.held.len() >= HELD_BYTES { print(&mut self.held) } else { Ok(()) }
    }

    fn end_history(&mut self) {
        for line in self.history.take().into_iter().flat_map(History::last) {
            self.held.push_str(&line);
            self.held.push('\n');
        }
    }
}

fn line(received: &Received, filter: &Filter, format: &Format) -> Option<String> {
    match &received.message {
        DebugMessage::Log(log) => {
            if !filter.passes(log) {
                return None;
            }
            // The pattern is matched against the text form, also for lines printed as JSON.
            let matches = !filter.has_pattern() || {
                let plain = Format { colors: false, ..format.clone() };
                filter.matches(&plain.text(log))
            };
            matches.then(|| format.log(log, received.raw.as_deref()))
        }
        DebugMessage::Unparsed(text) => {
            let shown = filter.passes_unparsed() && filter.matches(&safe(text));
            shown.then(|| format.unparsed(text))
        }
        _ => None,
    }
}

/// What is reported on stderr.
struct Reports {
    origin: String,
    losses: Losses,
    sampling: Sampling,
}

impl Reports {
    fn of(&mut self, message: &DebugMessage) -> Option<String> {
        let origin = &self.origin;
        match message {
            DebugMessage::Connected => Some(format!("connected to {origin}")),
            DebugMessage::Disconnected(reason) => {
                Some(format!("disconnected from {origin} ({}); reconnecting", safe(reason)))
            }
            DebugMessage::Lost(count) => Some(self.losses.report(*count)),
            DebugMessage::Gauges(gauges) => {
                let now = Instant::now();
                self.sampling.record(gauges, now);
                self.sampling.report(now)
            }
            DebugMessage::Log(_)
            | DebugMessage::Unparsed(_)
            | DebugMessage::HistoryEnd
            | DebugMessage::Queue(_) => None,
        }
    }
}

/// Prints a report on stderr, after the lines received before it.
fn report(report: Option<String>, held: &mut String) -> io::Result<()> {
    if let Some(report) = report {
        print(held)?;
        // With stderr closed, nobody reads reports.
        let _ = writeln!(io::stderr(), "{report}");
    }
    Ok(())
}

fn print(held: &mut String) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(held.as_bytes())?;
    held.clear();
    stdout.flush()
}

/// Fails once the reader has closed the pipe, which without lines to write goes unnoticed.
fn check_reader() -> io::Result<()> {
    let stdout = rustix::stdio::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    poll(&mut watched, Some(&Timespec::default()))?;
    if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}
