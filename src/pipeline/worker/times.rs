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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;
    const CLAIMED: i64 = 1_800_000_000_000;

    fn event(queued_at: i64, timestamp: Option<i64>) -> QueuedEvent {
        let payload = match timestamp {
            Some(timestamp) => format!(r#"{{"url":"/","timestamp":{timestamp}}}"#),
            None => r#"{"url":"/"}"#.to_owned(),
        };
        let json = format!(
            r#"{{"id":"e","type":"pageview","payload":{payload},"queuedAt":{queued_at},"projectId":"p"}}"#
        );
        QueuedEvent::from_json(&json).unwrap()
    }

    fn times() -> Times {
        let bounds =
            TimeBounds::new(Duration::from_secs(24 * 3600), Duration::from_secs(400 * 24 * 3600));
        Times::new(bounds, UtcMillis::from_epoch_millis(CLAIMED))
    }

    #[test]
    fn each_time_is_judged_by_the_next_later_one() {
        let queued = CLAIMED - DAY;
        for (queued_at, timestamp, used_queued_at, used_timestamp, replaced) in [
            (queued, None, queued, None, 0),
            (queued, Some(queued - 5), queued, Some(queued - 5), 0),
            (queued, Some(queued + DAY), queued, Some(queued + DAY), 0),
            (queued, Some(queued + DAY + 1), queued, Some(queued), 1),
            (queued, Some(queued - 400 * DAY - 1), queued, Some(queued), 1),
            (queued, Some(0), queued, Some(queued), 1),
            (0, None, CLAIMED, None, 1),
            (0, Some(0), CLAIMED, Some(CLAIMED), 2),
            (CLAIMED + DAY + 1, Some(queued), CLAIMED, Some(queued), 1),
        ] {
            let (mut times, mut event) = (times(), event(queued_at, timestamp));
            times.repair(&mut event);
            let found = event.payload.timestamp().map(UtcMillis::epoch_millis);
            let expected = (used_queued_at, used_timestamp);
            assert_eq!((event.queued_at.epoch_millis(), found), expected, "{queued_at}");
            assert_eq!(times.timestamps + times.queued_ats, replaced, "{queued_at} {timestamp:?}");
        }
    }

    #[test]
    fn only_some_are_shown() {
        let mut times = times();
        for _ in 0..MOST_SHOWN + 1 {
            times.repair(&mut event(0, Some(0)));
        }
        assert_eq!(times.shown.len(), MOST_SHOWN);
        let first = json!({
            "eventId": "e", "projectId": "p", "field": "queuedAt",
            "sent": "1970-01-01T00:00:00.000Z", "used": "2027-01-15T08:00:00.000Z",
        });
        assert_eq!(times.shown[0], first);
    }

    #[test]
    fn a_batch_knows_when_it_was_first_claimed() {
        let id = |batch: &str| ClaimId { batch: batch.to_owned(), epoch: 1 };
        // The example of RFC 9562.
        let claimed = id("017f22e279b07cc398c4dc0c0c07398f").first_claimed();
        assert_eq!(claimed.to_string(), "2022-02-22T19:22:22.000Z");
        let now = UtcMillis::now();
        for other in ["batch-7", "", "6ba7b8109dad41d180b400c04fd430c8"] {
            assert!(id(other).first_claimed() >= now, "{other}");
        }
    }
}
