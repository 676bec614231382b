//! A primary, a replica and three Sentinels: the URL leads to whichever is the primary.

use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::redis::connection::{RedisOptions, RedisServer as Server};
use bklit_adapters::redis::queue::{Durability, RedisQueue, RedisQueueOptions};
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_pipeline::queue::spool::SpooledQueue;
use bklit_pipeline::queue::{NewItem, Pushed, Queue, QueueError};

use crate::support::redis::{LEASE, SOON, event, eventually, ids, item, options};
use crate::support::servers::{Kind, RedisServer, Sentinels};

fn queue(sentinels: &Sentinels, durability: Durability) -> RedisQueue {
    let options_of_queue = RedisQueueOptions { durability, ..RedisQueueOptions::default() };
    RedisQueue::new(Server::new(&options(&sentinels.url())).unwrap(), &options_of_queue)
}

async fn pushed(queue: &RedisQueue, id: &str) {
    eventually("it can push", || async { queue.push(item(id)).await.ok() }).await;
}

#[tokio::test]
async fn the_primary_is_followed_through_a_failover_and_back() {
    let mut sentinels = Sentinels::start(&[("appendfsync", "always")]);
    let queue = queue(&sentinels, Durability::Always);
    pushed(&queue, "a").await;
    let first = sentinels.primary();
    sentinels.servers[first].kill9();
    pushed(&queue, "b").await;
    assert_ne!(sentinels.primary(), first, "the replica was promoted");
    // The previous primary returns as a replica, and no longer accepts writes.
    sentinels.servers[first].restart();
    eventually("it is a replica", || async {
        // A change of its role closes its connections.
        let role = sentinels.servers[first].try_cli(&["ROLE"]);
        role.is_ok_and(|role| role.starts_with("slave")).then_some(())
    })
    .await;
    pushed(&queue, "c").await;
    let mut all = Vec::new();
    // While the replica is copying everything, its disk confirms nothing.
    let claim = || async { queue.claim(10, LEASE).await.ok() };
    while let Some(claim) = eventually("a claim", claim).await {
        all.extend(ids(&claim));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
    }
    // A push without a response may be repeated here: nothing settles it.
    all.dedup();
    assert_eq!(all, ["a", "b", "c"]);
}

#[tokio::test]
async fn durability_always_waits_for_the_disk_of_a_replica() {
    let sentinels = Sentinels::start(&[("appendfsync", "always")]);
    let (strict, lax) =
        (queue(&sentinels, Durability::Always), queue(&sentinels, Durability::Everysec));
    pushed(&strict, "a").await;
    let replica = &sentinels.servers[1 - sentinels.primary()];
    replica.freeze();
    let error = strict.push(item("b")).await.unwrap_err();
    let QueueError::InDoubt { reason, .. } = &error else { panic!("{error:?}") };
    assert!(reason.contains("no replica's disk confirmed"), "{reason}");
    lax.push(item("c")).await.unwrap();
    replica.thaw();
    pushed(&strict, "d").await;
}

/// Each attempt is on a new connection, on which nothing was written yet.
#[tokio::test]
async fn repeated_attempts_wait_for_the_disk_of_a_replica_too() {
    let sentinels = Sentinels::start(&[("appendfsync", "always")]);
    let strict = queue(&sentinels, Durability::Always);
    let dir = tempfile::tempdir().unwrap();
    let spool = SqliteQueue::open(&dir.path().join("spool.db"), 100).unwrap();
    let spooled =
        SpooledQueue::new(Arc::new(queue(&sentinels, Durability::Always)), Arc::new(spool));
    pushed(&strict, "a").await;
    // While the replica was starting, that may have been repeated.
    let before = strict.stats().await.unwrap().depth;
    let replica = &sentinels.servers[1 - sentinels.primary()];
    replica.freeze();
    let QueueError::InDoubt { ticket, .. } = strict.push(item("b")).await.unwrap_err() else {
        panic!("not in doubt")
    };
    let chosen = NewItem { event: event("c").into(), client_id: true };
    spooled.push(item("d")).await.unwrap();
    for _ in 0..3 {
        for error in [
            strict.settle(&ticket).await.unwrap_err(),
            strict.push(chosen.clone()).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains("no replica's disk confirmed"), "{error}");
        }
    }
    assert!(spooled.spooled() > 0, "it has left the spool");
    replica.thaw();
    let settled = || async { strict.settle(&ticket).await.ok() };
    assert!(eventually("it is settled", settled).await, "it was added");
    let again = || async { strict.push(chosen.clone()).await.ok() };
    assert_eq!(eventually("it is confirmed", again).await, Pushed::Duplicate);
    eventually("the spool is emptied", || async { (!spooled.is_spooling()).then_some(()) }).await;
    assert_eq!(strict.stats().await.unwrap().depth, before + 3, "each once");
}

