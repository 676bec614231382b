//! `queue drain`: runs a worker in this process until no events are waiting or in flight.

use std::process::ExitCode;
use std::time::Duration;

use color_eyre::Result;
use color_eyre::eyre::WrapErr;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Queues;
use bklit_pipeline::queue::{QueueError, QueueStats};
use bklit_pipeline::worker;
use bklit_pipeline::worker::WorkerContext;
use bklit_wire::debug_bus::{DebugMessage, DebugStream};
use bklit_wire::debug_log::Level;
use bklit_wire::duration;
use bklit_wire::text::safe;

/// How often to check whether the queue is empty.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// How often to print the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// How long reading the queue's counts may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// The usual exit code after SIGINT.
const INTERRUPTED: u8 = 130;

/// What a drain needs.
pub struct Drain {
    /// The queue to empty, and its spool.
    pub queues: Queues,
    /// The worker.
    pub worker: WorkerContext,
    /// The worker's debug lines.
    pub lines: Box<dyn DebugStream>,
    /// The lock to hold while it runs.
    pub owned: Option<Box<dyn Send>>,
}

/// How many events are left, by state.
#[derive(Clone, Copy, PartialEq)]
struct Left {
    waiting: u64,
    in_flight: u64,
    spooled: u64,
    failed: u64,
}

impl Left {
    fn is_none(self) -> bool {
        self.waiting + self.in_flight + self.spooled == 0
    }

    fn describe(self) -> String {
        let Self { waiting, in_flight, spooled, failed } = self;
        let spool = if spooled > 0 { format!(", {spooled} spooled") } else { String::new() };
        format!("{waiting} waiting, {in_flight} in flight{spool}, {failed} failed")
    }
}

/// Why the drain stopped.
enum End {
    Empty,
    TimedOut,
    Interrupted,
}

/// Runs until the queue is empty, `timeout` has passed, or `shutdown`; then the current batch has
/// `grace` to be stored, else it is released. Progress goes to stderr.
///
/// # Errors
/// When the queue is unavailable at the start.
pub async fn run(
    drain: Drain,
    timeout: Option<Duration>,
    grace: Duration,
    shutdown: CancellationToken,
) -> Result<ExitCode> {
    let Drain { queues, worker, mut lines, owned } = drain;
    let left = count(&queues).await.wrap_err("cannot start draining")?;
    eprintln!("At the start: {}", left.describe());
    let stop = CancellationToken::new();
    let mut working = tokio::spawn(worker::run(worker, stop.clone()));
    let deadline = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let problems = tokio::spawn(async move { print_problems(&mut *lines).await });
    let end = tokio::select! {
        () = watch(&queues, left) => End::Empty,
        () = deadline => End::TimedOut,
        () = shutdown.cancelled() => End::Interrupted,
    };
    stop.cancel();
    if tokio::time::timeout(grace, &mut working).await.is_err() {
        working.abort();
        eprintln!(
            "The worker did not stop in time; its batch is redelivered when the lease expires"
        );
    }
    problems.abort();
    let left = count(&queues).await;
    drop(owned);
    let left = left.map_or_else(|error| error.to_string(), Left::describe);
    Ok(match end {
        End::Empty => {
            eprintln!("Drained: {left}");
            ExitCode::SUCCESS
        }
        End::TimedOut => {
            eprintln!("Timed out; left: {left}");
            ExitCode::FAILURE
        }
        End::Interrupted => {
            eprintln!("Interrupted; left: {left}");
            ExitCode::from(INTERRUPTED)
        }
    })
}

/// Prints the progress; returns once nothing is left.
async fn watch(queues: &Queues, mut printed: Left) {
    let mut ticks = tokio::time::interval(CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        ticks.tick().await;
        // The worker reports it when the queue is unavailable.
        let Ok(left) = count(queues).await else { continue };
        if left.is_none() {
            return;
        }
        if left != printed && last.elapsed() >= PROGRESS_INTERVAL {
            eprintln!("{}", left.describe());
            (printed, last) = (left, Instant::now());
        }
    }
}

async fn count(queues: &Queues) -> Result<Left, QueueError> {
    let counts = async {
        // The spool first: an event that moves to the queue meanwhile is counted there.
        let mut spooled = 0;
        if let Some(spool) = &queues.spool {
            // Makes it read what other processes have changed.
            spool.batches(1).await?;
            let stats = spool.stats().await?;
            spooled = stats.depth + stats.in_flight;
        }
        queues.queue.batches(1).await?;
        let QueueStats { depth, in_flight, failed, .. } = queues.queue.stats().await?;
        Ok(Left { waiting: depth, in_flight, spooled, failed })
    };
    let late =
        || QueueError::Unavailable(format!("no answer within {}", duration::format(CHECK_TIMEOUT)));
    tokio::time::timeout(CHECK_TIMEOUT, counts).await.unwrap_or_else(|_| Err(late()))
}

/// Prints warnings and errors, without repeating the last one.
async fn print_problems(lines: &mut dyn DebugStream) {
    let mut last = String::new();
    while let Some(message) = lines.next().await {
        let DebugMessage::Log(line) = message else { continue };
        if line.level == Level::Info {
            continue;
        }
        let reason = line.data.get("reason").and_then(serde_json::Value::as_str);
        let text = match reason {
            Some(reason) => format!("{}: {reason}", line.message),
            None => line.message.to_string(),
        };
        if text != last {
            eprintln!("{}", safe(&text));
            last = text;
        }
    }
}
