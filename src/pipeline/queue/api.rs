//! Builds the views of the queue (see [`bklit_wire::queue`]) from the port.

use bklit_wire::queue::{
    BatchInFlight, BatchView, Edit, EditRequest, Edited, EventView, FailedPage, FailedView,
    InvalidEdit, MOST_BATCHES, MOST_MEMBERS, QueueView, ShardView,
};
use bklit_wire::time::UtcMillis;

use crate::intake::visitor::IpPrivacy;

use super::{FailedItem, Order, Page, Queue, QueueError, QueueStats, edit};

/// The current state of the queue.
///
/// # Errors
/// [`QueueError::Unavailable`].
pub async fn overview(queue: &dyn Queue) -> Result<QueueView, QueueError> {
    // Batches first: reading them refreshes the embedded queue's statistics.
    let mut batches = queue.batches(MOST_BATCHES + 1).await?;
    let more_batches = batches.len() > MOST_BATCHES;
    batches.truncate(MOST_BATCHES);
    let oldest_waiting = oldest_waiting(queue).await?;
    let stats = queue.stats().await?;
    let paused = queue.paused().await?.into();
    Ok(QueueView {
        at: Some(UtcMillis::now()),
        waiting: stats.depth,
        in_flight: stats.in_flight,
        failed: stats.failed,
        spooled: stats.spooled,
        paused,
        oldest_waiting,
        lapsed: lapsed(&batches),
        batches,
        more_batches,
        shards: queue.shards().into_iter().map(ShardView::from).collect(),
    })
}

impl From<QueueStats> for ShardView {
    fn from(stats: QueueStats) -> Self {
        let QueueStats { depth: waiting, in_flight, failed, .. } = stats;
        Self { waiting, in_flight, failed }
    }
}

/// The content of a batch in flight; `None` if it does not exist, or no longer does.
///
/// # Errors
/// [`QueueError::Unavailable`].
pub async fn batch(queue: &dyn Queue, id: &str) -> Result<Option<BatchView>, QueueError> {
    let items = queue.batch_items(id, MOST_MEMBERS).await?;
    let events = |items: Vec<String>| items.iter().map(|body| EventView::of(body)).collect();
    Ok(items.map(|items| BatchView { id: id.to_owned(), events: events(items) }))
}

/// At most `most` failed items; `after` is the `next` of the previous page. Of visitors' addresses,
/// which other programs may have queued, they show what `privacy` allows.
///
/// # Errors
/// [`QueueError::Unavailable`].
pub async fn failed(
    queue: &dyn Queue,
    privacy: IpPrivacy,
    after: Option<&str>,
    most: usize,
) -> Result<FailedPage, QueueError> {
    let Page { items, next, .. } = queue.failed(after, most).await?;
    let shown = |item: FailedItem| {
        let body = privacy.shown(&item.body).into_owned();
        FailedView::from(FailedItem { body, ..item })
    };
    Ok(FailedPage { items: items.into_iter().map(shown).collect(), next })
}

/// What is logged when failed events have been edited and put back.
pub const EDITED: &str = "Failed events edited and put back";

/// Puts failed items back with other bodies, or only checks those.
///
/// # Errors
/// [`QueueError::Unavailable`].
pub async fn edit(queue: &dyn Queue, request: &EditRequest) -> Result<Edited, QueueError> {
    if !request.dry_run {
        return queue.retry_edited(&request.edits).await;
    }
    let mut checked = Edited::default();
    for Edit { id, body } in &request.edits {
        match edit::check_event(body) {
            Ok(()) => checked.changed += 1,
            Err(error) => checked.invalid.push(InvalidEdit { id: id.clone(), error }),
        }
    }
    Ok(checked)
}

impl From<FailedItem> for FailedView {
    fn from(item: FailedItem) -> Self {
        let FailedItem { id, body, reason, failed_at } = item;
        Self { id, event: EventView::of(&body), failed_at, reason, body }
    }
}

/// Ages in the queue, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueAges {
    /// When the oldest waiting event was accepted; `None` if nothing waits or it cannot be read.
    pub oldest_waiting: Option<UtcMillis>,
    /// Batches in flight with an expired lease, up to [`MOST_BATCHES`].
    pub lapsed: u64,
}

impl QueueAges {
    /// The current ages, given how full the queue is. Reads at most one item and the list of batches.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn of(queue: &dyn Queue, stats: QueueStats) -> Result<Self, QueueError> {
        let mut ages = Self::default();
        if stats.depth > 0 {
            ages.oldest_waiting = oldest_waiting(queue).await?;
        }
        if stats.in_flight > 0 {
            ages.lapsed = lapsed(&queue.batches(MOST_BATCHES).await?);
        }
        Ok(ages)
    }
}

async fn oldest_waiting(queue: &dyn Queue) -> Result<Option<UtcMillis>, QueueError> {
    let oldest = queue.waiting(Order::OldestFirst, None, 1).await?;
    Ok(oldest.items.first().and_then(|item| EventView::of(&item.body).queued_at))
}

fn lapsed(batches: &[BatchInFlight]) -> u64 {
    batches.iter().filter(|batch| batch.lease_left_ms <= 0).count() as u64
}
