//! The ports `DebugBus` and `LiveBus`.

use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::local::{LocalDebugBus, LocalLiveBus};
use bklit_adapters::redis::bus::{RedisDebugBus, RedisLiveBus};
use bklit_pipeline::bus::{LiveBus, LiveMessage, LiveStream};
use bklit_pipeline::metrics::Metrics;
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::event::{EventKind, LiveEvent};
use bklit_wire::object::Object;
use bklit_wire::time::UtcMillis;

use crate::support::redis::server_at;
use crate::support::servers::{Kind, RedisServer};

const SOON: Duration = Duration::from_secs(10);
/// More than any bus buffers for one subscriber.
const FLOOD: usize = 200_000;

fn line(n: usize) -> DebugMessage {
    let mut log = DebugLog::new(Stage::Worker, Level::Info, "line");
    log.data.insert("n".into(), n.into());
    DebugMessage::Log(Arc::new(log))
}

/// The next message, ignoring connection messages.
async fn next(stream: &mut dyn DebugStream) -> Option<DebugMessage> {
    loop {
        match tokio::time::timeout(SOON, stream.next()).await.expect("a message in time") {
            Some(DebugMessage::Connected) => {}
            message => return message,
        }
    }
}

async fn number(stream: &mut dyn DebugStream) -> u64 {
    match next(stream).await {
        Some(DebugMessage::Log(log)) => log.data["n"].as_u64().unwrap(),
        other => panic!("expected a line, got {other:?}"),
    }
}

async fn every_subscriber_gets_all_lines_in_order(bus: Arc<dyn DebugBus>) {
    bus.publish(line(0));
    assert!(!bus.has_subscribers());
    let (mut one, mut two) = (bus.subscribe(), bus.subscribe());
    assert!(bus.has_subscribers());
    (1..=1_000).for_each(|n| bus.publish(line(n)));
    for n in 1..=1_000 {
        assert_eq!((number(&mut *one).await, number(&mut *two).await), (n, n));
    }
    drop(one);
    assert!(bus.has_subscribers());
    drop(two);
    assert!(!bus.has_subscribers());
}

async fn a_slow_subscriber_blocks_no_one_and_learns_what_it_lost(bus: Arc<dyn DebugBus>) {
    let mut slow = bus.subscribe();
    (1..=FLOOD).for_each(|n| bus.publish(line(n)));
    let Some(DebugMessage::Lost(lost)) = next(&mut *slow).await else { panic!("no loss reported") };
    // All lines after the gap arrive.
    for n in lost + 1..=FLOOD as u64 {
        assert_eq!(number(&mut *slow).await, n);
    }
}

async fn subscriptions_end_with_the_bus(bus: Arc<dyn DebugBus>) {
    let mut stream = bus.subscribe();
    bus.publish(line(1));
    drop(bus);
    assert_eq!(number(&mut *stream).await, 1);
    assert!(next(&mut *stream).await.is_none());
}

fn event(n: usize) -> LiveEvent {
    LiveEvent {
        project_id: format!("p{n}"),
        timestamp: UtcMillis::now(),
        r#type: EventKind::Pageview,
        data: Object::default(),
    }
}

async fn next_live(stream: &mut dyn LiveStream) -> Option<LiveMessage> {
    tokio::time::timeout(SOON, stream.next()).await.expect("a message in time")
}

async fn dashboards_get_events_and_are_counted(bus: Arc<dyn LiveBus>) {
    assert_eq!(bus.publish(event(0)).await, Ok(0));
    let (mut one, mut two) = (bus.subscribe(), bus.subscribe());
    assert_eq!(bus.publish(event(1)).await, Ok(2));
    for stream in [&mut one, &mut two] {
        let Some(LiveMessage::Event(received)) = next_live(&mut **stream).await else { panic!() };
        assert_eq!(received.project_id, "p1");
    }
    drop(bus);
    assert!(next_live(&mut *one).await.is_none());
}

