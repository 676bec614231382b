//! `logs`: prints another process's debug log to stdout.
//!
//! - `filter`: which lines to print
//! - `format`: how a line is printed
//! - `sampling`: reports sampled and lost lines

mod filter;
mod format;
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
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::text::safe;
use filter::Filter;
use format::Format;
use sampling::{Losses, Sampling};

/// While more lines are ready, output is buffered up to this many bytes.
const HELD_BYTES: usize = 32 * 1024;
/// More than any daemon keeps.
const ALL_LINES: usize = 1_000_000;
/// How often to check whether the reader has closed the pipe.
const READER_CHECK: Duration = Duration::from_secs(1);

/// Prints lines until the reader closes the pipe; reports on the connection go to stderr.
///
/// # Errors
/// When a filter is wrong, the daemon refuses, or stdout cannot be written.
pub async fn run(args: &LogsArgs, settings: &Settings) -> color_eyre::Result<()> {
    let filter = Filter::new(args)?;
    let base = client::base_url(args.daemon.url.as_deref(), settings)?;
    let token = client::given_token(args.daemon.token.as_deref());
    let mut endpoint = Endpoint::new(&base, token.as_deref())?;
    if let Some(project) = &args.project {
        endpoint = endpoint.of_project(project);
    }
    endpoint = match (args.follow, args.history) {
        (true, None) => endpoint,
        (true, Some(lines)) => endpoint.after_history(lines),
        (false, lines) => endpoint.after_history(lines.unwrap_or(ALL_LINES)).ending(),
    };
    let is_terminal = io::stdout().is_terminal();
    let format = Format {
        json: args.json,
        zone: if settings.console.utc { TimeZone::UTC } else { TimeZone::system() },
        is_terminal,
        colors: is_terminal && !no_color(|name| std::env::var(name).ok()),
    };
    let origin = endpoint.origin();
    let stream = SseDebugStream::connect(client::connect(settings)?, endpoint).await?;
    match follow(stream, &filter, &format, &origin, args.follow).await {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.wrap_err("cannot print the lines"),
    }
}

async fn follow(
    mut stream: SseDebugStream,
    filter: &Filter,
    format: &Format,
    origin: &str,
    follows: bool,
) -> io::Result<()> {
    let mut held = String::new();
    let mut reports = Reports { origin, losses: Losses::default(), sampling: Sampling::default() };
    let mut reader_check = tokio::time::interval(READER_CHECK);
    loop {
        let received = tokio::select! {
            biased;
            received = stream.next_received() => received,
            () = std::future::ready(()), if !held.is_empty() => {
                print(&mut held)?;
                continue;
            }
            _ = reader_check.tick() => {
                check_reader()?;
                report(reports.sampling.report(Instant::now()), &mut held)?;
                continue;
            }
        };
        let Some(received) = received else { return print(&mut held) };
        if !follows {
            match &received.message {
                DebugMessage::Connected => continue,
                DebugMessage::Disconnected(reason) if **reason == *ENDED => {
                    return print(&mut held);
                }
                DebugMessage::Disconnected(reason) => {
                    print(&mut held)?;
                    return Err(io::Error::other(format!("{origin}: {}", safe(reason))));
                }
                _ => {}
            }
        }
        report(reports.of(&received.message), &mut held)?;
        if let Some(line) = line(&received, filter, format) {
            held.push_str(&line);
            held.push('\n');
        }
        if held.len() >= HELD_BYTES {
            print(&mut held)?;
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
struct Reports<'a> {
    origin: &'a str,
    losses: Losses,
    sampling: Sampling,
}

impl Reports<'_> {
    fn of(&mut self, message: &DebugMessage) -> Option<String> {
        let origin = self.origin;
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
            DebugMessage::Log(_) | DebugMessage::Unparsed(_) => None,
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
