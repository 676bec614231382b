//! A cluster of three Valkeys: keys in their slots, slots that are moved, nodes that fail.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::redis::bus::RedisDebugBus;
use bklit_adapters::redis::connection::RedisServer as Server;
use bklit_adapters::redis::presence::RedisPresence;
use bklit_adapters::redis::queue::{
    DEFAULT_PREFIX as QUEUE, Durability, RedisQueue, RedisQueueOptions,
};
use bklit_adapters::redis::tokens::{DEFAULT_KEY, RedisTokenStore};
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_pipeline::auth::TokenStore;
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::presence::Presence;
use bklit_pipeline::queue::spool::SpooledQueue;
use bklit_pipeline::queue::{Order, Queue, QueueError, QueueStats, Rejected};
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

use super::tokens::token;
use crate::support::redis::{LEASE, SOON, event, eventually, ids, item, options, server_at};
use crate::support::servers::{Kind, RedisCluster, RedisServer};

fn connect(cluster: &RedisCluster) -> Server {
    Server::new(&options(&cluster.url())).unwrap()
}

fn queue_in(cluster: &RedisCluster) -> RedisQueue {
    RedisQueue::new(connect(cluster), &RedisQueueOptions::default())
}

async fn next(stream: &mut dyn DebugStream) -> DebugMessage {
    tokio::time::timeout(SOON, stream.next()).await.expect("a message in time").expect("no end")
}

#[tokio::test]
async fn all_operations_of_the_queue_work() {
    let cluster = RedisCluster::start(&[]);
    let queue = queue_in(&cluster);
    // As programs that use only the list do.
    cluster.cli(QUEUE, &["LPUSH", QUEUE, &event("theirs").to_json()]);
    queue.push(item("a")).await.unwrap();
    queue.push_in_order(&[event("b"), event("c")]).await.unwrap();
    let expired = queue.claim(1, Duration::ZERO).await.unwrap().unwrap();
    let again = queue.claim(1, LEASE).await.unwrap().unwrap();
    assert_eq!((ids(&again), again.id.batch == expired.id.batch), (vec!["theirs".into()], true));
    queue.renew(&again.id, LEASE).await.unwrap();
    let batches = queue.batches(10).await.unwrap();
    assert_eq!((batches.len(), batches[0].items), (1, 1));
    assert_eq!(queue.batch_items(&batches[0].id, 10).await.unwrap().unwrap().len(), 1);
    let rejected = Rejected { seq: 0, reason: "bad".into() };
    queue.acknowledge(&again.id, &[rejected]).await.unwrap();
    let stats = QueueStats { depth: 3, failed: 1, ..QueueStats::default() };
    assert_eq!(queue.stats().await.unwrap(), stats);
    let failed = queue.failed(None, 10).await.unwrap();
    assert_eq!(queue.retry_failed(&[failed.items[0].id.clone()]).await.unwrap(), 1);
    let waiting = queue.waiting(Order::OldestFirst, None, 10).await.unwrap();
    assert_eq!(queue.delete_waiting(&[waiting.items[0].id.clone()]).await.unwrap(), 1);
    assert!(!queue.settle("series:1").await.unwrap());
    // The list has its usual name; everything else shares its slot.
    let keys: Vec<_> = cluster.nodes.iter().map(|node| node.cli(&["KEYS", "*"])).collect();
    let used: Vec<_> = keys.iter().filter(|keys| !keys.is_empty()).collect();
    assert_eq!(used.len(), 1, "{keys:?}");
    let others = used[0].lines().filter(|key| *key != QUEUE);
    assert!(others.into_iter().all(|key| key.starts_with("{analytics:queue}:")), "{keys:?}");
}

