//! `simulate`: sends realistic traffic to a running pipeline.
//!
//! The load is open-loop: requests are due at fixed moments, however slow the responses, and the
//! latency of a request that waited for a free connection counts from the moment it was due. So a
//! stalled pipeline shows as latency instead of receiving fewer requests.
//!
//! - `catalog`: the simulated web site and its visitors
//! - `mistakes`: requests that are invalid on purpose
//! - `report`: counts results and prints them
//! - `sender`: sends requests and checks the responses
//! - `visitors`: generates the traffic

mod catalog;
mod mistakes;
mod report;
mod sender;
mod visitors;

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::WrapErr as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout};

use self::report::Report;
use self::sender::{Outcome, REQUEST_TIMEOUT, Sender};
use self::visitors::{Plan, Traffic};
use crate::cli::SimulateArgs;
use crate::client;
use crate::config::Settings;
use bklit_wire::event::EventKind;
use bklit_wire::time::UtcMillis;

/// The most requests in flight, and so connections. Further requests wait, which counts as latency.
const MAX_IN_FLIGHT: usize = 256;

/// Sends traffic until the duration has passed or a signal arrives, and prints the report.
///
/// # Errors
/// When nothing can be sent, or a response is not as expected.
pub async fn run(args: &SimulateArgs, settings: &Settings) -> color_eyre::Result<()> {
    let base = client::base_url(args.url.as_deref(), settings)?;
    let token = match client::given_token(args.token.as_deref()) {
        Some(token) => token,
        None => client::stored_token(&settings.data_dir)?,
    };
    let sender = Sender::new(client::connect(settings)?, base, &token)?;
    let ids = match &args.ids {
        Some(path) => {
            Some(File::create(path).wrap_err_with(|| format!("cannot write {}", path.display()))?)
        }
        None => None,
    };
    sender.check().await?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let plan = Plan {
        project: args.project.clone(),
        bad_percent: args.bad,
        start: UtcMillis::now(),
        seed,
    };
    let mut stop = Stop::new()?;
    let mut simulation = Simulation {
        traffic: Traffic::new(plan),
        schedule: Schedule { start: Instant::now(), rate: args.rate, duration: args.duration },
        sender: Arc::new(sender),
        in_flight: JoinSet::new(),
        sent: 0,
        behind: false,
        report: Report::new(args.rate, seed)?,
        ids,
    };
    simulation.send_all(&mut stop).await?;
    simulation.await_responses(&mut stop).await?;
    simulation.report.print()?;
    simulation.report.verdict()
}

/// When requests are due.
struct Schedule {
    start: Instant,
    rate: f64,
    duration: Option<Duration>,
}

impl Schedule {
    /// How long after the start request number `n` is due.
    fn at(&self, n: u64) -> Duration {
        Duration::from_secs_f64(n as f64 / self.rate)
    }

    /// How many requests are due by `elapsed` after the start.
    fn due(&self, elapsed: Duration) -> u64 {
        let elapsed = self.duration.map_or(elapsed, |duration| elapsed.min(duration));
        let due = (elapsed.as_secs_f64() * self.rate) as u64 + 1;
        self.total().map_or(due, |total| due.min(total))
    }

    /// The total number of requests.
    fn total(&self) -> Option<u64> {
        self.duration.map(|duration| (duration.as_secs_f64() * self.rate).ceil() as u64)
    }

    /// When to stop sending, even if requests that are due are unsent.
    fn end(&self) -> Instant {
        self.start + self.duration.unwrap_or(FOREVER)
    }
}

/// Longer than any run.
const FOREVER: Duration = Duration::from_secs(86_400 * 365 * 30);

