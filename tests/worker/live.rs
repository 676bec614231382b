//! What dashboards receive.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use bklit_pipeline::bus::{LiveBus, LiveMessage, LiveStream};
use bklit_pipeline::metrics::Part;
use bklit_pipeline::worker::WorkerContext;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::event::{EventKind, LiveEvent, Payload, QueuedEvent};
use bklit_wire::gauges::Health;
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Bench, PATIENCE, views};
use crate::support::events::{NOON, at, custom, end, full_view, text_of, view};

async fn next(stream: &mut Box<dyn LiveStream>) -> LiveEvent {
    match tokio::time::timeout(PATIENCE, stream.next()).await {
        Ok(Some(LiveMessage::Event(event))) => LiveEvent::clone(&event),
        other => panic!("no event: {other:?}"),
    }
}

fn data(event: &LiveEvent) -> Value {
    serde_json::from_str(event.data.as_str()).unwrap()
}

fn in_json(event: &LiveEvent) -> Value {
    serde_json::to_value(event).unwrap()
}

/// What dashboards receive of these events.
async fn published(events: &[QueuedEvent]) -> Vec<LiveEvent> {
    let (mut bench, context) = Bench::new();
    let mut stream = bench.live.subscribe();
    bench.queue.push_all(events);
    bench.start(context);
    let mut received = Vec::new();
    for _ in events {
        received.push(next(&mut stream).await);
    }
    bench.stop().await;
    received
}

#[tokio::test(start_paused = true)]
async fn a_page_view_has_the_contracts_fields() {
    let received = published(&[full_view("p", "1"), view("p", "2", "s", 0, "/")]).await;
    let text = |column| text_of(column);
    let expected = json!({
        "projectId": "p",
        "timestamp": "2026-01-31T11:59:58.999Z",
        "type": "pageview",
        "data": {
            "url": "https://example.com/?q=ø'\";--",
            "country": text("country"),
            "countryCode": text("country_code"),
            "city": text("city"),
            "sessionId": text("session_id"),
            "mobile": true,
            "title": text("title"),
            "lat": 59.91,
            "lon": -10.75,
            "userAgent": text("user_agent"),
            "isNewSession": true,
        },
    });
    assert_eq!(in_json(&received[0]), expected);
    let expected = json!({ "url": "/", "sessionId": "s", "isNewSession": true });
    assert_eq!(in_json(&received[1])["data"], expected);
}

#[tokio::test(start_paused = true)]
async fn custom_events_and_ends_have_the_contracts_fields() {
    let mut closed = end("p", "3", "s", 2);
    let Payload::SessionEnd(payload) = &mut closed.payload else { unreachable!() };
    payload.reason = Some("closed".to_owned());
    let mut with = custom("p", "2", "s", 1);
    let Payload::Event(payload) = &mut with.payload else { unreachable!() };
    let metadata = r#"{"z":1e400,"n":12345678901234567890123}"#;
    payload.metadata = serde_json::from_str(metadata).unwrap();
    let received = published(&[custom("p", "1", "s", 0), with, closed]).await;
    let with = format!(
        r#"{{"trackingId":"signup","eventType":"click","sessionId":"s","metadata":{metadata}}}"#
    );
    assert_eq!(received[1].data.as_str(), with, "as it was sent, digit by digit");
    let received: Vec<_> = [&received[0], &received[2]].map(in_json).into();
    let data = json!({ "trackingId": "signup", "eventType": "click", "sessionId": "s" });
    assert_eq!((&received[0]["type"], &received[0]["data"]), (&json!("event"), &data));
    let data = json!({ "sessionId": "s", "reason": "closed" });
    assert_eq!((&received[1]["type"], &received[1]["data"]), (&json!("session_end"), &data));
    assert_eq!(received[1]["timestamp"], "2026-01-31T12:00:02.000Z");
}

#[tokio::test(start_paused = true)]
async fn only_the_first_view_of_a_session_says_it_is_new() {
    let mut anonymous = view("p", "3", "s", 2, "/");
    let Payload::Pageview(payload) = &mut anonymous.payload else { unreachable!() };
    payload.session_id = None;
    let events = [
        view("p", "1", "s", 0, "/"),
        view("p", "2", "s", 1, "/"),
        anonymous,
        view("q", "4", "s", 0, "/"),
    ];
    let received = published(&events).await;
    let new: Vec<_> =
        received.iter().map(|event| data(event).get("isNewSession").cloned()).collect();
    assert_eq!(new, [Some(json!(true)), Some(json!(false)), None, Some(json!(true))]);
}