#[tokio::test]
async fn a_plain_url_of_a_cluster_is_refused_with_the_remedy() {
    let cluster = RedisCluster::start(&[]);
    for node in &cluster.nodes {
        let queue = RedisQueue::new(server_at(node), &RedisQueueOptions::default());
        let error = queue.push(item("a")).await.unwrap_err().to_string();
        assert!(error.contains("write redis+cluster://"), "{error}");
    }
    let single = RedisServer::start(Kind::Redis, &[]);
    let url = single.url().replace("redis://", "redis+cluster://");
    let queue =
        RedisQueue::new(Server::new(&options(&url)).unwrap(), &RedisQueueOptions::default());
    let error = queue.push(item("a")).await.unwrap_err().to_string();
    assert!(error.contains("write redis:// instead of redis+cluster://"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_moved_under_load_loses_and_repeats_nothing() {
    const EVENTS: usize = 2_000;
    let cluster = RedisCluster::start(&[("appendfsync", "always")]);
    let dir = tempfile::tempdir().unwrap();
    let spool = Arc::new(SqliteQueue::open(&dir.path().join("spool.db"), 100_000).unwrap());
    let queue = Arc::new(SpooledQueue::new(Arc::new(queue_in(&cluster)), spool));
    let producer = {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move {
            for n in 0..EVENTS {
                queue.push(item(&n.to_string())).await.unwrap();
                // So that it lasts as long as the move.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    };
    let consumer = {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move {
            let lease = Duration::from_secs(3);
            let (mut seen, mut batches) = (Vec::new(), HashSet::new());
            while seen.len() < EVENTS {
                // A claim whose answer is lost is held until its lease ends.
                let Ok(Some(claim)) = queue.claim(50, lease).await else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                if batches.insert(claim.id.batch.clone()) {
                    seen.extend(ids(&claim));
                }
                while let Err(QueueError::Unavailable(_)) = queue.acknowledge(&claim.id, &[]).await
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            seen
        })
    };
    for _ in 0..3 {
        let moving = cluster.begin_move(QUEUE);
        // Some keys are here, some there.
        moving.move_keys();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let cluster = &cluster;
        tokio::task::block_in_place(|| moving.finish());
        eventually("the new node is used", || async {
            (cluster.cli(QUEUE, &["CLUSTER", "KEYSLOT", QUEUE]) == cluster.slot(QUEUE))
                .then_some(())
        })
        .await;
    }
    producer.await.unwrap();
    let seen = tokio::time::timeout(SOON * 2, consumer).await.expect("all arrive").unwrap();
    assert_eq!(seen.len(), EVENTS);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), EVENTS);
    assert_eq!(queue.stats().await.unwrap(), QueueStats::default());
}

/// Hosts that accept a connection and never answer, and a node that has no part in the cluster.
#[tokio::test]
async fn the_cluster_is_found_past_seeds_that_do_not_help() {
    let cluster = RedisCluster::start(&[]);
    let dark: Vec<_> =
        (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let alone = RedisServer::start(Kind::Valkey, &[("cluster-enabled", "yes")]);
    let mut hosts: Vec<_> = dark.iter().map(|host| host.local_addr().unwrap().port()).collect();
    hosts.push(alone.port());
    let first: String = hosts.iter().map(|port| format!("127.0.0.1:{port},")).collect();
    let url = cluster.url().replace("redis+cluster://", &format!("redis+cluster://{first}"));
    // Another host is asked first each time.
    let server = Server::new(&options(&url)).unwrap();
    for id in ["a", "b", "c", "d", "e", "f", "g"] {
        let queue = RedisQueue::new(server.clone(), &RedisQueueOptions::default());
        queue.push(item(id)).await.unwrap();
        RedisPresence::new(server.clone()).remove_idle(LEASE).await.unwrap();
    }
    let error = Server::new(&options(&alone.url().replace("redis://", "redis+cluster://")));
    let queue = RedisQueue::new(error.unwrap(), &RedisQueueOptions::default());
    let error = queue.push(item("a")).await.unwrap_err().to_string();
    assert!(error.contains("knows no node with slots"), "{error}");
}

#[tokio::test]
async fn a_node_without_an_append_only_file_is_refused_also_after_a_move() {
    let cluster = RedisCluster::start(&[("appendfsync", "always")]);
    let always =
        RedisQueueOptions { durability: Durability::Always, ..RedisQueueOptions::default() };
    let queue = RedisQueue::new(connect(&cluster), &always);
    queue.push(item("a")).await.unwrap();
    let owner = cluster.owner(QUEUE).port();
    for node in cluster.nodes.iter().filter(|node| node.port() != owner) {
        node.cli(&["CONFIG", "SET", "appendonly", "no"]);
    }
    cluster.begin_move(QUEUE).finish();
    for id in ["b", "c"] {
        let error = queue.push(item(id)).await.unwrap_err().to_string();
        assert!(error.contains("needs a server with `appendonly yes`"), "{error}");
    }
    cluster.owner(QUEUE).cli(&["CONFIG", "SET", "appendonly", "yes"]);
    let lax = queue_in(&cluster);
    lax.push(item("d")).await.unwrap();
}

#[tokio::test]
async fn pipelines_find_a_slot_that_has_just_moved() {
    const HISTORY: &str = "bklit:debug-history";
    let cluster = RedisCluster::start(&[]);
    let presence = RedisPresence::new(connect(&cluster));
    let session = SessionKey { project_id: "p0".into(), session_id: "s".into() };
    presence.active(&[(session, UtcMillis::now())], LEASE).await.unwrap();
    cluster.begin_move("live:sessions:p0").finish();
    presence.remove_idle(Duration::ZERO).await.unwrap();
    assert_eq!(presence.count("p0").await, Ok(0));

    let bus = RedisDebugBus::new(connect(&cluster), Arc::new(Metrics::new()), 1_000);
    for lines in 1..=3 {
        let line = DebugLog::new(Stage::Worker, Level::Info, lines.to_string());
        bus.publish(DebugMessage::Log(Arc::new(line)));
        eventually("the line is kept", || async {
            (cluster.cli(HISTORY, &["XLEN", HISTORY]) == lines.to_string()).then_some(())
        })
        .await;
        cluster.begin_move(HISTORY).finish();
    }
}

#[tokio::test]
async fn single_keys_are_found_during_and_after_a_move() {
    let cluster = RedisCluster::start(&[]);
    let tokens = RedisTokenStore::new(connect(&cluster), DEFAULT_KEY);
    let (secret, record) = token("tok_1", 1_000);
    tokens.create(record.clone()).await.unwrap();
    let moving = cluster.begin_move(DEFAULT_KEY);
    moving.move_keys();
    assert_eq!(tokens.find(&secret.hash()).await.unwrap(), Some(record.clone()), "ASK");
    let (other, of_other) = token("tok_2", 2_000);
    tokens.create(of_other.clone()).await.unwrap();
    moving.finish();
    assert_eq!(tokens.find(&other.hash()).await.unwrap(), Some(of_other), "MOVED");
    assert!(tokens.revoke("tok_1").await.unwrap());
    assert_eq!(tokens.find(&secret.hash()).await.unwrap(), None);
}

#[tokio::test]
async fn presence_spreads_over_the_nodes() {
    const PROJECTS: usize = 30;
    let cluster = RedisCluster::start(&[]);
    let presence = RedisPresence::new(connect(&cluster));
    let (now, hour) = (UtcMillis::now(), Duration::from_secs(3_600));
    let key = |n: usize| SessionKey { project_id: format!("p{n}"), session_id: "s".into() };
    let sessions: Vec<_> = (0..PROJECTS).map(|n| (key(n), now)).collect();
    presence.active(&sessions, hour).await.unwrap();
    let moving = cluster.begin_move("live:sessions:p0");
    moving.finish();
    for n in 0..PROJECTS {
        eventually("it is counted", || async {
            (presence.count(&format!("p{n}")).await == Ok(1)).then_some(())
        })
        .await;
    }
    presence.ended(&sessions[..1], hour).await.unwrap();
    let mut projects = presence.projects(100).await.unwrap();
    projects.sort();
    let mut expected: Vec<_> = (1..PROJECTS).map(|n| format!("p{n}")).collect();
    expected.sort();
    assert_eq!(projects, expected);
    presence.remove_idle(Duration::ZERO).await.unwrap();
    assert!(presence.projects(100).await.unwrap().is_empty());
}

#[tokio::test]
async fn subscribers_on_any_node_receive_lines_and_are_noticed() {
    let cluster = RedisCluster::start(&[]);
    let bus_in = || RedisDebugBus::new(connect(&cluster), Arc::new(Metrics::new()), 1_000);
    let (one, two) = (bus_in(), bus_in());
    assert!(!one.is_watched());
    let mut stream = two.subscribe_after(10);
    while !matches!(next(&mut *stream).await, DebugMessage::Connected) {}
    eventually("the other is noticed", || async { one.is_watched().then_some(()) }).await;
    let line = |message| Arc::new(DebugLog::new(Stage::Worker, Level::Info, message));
    one.publish(DebugMessage::Log(line("one")));
    let DebugMessage::Log(received) = next(&mut *stream).await else { panic!() };
    assert_eq!(&*received.message, "one");
    drop(stream);
    eventually("its end is noticed", || async { (!one.is_watched()).then_some(()) }).await;
    // A program that subscribes on a node of its own choice.
    for node in &cluster.nodes {
        let mut client = redis::Client::open(node.url()).unwrap().get_connection().unwrap();
        let mut subscription = client.as_pubsub();
        subscription.subscribe("debug-logs").unwrap();
        // It announces nothing, so it is noticed when there is something to publish.
        eventually("it is noticed", || async {
            one.has_subscribers();
            one.is_watched().then_some(())
        })
        .await;
        subscription.unsubscribe("debug-logs").unwrap();
        eventually("its end is noticed", || async { (!one.is_watched()).then_some(()) }).await;
    }
    let mut recalled = two.recall(10);
    let Some(DebugMessage::Log(kept)) = recalled.next().await else { panic!() };
    assert_eq!(&*kept.message, "one", "the history is on another node");
}

#[tokio::test]
async fn a_replica_takes_over_with_everything_that_was_accepted() {
    let mut cluster = RedisCluster::start(&[("appendfsync", "always")]);
    let replica = cluster.add_replica(QUEUE);
    let always =
        RedisQueueOptions { durability: Durability::Always, ..RedisQueueOptions::default() };
    let queue = RedisQueue::new(connect(&cluster), &always);
    eventually("it can push", || async { queue.push(item("a")).await.ok() }).await;
    cluster.nodes[replica].freeze();
    let error = queue.push(item("x")).await.unwrap_err().to_string();
    assert!(error.contains("no replica's disk confirmed"), "{error}");
    cluster.nodes[replica].thaw();
    eventually("it can push", || async { queue.push(item("b")).await.ok() }).await;
    let port = cluster.owner(QUEUE).port();
    cluster.nodes.iter_mut().find(|node| node.port() == port).unwrap().kill9();
    eventually("the replica is used", || async { queue.push(item("c")).await.ok() }).await;
    let claim =
        eventually("a claim", || async { queue.claim(10, LEASE).await.ok().flatten() }).await;
    let found = ids(&claim);
    assert!(["a", "b", "c"].iter().all(|id| found.iter().any(|found| found == id)), "{found:?}");
}

#[tokio::test]
async fn a_node_that_fails_and_returns_is_used_again() {
    let mut cluster = RedisCluster::start(&[("cluster-require-full-coverage", "no")]);
    let queue = queue_in(&cluster);
    queue.push(item("a")).await.unwrap();
    let port = cluster.owner(QUEUE).port();
    let owner = cluster.nodes.iter_mut().find(|node| node.port() == port).unwrap();
    owner.kill9();
    assert!(queue.push(item("b")).await.is_err());
    owner.restart();
    eventually("it can push", || async { queue.push(item("c")).await.ok() }).await;
    let claim =
        eventually("a claim", || async { queue.claim(10, LEASE).await.ok().flatten() }).await;
    assert_eq!(ids(&claim)[0], "a");
}
