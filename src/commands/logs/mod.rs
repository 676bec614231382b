//! `logs`: another process's debug log on standard output, for pipes.

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
use crate::pipeline::bus::DebugMessage;
use crate::pipeline::bus::sse::{ENDED, Endpoint, Received, SseDebugStream};
use crate::tui::core::text::safe;
use crate::tui::no_color;
use filter::Filter;
use format::Format;
use sampling::{Losses, Sampling};

/// Output is held back to be written at once while more lines are there, up to so many bytes.
const HELD_BYTES: usize = 32 * 1024;
/// More than any daemon keeps.
const ALL_LINES: usize = 1_000_000;
/// How often it is checked whether anybody still reads.
const READER_CHECK: Duration = Duration::from_secs(1);

/// Prints lines until nobody reads them any more; what happens to the connection goes to
/// standard error.
///
/// # Errors
/// When a filter is wrong, the daemon refuses, or standard output cannot be written.
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
    let stream = SseDebugStream::connect(client::client(settings)?, endpoint).await?;
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
    goes_on: bool,
) -> io::Result<()> {
    let mut held = String::new();
    let mut news = News { origin, losses: Losses::default(), sampling: Sampling::default() };
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
                tell(news.sampling.news(Instant::now()), &mut held)?;
                continue;
            }
        };
        let Some(received) = received else { return print(&mut held) };
        if !goes_on {
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
        tell(news.of(&received.message), &mut held)?;
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
            if !filter.admits(log) {
                return None;
            }
            // What can be searched is what is shown as text, also of lines printed as JSON.
            let matches = !filter.has_pattern() || {
                let plain = Format { colors: false, ..format.clone() };
                filter.matches(&plain.text(log))
            };
            matches.then(|| format.log(log, received.raw.as_deref()))
        }
        DebugMessage::Unparsed(text) => {
            let shown = filter.admits_unparsed() && filter.matches(&safe(text));
            shown.then(|| format.unparsed(text))
        }
        _ => None,
    }
}

/// What there is to tell on standard error.
struct News<'a> {
    origin: &'a str,
    losses: Losses,
    sampling: Sampling,
}

impl News<'_> {
    fn of(&mut self, message: &DebugMessage) -> Option<String> {
        let origin = self.origin;
        match message {
            DebugMessage::Connected => Some(format!("connected to {origin}")),
            DebugMessage::Disconnected(reason) => {
                Some(format!("no connection to {origin} ({}); trying again", safe(reason)))
            }
            DebugMessage::Lost(count) => Some(self.losses.more(*count)),
            DebugMessage::Gauges(gauges) => {
                let now = Instant::now();
                self.sampling.take(gauges, now);
                self.sampling.news(now)
            }
            DebugMessage::Log(_) | DebugMessage::Unparsed(_) => None,
        }
    }
}

/// Tells it after what came before it.
fn tell(news: Option<String>, held: &mut String) -> io::Result<()> {
    if let Some(news) = news {
        print(held)?;
        // With standard error closed there is nobody to tell.
        let _ = writeln!(io::stderr(), "{news}");
    }
    Ok(())
}

fn print(held: &mut String) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(held.as_bytes())?;
    held.clear();
    stdout.flush()
}

/// An error once the other end of a pipe is closed: without lines, writing would not tell.
fn check_reader() -> io::Result<()> {
    let stdout = rustix::stdio::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    poll(&mut watched, Some(&Timespec::default()))?;
    if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}
