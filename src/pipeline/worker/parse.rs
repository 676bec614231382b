//! Parses the queue's items; those that are not events go to the failed queue. Other programs write
//! to the queue, too, so what can be read at all is accepted.

use super::times::Times;
use crate::queue::{ClaimedItem, Rejected};
use bklit_wire::event::{Payload, QueuedEvent};
use bklit_wire::time::UtcMillis;

/// An event and the item it comes from.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) seq: i64,
    pub(super) event: QueuedEvent,
    /// What was missing in the item or had to be left out.
    pub(super) notes: Vec<String>,
}

impl Item {
    /// The visitor's address, to be changed.
    pub(super) fn address_mut(&mut self) -> Option<&mut Option<String>> {
        match &mut self.event.payload {
            Payload::Pageview(view) => Some(&mut view.ip),
            _ => None,
        }
    }
}

/// Items parsed before the task yields.
const AT_ONCE: usize = 256;

/// Parses the items and replaces implausible times; items that are not events are rejected with a
/// reason that names the field. Events that do not say when they were queued count as queued at
/// `received`.
pub(super) async fn parse(
    items: Vec<ClaimedItem>,
    received: UtcMillis,
    times: &mut Times,
) -> (Vec<Item>, Vec<Rejected>) {
    let mut events = Vec::with_capacity(items.len());
    let mut rejected = Vec::new();
    for (read, item) in items.into_iter().enumerate() {
        let seq = item.seq;
        match event(&item, received) {
            Ok((mut event, notes)) => {
                times.repair(&mut event);
                events.push(Item { seq, event, notes });
            }
            Err(reason) => rejected.push(Rejected { seq, reason }),
        }
        if read % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
    }
    (events, rejected)
}

/// Reads an item as the worker does.
///
/// # Errors
/// Why it would be rejected.
pub(crate) fn read_event(body: &str) -> Result<QueuedEvent, String> {
    let item = ClaimedItem { seq: 0, body: body.to_owned(), invalid_utf8: None };
    event(&item, UtcMillis::now()).map(|(event, _)| event)
}

fn event(item: &ClaimedItem, received: UtcMillis) -> Result<(QueuedEvent, Vec<String>), String> {
    let (event, mut notes) = QueuedEvent::read(&item.body, received).map_err(|error| {
        let invalid = item.invalid_utf8.map(|at| format!("; invalid UTF-8 at byte {at}"));
        format!("not an event: {error}{}", invalid.unwrap_or_default())
    })?;
    if item.invalid_utf8.is_some() {
        notes.push("invalid UTF-8, replaced by U+FFFD".to_owned());
    }
    // The store would treat all events without an id as the same one.
    for (field, value) in [("id", &event.id), ("projectId", &event.project_id)] {
        if value.is_empty() {
            return Err(format!("not an event: {field}: must not be empty"));
        }
    }
    Ok((event, notes))
}
