//! Parses the queue's items; those that are not events go to the failed queue.

use super::times::Times;
use crate::queue::{ClaimedItem, Rejected};
use bklit_wire::event::QueuedEvent;

/// An event and the item it comes from.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) seq: i64,
    pub(super) event: QueuedEvent,
}

/// Items parsed before the task yields.
const AT_ONCE: usize = 256;

/// Parses the items and replaces implausible times; items that are not events are rejected with a
/// reason that names the field.
pub(super) async fn parse(
    items: Vec<ClaimedItem>,
    times: &mut Times,
) -> (Vec<Item>, Vec<Rejected>) {
    let mut events = Vec::with_capacity(items.len());
    let mut rejected = Vec::new();
    for (read, ClaimedItem { seq, body }) in items.into_iter().enumerate() {
        match event(&body) {
            Ok(mut event) => {
                times.repair(&mut event);
                events.push(Item { seq, event });
            }
            Err(reason) => rejected.push(Rejected { seq, reason }),
        }
        if read % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
    }
    (events, rejected)
}

fn event(body: &str) -> Result<QueuedEvent, String> {
    let event = QueuedEvent::from_json(body).map_err(|error| format!("not an event: {error}"))?;
    // The store would treat all events without an id as the same one.
    for (field, value) in [("id", &event.id), ("projectId", &event.project_id)] {
        if value.is_empty() {
            return Err(format!("not an event: {field}: must not be empty"));
        }
    }
    Ok(event)
}
