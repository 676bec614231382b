//! Processes one batch, from its claim to its acknowledgement.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bisect::{Stopped, Stored, store};
use super::lease::Lease;
use super::parse::Item;
use super::stop::Stop;
use super::{WorkerContext, definitions, details, in_time, unverified};
use crate::metrics::Part;
use crate::queue::{ClaimId, QueueError, Rejected};
use crate::who::Traits;
use bklit_net::backoff::Backoff;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::event::{EventKind, QueuedEvent};
use bklit_wire::time::UtcMillis;

/// The longest that releasing a batch may take; a shutdown waits for it.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// A batch that was claimed and parsed.
pub(super) struct Work {
    pub(super) lease: Lease,
    /// The number of its items, valid or not.
    pub(super) size: usize,
    pub(super) items: Vec<Item>,
    /// Items that are not events.
    pub(super) garbage: Vec<Rejected>,
    /// How long claiming and parsing took.
    pub(super) took: Duration,
}

/// How processing a batch ended.
enum Outcome {
    /// Stored and acknowledged.
    Done(Box<Stored>),
    /// Another worker has it.
    TakenOver,
    /// The shutdown's deadline passed.
    Stopped,
}

/// Stores and acknowledges a batch, or releases it. Returns what is to be published.
pub(super) async fn process(context: &WorkerContext, work: Work, stop: &Stop) -> Option<Stored> {
    let began = Instant::now();
    let Work { lease, size, items, garbage, took } = work;
    log_processing(context, lease.id(), &items, &garbage, took);
    let work = store_and_acknowledge(context, &lease, items, garbage, &stop.started);
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = stop.expired.cancelled() => Outcome::Stopped,
    };
    match outcome {
        Outcome::Done(stored) => {
            log_done(context, lease.id(), size, &stored, began.elapsed());
            return Some(*stored);
        }
        Outcome::TakenOver => log_taken_over(context, lease.id(), size),
        Outcome::Stopped => release(context, lease).await,
    }
    None
}

async fn store_and_acknowledge(
    context: &WorkerContext,
    lease: &Lease,
    items: Vec<Item>,
    garbage: Vec<Rejected>,
    shutdown: &CancellationToken,
) -> Outcome {
    let id = lease.id();
    let mut stored = tokio::select! {
        stored = resolve_and_store(context, id, items, shutdown) => match stored {
            Ok(stored) => stored,
            Err(Stopped) => return Outcome::Stopped,
        },
        () = lease.lost() => return Outcome::TakenOver,
    };
    stored.rejected.extend(garbage);
    // From here on only the queue's response counts: a renewal after the acknowledgement would fail.
    match acknowledge(context, id, &stored.rejected, shutdown).await {
        Ok(true) => Outcome::Done(Box::new(stored)),
        Ok(false) => Outcome::TakenOver,
        Err(Stopped) => Outcome::Stopped,
    }
}

async fn resolve_and_store(
    context: &WorkerContext,
    id: &ClaimId,
    mut items: Vec<Item>,
    shutdown: &CancellationToken,
) -> Result<Stored, Stopped> {
    unverified::drop_unknown(context, &mut items).await;
    let undefined = definitions::resolve(context, &id.batch, &mut items, shutdown).await?;
    let mut stored = store(context, id, items, shutdown).await?;
    stored.rejected.extend(undefined);
    Ok(stored)
}

/// Acknowledges a batch, strictly after the store has confirmed it. Returns false if another worker
/// has the batch.
async fn acknowledge(
    context: &WorkerContext,
    id: &ClaimId,
    rejected: &[Rejected],
    shutdown: &CancellationToken,
) -> Result<bool, Stopped> {
    let mut backoff = Backoff::new(context.settings.max_backoff);
    loop {
        match in_time(context.queue.acknowledge(id, rejected)).await {
            Ok(()) => {
                context.works(Part::Worker);
                return Ok(true);
            }
            Err(QueueError::Stale(_)) => return Ok(false),
            Err(error) => {
                context.worker_failed(
                    "Cannot acknowledge a stored batch, retrying",
                    &error.to_string(),
                );
            }
        }
        if shutdown.run_until_cancelled(backoff.pause()).await.is_none() {
            return Err(Stopped);
        }
    }
}

