//! The spool in front of the queue.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bklit_adapters::redis::connection::RedisOptions;
use bklit_adapters::redis::queue::{RedisQueue, RedisQueueOptions};
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_pipeline::queue::spool::SpooledQueue;
use bklit_pipeline::queue::{FailedItem, NewItem, Pushed, Queue, QueueError, Rejected};
use bklit_wire::queue::Edit;

use crate::support::DEADLINE;
use crate::support::proxy::{Hold, Proxy};
use crate::support::redis::{LEASE, event, eventually, ids, item, options, queue_at, server_at};
use crate::support::servers::{Kind, RedisServer};
use crate::worker::queue::MemoryQueue;

fn spool_in(dir: &Path, bound: u64) -> Arc<SqliteQueue> {
    Arc::new(SqliteQueue::open(&dir.join("spool.db"), bound).unwrap())
}

async fn emptied(queue: &SpooledQueue) {
    eventually("the spool is emptied", || async { (!queue.is_spooling()).then_some(()) }).await;
}

async fn all_ids(queue: &dyn Queue) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(claim) = queue.claim(7, LEASE).await.unwrap() {
        all.extend(ids(&claim));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
    }
    all
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn a_forwarder_that_crashes_is_noticed() {
    let (queue, spool) = (Arc::new(MemoryQueue::new()), Arc::new(MemoryQueue::new()));
    let queue = SpooledQueue::new(queue, Arc::clone(&spool) as Arc<dyn Queue>);
    emptied(&queue).await;
    let soon = Duration::from_millis(50);
    assert!(tokio::time::timeout(soon, queue.ended()).await.is_err(), "it is still running");
    spool.crashes.store(true, SeqCst);
    tokio::time::timeout(DEADLINE, queue.ended()).await.expect("its end is reported");
}

#[tokio::test]
async fn while_redis_is_unavailable_events_are_spooled_in_order() {
    for kind in Kind::ALL {
        let mut server = RedisServer::start(kind, &[("appendfsync", "always")]);
        let dir = tempfile::tempdir().unwrap();
        let queue = SpooledQueue::new(queue_at(&server), spool_in(dir.path(), 10_000));
        emptied(&queue).await;
        for id in names(0..20) {
            queue.push(item(&id)).await.unwrap();
        }
        emptied(&queue).await;
        server.kill9();
        for id in names(20..1_220) {
            let chosen = NewItem { event: event(&id).into(), client_id: id.ends_with('7') };
            assert_eq!(queue.push(chosen).await.unwrap(), Pushed::Queued);
        }
        assert_eq!(queue.spooled(), 1_200);
        let known = NewItem { event: event("27").into(), client_id: true };
        assert_eq!(queue.push(known.clone()).await.unwrap(), Pushed::Duplicate);
        assert!(queue.stats().await.is_err() && queue.claim(1, LEASE).await.is_err());
        server.restart();
        // New events are appended to the spool while it is being emptied.
        for id in names(1_220..1_300) {
            queue.push(item(&id)).await.unwrap();
        }
        emptied(&queue).await;
        assert_eq!(queue.push(known).await.unwrap(), Pushed::Duplicate, "Redis remembers it, too");
        for id in names(1_300..1_310) {
            queue.push(item(&id)).await.unwrap();
        }
        let stats = queue.stats().await.unwrap();
        assert_eq!((stats.depth, stats.spooled), (1_310, 0));
        assert_eq!(all_ids(&queue).await, names(0..1_310));
    }
}

#[tokio::test]
async fn a_spool_of_a_killed_process_is_moved_once() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let dir = tempfile::tempdir().unwrap();
    let spool = spool_in(dir.path(), 10_000);
    for id in names(0..900) {
        spool.push(item(&id)).await.unwrap();
    }
    // The process had claimed and pushed a batch, but had not acknowledged it in the spool.
    spool.claim(500, LEASE).await.unwrap().unwrap();
    drop(spool);
    let events: Vec<_> = names(0..500).iter().map(|id| event(id)).collect();
    assert_eq!(queue_at(&server).push_in_order(&events).await.unwrap(), 500);

    let queue = SpooledQueue::new(queue_at(&server), spool_in(dir.path(), 10_000));
    queue.push(item("900")).await.unwrap();
    let depth = || async { queue.stats().await.unwrap().depth };
    eventually("all are moved", || async { (depth().await == 901).then_some(()) }).await;
    emptied(&queue).await;
    assert_eq!(all_ids(&queue).await, names(0..901));
}

