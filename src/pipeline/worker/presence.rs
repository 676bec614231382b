//! Records which sessions are active, for dashboards. Nothing depends on it: a failure is logged once
//! per batch, and the worker continues.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;

use super::bisect::Stored;
use super::{WorkerContext, details};
use bklit_net::timeout::no_response;
use bklit_wire::debug_log::Stage;
use bklit_wire::event::EventKind;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// The longest recording the sessions of a batch may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Records the sessions of a batch, each in the state after its last event.
pub(super) async fn follow(context: &WorkerContext, stored: &Stored) {
    if context.presence.is_none() {
        return;
    }
    let (active, gone) = last_seen(stored);
    let Some(presence) = &context.presence else { return };
    let recorded = async {
        if !active.is_empty() {
            presence.active(&active).await?;
        }
        if !gone.is_empty() {
            presence.ended(&gone).await?;
        }
        Ok(())
    };
    log_failure(context, tokio::time::timeout(TIMEOUT, recorded).await, active.len() + gone.len());
}

/// Records that sessions have ended.
pub(super) async fn ended(context: &WorkerContext, sessions: &[SessionKey]) {
    if let Some(presence) = &context.presence {
        let recorded = tokio::time::timeout(TIMEOUT, presence.ended(sessions)).await;
        log_failure(context, recorded, sessions.len());
    }
}

fn last_seen(stored: &Stored) -> (Vec<(SessionKey, UtcMillis)>, Vec<SessionKey>) {
    let mut sessions: HashMap<(&str, &str), Option<UtcMillis>> = HashMap::new();
    for event in &stored.events {
        let Some(session_id) = event.payload.session_id() else { continue };
        let active = event.payload.kind() != EventKind::SessionEnd;
        sessions.insert(
            (&event.project_id, session_id),
            active.then(|| event.timestamp().min(event.queued_at)),
        );
    }
    for SessionKey { project_id, session_id } in &stored.inserted.ended_sessions {
        sessions.insert((project_id, session_id), None);
    }
    let (mut active, mut gone) = (Vec::new(), Vec::new());
    for ((project_id, session_id), at) in sessions {
        let session =
            SessionKey { project_id: project_id.to_owned(), session_id: session_id.to_owned() };
        match at {
            Some(at) => active.push((session, at)),
            None => gone.push(session),
        }
    }
    (active, gone)
}

fn log_failure(
    context: &WorkerContext,
    recorded: Result<Result<(), String>, tokio::time::error::Elapsed>,
    sessions: usize,
) {
    let reason = match recorded {
        Ok(Ok(())) => return,
        Ok(Err(reason)) => reason,
        Err(_) => no_response(TIMEOUT),
    };
    context.log.step(Stage::Pubsub).warn("Active sessions not recorded", || {
        details(json!({ "reason": reason, "sessions": sessions }))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::event::QueuedEvent;

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
    fn a_session_has_the_state_after_its_last_event() {
        let events = vec![
            event("pageview", "stays", 1),
            event("pageview", "leaves", 2),
            event("session_end", "returns", 3),
            event("session_end", "leaves", 4),
            event("pageview", "returns", 5),
            event("pageview", "stays", 6),
        ];
        let (mut active, gone) = last_seen(&Stored { events, ..Stored::default() });
        active.sort();
        let active: Vec<_> =
            active.iter().map(|(key, at)| (key.session_id.as_str(), at.to_string())).collect();
        let moment = |second: u32| format!("2026-01-01T00:00:0{second}.000Z");
        assert_eq!(active, [("returns", moment(5)), ("stays", moment(6))]);
        assert_eq!(gone.iter().map(|key| key.session_id.as_str()).collect::<Vec<_>>(), ["leaves"]);
    }
}
