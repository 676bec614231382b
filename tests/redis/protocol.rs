//! Sockets, servers that speak only RESP2, and peers that vanish without closing anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bklit_adapters::redis::bus::{RedisDebugBus, RedisLiveBus};
use bklit_adapters::redis::connection::{RedisOptions, RedisServer as Server};
use bklit_adapters::redis::queue::{Durability, RedisQueue, RedisQueueOptions};
use bklit_pipeline::bus::{LiveBus, LiveMessage};
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::queue::Queue;
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::debug_log::{DebugLog, Level, Stage};

use crate::support::redis::{LEASE, SOON, eventually, ids, item, options, server_at};
use crate::support::redis_proxy::RedisProxy;
use crate::support::servers::{Kind, RedisServer};

async fn works(server: Server) {
    let queue = RedisQueue::new(server, &RedisQueueOptions::default());
    queue.push(item("a")).await.unwrap();
    let claim = queue.claim(1, LEASE).await.unwrap().unwrap();
    assert_eq!(ids(&claim), ["a"]);
    queue.acknowledge(&claim.id, &[]).await.unwrap();
}

fn line(message: &'static str) -> Arc<DebugLog> {
    Arc::new(DebugLog::new(Stage::Worker, Level::Info, message))
}

async fn next(stream: &mut dyn DebugStream) -> DebugMessage {
    tokio::time::timeout(SOON, stream.next()).await.expect("a message in time").expect("no end")
}

#[tokio::test]
async fn a_unix_socket_takes_user_password_and_database_from_the_url() {
    for kind in Kind::ALL {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("redis.sock");
        let path = path.to_str().unwrap();
        let server = RedisServer::start(kind, &[("unixsocket", path)]);
        works(Server::new(&options(&format!("unix://{path}"))).unwrap()).await;
        server.cli(&["ACL", "SETUSER", "me", "on", ">hu@sh", "~*", "&*", "+@all"]);
        server.cli(&["ACL", "SETUSER", "default", "off"]);
        for url in [
            format!("redis+unix://me:hu%40sh@{path}?db=2"),
            format!("unix://{path}?user=me&pass=hu%40sh&db=2"),
        ] {
            works(Server::new(&options(&url)).unwrap()).await;
        }
        let nobody = RedisQueue::new(
            Server::new(&options(&format!("unix://{path}"))).unwrap(),
            &RedisQueueOptions::default(),
        );
        assert!(nobody.push(item("a")).await.is_err());
    }
}

#[tokio::test]
async fn without_hello_resp2_is_used() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[("appendfsync", "always")]);
        for proxy in [RedisProxy::without_hello, RedisProxy::hanging_up_on_hello] {
            let proxy = proxy(server.port());
            works(Server::new(&options(&proxy.url())).unwrap()).await;
            let url = proxy.url().replace("redis://", "redis://me:hush@") + "/3";
            server.cli(&["ACL", "SETUSER", "me", "on", ">hush", "~*", "&*", "+@all"]);
            let options_of_queue = RedisQueueOptions {
                durability: Durability::Always,
                ..RedisQueueOptions::default()
            };
            let third = RedisQueue::new(Server::new(&options(&url)).unwrap(), &options_of_queue);
            third.push(item("b")).await.unwrap();
            assert_eq!(server.cli(&["-n", "3", "LLEN", "analytics:queue"]), "1");
            server.cli(&["-n", "3", "DEL", "analytics:queue"]);
        }
    }
}

#[tokio::test]
async fn with_resp2_a_connection_closed_while_idle_is_replaced_before_a_push() {
    let mut server = RedisServer::start(Kind::Valkey, &[("appendfsync", "always")]);
    let proxy = RedisProxy::without_hello(server.port());
    let queue = RedisQueue::new(
        Server::new(&options(&proxy.url())).unwrap(),
        &RedisQueueOptions::default(),
    );
    queue.push(item("a")).await.unwrap();
    server.restart();
    // Time passes while nothing is pushed.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    queue.push(item("b")).await.unwrap();
    assert_eq!(server.cli(&["LLEN", "analytics:queue"]), "2");
}

#[tokio::test]
async fn buses_work_with_resp2() {
    let mut server = RedisServer::start(Kind::Redis, &[]);
    let proxy = RedisProxy::without_hello(server.port());
    let resp2 = Server::new(&options(&proxy.url())).unwrap();
    let bus = RedisDebugBus::new(resp2.clone(), Arc::new(Metrics::new()), 0);
    let other = RedisDebugBus::new(server_at(&server), Arc::new(Metrics::new()), 0);
    let mut stream = bus.subscribe();
    assert!(matches!(next(&mut *stream).await, DebugMessage::Connected));
    eventually("the subscriber is noticed", || async { other.has_subscribers().then_some(()) })
        .await;
    other.publish(DebugMessage::Log(line("one")));
    let DebugMessage::Log(received) = next(&mut *stream).await else { panic!() };
    assert_eq!(&*received.message, "one");
    let live = RedisLiveBus::new(resp2);
    let mut events = live.subscribe();
    eventually("it subscribes", || async {
        (server.cli(&["PUBSUB", "NUMSUB", "live-events"]) == "live-events\n1").then_some(())
    })
    .await;
    server.kill9();
    assert!(matches!(next(&mut *stream).await, DebugMessage::Disconnected(_)));
    let interrupted = tokio::time::timeout(SOON, events.next()).await.unwrap();
    assert!(matches!(interrupted, Some(LiveMessage::Interrupted)));
    server.restart();
    assert!(matches!(next(&mut *stream).await, DebugMessage::Connected));
    // An ended subscription is not counted any more.
    drop(stream);
    eventually("it unsubscribes", || async {
        (server.cli(&["PUBSUB", "NUMSUB", "debug-logs"]) == "debug-logs\n0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_silent_connection_is_replaced_and_the_gap_is_filled_from_the_history() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    for proxy in [RedisProxy::before(server.port(), Some), RedisProxy::without_hello(server.port())]
    {
        let history = 1_000;
        let options =
            RedisOptions { response_timeout: Duration::from_secs(1), ..options(&proxy.url()) };
        let metrics = Arc::new(Metrics::new());
        let bus = RedisDebugBus::new(Server::new(&options).unwrap(), metrics, history);
        let other = RedisDebugBus::new(server_at(&server), Arc::new(Metrics::new()), history);
        let mut stream = bus.subscribe_after(history);
        while !matches!(next(&mut *stream).await, DebugMessage::Connected) {}
        eventually("the subscriber is noticed", || async { other.is_watched().then_some(()) })
            .await;
        other.publish(DebugMessage::Log(line("before")));
        let DebugMessage::Log(received) = next(&mut *stream).await else { panic!() };
        assert_eq!(&*received.message, "before");
        let began = Instant::now();
        proxy.silence();
        for message in ["gap 1", "gap 2"] {
            other.publish(DebugMessage::Log(line(message)));
        }
        assert!(matches!(next(&mut *stream).await, DebugMessage::Disconnected(_)));
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        assert!(matches!(next(&mut *stream).await, DebugMessage::Connected));
        eventually("it is noticed again", || async { other.is_watched().then_some(()) }).await;
        other.publish(DebugMessage::Log(line("after")));
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != "after") {
            if let DebugMessage::Log(line) = next(&mut *stream).await {
                seen.push(line.message.to_string());
            }
        }
        // Each line once, in its place.
        assert_eq!(seen, ["gap 1", "gap 2", "after"]);
    }
}
