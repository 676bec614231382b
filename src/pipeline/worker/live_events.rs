//! Publishes stored events for dashboards. Nothing depends on it: a failure is logged once per batch,
//! and the worker continues.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::bisect::Stored;
use super::{WorkerContext, details};
use bklit_net::timeout::no_response;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::event::{
    CustomEvent, EventKind, LiveEvent, PageView, Payload, QueuedEvent, SessionEnd,
};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// The longest publishing a batch may take.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Events published before the task yields.
const AT_ONCE: usize = 256;

/// Publishes a batch's events, in order, if there are subscribers.
pub(super) async fn publish(context: &WorkerContext, stored: Stored) {
    if !context.live_bus.has_subscribers() {
        return;
    }
    let deadline = Instant::now() + PUBLISH_TIMEOUT;
    let mut unannounced = stored.inserted.new_sessions;
    let total = stored.events.len();
    let mut failed = Failed::default();
    for (nth, event) in stored.events.into_iter().enumerate() {
        if nth % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let live = live_event(&event, &mut unannounced);
        let began = Instant::now();
        let published = tokio::time::timeout_at(deadline, context.live_bus.publish(live)).await;
        match published {
            Ok(Ok(subscribers)) => log_published(context, &event, subscribers, began.elapsed()),
            // The error may be about an earlier event, so the next one may succeed.
            Ok(Err(reason)) => failed.add(1, reason),
            Err(_) => {
                failed.add(total - nth, no_response(PUBLISH_TIMEOUT));
                break;
            }
        }
    }
    if let Some(reason) = failed.reason {
        context.log.step(Stage::Pubsub).error("Live events of a batch not published", || {
            details(json!({ "reason": reason, "events": failed.events }))
        });
    }
}

/// Events that could not be published.
#[derive(Default)]
struct Failed {
    events: usize,
    /// The reason of the first failure.
    reason: Option<String>,
}

impl Failed {
    fn add(&mut self, events: usize, reason: String) {
        self.events += events;
        self.reason.get_or_insert(reason);
    }
}

/// Publishes that sessions ended by timeout, if there are subscribers.
pub(super) async fn publish_timeouts(context: &WorkerContext, sessions: Vec<SessionKey>) {
    if !context.live_bus.has_subscribers() {
        return;
    }
    let deadline = Instant::now() + PUBLISH_TIMEOUT;
    let total = sessions.len();
    let mut failed = Failed::default();
    for (nth, SessionKey { project_id, session_id }) in sessions.into_iter().enumerate() {
        let end = SessionEnd {
            session_id,
            timestamp: None,
            reason: Some("timeout".to_owned()),
            unverified: false,
        };
        let live = LiveEvent {
            project_id,
            timestamp: UtcMillis::now(),
            r#type: EventKind::SessionEnd,
            data: session_end(&end),
        };
        let published = tokio::time::timeout_at(deadline, context.live_bus.publish(live)).await;
        match published {
            Ok(Ok(_)) => {}
            Ok(Err(reason)) => failed.add(1, reason),
            Err(_) => {
                failed.add(total - nth, no_response(PUBLISH_TIMEOUT));
                break;
            }
        }
    }
    if let Some(reason) = failed.reason {
        context.log.step(Stage::Pubsub).error("Ends of idle sessions not published", || {
            details(json!({ "reason": reason, "sessions": failed.events }))
        });
    }
}

fn log_published(context: &WorkerContext, event: &QueuedEvent, subscribers: u64, took: Duration) {
    context.log.metrics().steps(Stage::Pubsub, Level::Info, Some(took), 1);
    let step = context.log.step(Stage::Pubsub).event(&event.id).project(&event.project_id);
    step.took(took).uncounted().info("Live event published", || {
        details(json!({ "type": event.payload.kind(), "subscribers": subscribers }))
    });
}

/// The event as dashboards receive it. The first page view of a session in `unannounced` is marked as
/// such and removes the session from it.
fn live_event(event: &QueuedEvent, unannounced: &mut HashSet<SessionKey>) -> LiveEvent {
    let data = match &event.payload {
        Payload::Pageview(view) => {
            let is_new = view.session_id.as_ref().map(|session| {
                unannounced.remove(&SessionKey {
                    project_id: event.project_id.clone(),
                    session_id: session.clone(),
                })
            });
            page_view(view, is_new)
        }
        Payload::Event(custom) => custom_event(custom),
        Payload::SessionEnd(end) => session_end(end),
    };
    LiveEvent {
        project_id: event.project_id.clone(),
        timestamp: event.timestamp(),
        r#type: event.payload.kind(),
        data,
    }
}

fn page_view(view: &PageView, is_new_session: Option<bool>) -> Map<String, Value> {
    present([
        ("url", Some(view.url.as_str().into())),
        ("country", text(&view.country)),
        ("countryCode", text(&view.country_code)),
        ("city", text(&view.city)),
        ("sessionId", text(&view.session_id)),
        ("mobile", view.mobile.map(Value::from)),
        ("title", text(&view.title)),
        ("lat", view.lat.map(Value::from)),
        ("lon", view.lon.map(Value::from)),
        ("userAgent", text(&view.user_agent)),
        ("isNewSession", is_new_session.map(Value::from)),
    ])
}

fn custom_event(custom: &CustomEvent) -> Map<String, Value> {
    present([
        ("trackingId", Some(custom.tracking_id.as_str().into())),
        ("eventType", Some(custom.event_type.as_str().into())),
        ("sessionId", text(&custom.session_id)),
        ("metadata", custom.metadata.clone().map(Value::Object)),
    ])
}

fn session_end(end: &SessionEnd) -> Map<String, Value> {
    present([("sessionId", Some(end.session_id.as_str().into())), ("reason", text(&end.reason))])
}

fn text(text: &Option<String>) -> Option<Value> {
    text.as_deref().map(Value::from)
}

fn present<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    present.collect()
}
