//! The queue as shown to people: the JSON of `/api/queue…` and of `bklit-tui queue`.

use serde::{Deserialize, Serialize};

use crate::event::{EventKind, QueuedEvent};
use crate::time::UtcMillis;

/// The most items in a page, and the most ids in one call.
pub const MAX_PAGE: usize = 500;

/// The most batches in flight that are shown.
pub const MOST_BATCHES: usize = 200;

/// The most events of a batch that are shown.
pub const MOST_MEMBERS: usize = 1_000;

/// A batch that has been claimed and not yet acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchInFlight {
    /// The batch.
    pub id: String,
    /// The process that claimed it last, as `host:pid`; `None` where that was not recorded.
    pub owner: Option<String>,
    /// The epoch of that claim.
    pub epoch: u64,
    /// The number of its items.
    pub items: u64,
    /// How often it has been claimed.
    pub attempts: u64,
    /// When it was claimed last.
    pub claimed_at: Option<UtcMillis>,
    /// When its lease expires, by the queue's clock.
    pub lease_until: UtcMillis,
    /// The milliseconds left until then; negative once the lease has expired.
    pub lease_left_ms: i64,
}

/// The queue at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueView {
    /// Items waiting to be claimed.
    pub waiting: u64,
    /// Items claimed and not yet acknowledged.
    pub in_flight: u64,
    /// Items in the failed queue.
    pub failed: u64,
    /// Items in the spool, waiting for the queue to become available again.
    pub spooled: u64,
    /// When the oldest waiting event was accepted; `None` if nothing waits or it cannot be read.
    pub oldest_waiting: Option<UtcMillis>,
    /// Up to [`MOST_BATCHES`] batches in flight, by lease expiry.
    pub batches: Vec<BatchInFlight>,
    /// How many of those have an expired lease: nobody is working on them.
    #[serde(default)]
    pub lapsed: u64,
    /// Whether there are more batches than are shown.
    #[serde(default)]
    pub more_batches: bool,
}

/// The content of a batch in flight: the JSON of `GET /api/queue/batch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchView {
    /// The batch.
    pub id: String,
    /// Up to [`MOST_MEMBERS`] of its events, oldest first.
    pub events: Vec<EventView>,
}

/// A page of failed items, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedPage {
    /// The items; may be empty although more follow.
    pub items: Vec<FailedView>,
    /// The `after` of the next page; `None` on the last one.
    pub next: Option<String>,
}

/// A failed item, with what can be read of its event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedView {
    /// Identifies it within the failed queue.
    pub id: String,
    /// What can be read of its event.
    #[serde(flatten)]
    pub event: EventView,
    /// When it failed.
    pub failed_at: Option<UtcMillis>,
    /// Why.
    pub reason: String,
    /// What was queued, unchanged: normally the JSON of an event.
    pub body: String,
}

/// What can be read of an item that may not be an event at all.
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

/// The failed items to retry or delete: the body of `POST /api/queue/failed/…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// Their ids, at most [`MAX_PAGE`].
    pub ids: Vec<String>,
}

/// How many of the chosen items existed, and have now been retried or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The number of items.
    pub changed: u64,
}

impl EventView {
    /// Reads as much as possible, even from an invalid event.
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
    fn an_invalid_event_shows_the_fields_that_can_be_read() {
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
