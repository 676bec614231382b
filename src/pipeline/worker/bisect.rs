//! Stores a batch that may contain events that can never be stored.
//!
//! A batch that the store rejects is bisected until the bad event is alone. A part's id is derived from
//! its parent's (`<id>.0`, `<id>.1`), and the halves are always the same, so a worker that starts over
//! inserts the same parts. The split need not be recorded: the store recognises events by their ids,
//! so an event stored with a part is not stored again with the whole batch.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::parse::Item;
use super::{WorkerContext, details};
use crate::metrics::Part as Component;
use crate::queue::{ClaimId, Rejected};
use crate::store::{Batch, Inserted, StoreError};
use crate::who::Traits;
use bklit_net::backoff::Backoff;
use bklit_net::timeout::no_response;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::event::{EventKind, QueuedEvent};

/// The longest a store may take for a batch before the insert is retried.
pub(super) const STORE_TIMEOUT: Duration = Duration::from_secs(120);

/// Ids of ignored events shown in one line.
const MAX_IDS_SHOWN: usize = 10;

/// A batch, or a part of one that was rejected.
struct Part {
    batch: Batch,
    seqs: Vec<i64>,
}

/// The result for a batch's events.
#[derive(Default)]
pub(super) struct Stored {
    /// Stored events, oldest first, without those whose id was known to belong to another event.
    pub(super) events: Vec<QueuedEvent>,
    /// Events whose id belongs to another event.
    pub(super) known: usize,
    /// Rows added to the store.
    pub(super) rows: u64,
    /// Events that can never be stored.
    pub(super) rejected: Vec<Rejected>,
}

/// The store did not respond before the shutdown's deadline.
#[derive(Debug)]
pub(super) struct Stopped;

/// Stores `items`, retrying for as long as necessary. Only a shutdown while the store fails ends it
/// early.
pub(super) async fn store(
    context: &WorkerContext,
    id: &ClaimId,
    items: Vec<Item>,
    shutdown: &CancellationToken,
) -> Result<Stored, Stopped> {
    let (seqs, events): (_, Vec<_>) = items.into_iter().map(|item| (item.seq, item.event)).unzip();
    let mut stored = Stored::default();
    let is_first_attempt = id.epoch == 1;
    let batch = Batch { id: id.batch.clone(), events: events.into(), is_first_attempt };
    let mut parts = vec![Part { batch, seqs }];
    while let Some(mut part) = parts.pop() {
        if part.batch.events.is_empty() {
            continue;
        }
        let started = Instant::now();
        match insert(context, &mut part.batch, shutdown).await? {
            Ok(mut inserted) => {
                let known = match part.batch.is_first_attempt && part.batch.id == id.batch {
                    true => std::mem::take(&mut inserted.known),
                    false => Vec::new(),
                };
                log_stored(context, &part.batch, &known, started.elapsed());
                context.log_notes(&inserted.notes);
                stored.known += known.len();
                stored.rows += inserted.rows;
                let mut known = known.into_iter().peekable();
                let events = Arc::unwrap_or_clone(part.batch.events).into_iter().enumerate();
                let new = events.filter(|(nth, _)| known.next_if_eq(nth).is_none());
                stored.events.extend(new.map(|(_, event)| event));
            }
            Err(reason) => match part.halves() {
                Ok([first, second]) => parts.extend([second, first]),
                Err(alone) => {
                    log_refused(context, &alone.batch, &reason, started.elapsed());
                    let refused = alone.seqs.into_iter();
                    stored
                        .rejected
                        .extend(refused.map(|seq| Rejected { seq, reason: reason.clone() }));
                }
            },
        }
    }
    Ok(stored)
}

/// Inserts a batch, retrying until the store confirms it or rejects it with a reason.
async fn insert(
    context: &WorkerContext,
    batch: &mut Batch,
    shutdown: &CancellationToken,
) -> Result<Result<Inserted, String>, Stopped> {
    let mut backoff = Backoff::new(context.settings.max_backoff);
    loop {
        let result = tokio::time::timeout(STORE_TIMEOUT, context.store.insert(batch)).await;
        let reason = match result {
            Ok(Ok(inserted)) => {
                context.works(Component::Store);
                return Ok(Ok(inserted));
            }
            Ok(Err(StoreError::Refused(reason))) => {
                // The store works: the batch is at fault.
                context.works(Component::Store);
                return Ok(Err(reason));
            }
            Ok(Err(StoreError::Unavailable(reason))) => reason,
            Err(_) => no_response(STORE_TIMEOUT),
        };
        // It may have stored some of the events.
        batch.is_first_attempt = false;
        context.store_failed("Cannot store a batch, retrying", &reason);
        if shutdown.run_until_cancelled(backoff.pause()).await.is_none() {
            return Err(Stopped);
        }
    }
}

impl Part {
    /// Its two halves, or itself if it is a single event.
    fn halves(mut self) -> Result<[Self; 2], Self> {
        let half = self.seqs.len() / 2;
        if half == 0 {
            return Err(self);
        }
        let second = Self {
            batch: Batch {
                id: format!("{}.1", self.batch.id),
                events: Arc::make_mut(&mut self.batch.events).split_off(half).into(),
                is_first_attempt: self.batch.is_first_attempt,
            },
            seqs: self.seqs.split_off(half),
        };
        self.batch.id += ".0";
        Ok([self, second])
    }
}

fn log_stored(context: &WorkerContext, batch: &Batch, known: &[usize], took: Duration) {
    let n = (batch.events.len() - known.len()) as u64;
    context.log.metrics().steps(Stage::Clickhouse, Level::Info, Some(took), n);
    log_known(context, batch, known);
    let mut known = known.iter().peekable();
    for (nth, event) in batch.events.iter().enumerate() {
        if known.next_if_eq(&&nth).is_some() {
            continue;
        }
        let message = match event.payload.kind() {
            EventKind::Pageview => "Page view stored",
            EventKind::Event => "Event stored",
            EventKind::SessionEnd => "Session end stored",
        };
        let step = context.log.step(Stage::Clickhouse).event(&event.id).project(&event.project_id);
        step.took(took).uncounted().info(message, || {
            details(json!({ "batchId": batch.id, "sessionId": event.payload.session_id() }))
        });
    }
}

/// One line, about the first of them: a client that repeats ids may do so thousands of times.
fn log_known(context: &WorkerContext, batch: &Batch, known: &[usize]) {
    let Some(first) = known.first().and_then(|nth| batch.events.get(*nth)) else { return };
    context.log.metrics().steps(Stage::Clickhouse, Level::Warn, None, known.len() as u64);
    let step = context.log.step(Stage::Clickhouse).event(&first.id).project(&first.project_id);
    let message = "Events ignored: their projects have stored events with these ids";
    step.uncounted().warn(message, || {
        let ids = known.iter().filter_map(|nth| batch.events.get(*nth)).take(MAX_IDS_SHOWN);
        let ids: Vec<_> = ids.map(|event| event.id.as_str()).collect();
        details(json!({ "batchId": batch.id, "events": known.len(), "eventIds": ids }))
    });
}

fn log_refused(context: &WorkerContext, alone: &Batch, reason: &str, took: Duration) {
    context.log.metrics().store_failed(reason);
    for event in alone.events.iter() {
        context.log.metrics().who().failed(|| Traits::of(event));
        let step = context.log.step(Stage::Clickhouse).event(&event.id).project(&event.project_id);
        step.took(took).error("Event refused by the store, moved to the failed queue", || {
            details(json!({ "batchId": alone.id, "reason": reason }))
        });
    }
}
