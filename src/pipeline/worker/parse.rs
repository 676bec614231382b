//! From the queue's items to events, and to the failed queue what is none.

use crate::queue::{ClaimedItem, Rejected};
use bklit_wire::event::QueuedEvent;

/// An event and the item it came in.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) seq: i64,
    pub(super) event: QueuedEvent,
}

/// Items read before others may have the thread.
const AT_ONCE: usize = 256;

/// Reads the items; what is no event is rejected with a reason that names the field.
pub(super) async fn parse(items: Vec<ClaimedItem>) -> (Vec<Item>, Vec<Rejected>) {
    let mut events = Vec::with_capacity(items.len());
    let mut rejected = Vec::new();
    for (read, ClaimedItem { seq, body }) in items.into_iter().enumerate() {
        match event(&body) {
            Ok(event) => events.push(Item { seq, event }),
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
    // Stored, all events without an id would pass for the same one.
    for (field, value) in [("id", &event.id), ("projectId", &event.project_id)] {
        if value.is_empty() {
            return Err(format!("not an event: {field}: must not be empty"));
        }
    }
    Ok(event)
}
