//! How a waiting worker notices items: at once, and without polling.

use std::time::Duration;

use bklit_pipeline::queue::Queue;
use tokio::time::{Instant, timeout};

use crate::support::redis::{SOON, item, queue_at};
use crate::support::servers::{Kind, RedisServer};

const QUEUE: &str = "analytics:queue";

/// How often a command was executed.
fn calls(server: &RedisServer, command: &str) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let line = format!("cmdstat_{command}:calls=");
    let found = stats.lines().find_map(|stat| stat.strip_prefix(&line));
    found.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

/// Waits until the queue has checked and is waiting.
async fn waits(server: &RedisServer) {
    let deadline = Instant::now() + SOON;
    while calls(server, "exists") == 0 {
        assert!(Instant::now() < deadline, "it does not look at the queue");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_item_of_another_program_is_noticed_at_once_and_without_polling() {
    const IDLE: Duration = Duration::from_secs(3);
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let queue = queue_at(&server);
        let ready = {
            let queue = queue.clone();
            tokio::spawn(async move { queue.ready().await })
        };
        waits(&server).await;
        tokio::time::sleep(IDLE).await;
        assert_eq!(calls(&server, "exists"), 1, "{kind:?} is polled");
        assert!(!ready.is_finished());
        let pushed = Instant::now();
        server.cli(&["LPUSH", QUEUE, "foreign"]);
        timeout(SOON, ready).await.unwrap().unwrap();
        let took = pushed.elapsed();
        assert!(took < Duration::from_secs(2), "{kind:?}: {took:?}");
        // With something to claim, no caller waits.
        timeout(SOON, queue.ready()).await.unwrap();
    }
}

/// Each waits for the next, and none is forgotten.
#[tokio::test]
async fn several_workers_wait_at_the_cost_of_one() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let queue = queue_at(&server);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.ready().await })
        })
        .collect();
    waits(&server).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(calls(&server, "exists"), 1);
    queue.push(item("own")).await.unwrap();
    for worker in workers {
        timeout(SOON, worker).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_batch_that_another_worker_releases_is_noticed() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let (one, other) = (queue_at(&server), queue_at(&server));
    one.push(item("a")).await.unwrap();
    let held = one.claim(1, Duration::from_secs(600)).await.unwrap().unwrap();
    let before = calls(&server, "zcard");
    let ready = tokio::spawn(async move { other.ready().await });
    let deadline = Instant::now() + SOON;
    while calls(&server, "zcard") == before {
        assert!(Instant::now() < deadline, "it does not look at the leases");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let released = Instant::now();
    one.release(&held.id).await.unwrap();
    timeout(SOON, ready).await.unwrap().unwrap();
    assert!(released.elapsed() < Duration::from_secs(5), "{:?}", released.elapsed());
}

#[tokio::test]
async fn a_server_that_reports_no_changes_is_polled() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        server.cli(&["ACL", "SETUSER", "default", "-client|tracking"]);
        let queue = queue_at(&server);
        let ready = tokio::spawn(async move { queue.ready().await });
        waits(&server).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(calls(&server, "exists") > 2, "{kind:?} is not polled");
        server.cli(&["LPUSH", QUEUE, "foreign"]);
        timeout(SOON, ready).await.unwrap().unwrap();
    }
}

/// It keeps its connections, and answers all reads.
#[tokio::test]
async fn a_server_that_has_become_a_replica_is_noticed() {
    /// Longer than the interval of checks.
    const CHECKED: Duration = Duration::from_secs(30);
    let server = RedisServer::start(Kind::Valkey, &[]);
    let queue = queue_at(&server);
    let ready = tokio::spawn(async move { queue.ready().await });
    waits(&server).await;
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    timeout(CHECKED, ready).await.expect("it is noticed").unwrap();
    assert_eq!(calls(&server, "zrem"), 0, "the write was rejected");
}

#[tokio::test]
async fn waiting_continues_after_a_restart_of_the_server() {
    let mut server = RedisServer::start(Kind::Valkey, &[]);
    let queue = queue_at(&server);
    let waiting = {
        let queue = queue.clone();
        tokio::spawn(async move { queue.ready().await })
    };
    waits(&server).await;
    server.kill9();
    // The claim that follows reports why.
    timeout(SOON, waiting).await.unwrap().unwrap();
    assert!(queue.claim(1, Duration::from_secs(600)).await.is_err());
    server.restart();
    let ready = tokio::spawn(async move { queue.ready().await });
    waits(&server).await;
    server.cli(&["LPUSH", QUEUE, "foreign"]);
    timeout(SOON, ready).await.unwrap().unwrap();
}