#[tokio::test]
async fn redis_without_memory_counts_as_unavailable() {
    let server = RedisServer::start(Kind::Redis, &[("maxmemory-policy", "noeviction")]);
    let dir = tempfile::tempdir().unwrap();
    let queue = SpooledQueue::new(queue_at(&server), spool_in(dir.path(), 10_000));
    emptied(&queue).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    for id in names(0..50) {
        queue.push(item(&id)).await.unwrap();
    }
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.depth, stats.spooled), (0, 50));
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    emptied(&queue).await;
    assert_eq!(all_ids(&queue).await, names(0..50));
}

#[tokio::test]
async fn events_are_refused_when_the_spool_is_full() {
    let mut server = RedisServer::start(Kind::Valkey, &[]);
    let dir = tempfile::tempdir().unwrap();
    let spool = spool_in(dir.path(), 5);
    let queue = SpooledQueue::new(queue_at(&server), spool);
    emptied(&queue).await;
    server.kill9();
    let mut accepted = 0;
    let refused = loop {
        match queue.push(item(&accepted.to_string())).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, QueueError::Full { bound: 5, .. }), "{refused:?}");
    // A batch that is being moved does not count towards the bound.
    assert!((5..=10).contains(&accepted), "{accepted}");
    assert_eq!(queue.spooled(), accepted as u64);
    server.restart();
    emptied(&queue).await;
    queue.push(item(&accepted.to_string())).await.unwrap();
    assert_eq!(all_ids(&queue).await, names(0..accepted + 1));
}

#[tokio::test]
async fn a_full_queue_does_not_use_the_spool() {
    let mut server = RedisServer::start(Kind::Valkey, &[("appendfsync", "always")]);
    let dir = tempfile::tempdir().unwrap();
    let options = RedisQueueOptions { max_depth: 8, ..RedisQueueOptions::default() };
    let small = RedisQueue::new(server_at(&server), &options);
    let queue = SpooledQueue::new(Arc::new(small), spool_in(dir.path(), 100));
    emptied(&queue).await;
    for id in names(0..8) {
        queue.push(item(&id)).await.unwrap();
    }
    assert!(matches!(queue.push(item("8")).await, Err(QueueError::Full { .. })));
    // Spooled events wait for room, and are moved as far as it allows.
    server.kill9();
    for id in names(8..20) {
        queue.push(item(&id)).await.unwrap();
    }
    server.restart();
    let claim = || async { queue.claim(3, LEASE).await.ok().flatten() };
    let mut all = Vec::new();
    while all.len() < 20 {
        let claim = eventually("room is used", claim).await;
        all.extend(ids(&claim));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
    }
    assert_eq!(all, names(0..20));
    tokio::time::timeout(Duration::from_secs(20), emptied(&queue)).await.unwrap();
}

/// A queue with a short response timeout, behind a spool.
fn hasty(port: u16, spool: Arc<SqliteQueue>) -> SpooledQueue {
    let options = RedisOptions {
        response_timeout: Duration::from_millis(500),
        ..options(&format!("redis://127.0.0.1:{port}"))
    };
    let server = bklit_adapters::redis::connection::RedisServer::new(&options).unwrap();
    SpooledQueue::new(Arc::new(RedisQueue::new(server, &RedisQueueOptions::default())), spool)
}

/// One behind a proxy in front of the server, with an empty spool.
async fn behind_proxy(server: &RedisServer, dir: &Path) -> (Proxy, SpooledQueue) {
    let proxy = Proxy::before(server.port());
    let queue = hasty(proxy.port(), spool_in(dir, 10_000));
    emptied(&queue).await;
    (proxy, queue)
}

#[tokio::test]
async fn a_push_executed_late_by_a_hung_server_is_not_repeated() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let dir = tempfile::tempdir().unwrap();
    let queue = hasty(server.port(), spool_in(dir.path(), 10_000));
    emptied(&queue).await;
    queue.push(item("0")).await.unwrap();
    for round in 1..=5 {
        server.freeze();
        let ids = [format!("{round}a"), format!("{round}b")];
        // The first one has been sent to the server, which executes it when it continues.
        for id in &ids {
            assert_eq!(queue.push(item(id)).await.unwrap(), Pushed::Queued);
        }
        server.thaw();
        emptied(&queue).await;
    }
    let mut all = all_ids(&queue).await;
    all.sort();
    let mut once = all.clone();
    once.dedup();
    assert_eq!((all.len(), once), (11, all.clone()));
}

