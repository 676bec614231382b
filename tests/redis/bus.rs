//! Buses between processes, and with programs that use only the channels.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bklit_adapters::redis::bus::{RedisDebugBus, RedisLiveBus};
use bklit_adapters::redis::connection::{RedisOptions, RedisServer as Server};
use bklit_pipeline::bus::{LiveBus, LiveMessage};
use bklit_pipeline::metrics::Metrics;
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::event::{EventKind, LiveEvent};
use bklit_wire::gauges::Gauges;
use bklit_wire::object::Object;
use bklit_wire::time::UtcMillis;

use crate::support::redis::{SOON, eventually, options, server_at};
use crate::support::servers::{Kind, RedisServer};

fn bus_at(server: &RedisServer) -> RedisDebugBus {
    RedisDebugBus::new(server_at(server), Arc::new(Metrics::new()), 0)
}

fn line(n: usize) -> DebugMessage {
    let mut line = DebugLog::new(Stage::Worker, Level::Info, "line");
    line.data.insert("n".into(), n.into());
    DebugMessage::Log(Arc::new(line))
}

async fn next(stream: &mut dyn DebugStream) -> DebugMessage {
    tokio::time::timeout(SOON, stream.next()).await.expect("a message in time").expect("no end")
}

async fn connected(stream: &mut dyn DebugStream) {
    let message = next(stream).await;
    assert!(matches!(message, DebugMessage::Connected), "{message:?}");
}

async fn number(stream: &mut dyn DebugStream) -> u64 {
    match next(stream).await {
        DebugMessage::Log(line) => line.data["n"].as_u64().unwrap(),
        other => panic!("expected a line, got {other:?}"),
    }
}

async fn subscribers_noticed(bus: &dyn DebugBus) {
    eventually("others are noticed", || async { bus.has_subscribers().then_some(()) }).await;
}

#[tokio::test]
async fn processes_receive_each_message_once() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let (one, two) = (bus_at(&server), bus_at(&server));
        let mut at_two = two.subscribe();
        connected(&mut *at_two).await;
        subscribers_noticed(&one).await;
        let mut at_one = one.subscribe();
        connected(&mut *at_one).await;
        // A process publishes to others only once it has noticed them.
        let deadline = Instant::now() + SOON;
        for (from, to) in [(&two, &mut at_one), (&one, &mut at_two)] {
            loop {
                assert!(Instant::now() < deadline, "the other is not noticed");
                from.publish(line(0));
                if tokio::time::timeout(Duration::from_millis(50), to.next()).await.is_ok() {
                    break;
                }
            }
        }
        while tokio::time::timeout(Duration::from_millis(300), at_one.next()).await.is_ok() {}
        while tokio::time::timeout(Duration::from_millis(300), at_two.next()).await.is_ok() {}
        for n in 1..=500 {
            one.publish(line(n));
        }
        for n in 1..=500 {
            assert_eq!((number(&mut *at_one).await, number(&mut *at_two).await), (n, n));
        }
        let gauges = Gauges { process: "one".into(), accepted: 7, ..Gauges::default() };
        one.publish(DebugMessage::Gauges(Arc::new(gauges.clone())));
        one.publish(line(501));
        for stream in [&mut at_one, &mut at_two] {
            // Lines and gauges use different channels on one connection.
            let DebugMessage::Gauges(received) = next(&mut **stream).await else { panic!() };
            assert_eq!(*received, gauges);
            assert_eq!(number(&mut **stream).await, 501);
        }
    }
}

#[tokio::test]
async fn messages_of_other_programs_are_shown_even_if_unparsed() {
    let server = RedisServer::start(Kind::Redis, &[]);
    let bus = bus_at(&server);
    let mut stream = bus.subscribe();
    connected(&mut *stream).await;
    let theirs = r#"{"timestamp":"2026-01-31T12:00:00.000Z","stage":"queue","level":"warn","message":"deep","data":{"depth":5},"duration":1.5,"pid":7}"#;
    assert_eq!(server.cli(&["PUBLISH", "debug-logs", theirs]), "1");
    let DebugMessage::Log(received) = next(&mut *stream).await else { panic!() };
    assert_eq!((received.stage, received.level), (Stage::Queue, Level::Warn));
    for odd in ["not JSON", r#"{"stage":"nap"}"#, ""] {
        server.cli(&["PUBLISH", "debug-logs", odd]);
        let DebugMessage::Unparsed(text) = next(&mut *stream).await else { panic!() };
        assert_eq!(&*text, odd);
    }
    server.cli(&["PUBLISH", "bklit:gauges", "[]"]);
    assert!(matches!(next(&mut *stream).await, DebugMessage::Unparsed(_)));
    // A second subscriber immediately receives the connection state.
    let mut second = bus.subscribe();
    connected(&mut *second).await;
}

