//! `queue drain`: a worker in this process, until nothing waits and nothing is in flight.

use std::process::ExitCode;
use std::time::Duration;

use color_eyre::Result;
use color_eyre::eyre::WrapErr;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Queues;
use bklit_net::timeout::within;
use bklit_pipeline::queue::{QueueError, QueueStats};
use bklit_pipeline::worker;
use bklit_pipeline::worker::WorkerContext;
use bklit_wire::debug_bus::{DebugMessage, DebugStream};
use bklit_wire::debug_log::Level;
use bklit_wire::text::safe;

/// How often to look whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often to tell how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// The longest the queue may take to tell what is left.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// The exit code of programs that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// What a drain works with.
pub struct Drain {
    /// What is to become empty.
    pub queues: Queues,
    /// The worker, which takes from it.
    pub worker: WorkerContext,
    /// What the worker says.
    pub lines: Box<dyn DebugStream>,
    /// What must not be given up while it works.
    pub owned: Option<Box<dyn Send>>,
}

/// What is left, and where.
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

/// Works until the queue is empty, `timeout` is over, or `shutdown`; then the batch in hand has
/// `patience` to be stored, or is given back. Progress goes to standard error.
///
/// # Errors
/// When the queue cannot be reached at the start.
pub async fn run(
    drain: Drain,
    timeout: Option<Duration>,
    patience: Duration,
    shutdown: CancellationToken,
) -> Result<ExitCode> {
    let Drain { queues, worker, mut lines, owned } = drain;
    let left = look(&queues).await.wrap_err("nothing was drained")?;
    eprintln!("At the start: {}", left.describe());
    let stop = CancellationToken::new();
    let mut working = tokio::spawn(worker::run(worker, stop.clone()));
    let deadline = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let complaints = tokio::spawn(async move { complain(&mut *lines).await });
    let end = tokio::select! {
        () = watch(&queues, left) => End::Empty,
        () = deadline => End::TimedOut,
        () = shutdown.cancelled() => End::Interrupted,
    };
    stop.cancel();
    if tokio::time::timeout(patience, &mut working).await.is_err() {
        working.abort();
        eprintln!("The worker did not end in time; its batch comes again when its lease ends");
    }
    complaints.abort();
    let left = look(&queues).await;
    drop(owned);
    let left = left.map_or_else(|error| error.to_string(), Left::describe);
    Ok(match end {
        End::Empty => {
            eprintln!("Drained: {left}");
            ExitCode::SUCCESS
        }
        End::TimedOut => {
            eprintln!("The time is over; left: {left}");
            ExitCode::FAILURE
        }
        End::Interrupted => {
            eprintln!("Interrupted; left: {left}");
            ExitCode::from(INTERRUPTED)
        }
    })
}

/// Returns once nothing is left, telling how far it is meanwhile.
async fn watch(queues: &Queues, mut told: Left) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        ticks.tick().await;
        // The worker says it when the queue is away.
        let Ok(left) = look(queues).await else { continue };
        if left.is_none() {
            return;
        }
        if left != told && last.elapsed() >= TELL_EVERY {
            eprintln!("{}", left.describe());
            (told, last) = (left, Instant::now());
        }
    }
}

async fn look(queues: &Queues) -> Result<Left, QueueError> {
    let asked = async {
        // The spool first: what moves from it to the queue meanwhile is counted there.
        let mut spooled = 0;
        if let Some(spool) = &queues.spool {
            // Makes it look at what other processes have done.
            spool.batches(1).await?;
            let stats = spool.stats().await?;
            spooled = stats.depth + stats.in_flight;
        }
        queues.queue.batches(1).await?;
        let QueueStats { depth, in_flight, failed, .. } = queues.queue.stats().await?;
        Ok(Left { waiting: depth, in_flight, spooled, failed })
    };
    within(LOOK_TIMEOUT, asked, QueueError::Unavailable).await
}

/// Tells what goes wrong, each thing once until another does.
async fn complain(lines: &mut dyn DebugStream) {
    let mut told = String::new();
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
        if text != told {
            eprintln!("{}", safe(&text));
            told = text;
        }
    }
}
