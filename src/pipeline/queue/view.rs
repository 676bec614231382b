//! What people are shown of the queue: the JSON of `GET /api/queue` and of `queue status`.

use serde::{Deserialize, Serialize};

use super::{BatchInFlight, FailedItem, Order, Page, Queue, QueueError};
use crate::pipeline::event::{EventKind, QueuedEvent};
use crate::pipeline::time::UtcMillis;

/// Batches in flight that are shown at most.
pub const MOST_BATCHES: usize = 200;

/// The queue at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueView {
    /// Items that wait for a claim.
    pub waiting: u64,
    /// Items claimed and not yet acknowledged.
    pub in_flight: u64,
    /// Items in the failed queue.
    pub failed: u64,
    /// Items that wait in the spool for the queue to come back.
    pub spooled: u64,
    /// When the oldest waiting event was accepted; none when nothing waits or it is no event.
    pub oldest_waiting: Option<UtcMillis>,
    /// The batches in flight, up to [`MOST_BATCHES`], those whose lease ends first before the
    /// others.
    pub batches: Vec<BatchInFlight>,
    /// Of those, how many have a lease that is over: nobody works on them.
    #[serde(default)]
    pub lapsed: u64,
    /// There are more batches than are shown.
    #[serde(default)]
    pub more_batches: bool,
}

/// Events of a batch that are shown at most.
pub const MOST_MEMBERS: usize = 1_000;

/// What is in a batch in flight: the JSON of `GET /api/queue/batch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchView {
    /// The batch.
    pub id: String,
    /// Its events, oldest first, up to [`MOST_MEMBERS`].
    pub events: Vec<EventView>,
}

impl BatchView {
    /// What is in the batch; `None` when there is no such batch, or no more.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn of(queue: &dyn Queue, batch: &str) -> Result<Option<Self>, QueueError> {
        let items = queue.batch_items(batch, MOST_MEMBERS).await?;
        let events = |items: Vec<String>| items.iter().map(|body| EventView::of(body)).collect();
        Ok(items.map(|items| Self { id: batch.to_owned(), events: events(items) }))
    }
}

/// How long things last in the queue, beside how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueAges {
    /// When the oldest waiting event was accepted; none when nothing waits or it is no event.
    pub oldest_waiting: Option<UtcMillis>,
    /// Batches in flight whose lease is over, up to [`MOST_BATCHES`].
    pub lapsed: u64,
}

impl QueueAges {
    /// Of `queue` now: one item and the batches are read.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn of(queue: &dyn Queue) -> Result<Self, QueueError> {
        let oldest_waiting = oldest_waiting(queue).await?;
        Ok(Self { oldest_waiting, lapsed: lapsed(&queue.batches(MOST_BATCHES).await?) })
    }
}

async fn oldest_waiting(queue: &dyn Queue) -> Result<Option<UtcMillis>, QueueError> {
    let oldest = queue.waiting(Order::OldestFirst, None, 1).await?;
    Ok(oldest.items.first().and_then(|item| EventView::of(&item.body).queued_at))
}

fn lapsed(batches: &[BatchInFlight]) -> u64 {
    batches.iter().filter(|batch| batch.lease_left_ms <= 0).count() as u64
}

/// Some failed items, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedPage {
    /// The items; there may be none although more follow.
    pub items: Vec<FailedView>,
    /// What to give as `after` for the next page; none after the last one.
    pub next: Option<String>,
}

/// A failed item, with what can be read of its event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedView {
    /// Names it within the failed queue.
    pub id: String,
    /// What is known of its event.
    #[serde(flatten)]
    pub event: EventView,
    /// When it failed.
    pub failed_at: Option<UtcMillis>,
    /// Why.
    pub reason: String,
    /// What was queued, unchanged: the JSON of an event, if all is well.
    pub body: String,
}

/// What can be read of an item that may be no event at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// The event's id.
    pub event_id: Option<String>,
    /// Its kind.
    pub r#type: Option<EventKind>,
    /// Its project.
    pub project_id: Option<String>,
    /// When it was accepted.
    pub queued_at: Option<UtcMillis>,
}

/// Which failed items to retry or to delete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// Their ids, at most [`super::MAX_PAGE`].
    pub ids: Vec<String>,
}

/// How many items that were named were there, and are retried or deleted now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The number of items.
    pub changed: u64,
}

impl QueueView {
    /// What `queue` shows now.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn of(queue: &dyn Queue) -> Result<Self, QueueError> {
        // First what asks the queue's file; the figures then are no older.
        let mut batches = queue.batches(MOST_BATCHES + 1).await?;
        let more_batches = batches.len() > MOST_BATCHES;
        batches.truncate(MOST_BATCHES);
        let oldest_waiting = oldest_waiting(queue).await?;
        let stats = queue.stats().await?;
        Ok(Self {
            waiting: stats.depth,
            in_flight: stats.in_flight,
            failed: stats.failed,
            spooled: stats.spooled,
            oldest_waiting,
            lapsed: lapsed(&batches),
            batches,
            more_batches,
        })
    }
}

impl FailedPage {
    /// The page after `after` of the failed items of `queue`, at most `most`.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn of(
        queue: &dyn Queue,
        after: Option<&str>,
        most: usize,
    ) -> Result<Self, QueueError> {
        let Page { items, next, .. } = queue.failed(after, most).await?;
        Ok(Self { items: items.into_iter().map(FailedView::from).collect(), next })
    }
}

impl From<FailedItem> for FailedView {
    fn from(item: FailedItem) -> Self {
        let FailedItem { id, body, reason, failed_at } = item;
        Self { id, event: EventView::of(&body), failed_at, reason, body }
    }
}

impl EventView {
    /// Reads what there is to read, also of an event with a mistake.
    pub fn of(body: &str) -> Self {
        if let Ok(event) = QueuedEvent::from_json(body) {
            return Self {
                r#type: Some(event.payload.kind()),
                event_id: Some(event.id),
                project_id: Some(event.project_id),
                queued_at: Some(event.queued_at),
            };
        }
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(body) else {
            return Self::default();
        };
        fn field<T: serde::de::DeserializeOwned>(value: Option<serde_json::Value>) -> Option<T> {
            serde_json::from_value(value?).ok()
        }
        Self {
            event_id: field(fields.remove("id")),
            r#type: field(fields.remove("type")),
            project_id: field(fields.remove("projectId")),
            queued_at: field(fields.remove("queuedAt")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_event_shows_what_it_has() {
        let broken = EventView::of(r#"{"id":"e","type":"pageview","projectId":"p","payload":7}"#);
        assert_eq!(
            (broken.event_id.as_deref(), broken.project_id.as_deref()),
            (Some("e"), Some("p"))
        );
        assert_eq!((broken.r#type, broken.queued_at), (Some(EventKind::Pageview), None));
        for nothing in ["", "garbage", "[]", "{}", r#"{"id":7,"type":"x","projectId":[]}"#] {
            assert_eq!(EventView::of(nothing), EventView::default(), "{nothing}");
        }
    }
}
