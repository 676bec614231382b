//! Replaces implausible times of events from the queue. Other programs add to it too, and events of
//! earlier versions may still wait in it.
//!
//! A batch that is delivered again must have the same content, because the store recognises what it
//! has by project, time and id. So times are not judged by the current time but by when the event was
//! queued, and that by when the batch was first claimed.

use bklit_wire::debug_log::Stage;
use bklit_wire::event::QueuedEvent;
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};

use super::details;
use crate::queue::ClaimId;
use crate::telemetry::Telemetry;
use crate::time_bounds::TimeBounds;

/// Replaced times shown in the line about a batch; the others are only counted.
const MOST_SHOWN: usize = 10;

/// The times of a batch.
pub(super) struct Times {
    bounds: TimeBounds,
    claimed: UtcMillis,
    /// Replaced times, by field.
    timestamps: u64,
    queued_ats: u64,
    /// The first of them.
    shown: Vec<Value>,
}

impl Times {
    /// Judges the times of a batch that was first claimed at `claimed`.
    pub(super) fn new(bounds: TimeBounds, claimed: UtcMillis) -> Self {
        Self { bounds, claimed, timestamps: 0, queued_ats: 0, shown: Vec::new() }
    }

    /// Replaces the implausible times of an event.
    pub(super) fn repair(&mut self, event: &mut QueuedEvent) {
        let queued_at = event.queued_at;
        if !self.bounds.include(queued_at, self.claimed) {
            event.queued_at = self.claimed;
            self.queued_ats += 1;
            self.show(event, "queuedAt", queued_at);
        }
        if let Some(sent) = event.payload.timestamp()
            && !self.bounds.include(sent, event.queued_at)
        {
            *event.payload.timestamp_mut() = Some(event.queued_at);
            self.timestamps += 1;
            self.show(event, "timestamp", sent);
        }
    }

    fn show(&mut self, event: &QueuedEvent, field: &'static str, sent: UtcMillis) {
        if self.shown.len() < MOST_SHOWN {
            self.shown.push(json!({
                "eventId": event.id,
                "projectId": event.project_id,
                "field": field,
                "sent": sent,
                "used": event.queued_at,
            }));
        }
    }

    /// Counts and logs what was replaced.
    pub(super) fn report(self, log: &Telemetry, id: &ClaimId) {
        let Self { timestamps, queued_ats, shown, .. } = self;
        let replaced = timestamps + queued_ats;
        if replaced == 0 {
            return;
        }
        log.metrics().values_changed("timestamp", "replaced", timestamps);
        log.metrics().values_changed("queuedAt", "replaced", queued_ats);
        log.step(Stage::Worker).uncounted().warn("Implausible times in a batch replaced", || {
            details(json!({ "batchId": id.batch, "replaced": replaced, "first": shown }))
        });
    }
}
