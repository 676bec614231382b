//! Records which sessions are active, for dashboards. Nothing depends on it: a failure is logged once
//! per batch, and the worker continues.

use std::convert::identity;
use std::time::Duration;

use serde_json::json;

use super::{WorkerContext, details};
use crate::store::session::activities;
use bklit_net::timeout::within;
use bklit_wire::debug_log::Stage;
use bklit_wire::event::QueuedEvent;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// The longest recording the sessions of a batch may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The longest a sweep may take before it is left for the next one.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Sessions, each with a time.
type Moments = Vec<(SessionKey, UtcMillis)>;

/// The sessions of a batch.
#[derive(Default)]
pub(super) struct Seen {
    /// Those that the batch leaves active, with their last activity.
    active: Moments,
    /// Those that it ends, with their end.
    gone: Moments,
}

/// Records the sessions of a batch, each in the state that the batch leaves it in.
pub(super) async fn follow(context: &WorkerContext, Seen { active, gone }: &Seen) {
    let Some(presence) = &context.presence else { return };
    let timeout = context.settings.session_timeout;
    let recorded = async {
        // They are different sessions, and a failure of one call says nothing about the other.
        let (active, ended) =
            tokio::join!(presence.active(active, timeout), presence.ended(gone, timeout));
        active.and(ended)
    };
    let recorded = within(TIMEOUT, recorded, identity).await;
    log_failure(context, "Active sessions not recorded", recorded, active.len() + gone.len());
}

/// Records sessions that the store knows have ended.
pub(super) async fn ended(context: &WorkerContext, sessions: &[(SessionKey, UtcMillis)]) {
    let Some(presence) = context.presence.as_ref().filter(|_| !sessions.is_empty()) else { return };
    let recorded = presence.ended(sessions, context.settings.session_timeout);
    let recorded = within(TIMEOUT, recorded, identity).await;
    log_failure(context, "Ended sessions not recorded", recorded, sessions.len());
}

/// Removes idle sessions.
pub(super) async fn sweep(context: &WorkerContext) {
    if let Some(presence) = &context.presence {
        let swept = presence.remove_idle(context.settings.session_timeout);
        let swept = within(SWEEP_TIMEOUT, swept, identity).await;
        log_failure(context, "Idle sessions not removed from the active ones", swept, 0);
    }
}

impl Seen {
    /// The sessions of these events. A visitor's clock may be fast: an event counts as of the time it
    /// was queued.
    pub(super) fn of(events: &[QueuedEvent]) -> Self {
        let mut seen = Self::default();
        for ((project_id, session_id), activity) in activities(events) {
            let key = SessionKey { project_id: project_id.into(), session_id: session_id.into() };
            if let Some(end) = activity.closed() {
                seen.gone.push((key, UtcMillis::from_epoch_millis(end)));
            } else if let Some(at) = activity.last_seen {
                seen.active.push((key, UtcMillis::from_epoch_millis(at)));
            }
        }
        seen
    }
}

fn log_failure(
    context: &WorkerContext,
    message: &'static str,
    done: Result<(), String>,
    sessions: usize,
) {
    let Err(reason) = done else { return };
    context.log.step(Stage::Pubsub).warn(message, || {
        let mut data = details(json!({ "reason": reason }));
        if sessions > 0 {
            data.insert("sessions".to_owned(), sessions.into());
        }
        data
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::event::Payload;

    fn event(kind: &str, session: &str, second: u32) -> QueuedEvent {
        let payload = match kind {
            "pageview" => format!(r#"{{"url":"/","sessionId":"{session}"}}"#),
            _ => format!(r#"{{"sessionId":"{session}"}}"#),
        };
        let json = format!(
            r#"{{"id":"e{second}","type":"{kind}","payload":{payload},"queuedAt":"2026-01-01T00:00:{second:02}Z","projectId":"p"}}"#
        );
        QueuedEvent::from_json(&json).unwrap()
    }

    #[test]
    fn a_session_has_the_state_that_the_batch_leaves_it_in() {
        let events = vec![
            event("pageview", "stays", 6),
            event("pageview", "leaves", 2),
            event("session_end", "returns", 3),
            event("session_end", "leaves", 4),
            event("pageview", "returns", 5),
            event("pageview", "stays", 1),
            event("session_end", "only an end", 7),
        ];
        let moment = |second: u32| -> UtcMillis {
            format!("2026-01-01T00:00:0{second}.000Z").parse().unwrap()
        };
        let key = |session: &str| SessionKey { project_id: "p".into(), session_id: session.into() };
        let Seen { mut active, mut gone } = Seen::of(&events);
        active.sort();
        gone.sort();
        assert_eq!(active, [(key("returns"), moment(5)), (key("stays"), moment(6))]);
        assert_eq!(gone, [(key("leaves"), moment(4)), (key("only an end"), moment(7))]);
    }

    #[test]
    fn a_fast_clock_counts_as_the_time_of_arrival() {
        let mut early = event("pageview", "s", 1);
        *timestamp(&mut early) = Some("2099-01-01T00:00:00Z".parse().unwrap());
        let queued_at = early.queued_at;
        let seen = Seen::of(&[early]);
        assert_eq!(seen.active[0].1, queued_at);
    }

    fn timestamp(event: &mut QueuedEvent) -> &mut Option<UtcMillis> {
        let Payload::Pageview(view) = &mut event.payload else { unreachable!() };
        &mut view.timestamp
    }
}