#[tokio::test(start_paused = true)]
async fn events_that_are_not_stored_are_not_published() {
    let (mut bench, context) = Bench::new();
    let mut stream = bench.live.subscribe();
    bench.store.refused.lock().unwrap().insert("evt_00001".to_owned());
    bench.queue.push_raw("garbage");
    let mut events = views(3);
    for (n, event) in events.iter_mut().enumerate() {
        let Payload::Pageview(payload) = &mut event.payload else { unreachable!() };
        payload.url = format!("/{n}");
    }
    bench.queue.push_all(&events);
    bench.start(context);
    assert_eq!(data(&next(&mut stream).await)["url"], "/0");
    assert_eq!(data(&next(&mut stream).await)["url"], "/2");
    bench.stop().await;
    drop(bench);
    assert!(stream.next().await.is_none(), "nothing else was published");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_id_belongs_to_another_is_neither_stored_nor_published() {
    let (mut bench, context) = Bench::new();
    let mut stream = bench.live.subscribe();
    bench.queue.push_all(&[view("p", "1", "s", 0, "/first")]);
    bench.start(context);
    assert_eq!(data(&next(&mut stream).await)["url"], "/first");
    bench.line("Batch stored").await;
    // Many of them are reported in one line.
    let mut more: Vec<_> = (0..100).map(|n| view("p", "1", "s", 5 + n, "/taken")).collect();
    more.push(view("p", "2", "s", 6, "/last"));
    bench.queue.push_all(&more);
    assert_eq!(data(&next(&mut stream).await)["url"], "/last");
    let message = "Events ignored: their projects have stored events with these ids";
    let line = bench.line(message).await;
    assert_eq!((line.event_id.as_deref(), line.level), (Some("1"), Level::Warn));
    assert_eq!(line.data["events"], 100);
    assert_eq!(line.data["eventIds"].as_array().unwrap().len(), 10);
    let line = loop {
        let line = bench.next_line().await;
        assert_ne!(line.message, message);
        if line.message == "Batch stored" {
            break line;
        }
    };
    assert_eq!((&line.data["rows"], &line.data["storedBefore"]), (&json!(1), &json!(100)));
    bench.stop().await;
    assert_eq!(bench.store.count("page_view_event").await, 2);
}

#[tokio::test(start_paused = true)]
async fn idle_sessions_end_with_the_sweep() {
    let (mut bench, context) = Bench::new();
    let mut stream = bench.live.subscribe();
    // The sweep uses the real clock: one session ended long ago, the other has just begun.
    let now = UtcMillis::now().epoch_millis();
    let fresh = view("p", "2", "fresh", (now - NOON) / 1000, "/");
    bench.queue.push_all(&[view("p", "1", "old", 0, "/"), fresh]);
    bench.start(context);
    for _ in 0..2 {
        assert_eq!(next(&mut stream).await.r#type, EventKind::Pageview);
    }
    let ended = next(&mut stream).await;
    assert_eq!(ended.r#type, EventKind::SessionEnd);
    assert_eq!(data(&ended), json!({ "sessionId": "old", "reason": "timeout" }));
    bench.stop().await;
    assert!(ended.timestamp > at(0));
    assert_eq!(bench.store.count("tracked_session WHERE ended_at IS NOT NULL").await, 1);
    drop(bench);
    assert!(stream.next().await.is_none());
}

/// A bus that fails, or never answers.
struct BrokenBus {
    hangs: bool,
}

#[async_trait]
impl LiveBus for BrokenBus {
    async fn publish(&self, _event: LiveEvent) -> Result<u64, String> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Err("nobody there".to_owned())
    }

    fn has_subscribers(&self) -> bool {
        true
    }

    fn subscribe(&self) -> Box<dyn LiveStream> {
        unreachable!()
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_bus_is_logged_once_per_batch_and_blocks_nothing() {
    for (hangs, reason) in [(false, "nobody there"), (true, "no response within 2s")] {
        let (mut bench, context) = Bench::new();
        let live_bus = std::sync::Arc::new(BrokenBus { hangs });
        bench.queue.push_all(&views(100));
        bench.start(WorkerContext { live_bus, ..context });
        let line = bench.line("Live events of a batch not published").await;
        assert_eq!((line.stage, line.level), (Stage::Pubsub, Level::Error));
        assert_eq!(line.data["reason"], reason);
        assert_eq!(line.data["events"], 100);
        bench.drained().await;
        assert_eq!(bench.store.count("page_view_event").await, 100);
        tokio::time::sleep(Duration::from_secs(10)).await;
        bench.stop().await;
        assert_eq!(bench.metrics.take_gauges().stages[4].errors, 1);
    }
}

/// A bus whose first answer is about an earlier failure.
#[derive(Default)]
struct Hiccup {
    asked: std::sync::atomic::AtomicU64,
}

#[async_trait]
impl LiveBus for Hiccup {
    async fn publish(&self, _event: LiveEvent) -> Result<u64, String> {
        match self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Err("the connection broke".to_owned()),
            _ => Ok(1),
        }
    }

    fn has_subscribers(&self) -> bool {
        true
    }

    fn subscribe(&self) -> Box<dyn LiveStream> {
        unreachable!()
    }
}

#[tokio::test(start_paused = true)]
async fn one_event_that_is_not_published_holds_back_no_others() {
    let (mut bench, context) = Bench::new();
    let live_bus = std::sync::Arc::new(Hiccup::default());
    bench.queue.push_all(&views(100));
    bench.start(WorkerContext { live_bus: live_bus.clone(), ..context });
    let line = bench.line("Live events of a batch not published").await;
    assert_eq!(line.data["events"], 1);
    bench.drained().await;
    bench.stop().await;
    assert_eq!(live_bus.asked.load(std::sync::atomic::Ordering::SeqCst), 100);
}

/// A bus without subscribers.
#[derive(Default)]
struct EmptyRoom {
    published: AtomicU64,
}

#[async_trait]
impl LiveBus for EmptyRoom {
    async fn publish(&self, _event: LiveEvent) -> Result<u64, String> {
        self.published.fetch_add(1, SeqCst);
        Ok(0)
    }

    fn has_subscribers(&self) -> bool {
        false
    }

    fn subscribe(&self) -> Box<dyn LiveStream> {
        unreachable!()
    }
}

#[tokio::test(start_paused = true)]
async fn without_subscribers_no_event_is_built() {
    let (mut bench, context) = Bench::new();
    let live_bus = std::sync::Arc::new(EmptyRoom::default());
    // Old enough for the sweep.
    bench.queue.push_all(&views(100));
    bench.start(WorkerContext { live_bus: live_bus.clone(), ..context });
    bench.line("Idle sessions ended").await;
    bench.stop().await;
    assert_eq!(bench.store.count("page_view_event").await, 100);
    assert_eq!(live_bus.published.load(SeqCst), 0);
    assert_eq!(bench.metrics.take_gauges().stages[4].count, 0);
}

#[tokio::test(start_paused = true)]
async fn later_subscribers_get_the_next_batch() {
    let (mut bench, context) = Bench::new();
    let events = views(3);
    bench.queue.push_all(&events[..2]);
    bench.start(context);
    bench.line("Batch stored").await;
    let mut stream = bench.live.subscribe();
    bench.queue.push_all(&events[2..]);
    assert_eq!(data(&next(&mut stream).await)["sessionId"], "s2");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_sweep_is_logged_without_affecting_the_stores_health() {
    let (mut bench, context) = Bench::new();
    bench.store.sweeps_to_fail.store(5, SeqCst);
    bench.queue.push_all(&views(1));
    bench.start(context);
    bench.drained().await;
    let line = bench.line("Cannot end idle sessions, retrying").await;
    assert_eq!((line.stage, line.level), (Stage::Clickhouse, Level::Warn));
    assert_eq!(line.data["reason"], "the store is unavailable: no time for that");
    assert_eq!(bench.metrics.health(Part::Store), Health::Ok);
    bench.line("Idle sessions ended").await;
    bench.stop().await;
    // A successful sweep does not show either whether batches can be stored.
    let (mut bench, context) = Bench::new();
    bench.store.inserts_to_fail.store(u32::MAX, SeqCst);
    bench.queue.push_all(&views(1));
    bench.start(context);
    while bench.store.sweeps.load(SeqCst) < 3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(bench.metrics.health(Part::Store), Health::Failing);
    bench.stop().await;
}

/// Processes that start together do not sweep together, and none waits much longer than another.
#[tokio::test(start_paused = true)]
async fn sweeps_of_several_processes_are_spread() {
    let mut gaps = Vec::new();
    let (mut bench, context) = Bench::new();
    bench.start(context);
    let mut last = Instant::now();
    for sweep in 1..=20 {
        while bench.store.sweeps.load(SeqCst) < sweep {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        gaps.push(last.elapsed());
        last = Instant::now();
    }
    bench.stop().await;
    let (shortest, longest) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    assert!(
        *shortest >= Duration::from_secs(59) && *longest <= Duration::from_secs(76),
        "{gaps:?}"
    );
    assert!(*longest - *shortest > Duration::from_secs(1), "{gaps:?}");
}