#[tokio::test]
async fn events_pushed_together_late_are_not_repeated() {
    const IDS: [&str; 3] = ["evt-late-1", "evt-late-own", "evt-late-2"];
    for held in [Hold::Request, Hold::Answer] {
        let server = RedisServer::start(Kind::Valkey, &[]);
        let dir = tempfile::tempdir().unwrap();
        let (proxy, queue) = behind_proxy(&server, dir.path()).await;
        queue.push(item("0")).await.unwrap();
        proxy.hold(b"evt-late", held);
        let together = IDS.map(|id| NewItem { client_id: id.ends_with("own"), ..item(id) });
        for pushed in queue.push_many(together.to_vec()).await {
            assert_eq!(pushed.unwrap(), Pushed::Queued);
        }
        emptied(&queue).await;
        let found = || server.cli(&["LRANGE", "analytics:queue", "0", "-1"]);
        let counts = || IDS.map(|id| found().matches(&format!("{{\"id\":\"{id}\",")).count());
        assert_eq!(counts(), [1; 3], "{held:?}: {}", found());
        proxy.release();
        queue.push(item("last")).await.unwrap();
        proxy.let_through();
        assert_eq!(counts(), [1; 3], "{held:?}: {}", found());
        assert_eq!(queue.stats().await.unwrap().depth, 5, "{held:?}");
    }
}

#[tokio::test]
async fn a_late_push_finds_its_series_closed() {
    for held in [Hold::Request, Hold::Answer] {
        let server = RedisServer::start(Kind::Valkey, &[]);
        let dir = tempfile::tempdir().unwrap();
        let (proxy, queue) = behind_proxy(&server, dir.path()).await;
        queue.push(item("0")).await.unwrap();
        proxy.hold(b"evt-late", held);
        assert_eq!(queue.push(item("evt-late")).await.unwrap(), Pushed::Queued);
        // Moved over another connection, before the held one continues.
        emptied(&queue).await;
        let found = || server.cli(&["LRANGE", "analytics:queue", "0", "-1"]);
        assert_eq!(found().matches("{\"id\":\"evt-late\",").count(), 1, "{held:?}: {}", found());
        proxy.release();
        queue.push(item("last")).await.unwrap();
        proxy.let_through();
        assert_eq!(found().matches("{\"id\":\"evt-late\",").count(), 1, "{held:?}: {}", found());
        assert_eq!(queue.stats().await.unwrap().depth, 3, "{held:?}");
        assert!(!found().contains("pushTicket"), "{}", found());
    }
}

#[tokio::test]
async fn a_spool_with_a_push_in_doubt_outlives_its_process() {
    for carried_out in [true, false] {
        let server = RedisServer::start(Kind::Valkey, &[]);
        let dir = tempfile::tempdir().unwrap();
        let held = if carried_out { Hold::Answer } else { Hold::Request };
        let (proxy, queue) = behind_proxy(&server, dir.path()).await;
        proxy.hold(b"evt-late", held);
        let (pushed, ()) = tokio::join!(queue.push(item("evt-late")), async {
            tokio::task::spawn_blocking({
                let proxy = proxy.clone();
                move || proxy.holds()
            })
            .await
            .unwrap();
            // Nothing can be settled or moved while the process is running.
            server.freeze();
        });
        assert_eq!(pushed.unwrap(), Pushed::Queued);
        drop(queue);
        server.thaw();
        let queue = hasty(server.port(), spool_in(dir.path(), 10_000));
        emptied(&queue).await;
        proxy.release();
        proxy.let_through();
        assert_eq!(all_ids(&queue).await, ["evt-late"], "carried out: {carried_out}");
    }
}