/// Its connection is from a time when there was no replica, and was idle since the replica came back.
#[tokio::test]
async fn a_primary_that_hung_during_a_failover_confirms_nothing() {
    let mut sentinels = Sentinels::start(&[("appendfsync", "always")]);
    let (primary, replica) = (sentinels.primary(), 1 - sentinels.primary());
    sentinels.servers[replica].kill9();
    // Only once the Sentinels have noticed it.
    let strict = eventually("without a replica", || async {
        let patient = RedisOptions { response_timeout: SOON, ..options(&sentinels.url()) };
        let always =
            RedisQueueOptions { durability: Durability::Always, ..RedisQueueOptions::default() };
        let queue = RedisQueue::new(Server::new(&patient).unwrap(), &always);
        queue.push(item("a")).await.is_ok().then_some(queue)
    })
    .await;
    sentinels.servers[replica].restart();
    eventually("the replica is up to date", || async {
        let info = sentinels.servers[replica].cli(&["INFO", "replication"]);
        info.contains("master_link_status:up").then_some(())
    })
    .await;
    // Longer than it is assumed that there is none.
    tokio::time::sleep(Duration::from_secs(6)).await;
    sentinels.servers[primary].freeze();
    let pushing = tokio::spawn(async move { (strict.push(item("b")).await, strict) });
    eventually("the replica is promoted", || async { sentinels.all_name(replica).then_some(()) })
        .await;
    sentinels.servers[primary].thaw();
    let (pushed, strict) = pushing.await.unwrap();
    let in_doubt = pushed.unwrap_err();
    assert!(matches!(in_doubt, QueueError::InDoubt { .. }), "{in_doubt:?}");
    eventually("the new primary is used", || async { strict.push(item("c")).await.ok() }).await;
}

/// One that was cut off during a failover still names the previous primary.
#[tokio::test]
async fn the_sentinel_that_knows_of_the_latest_failover_counts() {
    let (sentinels, outdated) = (Sentinels::start(&[]), Sentinels::start(&[]));
    let first = sentinels.primary();
    eventually("a failover begins", || async { sentinels.fail_over().then_some(()) }).await;
    eventually("all name the other", || async { (sentinels.all_name(1 - first)).then_some(()) })
        .await;
    let minority = outdated.url().split(',').next().unwrap().to_owned();
    let url = sentinels.url().replace("redis+sentinel://", &format!("{minority},"));
    for n in 1..=3 {
        let queue =
            RedisQueue::new(Server::new(&options(&url)).unwrap(), &RedisQueueOptions::default());
        pushed(&queue, "a").await;
        let there = sentinels.servers[1 - first].cli(&["LLEN", "analytics:queue"]);
        assert_eq!(there, n.to_string());
    }
}

#[tokio::test]
async fn a_demoted_server_is_left_without_closing_its_connections() {
    let sentinels = Sentinels::start(&[("appendfsync", "always")]);
    // With `everysec`, what arrives just before the demotion is lost.
    let queue = queue(&sentinels, Durability::Always);
    pushed(&queue, "a").await;
    let first = sentinels.primary();
    sentinels.servers[1 - first].cli(&["CONFIG", "SET", "replica-priority", "1"]);
    eventually("a failover begins", || async { sentinels.fail_over().then_some(()) }).await;
    eventually("the other is the primary", || async {
        (sentinels.primary() != first).then_some(())
    })
    .await;
    pushed(&queue, "b").await;
    let there = &sentinels.servers[1 - first];
    eventually("it arrives there", || async {
        (there.cli(&["LLEN", "analytics:queue"]).as_str() >= "2").then_some(())
    })
    .await;
}

#[tokio::test]
async fn sentinels_that_are_missing_or_unwilling_are_named() {
    let sentinels = Sentinels::start(&[]);
    let server = RedisServer::start(Kind::Valkey, &[]);
    let unknown = sentinels.url().replace("/main", "/other");
    let no_sentinel = format!("redis+sentinel://127.0.0.1:{}/main", server.port());
    for (url, expected) in [(unknown, "No such master"), (no_sentinel, "SENTINEL")] {
        let queue =
            RedisQueue::new(Server::new(&options(&url)).unwrap(), &RedisQueueOptions::default());
        let error = queue.push(item("a")).await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("Sentinel 127.0.0.1"), "{error}");
    }
    // One Sentinel that answers is enough.
    let url = sentinels.url().replace("redis+sentinel://", "redis+sentinel://127.0.0.1:1,");
    let queue = RedisQueue::new(
        Server::new(&options(&url)).unwrap(),
        &RedisQueueOptions { max_depth: 10, ..RedisQueueOptions::default() },
    );
    tokio::time::timeout(Duration::from_secs(10), pushed(&queue, "a")).await.unwrap();
}