#[tokio::test]
async fn a_lost_connection_is_reported_and_own_lines_continue() {
    let mut server = RedisServer::start(Kind::Valkey, &[]);
    let (bus, other) = (bus_at(&server), bus_at(&server));
    let mut stream = bus.subscribe();
    connected(&mut *stream).await;
    subscribers_noticed(&other).await;
    server.kill9();
    let DebugMessage::Disconnected(reason) = next(&mut *stream).await else { panic!() };
    assert!(!reason.is_empty());
    bus.publish(line(1));
    assert_eq!(number(&mut *stream).await, 1);
    eventually("the others' absence is known", || async {
        (!other.has_subscribers()).then_some(())
    })
    .await;
    let mut late = bus.subscribe();
    assert!(matches!(next(&mut *late).await, DebugMessage::Disconnected(_)));
    server.restart();
    connected(&mut *stream).await;
    connected(&mut *late).await;
    subscribers_noticed(&other).await;
    other.publish(line(2));
    assert_eq!(number(&mut *stream).await, 2);
}

#[tokio::test]
async fn publishing_never_waits_and_losses_are_reported() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let short = Duration::from_millis(500);
    let options = RedisOptions { response_timeout: short, ..options(&server.url()) };
    let metrics = Arc::new(Metrics::new());
    let bus = RedisDebugBus::new(Server::new(&options).unwrap(), Arc::clone(&metrics), 0);
    let other = bus_at(&server);
    let mut stream = other.subscribe();
    connected(&mut *stream).await;
    subscribers_noticed(&bus).await;
    server.freeze();
    let start = Instant::now();
    (1..=40_000).for_each(|n| bus.publish(line(n)));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    tokio::time::sleep(short * 2).await;
    server.thaw();
    subscribers_noticed(&bus).await;
    let deadline = Instant::now() + SOON;
    let lost = loop {
        assert!(Instant::now() < deadline, "the loss is not reported");
        bus.publish(line(0));
        let message = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
        match message {
            Ok(Some(DebugMessage::Log(line))) if line.data.contains_key("lost") => break line,
            _ => {}
        }
    };
    let lost = lost.data["lost"].as_u64().unwrap();
    assert!((20_000..=40_000).contains(&lost), "{lost}");
    let text = metrics.to_prometheus();
    assert!(text.contains(&format!("bklit_debug_lines_lost_total {lost}")), "{text}");
}

fn live(project: &str) -> LiveEvent {
    let data = serde_json::json!({"url": "https://a.example/", "sessionId": "s"});
    LiveEvent {
        project_id: project.to_owned(),
        timestamp: UtcMillis::from_epoch_millis(0),
        r#type: EventKind::Pageview,
        data: Object::of(&data),
    }
}

#[tokio::test]
async fn live_events_reach_all_processes_and_a_lost_connection_is_reported() {
    for kind in Kind::ALL {
        let mut server = RedisServer::start(kind, &[]);
        let (one, two) =
            (RedisLiveBus::new(server_at(&server)), RedisLiveBus::new(server_at(&server)));
        let mut at_one = one.subscribe();
        let mut at_two = two.subscribe();
        let next = async |stream: &mut Box<dyn bklit_pipeline::bus::LiveStream>| {
            tokio::time::timeout(SOON, stream.next()).await.expect("in time").expect("no end")
        };
        eventually("both listen", || async {
            (server.cli(&["PUBSUB", "NUMSUB", "live-events"]) == "live-events\n2").then_some(())
        })
        .await;
        let counted = async || one.publish(live("p1")).await.unwrap();
        eventually("the other counts", || async { (counted().await == 2).then_some(()) }).await;
        let LiveMessage::Event(received) = next(&mut at_two).await else { panic!() };
        assert_eq!(*received, live("p1"));
        let LiveMessage::Event(own) = next(&mut at_one).await else { panic!() };
        assert_eq!(own.project_id, "p1");
        while tokio::time::timeout(Duration::from_millis(300), at_one.next()).await.is_ok() {}
        while tokio::time::timeout(Duration::from_millis(300), at_two.next()).await.is_ok() {}
        let theirs = r#"{"projectId":"p2","timestamp":"2026-01-31T12:00:00.000Z","type":"session_end","data":{"sessionId":"s"}}"#;
        server.cli(&["PUBLISH", "live-events", "no event"]);
        server.cli(&["PUBLISH", "live-events", theirs]);
        for stream in [&mut at_one, &mut at_two] {
            let LiveMessage::Event(received) = next(stream).await else { panic!() };
            assert_eq!((&*received.project_id, received.r#type), ("p2", EventKind::SessionEnd));
        }
        server.kill9();
        assert!(matches!(next(&mut at_two).await, LiveMessage::Interrupted));
        eventually("publishing fails", || async { one.publish(live("p3")).await.err() }).await;
        server.restart();
        eventually("publishing works again", || async { one.publish(live("p4")).await.ok() }).await;
    }
}

/// A process that publishes nothing does not look for subscribers. One that subscribes announces it.
#[tokio::test]
async fn a_subscriber_is_announced_to_idle_processes() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let (one, two) = (bus_at(&server), bus_at(&server));
        let asked = || {
            let stats = server.cli(&["INFO", "commandstats"]);
            let calls = stats.split("cmdstat_pubsub|numsub:calls=").nth(1);
            calls.map_or(0, |calls| calls.split(',').next().unwrap().parse::<u64>().unwrap())
        };
        eventually("both have counted", || async { (asked() == 2).then_some(()) }).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(asked(), 2);
        assert!(!one.is_watched());
        let mut stream = two.subscribe();
        connected(&mut *stream).await;
        eventually("it is noticed", || async { one.is_watched().then_some(()) }).await;
        let gauges = Gauges { process: "one".into(), ..Gauges::default() };
        one.publish(DebugMessage::Gauges(Arc::new(gauges.clone())));
        let DebugMessage::Gauges(received) = next(&mut *stream).await else { panic!() };
        assert_eq!(*received, gauges);
        drop(stream);
        eventually("its end is noticed", || async { (!one.is_watched()).then_some(()) }).await;
    }
}

