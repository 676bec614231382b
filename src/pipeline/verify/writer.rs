//! Writes accepted events to the baseline, bypassing the queue.
//!
//! Nothing waits for it: events that do not fit are counted and not written, so that a slow or
//! unavailable store does not affect senders.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::live_verifier::Pending;
use super::size;
use crate::definitions::{DefinitionName, Definitions, DefinitionsError};
use crate::metrics::{Metrics, Outcome};
use crate::store::StoreError;
use crate::store::baseline::{Baseline, EventKey, Gap, Kind};
use bklit_net::backoff::Backoff;
use bklit_net::log_throttle::LogThrottle;
use bklit_wire::duration::seconds;
use bklit_wire::event::{Payload, QueuedEvent};
use bklit_wire::time::UtcMillis;

/// The most events that may wait to be written, and the most bytes.
const MAX_WAITING: usize = 16_384;
const MAX_WAITING_BYTES: usize = 32 << 20;

/// Events written at a time, and how long the first of them waits for others.
const BATCH: usize = 1_000;
const BATCH_WAIT: Duration = Duration::from_millis(500);

/// The longest time between the acceptance of the first and the last event of one write, in seconds.
/// One write inserts by kind and month, so this bounds how much older than the newest row an event can
/// be that was not written when the process was killed.
const PART_SECONDS: i64 = 5;

/// Like [`PART_SECONDS`], plus a margin for events handed over out of order, because requests wait for
/// the queue.
const UNWRITTEN_SECONDS: i64 = PART_SECONDS + 10;

/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a shutdown waits for the last writes.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// An event that is in the baseline.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its table.
    pub kind: Kind,
    /// Its key.
    pub key: EventKey,
    /// When it happened, in seconds since the epoch, to find it faster.
    pub second: i64,
    /// When it was written.
    pub at: Instant,
}

struct Item {
    event: Arc<QueuedEvent>,
    bytes: usize,
}

/// Receives events; cheap to clone.
#[derive(Clone)]
pub struct BaselineSender {
    items: mpsc::Sender<Item>,
    bytes: Arc<AtomicUsize>,
    left_out: Arc<LeftOut>,
}

/// Counts the events that are not written, until the gap is recorded in the baseline.
struct LeftOut {
    metrics: Arc<Metrics>,
    gap: Mutex<Option<Gap>>,
}

impl LeftOut {
    fn add<'a>(&self, events: impl IntoIterator<Item = &'a QueuedEvent>) {
        for event in events {
            self.metrics.verify().count(Outcome::NotWritten, 1);
            let at = event.queued_at.epoch_seconds();
            self.extend(Gap { since: at, until: at, events: 1 });
        }
    }

    fn extend(&self, by: Gap) {
        let mut gap = self.gap();
        *gap = Some(gap.map_or(by, |gap| gap.merged(by)));
    }

    fn gap(&self) -> MutexGuard<'_, Option<Gap>> {
        self.gap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BaselineSender {
    /// Passes on an accepted event, or counts it if it does not fit. Never waits.
    pub fn offer(&self, event: Arc<QueuedEvent>) {
        if Kind::of(&event).is_none() {
            return;
        }
        let bytes = size::bytes(&event);
        let waiting = self.bytes.fetch_add(bytes, Relaxed);
        let has_room = waiting + bytes <= MAX_WAITING_BYTES;
        match self.items.try_reserve() {
            Ok(place) if has_room => place.send(Item { event, bytes }),
            _ => {
                self.bytes.fetch_sub(bytes, Relaxed);
                self.left_out.add([&*event]);
            }
        }
    }
}

/// Writes the events of its senders.
pub struct BaselineWriter {
    store: Arc<dyn Baseline>,
    definitions: Arc<dyn Definitions>,
    items: mpsc::Receiver<Item>,
    bytes: Arc<AtomicUsize>,
    left_out: Arc<LeftOut>,
    pending: Arc<Pending>,
    /// Events to write: the last part is next.
    parts: Vec<Arc<Vec<QueuedEvent>>>,
    throttle: LogThrottle,
}

