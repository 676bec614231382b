//! Finishes stored batches while the next one is being stored: completes their sessions, acknowledges
//! and publishes.
//!
//! While batches follow each other, some are finished together, so that a store that keeps the states
//! of sessions apart from events writes them once for all. A batch after which nothing waits is
//! finished at once. At most one group is being finished, and another one waits for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::active_batches::ActiveBatch;
use super::announce::{Announcement, Announcer};
use super::batch::{self, log_taken_over, since};
use super::bisect::{STORE_TIMEOUT, Stopped, Stored};
use super::lease::Lease;
use super::stop::Stop;
use super::{WorkerContext, details, in_time, presence};
use crate::metrics::Part;
use crate::queue::{ClaimId, QueueError, Rejected};
use crate::store::StoreError;
use bklit_net::backoff::Backoff;
use bklit_net::timeout::within;
use bklit_wire::debug_log::Stage;
use bklit_wire::event::{EventKind, QueuedEvent};
use bklit_wire::time::UtcMillis;

/// The most batches that are finished together. After a crash, that many are delivered again.
const MOST_BATCHES: usize = 4;

/// Sessions from which batches are finished: a bound of the memory that their states take.
const MANY_SESSIONS: usize = 20_000;

/// A batch whose events are stored, without those events unless they are to be published.
pub(super) struct Unfinished {
    lease: Lease,
    /// The number of its items, valid or not.
    size: usize,
    began: Instant,
    rejected: Vec<Rejected>,
    rows: u64,
    /// Events whose kind has a row.
    with_row: u64,
    queued_at: Vec<UtcMillis>,
    announcement: Announcement,
    active: ActiveBatch,
}

impl Unfinished {
    /// A batch of `size` items, whose processing began then.
    pub(super) async fn new(
        context: &WorkerContext,
        (lease, size, began): (Lease, usize, Instant),
        stored: Stored,
        active: ActiveBatch,
    ) -> Self {
        let Stored { events, known, rows, rejected } = stored;
        let has_row = |event: &&QueuedEvent| event.payload.kind() != EventKind::SessionEnd;
        let with_row = (events.iter().filter(has_row).count() + known) as u64;
        let queued_at = events.iter().map(|event| event.queued_at).collect();
        let seen = context.presence.is_some().then(|| presence::Seen::of(&events));
        // Events are kept, and the first page views of their sessions read, only for subscribers.
        let events = match context.live_bus.may_have_subscribers().await {
            true => events,
            false => {
                // Freeing them takes a while, and nothing depends on it.
                tokio::spawn(async move { drop(events) });
                Vec::new()
            }
        };
        let announcement = Announcement { seen, events };
        Self { lease, size, began, rejected, rows, with_row, queued_at, announcement, active }
    }
}

/// Finishes batches, in order.
#[derive(Default)]
pub(super) struct Finisher {
    waiting: Vec<Unfinished>,
    running: Option<AbortOnDropHandle<Announcer>>,
    announcer: Announcer,
}

impl Finisher {
    /// Adds a batch; returns whether those that wait are to be finished although others follow.
    pub(super) fn add(&mut self, context: &WorkerContext, batch: Unfinished) -> bool {
        let is_watched = !batch.announcement.events.is_empty();
        self.waiting.push(batch);
        let unsettled = context.store.unsettled();
        let is_full = self.waiting.len() >= MOST_BATCHES || unsettled >= MANY_SESSIONS;
        is_full || is_watched || unsettled == 0
    }

    /// Starts to finish the batches that wait, once the previous ones are finished.
    pub(super) async fn start(&mut self, context: &Arc<WorkerContext>, stop: &Stop) {
        if self.waiting.is_empty() {
            return;
        }
        self.wait().await;
        let (context, stop) = (Arc::clone(context), stop.clone());
        let group = std::mem::take(&mut self.waiting);
        let mut announcer = std::mem::take(&mut self.announcer);
        self.running = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            finish(&context, &stop, group, &mut announcer).await;
            announcer
        })));
    }

    /// Finishes all batches; returns once everything has been published.
    pub(super) async fn end(mut self, context: &Arc<WorkerContext>, stop: &Stop) {
        self.start(context, stop).await;
        self.wait().await;
        // Nothing depends on publishing.
        stop.expired.run_until_cancelled(self.announcer.finish()).await;
    }

    async fn wait(&mut self) {
        let Some(task) = self.running.as_mut() else { return };
        let ended = task.await;
        self.running = None;
        match ended.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(announcer) => self.announcer = announcer,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => {}
        }
    }
}

/// Settles, acknowledges and announces the batches, or releases them at a shutdown's deadline.
async fn finish(
    context: &Arc<WorkerContext>,
    stop: &Stop,
    group: Vec<Unfinished>,
    announcer: &mut Announcer,
) {
    let settled = tokio::select! {
        settled = settle(context, &stop.started) => settled,
        () = stop.expired.cancelled() => Err(Stopped),
    };
    let mut unstored = Vec::new();
    for batch in group {
        if settled.is_err() || stop.expired.is_cancelled() {
            unstored.push(batch.lease);
            continue;
        }
        let acknowledging = acknowledge(context, batch.lease.id(), &batch.rejected, &stop.started);
        let outcome = tokio::select! {
            outcome = acknowledging => outcome,
            () = stop.expired.cancelled() => Err(Stopped),
        };
        match outcome {
            Ok(true) => {
                log_done(context, &batch);
                drop(batch.active);
                // Nothing depends on publishing.
                let announcing = announcer.announce(context, batch.announcement);
                stop.expired.run_until_cancelled(announcing).await;
            }
            Ok(false) => log_taken_over(context, batch.lease.id(), batch.size),
            Err(Stopped) => unstored.push(batch.lease),
        }
    }
    join_all(unstored.into_iter().map(|lease| batch::release(context, lease))).await;
}

/// Completes what the store has of the batches, retrying for as long as necessary.
async fn settle(context: &WorkerContext, shutdown: &CancellationToken) -> Result<(), Stopped> {
    let mut backoff = Backoff::new(context.settings.max_backoff);
    loop {
        let settled = within(STORE_TIMEOUT, context.store.settle(), StoreError::Unavailable).await;
        let Err(error) = settled else {
            context.works(Part::Store);
            return Ok(());
        };
        let (StoreError::Unavailable(reason) | StoreError::Refused(reason)) = error;
        context.store_failed("Cannot store the sessions of a batch, retrying", &reason);
        if shutdown.run_until_cancelled(backoff.pause()).await.is_none() {
            return Err(Stopped);
        }
    }
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

fn log_done(context: &WorkerContext, batch: &Unfinished) {
    let now = UtcMillis::now();
    let waited = || batch.queued_at.iter().map(|queued_at| since(*queued_at, now));
    context.log.metrics().batch_stored(waited());
    let took: Duration = batch.began.elapsed();
    context.log.step(Stage::Worker).took(took).uncounted().info("Batch stored", || {
        let oldest = waited().max();
        details(json!({
            "batchId": batch.lease.id().batch,
            "size": batch.size,
            "rows": batch.rows,
            "storedBefore": batch.with_row.saturating_sub(batch.rows),
            "rejected": batch.rejected.len(),
            "waitedMs": oldest.and_then(|oldest| u64::try_from(oldest.as_millis()).ok()),
        }))
    });
}
