//! The queue as shown to people: the JSON of `/api/queue…` and of `bklit-tui queue`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::EventKind;
use crate::json::{Fields, repaired};
use crate::lenient::name;
use crate::pause::Paused;
use crate::time::UtcMillis;

/// The most items in a page, and the most ids in one call.
pub const MAX_PAGE: usize = 500;

/// The most bytes of a request to edit failed items.
pub const MAX_EDIT_BYTES: usize = 32 * 1024 * 1024;

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
    /// When this was read, by the clock of the process that did; earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<UtcMillis>,
    /// Items waiting to be claimed.
    pub waiting: u64,
    /// Items claimed and not yet acknowledged.
    pub in_flight: u64,
    /// Items in the failed queue.
    pub failed: u64,
    /// Items in the spool, waiting for the queue to become available again.
    pub spooled: u64,
    /// What an operator has paused.
    #[serde(default, skip_serializing_if = "Paused::is_empty")]
    pub paused: Box<Paused>,
    /// When the oldest waiting event was accepted; `None` if nothing waits or it cannot be read.
    pub oldest_waiting: Option<UtcMillis>,
    /// Up to [`MOST_BATCHES`] batches in flight, by lease expiry.
    pub batches: Vec<BatchInFlight>,
    /// How many of those have an expired lease, so that no worker is processing them.
    #[serde(default)]
    pub lapsed: u64,
    /// Whether there are more batches than are shown.
    #[serde(default)]
    pub more_batches: bool,
    /// How full each of its shards is, in order; empty if it has only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardView>,
}

/// One of several lists of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardView {
    /// Items waiting to be claimed.
    pub waiting: u64,
    /// Items claimed and not yet acknowledged.
    pub in_flight: u64,
    /// Items in its failed queue.
    pub failed: u64,
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

/// A failed item, and what to put back into the queue instead of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The id of the failed item.
    pub id: String,
    /// What to queue: the JSON of an event with id, project, type and times of the failed one.
    pub body: String,
}

/// The failed items to edit and retry: the body of `POST /api/queue/failed/edit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EditRequest {
    /// The edits, at most [`MAX_PAGE`].
    pub edits: Vec<Edit>,
    /// Whether to only check the bodies.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of edits. Those that are neither counted nor listed were of items that no longer exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// How many items were put back into the queue; of a dry run, how many bodies are valid.
    pub changed: u64,
    /// The others, whose items are unchanged.
    pub invalid: Vec<InvalidEdit>,
}

/// Why failed items were not changed, or not all of them: the JSON of a response with an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub struct ChangeError {
    /// What was done, and stays done.
    #[serde(flatten)]
    pub done: Edited,
    /// Why not the rest.
    pub error: String,
}

impl From<String> for ChangeError {
    fn from(error: String) -> Self {
        Self { done: Edited::default(), error }
    }
}

/// An edit that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidEdit {
    /// The id of the failed item.
    pub id: String,
    /// What is wrong with the new body.
    pub error: String,
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
        let json = repaired(body);
        let Some(fields) = Fields::of(&json) else { return Self::default() };
        let payload = || Fields::of(fields.get("payload")?.get())?.get("projectId");
        fn field<T: DeserializeOwned>(value: Option<&RawValue>) -> Option<T> {
            serde_json::from_str(value?.get()).ok()
        }
        Self {
            event_id: fields.get("id").and_then(name),
            r#type: field(fields.get("type")),
            project_id: fields.get("projectId").and_then(name).or_else(|| name(payload()?)),
            queued_at: field(fields.get("queuedAt")),
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
        let foreign = EventView::of(r#"{"id":7,"type":"x","payload":{"projectId":"p"}}"#);
        assert_eq!(
            (foreign.event_id.as_deref(), foreign.project_id.as_deref()),
            (Some("7"), Some("p"))
        );
        let deep = format!(r#"{{"id":"e","payload":{}"#, "[".repeat(10_000));
        assert_eq!(EventView::of(&deep), EventView::default());
        for nothing in ["", "garbage", "[]", "{}", r#"{"id":[],"type":"x","projectId":[]}"#] {
            assert_eq!(EventView::of(nothing), EventView::default(), "{nothing}");
        }
    }
}