impl BaselineWriter {
    /// A writer and its sender. Written events are added to `pending` to be compared.
    pub fn new(
        store: Arc<dyn Baseline>,
        definitions: Arc<dyn Definitions>,
        metrics: &Arc<Metrics>,
        pending: &Arc<Pending>,
    ) -> (BaselineSender, Self) {
        let (sender, items) = mpsc::channel(MAX_WAITING);
        let bytes = Arc::new(AtomicUsize::new(0));
        let left_out = Arc::new(LeftOut { metrics: Arc::clone(metrics), gap: Mutex::new(None) });
        let sender = BaselineSender {
            items: sender,
            bytes: Arc::clone(&bytes),
            left_out: Arc::clone(&left_out),
        };
        let (pending, parts) = (Arc::clone(pending), Vec::new());
        let throttle = LogThrottle::default();
        (sender, Self { store, definitions, items, bytes, left_out, pending, parts, throttle })
    }

    /// Writes until `stop`, then for a short time what still waits.
    pub async fn run(mut self, stop: CancellationToken) {
        // Wherever it is cancelled, events not written yet stay in `parts`.
        stop.run_until_cancelled(async {
            self.prepare().await;
            self.write_all().await;
        })
        .await;
        self.items.close();
        if tokio::time::timeout(LAST_WRITES, self.write_all()).await.is_err() {
            let mut left = self.parts.iter().map(|part| part.len()).sum::<usize>();
            self.left_out.add(self.parts.iter().flat_map(|part| part.iter()));
            while let Ok(item) = self.items.try_recv() {
                self.left_out.add([&*item.event]);
                left += 1;
            }
            tracing::warn!(left, "the store is too slow: events are missing from the baseline");
        }
    }

    /// Writes until all senders are dropped.
    async fn write_all(&mut self) {
        loop {
            // Before newer events than the gap are written.
            self.record_gap().await;
            self.write().await;
            self.record_gap().await;
            if !self.fill().await {
                return;
            }
        }
    }

    async fn prepare(&self) {
        let mut backoff = Backoff::new(LONGEST_PAUSE);
        while let Err(error) = self.begin().await {
            self.failed("cannot create the baseline's tables, retrying", &error);
            backoff.pause().await;
        }
    }

    /// Creates the tables. Events accepted since the last write may be missing: verification was
    /// off, or a process was killed.
    async fn begin(&self) -> Result<(), StoreError> {
        self.store.prepare().await?;
        let mut last = None;
        for kind in Kind::ALL {
            last = last.max(self.store.extent(kind).await?.map(|[_, last]| last));
        }
        if let Some(last) = last {
            let since = last - UNWRITTEN_SECONDS;
            let until = UtcMillis::now().epoch_seconds().max(last);
            self.store.record_gap(Gap { since, until, events: 0 }).await?;
        }
        Ok(())
    }

    /// Records events that were left out; if that fails, it is retried next time.
    async fn record_gap(&self) {
        let gap = self.left_out.gap().take();
        if let Some(gap) = gap
            && let Err(error) = self.store.record_gap(gap).await
        {
            self.failed("cannot record a gap in the baseline, retrying", &error);
            self.left_out.extend(gap);
        }
    }

    /// Waits for events; returns false if no more can arrive.
    async fn fill(&mut self) -> bool {
        self.parts.push(Arc::default());
        let mut deadline = None;
        let mut items = Vec::new();
        while let Some(batch) = self.parts.last_mut()
            && batch.len() < BATCH
        {
            let more = self.items.recv_many(&mut items, BATCH - batch.len());
            let taken = match deadline {
                None => more.await,
                Some(deadline) => tokio::time::timeout_at(deadline, more).await.unwrap_or(0),
            };
            if taken == 0 {
                break;
            }
            for Item { event, bytes } in items.drain(..) {
                self.bytes.fetch_sub(bytes, Relaxed);
                Arc::make_mut(batch).push(Arc::unwrap_or_clone(event));
            }
            deadline.get_or_insert_with(|| Instant::now() + BATCH_WAIT);
        }
        self.parts.iter().any(|part| !part.is_empty())
    }

