//! Stores the events of one batch; [`finish`](super::finish) does what is left.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::active_batches::ActiveBatch;
use super::bisect::{Stopped, Stored, store};
use super::finish::Unfinished;
use super::lease::Lease;
use super::parse::Item;
use super::stop::Stop;
use super::{WorkerContext, definitions, details, unverified};
use crate::queue::{ClaimId, Rejected};
use crate::who::Traits;
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

/// Stores the events of a batch, or releases it. Returns what is to be finished.
pub(super) async fn process(
    context: &WorkerContext,
    work: Work,
    active: ActiveBatch,
    stop: &Stop,
) -> Option<Unfinished> {
    let began = Instant::now();
    let Work { lease, size, items, garbage, took } = work;
    log_processing(context, lease.id(), &items, &garbage, took);
    let stored = tokio::select! {
        stored = resolve_and_store(context, lease.id(), items, &stop.started) => stored,
        () = lease.lost() => {
            log_taken_over(context, lease.id(), size);
            return None;
        }
        () = stop.expired.cancelled() => Err(Stopped),
    };
    let Ok(mut stored) = stored else {
        release(context, lease).await;
        return None;
    };
    stored.rejected.extend(garbage);
    Some(Unfinished::new(context, (lease, size, began), stored, active).await)
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

/// The time that has passed since `moment`; zero if a clock was set back.
pub(super) fn since(moment: UtcMillis, now: UtcMillis) -> Duration {
    let millis = now.epoch_millis() - moment.epoch_millis();
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
