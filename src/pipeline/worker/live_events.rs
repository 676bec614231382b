//! Publishes stored events for dashboards. Nothing depends on it: a failure is logged once per batch,
//! and the worker continues.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::{WorkerContext, details};
use crate::store::StoreError;
use crate::store::session::key_of;
use bklit_net::timeout::{no_response, within};
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::event::{
    CustomEvent, EventKind, LiveEvent, PageView, Payload, QueuedEvent, SessionEnd,
};
use bklit_wire::object::Object;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// The longest publishing a batch may take.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Events published before the task yields.
const AT_ONCE: usize = 256;

/// Publishes a batch's events, in order.
pub(super) async fn publish(context: &WorkerContext, events: Vec<QueuedEvent>) {
    if events.is_empty() {
        return;
    }
    let firsts = first_views(context, &events).await;
    let live = |event: &QueuedEvent| live_event(event, &firsts);
    let log = |event: &QueuedEvent, subscribers, took| {
        log_published(context, event, subscribers, took);
    };
    publish_all(context, events, live, log, "Live events of a batch not published").await;
}

/// Publishes that sessions ended by timeout, if there are subscribers.
pub(super) async fn publish_timeouts(context: &WorkerContext, sessions: Vec<SessionKey>) {
    let live = |key: &SessionKey| LiveEvent {
        project_id: key.project_id.clone(),
        timestamp: UtcMillis::now(),
        r#type: EventKind::SessionEnd,
        data: Object::of(&SessionEndData { session_id: &key.session_id, reason: Some("timeout") }),
    };
    publish_all(context, sessions, live, |_, _, _| {}, "Ends of idle sessions not published").await;
}

/// Publishes what `live` returns for each item, in order, and calls `log` for each that was
/// published, with the number of subscribers and how long it took. Reports `failure` once.
async fn publish_all<T>(
    context: &WorkerContext,
    items: Vec<T>,
    mut live: impl FnMut(&T) -> LiveEvent,
    log: impl Fn(&T, u64, Duration),
    failure: &'static str,
) {
    if !context.live_bus.may_have_subscribers().await {
        return;
    }
    let deadline = Instant::now() + PUBLISH_TIMEOUT;
    let total = items.len();
    let mut failed = Failed::default();
    for (nth, item) in items.into_iter().enumerate() {
        if nth % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let live = live(&item);
        let began = Instant::now();
        let published = tokio::time::timeout_at(deadline, context.live_bus.publish(live)).await;
        match published {
            Ok(Ok(subscribers)) => log(&item, subscribers, began.elapsed()),
            // The error may be about an earlier event, so the next one may succeed.
            Ok(Err(reason)) => failed.add(1, reason),
            Err(_) => {
                failed.add(total - nth, no_response(PUBLISH_TIMEOUT));
                break;
            }
        }
    }
    if let Some(reason) = failed.reason {
        context
            .log
            .step(Stage::Pubsub)
            .error(failure, || details(json!({ "reason": reason, "events": failed.events })));
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

fn log_published(context: &WorkerContext, event: &QueuedEvent, subscribers: u64, took: Duration) {
    context.log.metrics().steps(Stage::Pubsub, Level::Info, Some(took), 1);
    let step = context.log.step(Stage::Pubsub).event(&event.id).project(&event.project_id);
    step.took(took).uncounted().info("Live event published", || {
        details(json!({ "type": event.payload.kind(), "subscribers": subscribers }))
    });
}

/// The keys of the first page views of the events' sessions. If they cannot be read, no event is
/// marked as the first one.
async fn first_views(
    context: &WorkerContext,
    events: &[QueuedEvent],
) -> HashMap<SessionKey, String> {
    let views = events.iter().filter(|event| event.payload.kind() == EventKind::Pageview);
    let sessions: HashSet<_> = views.filter_map(SessionKey::of).collect();
    if sessions.is_empty() {
        return HashMap::new();
    }
    let sessions: Vec<_> = sessions.into_iter().collect();
    let found = context.store.first_views(&sessions);
    within(PUBLISH_TIMEOUT, found, StoreError::Unavailable).await.unwrap_or_else(|error| {
        context.log.step(Stage::Pubsub).warn("First page views of sessions not known", || {
            details(json!({ "reason": error.to_string(), "sessions": sessions.len() }))
        });
        HashMap::new()
    })
}

/// The event as dashboards receive it; a page view says whether it is the first of its session.
fn live_event(event: &QueuedEvent, firsts: &HashMap<SessionKey, String>) -> LiveEvent {
    let data = match &event.payload {
        Payload::Pageview(view) => {
            let session = SessionKey::of(event);
            let is_first = |session| firsts.get(&session).is_some_and(|key| *key == key_of(event));
            Object::of(&PageViewData::of(view, session.map(is_first)))
        }
        Payload::Event(custom) => Object::of(&CustomEventData::of(custom)),
        Payload::SessionEnd(end) => Object::of(&SessionEndData::of(end)),
    };
    LiveEvent {
        project_id: event.project_id.clone(),
        timestamp: event.timestamp(),
        r#type: event.payload.kind(),
        data,
    }
}

/// The fields of a page view that dashboards receive.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageViewData<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mobile: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lat: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lon: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_new_session: Option<bool>,
}

impl<'a> PageViewData<'a> {
    fn of(view: &'a PageView, is_new_session: Option<bool>) -> Self {
        Self {
            url: &view.url,
            country: view.country.as_deref(),
            country_code: view.country_code.as_deref(),
            city: view.city.as_deref(),
            session_id: view.session_id.as_deref(),
            mobile: view.mobile,
            title: view.title.as_deref(),
            lat: view.lat,
            lon: view.lon,
            user_agent: view.user_agent.as_deref(),
            is_new_session,
        }
    }
}

/// The fields of a custom event that dashboards receive.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CustomEventData<'a> {
    tracking_id: &'a str,
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Object>,
}

impl<'a> CustomEventData<'a> {
    fn of(custom: &'a CustomEvent) -> Self {
        Self {
            tracking_id: &custom.tracking_id,
            event_type: &custom.event_type,
            session_id: custom.session_id.as_deref(),
            metadata: custom.metadata.as_ref(),
        }
    }
}

/// The fields of a session's end that dashboards receive.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionEndData<'a> {
    session_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> SessionEndData<'a> {
    fn of(end: &'a SessionEnd) -> Self {
        Self { session_id: &end.session_id, reason: end.reason.as_deref() }
    }
}