    /// Retries until all events to write are written, except those that never can be.
    async fn write(&mut self) {
        let parts = std::mem::take(&mut self.parts).into_iter();
        let split = |part| by_time(Arc::unwrap_or_clone(part)).into_iter().rev().map(Arc::new);
        self.parts = parts.flat_map(split).collect();
        let mut backoff = Backoff::new(LONGEST_PAUSE);
        while let Some(part) = self.parts.last_mut() {
            let events: &mut Vec<_> = Arc::make_mut(part);
            let written = match set_definitions(&*self.definitions, events).await {
                Ok(()) if part.is_empty() => Ok(()),
                Ok(()) => self.store.write(part).await,
                Err(error) => Err(StoreError::Unavailable(error.to_string())),
            };
            if let Err(error @ StoreError::Unavailable(_)) = &written {
                self.failed("cannot write the baseline, retrying", error);
                backoff.pause().await;
                continue;
            }
            let Some(mut part) = self.parts.pop() else { return };
            match written {
                Ok(()) => self.written(&part),
                // Some event can never be stored: bisect to find it.
                Err(error) => match part.as_slice() {
                    [event] => {
                        tracing::warn!(id = event.id, %error, "an event is missing from the baseline");
                        self.left_out.add([event]);
                    }
                    _ => {
                        let half = part.len() / 2;
                        let other = Arc::make_mut(&mut part).split_off(half);
                        self.parts.extend([other.into(), part]);
                    }
                },
            }
        }
    }

    fn failed(&self, what: &str, error: &StoreError) {
        if let Some(lasting) = self.throttle.failure().map(seconds) {
            tracing::warn!(%error, lasting, "{what}");
        }
    }

    fn written(&self, events: &[QueuedEvent]) {
        if let Some(lasted) = self.throttle.recovered().map(seconds) {
            tracing::info!(lasted, "writing the baseline again");
        }
        let at = Instant::now();
        let written = events.iter().filter_map(|event| {
            let key = EventKey { project_id: event.project_id.clone(), id: event.id.clone() };
            let second = event.timestamp().epoch_seconds();
            Some(Written { kind: Kind::of(event)?, key, second, at })
        });
        let no_room = self.pending.add(written);
        self.left_out.metrics.verify().count(Outcome::NotCompared, no_room);
    }
}

/// Splits events into parts of at most [`PART_SECONDS`], in order.
fn by_time(events: Vec<QueuedEvent>) -> Vec<Vec<QueuedEvent>> {
    let mut parts: Vec<Vec<QueuedEvent>> = Vec::new();
    let [mut least, mut most] = [i64::MAX, i64::MIN];
    for event in events {
        let at = event.queued_at.epoch_seconds();
        [least, most] = [least.min(at), most.max(at)];
        match parts.last_mut() {
            Some(part) if most - least <= PART_SECONDS => part.push(event),
            _ => {
                [least, most] = [at, at];
                parts.push(vec![event]);
            }
        }
    }
    parts
}

/// Sets the definition ids of custom events. One without a definition keeps its tracking id: it was
/// accepted, so the comparison has to report that it is not stored.
async fn set_definitions(
    definitions: &dyn Definitions,
    events: &mut [QueuedEvent],
) -> Result<(), DefinitionsError> {
    let names = DefinitionName::all(events.iter());
    if names.is_empty() {
        return Ok(());
    }
    let ids = definitions.find(&names).await?;
    for event in events {
        let id = DefinitionName::of(event).and_then(|name| ids.get(&name));
        if let (Payload::Event(custom), Some(id)) = (&mut event.payload, id) {
            custom.definition_id = Some(id.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::event::SessionEnd;

    #[test]
    fn events_of_one_write_were_accepted_within_seconds() {
        let event = |second: i64| {
            let end = SessionEnd {
                session_id: "s".to_owned(),
                timestamp: None,
                reason: None,
                unverified: false,
            };
            QueuedEvent {
                id: second.to_string(),
                payload: Payload::SessionEnd(end),
                queued_at: UtcMillis::from_epoch_millis(second * 1000),
                project_id: "p".to_owned(),
                push_ticket: None,
            }
        };
        let parts = |seconds: &[i64]| -> Vec<Vec<i64>> {
            let parts = by_time(seconds.iter().copied().map(event).collect()).into_iter();
            let second = |event: QueuedEvent| event.queued_at.epoch_seconds();
            parts.map(|part| part.into_iter().map(second).collect()).collect()
        };
        assert_eq!(parts(&[]), Vec::<Vec<i64>>::new());
        assert_eq!(
            parts(&[3, 1, 6, 7, 12, 13, 5]),
            [vec![3, 1, 6], vec![7, 12], vec![13], vec![5]]
        );
    }
}