/// A program that subscribes to the channel alone announces nothing. The first events after a pause
/// reach it all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_subscriber_receives_the_first_event_after_a_pause() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let bus = RedisLiveBus::new(server_at(&server));
    let lines = RedisDebugBus::new(server_at(&server), Arc::new(Metrics::new()), 100);
    eventually("nobody listens", || async { (!bus.may_have_subscribers().await).then_some(()) })
        .await;
    // Longer than a count is fresh.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let mut client = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut subscription = client.as_pubsub();
    subscription.subscribe(&["live-events", "debug-logs"]).unwrap();
    subscription.set_read_timeout(Some(SOON)).unwrap();
    let mut next = || tokio::task::block_in_place(|| subscription.get_message().unwrap());
    assert!(bus.may_have_subscribers().await);
    bus.publish(live("p1")).await.unwrap();
    assert_eq!(next().get_channel_name(), "live-events");
    assert!(lines.has_subscribers(), "there is the history");
    lines.publish(line(1));
    assert_eq!(next().get_channel_name(), "debug-logs");
}

/// Checking for subscribers for every batch does not query Redis every time.
#[tokio::test]
async fn subscribers_of_other_processes_are_noticed_within_about_a_second() {
    for kind in Kind::ALL {
        let mut server = RedisServer::start(kind, &[]);
        let (one, two) =
            (RedisLiveBus::new(server_at(&server)), RedisLiveBus::new(server_at(&server)));
        let noticed = async |expected: bool| {
            let began = Instant::now();
            eventually("it is noticed", || async {
                (one.has_subscribers() == expected).then_some(())
            })
            .await;
            began.elapsed()
        };
        noticed(false).await;
        let asked = || {
            let stats = server.cli(&["INFO", "commandstats"]);
            let calls = stats.split("cmdstat_pubsub|numsub:calls=").nth(1).unwrap();
            calls.split(',').next().unwrap().parse::<u64>().unwrap()
        };
        let (before, began) = (asked(), Instant::now());
        while began.elapsed() < Duration::from_secs(2) {
            assert!(!one.has_subscribers());
            assert_eq!(one.publish(live("nobody")).await, Ok(0));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Both buses query once a second.
        assert!(asked() - before <= 6, "{} calls", asked() - before);
        let channel = server.cli(&["INFO", "commandstats"]);
        assert!(!channel.contains("cmdstat_publish:"), "{channel}");

        let mut stream = two.subscribe();
        let took = noticed(true).await;
        assert!(took < Duration::from_secs(3), "{took:?}");
        // From now on nothing is lost.
        for n in 0..100 {
            one.publish(live(&format!("p{n}"))).await.unwrap();
        }
        for n in 0..100 {
            let next = tokio::time::timeout(SOON, stream.next()).await.unwrap();
            let Some(LiveMessage::Event(event)) = next else { panic!("{next:?}") };
            assert_eq!(event.project_id, format!("p{n}"));
        }
        drop(stream);
        noticed(false).await;
        // A program that subscribes to the channel by pattern.
        let mut client = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        let mut subscription = client.as_pubsub();
        subscription.psubscribe("live-*").unwrap();
        noticed(true).await;
        subscription.punsubscribe("live-*").unwrap();
        noticed(false).await;
        // While unknown, there may be subscribers.
        server.kill9();
        noticed(true).await;
        server.restart();
        noticed(false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_subscribers_are_noticed_and_receive_the_contracts_json() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let bus = bus_at(&server);
    assert!(!bus.has_subscribers());
    let mut client = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut subscription = client.as_pubsub();
    subscription.subscribe("debug-logs").unwrap();
    subscription.set_read_timeout(Some(SOON)).unwrap();
    subscribers_noticed(&bus).await;
    let sent = DebugLog::new(Stage::Ingestion, Level::Error, "message");
    bus.publish(DebugMessage::Log(Arc::new(sent.clone())));
    let received = tokio::task::block_in_place(|| subscription.get_message().unwrap());
    let json: String = received.get_payload().unwrap();
    assert_eq!(serde_json::from_str::<DebugLog>(&json).unwrap(), sent);
}