/// So that events are not created without subscribers. A subscriber in this process counts
/// immediately.
async fn subscribers_are_detected(bus: Arc<dyn LiveBus>) {
    without_subscribers(&*bus).await;
    let (mut one, two) = (bus.subscribe(), bus.subscribe());
    assert!(bus.has_subscribers());
    bus.publish(event(1)).await.unwrap();
    let Some(LiveMessage::Event(received)) = next_live(&mut *one).await else { panic!() };
    assert_eq!(received.project_id, "p1");
    drop(one);
    assert!(bus.has_subscribers());
    drop(two);
    without_subscribers(&*bus).await;
}

/// A bus between processes has to query the server first.
async fn without_subscribers(bus: &dyn LiveBus) {
    let deadline = tokio::time::Instant::now() + SOON;
    while bus.has_subscribers() {
        assert!(tokio::time::Instant::now() < deadline, "the missing subscribers are not noticed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn a_slow_dashboard_learns_what_it_lost(bus: Arc<dyn LiveBus>) {
    let mut slow = bus.subscribe();
    for n in 1..=FLOOD {
        // An error would concern other processes, which do not matter here.
        let _ = bus.publish(event(n)).await;
    }
    let Some(LiveMessage::Lost(lost)) = next_live(&mut *slow).await else {
        panic!("no loss reported")
    };
    let Some(LiveMessage::Event(first)) = next_live(&mut *slow).await else { panic!("no event") };
    assert_eq!(first.project_id, format!("p{}", lost + 1));
}

macro_rules! bus_conformance {
    ($adapter:ident, $debug:expr, $live:expr) => {
        mod $adapter {
            #[allow(unused_imports)]
            use super::*;

            bus_conformance!(@ $debug, [
                every_subscriber_gets_all_lines_in_order,
                a_slow_subscriber_blocks_no_one_and_learns_what_it_lost,
                subscriptions_end_with_the_bus,
            ]);
            bus_conformance!(@ $live, [
                dashboards_get_events_and_are_counted,
                subscribers_are_detected,
                a_slow_dashboard_learns_what_it_lost,
            ]);
        }
    };
    (@ $bus:expr, [$($test:ident),+ $(,)?]) => {
        $(
            #[tokio::test]
            async fn $test() {
                // Keeps the server running during the test.
                let (bus, _server) = $bus;
                super::$test(bus).await;
            }
        )+
    };
}

bus_conformance!(local, (Arc::new(local_debug_bus()), ()), (Arc::new(LocalLiveBus::default()), ()));
bus_conformance!(valkey, redis_debug_bus(Kind::Valkey), redis_live_bus(Kind::Valkey));
bus_conformance!(redis, redis_debug_bus(Kind::Redis), redis_live_bus(Kind::Redis));

fn redis_debug_bus(kind: Kind) -> (Arc<RedisDebugBus>, RedisServer) {
    let server = RedisServer::start(kind, &[]);
    let bus = RedisDebugBus::new(server_at(&server), Arc::new(Metrics::new()), 0);
    (Arc::new(bus), server)
}

fn redis_live_bus(kind: Kind) -> (Arc<RedisLiveBus>, RedisServer) {
    let server = RedisServer::start(kind, &[]);
    (Arc::new(RedisLiveBus::new(server_at(&server))), server)
}

fn local_debug_bus() -> LocalDebugBus {
    LocalDebugBus::new(Arc::new(Metrics::new()))
}

#[tokio::test]
async fn lost_lines_are_counted_in_the_metrics() {
    let metrics = Arc::new(Metrics::new());
    let bus = LocalDebugBus::new(Arc::clone(&metrics));
    let mut slow = bus.subscribe();
    (1..=FLOOD).for_each(|n| bus.publish(line(n)));
    let Some(DebugMessage::Lost(lost)) = next(&mut *slow).await else { panic!("no loss reported") };
    let text = metrics.to_prometheus();
    assert!(text.contains(&format!("bklit_debug_lines_lost_total {lost}")), "{text}");
}
