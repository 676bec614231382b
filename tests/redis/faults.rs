//! Servers that crash or run out of memory, and late consumers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bklit_adapters::redis::queue::RedisQueue;
use bklit_pipeline::queue::{NewItem, Queue, QueueError, QueueStats, Rejected};

use crate::support::redis::{LEASE, SOON, event, eventually, ids, item, queue_at};
use crate::support::servers::{Kind, RedisServer};

const CRASHES: usize = 6;

/// The producers' results and the consumers' events.
#[derive(Default)]
struct Ledger {
    accepted: Mutex<HashSet<String>>,
    unknown: Mutex<HashSet<String>>,
    /// For each event, the batches in which it was delivered.
    stored: Mutex<HashMap<String, HashSet<String>>>,
    stop: AtomicBool,
    consumed: AtomicUsize,
}

async fn produce(queue: Arc<RedisQueue>, ledger: Arc<Ledger>, name: usize) {
    for n in 0.. {
        if ledger.stop.load(Ordering::Relaxed) {
            return;
        }
        let id = format!("{name}-{n}");
        let result = match queue.push(item(&id)).await {
            Ok(_) => &ledger.accepted,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(2)).await;
                &ledger.unknown
            }
        };
        result.lock().unwrap().insert(id);
    }
}

/// Stores a batch by its id, like a store that recognises repeated batches, and acknowledges it.
async fn consume(queue: Arc<RedisQueue>, ledger: Arc<Ledger>) {
    loop {
        let claim = match queue.claim(50, Duration::from_millis(500)).await {
            Ok(Some(claim)) => claim,
            Ok(None) if ledger.stop.load(Ordering::Relaxed) => {
                let stats = queue.stats().await.unwrap();
                if stats.depth + stats.in_flight == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            Ok(None) | Err(_) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
        };
        for id in ids(&claim) {
            let mut stored = ledger.stored.lock().unwrap();
            stored.entry(id).or_default().insert(claim.id.batch.clone());
        }
        ledger.consumed.fetch_add(claim.items.len(), Ordering::Relaxed);
        // The batch is delivered again until it is acknowledged.
        let _ = queue.acknowledge(&claim.id, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_repeatedly_loses_and_repeats_nothing() {
    for kind in Kind::ALL {
        let mut server = RedisServer::start(kind, &[("appendfsync", "always")]);
        let ledger = Arc::new(Ledger::default());
        let mut tasks = Vec::new();
        for name in 0..4 {
            let queue = queue_at(&server);
            tasks.push(tokio::spawn(produce(queue, Arc::clone(&ledger), name)));
        }
        for _ in 0..2 {
            tasks.push(tokio::spawn(consume(queue_at(&server), Arc::clone(&ledger))));
        }
        for crash in 1..=CRASHES {
            let target = ledger.consumed.load(Ordering::Relaxed) + 200;
            eventually("events are consumed", || async {
                (ledger.consumed.load(Ordering::Relaxed) >= target).then_some(())
            })
            .await;
            server = tokio::task::spawn_blocking(move || {
                server.restart();
                server
            })
            .await
            .unwrap();
            assert!(crash <= CRASHES);
        }
        ledger.stop.store(true, Ordering::Relaxed);
        for task in tasks {
            tokio::time::timeout(SOON, task).await.expect("drained").unwrap();
        }
        let (accepted, unknown) = (ledger.accepted.lock().unwrap(), ledger.unknown.lock().unwrap());
        let stored = ledger.stored.lock().unwrap();
        // What was consumed includes pushes without a response.
        assert!(accepted.len() > 100 * CRASHES, "{}", accepted.len());
        let lost: Vec<_> = accepted.iter().filter(|id| !stored.contains_key(*id)).collect();
        assert!(lost.is_empty(), "{kind:?} lost {lost:?}");
        let repeated: Vec<_> = stored.iter().filter(|(_, batches)| batches.len() > 1).collect();
        assert!(repeated.is_empty(), "{kind:?} repeated {repeated:?}");
        let foreign = stored.keys().find(|id| !accepted.contains(*id) && !unknown.contains(*id));
        assert_eq!(foreign, None);
    }
}

#[tokio::test]
async fn without_memory_new_events_are_refused_and_waiting_ones_processed() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[("maxmemory-policy", "noeviction")]);
        let queue = queue_at(&server);
        let events: Vec<_> = (0..2_000).map(|n| event(&n.to_string())).collect();
        queue.push_in_order(&events).await.unwrap();
        let held = queue.claim(10, LEASE).await.unwrap().unwrap();
        server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
        for client_id in [false, true] {
            let refused = queue.push(NewItem { event: event("new").into(), client_id }).await;
            let (Err(QueueError::Unavailable(reason)) | Err(QueueError::InDoubt { reason, .. })) =
                refused
            else {
                panic!("{refused:?}")
            };
            assert!(reason.contains("OOM") || reason.contains("memory"), "{reason}");
        }
        // All operations of consumers still work, or memory would never be freed.
        queue.renew(&held.id, LEASE).await.unwrap();
        queue.release(&held.id).await.unwrap();
        let again = queue.claim(10, LEASE).await.unwrap().unwrap();
        assert_eq!(again.items, held.items);
        queue.acknowledge(&again.id, &[Rejected { seq: 3, reason: "bad".into() }]).await.unwrap();
        let part = queue.claim(100, LEASE).await.unwrap().unwrap();
        let rest = queue.claim(5_000, LEASE).await.unwrap().unwrap();
        assert_eq!((part.items.len(), rest.items.len()), (100, 1_890));
        queue.acknowledge(&part.id, &[]).await.unwrap();
        queue.acknowledge(&rest.id, &[]).await.unwrap();
        let failed = queue.failed(None, 1).await.unwrap().items.remove(0);
        assert_eq!(queue.retry_failed(&[failed.id]).await.unwrap(), 1);
        assert_eq!(queue.delete_failed(&["-0".into()]).await.unwrap(), 0);
        server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        queue.push(NewItem { event: event("new").into(), client_id: true }).await.unwrap();
        let last = queue.claim(10, LEASE).await.unwrap().unwrap();
        assert_eq!(ids(&last), ["3", "new"]);
    }
}

#[tokio::test]
async fn a_stale_claim_is_refused_even_if_a_crash_undid_the_later_one() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let queue = queue_at(&server);
    queue.push(item("a")).await.unwrap();
    let first = queue.claim(1, Duration::ZERO).await.unwrap().unwrap();
    let second = queue.claim(1, Duration::ZERO).await.unwrap().unwrap();
    // Simulates a crash that loses the second claim.
    let meta = format!("analytics:queue:batch:{}:meta", first.id.batch);
    server.cli(&["HSET", &meta, "epoch", &first.id.epoch.to_string()]);
    let third = queue.claim(1, LEASE).await.unwrap().unwrap();
    assert!(third.id.epoch > second.id.epoch, "an epoch is never reused");
    for late in [&first.id, &second.id] {
        assert!(matches!(queue.acknowledge(late, &[]).await, Err(QueueError::Stale(_))));
    }
    queue.acknowledge(&third.id, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_consumers_share_one_queue() {
    const EVENTS: usize = 3_000;
    let server = RedisServer::start(Kind::Valkey, &[]);
    let start = Arc::new(tokio::sync::Barrier::new(2));
    let consumers: Vec<_> = (0..2)
        .map(|_| {
            let (queue, start) = (queue_at(&server), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                let mut seen = Vec::new();
                loop {
                    let ready = tokio::time::timeout(Duration::from_secs(1), queue.ready());
                    if ready.await.is_err() {
                        return seen;
                    }
                    if let Some(claim) = queue.claim(100, LEASE).await.unwrap() {
                        seen.extend(ids(&claim));
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        queue.acknowledge(&claim.id, &[]).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let queue = queue_at(&server);
    let pushes = (0..EVENTS).map(|n| {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { queue.push(item(&n.to_string())).await.unwrap() })
    });
    for push in pushes.collect::<Vec<_>>() {
        push.await.unwrap();
    }
    let mut seen = Vec::new();
    for consumer in consumers {
        let its = tokio::time::timeout(SOON, consumer).await.unwrap().unwrap();
        assert!(its.len() > EVENTS / 10, "{} of {EVENTS}", its.len());
        seen.extend(its);
    }
    assert_eq!((seen.len(), seen.iter().collect::<HashSet<_>>().len()), (EVENTS, EVENTS));
    assert_eq!(queue.stats().await.unwrap(), QueueStats::default());
}