/// The signals that end a run.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> color_eyre::Result<Self> {
        let listen = |kind| signal(kind).wrap_err("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

struct Simulation {
    traffic: Traffic,
    schedule: Schedule,
    sender: Arc<Sender>,
    in_flight: JoinSet<(Outcome, Duration)>,
    sent: u64,
    /// Whether requests that are due are waiting for a free connection.
    behind: bool,
    report: Report,
    ids: Option<File>,
}

impl Simulation {
    /// Sends what is due, until the end or a signal.
    async fn send_all(&mut self, stop: &mut Stop) -> color_eyre::Result<()> {
        let mut progress = Progress::new();
        while self.schedule.total().is_none_or(|total| self.sent < total) {
            let due = self.schedule.start + self.schedule.at(self.sent);
            tokio::select! {
                biased;
                () = stop.requested() => break,
                elapsed = progress.due(self.schedule.start) => {
                    progress.show(&self.report.progress(elapsed));
                }
                Some(done) = self.in_flight.join_next() => self.record(done)?,
                () = sleep_until(due), if self.in_flight.len() < MAX_IN_FLIGHT => self.send_due(),
                () = sleep_until(self.schedule.end()) => break,
            }
        }
        let elapsed = self.schedule.start.elapsed();
        let unsent = self.schedule.due(elapsed).saturating_sub(self.sent);
        // A run that sent everything includes the time until the next request would be due.
        let planned = self.schedule.duration.unwrap_or_default().min(self.schedule.at(self.sent));
        self.report.ended(elapsed.max(planned), unsent);
        Ok(())
    }

    /// Sends the requests that are due while connections are free.
    fn send_due(&mut self) {
        let now = Instant::now();
        let due = self.schedule.due(now - self.schedule.start);
        while self.sent < due && self.in_flight.len() < MAX_IN_FLIGHT {
            let at = self.schedule.at(self.sent);
            let planned = self.traffic.next(at);
            // The lateness of our own timer does not count as the pipeline's latency.
            let from = if self.behind { self.schedule.start + at } else { now };
            let sender = Arc::clone(&self.sender);
            self.in_flight.spawn(async move { (sender.send(planned).await, from.elapsed()) });
            self.sent += 1;
            self.report.sent();
        }
        self.behind = self.sent < due;
    }

    /// Waits for the outstanding responses, or for another signal.
    async fn await_responses(&mut self, stop: &mut Stop) -> color_eyre::Result<()> {
        // Each request has its own, shorter deadline.
        let deadline = Instant::now() + REQUEST_TIMEOUT + Duration::from_secs(1);
        loop {
            let done = tokio::select! {
                biased;
                () = stop.requested() => break,
                done = timeout(deadline - Instant::now(), self.in_flight.join_next()) => done,
            };
            match done {
                Ok(Some(done)) => self.record(done)?,
                Ok(None) | Err(_) => break,
            }
        }
        for _ in 0..self.in_flight.len() {
            let outcome = Outcome::Failed("stopped before the response arrived".to_owned());
            self.report.record(outcome, Duration::ZERO);
        }
        self.in_flight.abort_all();
        Ok(())
    }

    fn record(
        &mut self,
        done: Result<(Outcome, Duration), tokio::task::JoinError>,
    ) -> color_eyre::Result<()> {
        let (outcome, latency) = done.wrap_err("sending a request failed")?;
        if let (Some(file), Outcome::Accepted { kind, id: Some(id) }) = (&mut self.ids, &outcome)
            && *kind != EventKind::SessionEnd
        {
            // Unbuffered, so that the file is complete even after a crash.
            file.write_all(format!("{id}\n").as_bytes()).wrap_err("cannot write the ids")?;
        }
        self.report.record(outcome, latency);
        Ok(())
    }
}

/// A line on stderr that is updated once a second, if it is a terminal.
struct Progress {
    ticks: Option<Interval>,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        let allowed = std::io::stderr().is_terminal()
            && std::env::var("TERM").is_ok_and(|term| term != "dumb");
        let ticks = allowed.then(|| {
            let mut ticks = interval(Duration::from_secs(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        });
        Self { ticks, shown: false }
    }

    async fn due(&mut self, start: Instant) -> Duration {
        match &mut self.ticks {
            Some(ticks) => {
                ticks.tick().await;
                start.elapsed()
            }
            None => std::future::pending().await,
        }
    }

    fn show(&mut self, line: &str) {
        self.shown = true;
        // A closed terminal does not stop the run.
        let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: f64, duration: Option<u64>) -> Schedule {
        Schedule { start: Instant::now(), rate, duration: duration.map(Duration::from_millis) }
    }

    #[test]
    fn requests_are_due_at_even_intervals() {
        let schedule = schedule(50.0, Some(2000));
        assert_eq!(schedule.total(), Some(100));
        assert_eq!(schedule.at(1), Duration::from_millis(20));
        for (millis, due) in [(0, 1), (19, 1), (20, 2), (1000, 51), (1980, 100), (9000, 100)] {
            assert_eq!(schedule.due(Duration::from_millis(millis)), due, "{millis}");
        }
    }

    #[test]
    fn without_a_duration_there_is_no_end() {
        let schedule = schedule(0.5, None);
        assert_eq!(schedule.total(), None);
        assert_eq!(schedule.due(Duration::from_secs(4)), 3);
        assert!(schedule.end() > Instant::now() + Duration::from_secs(86_400));
    }
}