/// All failed items, by pages of two.
async fn all_failed(queue: &dyn Queue) -> Vec<FailedItem> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = queue.failed(after.as_deref(), 2).await.unwrap();
        assert!(page.items.len() <= 2);
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn failed_events_of_spool_and_queue_are_one_list() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let dir = tempfile::tempdir().unwrap();
    drop(spool_in(dir.path(), 10_000));
    let file = rusqlite::Connection::open(dir.path().join("spool.db")).unwrap();
    for body in ["x0", "x1", "x2", "x3", "x4"] {
        file.execute("INSERT INTO queue_item (body) VALUES (?)", [body]).unwrap();
    }
    drop(file);
    let redis = queue_at(&server);
    redis.push_in_order(&names(0..3).iter().map(|id| event(id)).collect::<Vec<_>>()).await.unwrap();
    let bad = redis.claim(3, LEASE).await.unwrap().unwrap();
    let reject = |seq| Rejected { seq, reason: seq.to_string() };
    redis.acknowledge(&bad.id, &[reject(0), reject(1), reject(2)]).await.unwrap();

    let queue = SpooledQueue::new(redis, spool_in(dir.path(), 10_000));
    emptied(&queue).await;
    assert_eq!(queue.stats().await.unwrap().failed, 8);
    let failed = all_failed(&queue).await;
    let bodies: Vec<_> = failed[..5].iter().map(|failed| failed.body.as_str()).collect();
    assert_eq!(bodies, ["x4", "x3", "x2", "x1", "x0"]);
    assert!(failed[..5].iter().all(|failed| failed.id.starts_with("spool:")), "{failed:?}");
    let reasons: Vec<_> = failed[5..].iter().map(|failed| failed.reason.as_str()).collect();
    assert_eq!(reasons, ["2", "1", "0"]);
    let id = |n: usize| failed[n].id.clone();

    // An edit that is not valid changes nothing, wherever its item is.
    let edit = |n: usize| Edit { id: id(n), body: "{}".into() };
    let edited = queue.retry_edited(&[edit(0), edit(6)]).await.unwrap();
    let invalid: Vec<_> = edited.invalid.iter().map(|invalid| invalid.id.clone()).collect();
    assert_eq!((edited.changed, invalid), (0, vec![id(0), id(6)]));
    assert_eq!(queue.stats().await.unwrap().failed, 8);
    assert_eq!(queue.retry_failed(&[id(3), id(6)]).await.unwrap(), 2);
    eventually("it fails again, and the other one waits", || async {
        let stats = queue.stats().await.unwrap();
        ((stats.depth, stats.failed) == (1, 7)).then_some(())
    })
    .await;
    assert_eq!(all_failed(&queue).await[0].body, "x1");
    assert_eq!(queue.delete_failed(&[id(0), id(3), id(5)]).await.unwrap(), 2, "one has a new id");
    // As a command does while another process owns the spool.
    let repair = SpooledQueue::for_repair(queue_at(&server), spool_in(dir.path(), 10_000));
    let left = all_failed(&repair).await;
    assert_eq!(left, all_failed(&queue).await);
    let left: Vec<_> = left.into_iter().map(|failed| failed.id).collect();
    assert_eq!(repair.stats().await.unwrap().failed, 5);
    assert_eq!(repair.delete_failed(&left).await.unwrap(), 5);
    eventually("the owner sees it", || async {
        (queue.stats().await.unwrap().failed == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_full_failed_list_keeps_spooled_events_and_refuses_new_ones() {
    let mut server = RedisServer::start(Kind::Redis, &[("appendfsync", "always")]);
    let dir = tempfile::tempdir().unwrap();
    let options = RedisQueueOptions { max_failed: 2, ..RedisQueueOptions::default() };
    let small = RedisQueue::new(server_at(&server), &options);
    let queue = SpooledQueue::new(Arc::new(small), spool_in(dir.path(), 100));
    emptied(&queue).await;
    server.cli(&["LPUSH", "analytics:queue:failed", "a", "b"]);
    let refused = queue.push(item("refused")).await;
    assert!(matches!(refused, Err(QueueError::FailedFull { failed: 2, bound: 2 })), "{refused:?}");
    assert_eq!(queue.spooled(), 0, "the spool is not used");
    server.kill9();
    for id in names(0..3) {
        queue.push(item(&id)).await.unwrap();
    }
    server.restart();
    eventually("the queue's state is known", || async {
        matches!(queue.accepts().await, Err(QueueError::FailedFull { .. })).then_some(())
    })
    .await;
    assert!(matches!(queue.push(item("refused")).await, Err(QueueError::FailedFull { .. })));
    assert_eq!(queue.spooled(), 3, "they wait");
    let failed = queue.failed(None, 1).await.unwrap().items.remove(0);
    assert_eq!(queue.delete_failed(&[failed.id]).await.unwrap(), 1);
    emptied(&queue).await;
    assert_eq!(all_ids(&queue).await, names(0..3));
}