/// Releases the batch, so that the next worker need not wait until its lease expires.
pub(super) async fn release(context: &WorkerContext, lease: Lease) {
    let id = lease.id().clone();
    // Stop renewing: a renewal after the release would claim the batch again.
    drop(lease);
    let released = tokio::time::timeout(RELEASE_TIMEOUT, context.queue.release(&id)).await;
    let reason = match released {
        Ok(Ok(())) => "released",
        _ => "it will be delivered again when its lease expires",
    };
    context.log.step(Stage::Worker).warn("Stopped before a batch was stored", || {
        details(json!({ "batchId": id.batch, "reason": reason }))
    });
}

pub(super) fn log_taken_over(context: &WorkerContext, id: &ClaimId, size: usize) {
    context.log.step(Stage::Worker).warn("Batch taken over by another worker", || {
        details(json!({ "batchId": id.batch, "size": size }))
    });
}

fn log_processing(
    context: &WorkerContext,
    id: &ClaimId,
    items: &[Item],
    garbage: &[Rejected],
    took: Duration,
) {
    context.log.metrics().steps(Stage::Worker, Level::Info, Some(took), items.len() as u64);
    for Item { event, .. } in items {
        let message = match event.payload.kind() {
            EventKind::Pageview => "Processing page view",
            EventKind::Event => "Processing event",
            EventKind::SessionEnd => "Processing session end",
        };
        let step = context.log.step(Stage::Worker).event(&event.id).project(&event.project_id);
        step.took(took).uncounted().info(message, || {
            let waited = since(event.queued_at, UtcMillis::now()).as_millis();
            details(json!({ "batchId": id.batch, "waitedMs": u64::try_from(waited).ok() }))
        });
    }
    log_incomplete(context, id, items);
    for rejected in garbage {
        context.log.metrics().who().failed(Traits::default);
        context.log.step(Stage::Worker).error("Not an event, moved to the failed queue", || {
            details(json!({ "batchId": id.batch, "reason": rejected.reason }))
        });
    }
}

/// One line for each problem, not for each event: another program may write all of its events this
/// way.
fn log_incomplete(context: &WorkerContext, id: &ClaimId, items: &[Item]) {
    let mut problems: BTreeMap<&str, (&QueuedEvent, u64)> = BTreeMap::new();
    for Item { event, notes, .. } in items {
        for problem in notes {
            problems.entry(problem).or_insert((event, 0)).1 += 1;
        }
    }
    for (problem, (first, events)) in problems {
        let step = context.log.step(Stage::Worker).event(&first.id).project(&first.project_id);
        step.warn("Incomplete events of another program", || {
            details(json!({ "batchId": id.batch, "problem": problem, "events": events }))
        });
    }
}

fn log_done(context: &WorkerContext, id: &ClaimId, size: usize, stored: &Stored, took: Duration) {
    let now = UtcMillis::now();
    let since = |moment| since(moment, now);
    let waited = stored.events.iter().map(|event| since(event.queued_at));
    context.log.metrics().batch_stored(waited);
    context.log.step(Stage::Worker).took(took).uncounted().info("Batch stored", || {
        let has_row = |event: &&QueuedEvent| event.payload.kind() != EventKind::SessionEnd;
        let with_row = (stored.events.iter().filter(has_row).count() + stored.known) as u64;
        let oldest = stored.events.iter().map(|event| since(event.queued_at)).max();
        details(json!({
            "batchId": id.batch,
            "size": size,
            "rows": stored.rows,
            "storedBefore": with_row.saturating_sub(stored.rows),
            "rejected": stored.rejected.len(),
            "waitedMs": oldest.and_then(|oldest| u64::try_from(oldest.as_millis()).ok()),
        }))
    });
}

/// The time that has passed since `moment`; zero if a clock was set back.
fn since(moment: UtcMillis, now: UtcMillis) -> Duration {
    let millis = now.epoch_millis() - moment.epoch_millis();
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
