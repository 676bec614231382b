//! Claims of many items, which the server copies with one command.

use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::redis::connection::RedisServer as Server;
use bklit_adapters::redis::queue::{DEFAULT_PREFIX as QUEUE, RedisQueue, RedisQueueOptions};
use bklit_pipeline::queue::{MAX_BATCH_BYTES, Queue};
use bklit_wire::event::{PageView, Payload};
use bklit_wire::time::UtcMillis;
use futures_util::future::join_all;

use crate::support::redis::{LEASE, eventually, ids, item, options, queue_at};
use crate::support::servers::{Kind, RedisServer};

/// Pushes the numbers from 0 to `items` to the list.
fn fill(server: &RedisServer, items: usize) {
    let numbers: Vec<String> = (0..items).map(|n| n.to_string()).collect();
    let mut push = vec!["LPUSH", QUEUE];
    push.extend(numbers.iter().map(String::as_str));
    server.cli(&push);
}

/// Claims everything in batches of up to `most`; returns their sizes and all bodies in order.
async fn drain(queue: &RedisQueue, most: usize) -> (Vec<usize>, Vec<String>) {
    let (mut sizes, mut bodies) = (Vec::new(), Vec::new());
    while let Some(claim) = queue.claim(most, LEASE).await.unwrap() {
        sizes.push(claim.items.len());
        bodies.extend(claim.items.into_iter().map(|item| item.body));
    }
    (sizes, bodies)
}

fn numbers(items: usize) -> Vec<String> {
    (0..items).map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn a_claim_of_many_takes_the_oldest_in_their_order() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        fill(&server, 1_000);
        let queue = queue_at(&server);
        let first = queue.claim(300, LEASE).await.unwrap().unwrap();
        let bodies: Vec<_> = first.items.iter().map(|item| item.body.clone()).collect();
        assert_eq!(bodies, numbers(300));
        assert_eq!(server.cli(&["LINDEX", QUEUE, "-1"]), "300");
        let list = format!("{QUEUE}:batch:{}", first.id.batch);
        assert_eq!(server.cli(&["LINDEX", &list, "-1"]), "0");
        queue.acknowledge(&first.id, &[]).await.unwrap();
        let (sizes, bodies) = drain(&queue, 400).await;
        assert_eq!((sizes, &bodies[..]), (vec![400, 300], &numbers(1_000)[300..]));
        assert_eq!(server.cli(&["EXISTS", QUEUE]), "0");
    }
}

/// If every eighth item is small and only those are sampled, too much is copied.
#[tokio::test]
async fn a_claim_of_many_large_items_is_bounded_by_their_bytes() {
    for large in [|n: usize| n % 8 != 7, |_: usize| true] {
        let server = RedisServer::start(Kind::Valkey, &[]);
        let queue = queue_at(&server);
        let pushes = (0..400).map(|n: usize| {
            let mut item = item(&n.to_string());
            let url = "x".repeat(if large(n) { 64 * 1024 } else { 1 });
            Arc::make_mut(&mut item.event).payload =
                Payload::Pageview(Box::new(PageView { url, ..PageView::default() }));
            queue.push(item)
        });
        join_all(pushes).await.into_iter().for_each(|pushed| _ = pushed.unwrap());
        let mut claimed = Vec::new();
        while let Some(claim) = queue.claim(400, LEASE).await.unwrap() {
            let (last, others) = claim.items.split_last().unwrap();
            let bytes: usize = others.iter().map(|item| item.body.len()).sum();
            assert!(bytes < MAX_BATCH_BYTES, "{bytes} and {}", last.body.len());
            assert!(claim.items.len() > 10 || claimed.len() > 380, "{} items", claim.items.len());
            claimed.extend(ids(&claim));
        }
        // They were pushed concurrently.
        claimed.sort_by_key(|id| id.parse::<usize>().unwrap());
        assert_eq!(claimed, numbers(400));
    }
}

#[tokio::test]
async fn claims_work_without_permission_to_sort() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    fill(&server, 250);
    for denied in ["-sort", "-memory"] {
        server.cli(&["ACL", "SETUSER", "app", "reset", "on", ">a", "~*", "&*", "+@all", denied]);
        let url = server.url().replace("redis://", "redis://app:a@");
        let queue =
            RedisQueue::new(Server::new(&options(&url)).unwrap(), &RedisQueueOptions::default());
        let claim = queue.claim(200, LEASE).await.unwrap().unwrap();
        let bodies: Vec<_> = claim.items.iter().map(|item| item.body.clone()).collect();
        assert_eq!(bodies, numbers(200));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
        server.cli(&["DEL", QUEUE]);
        fill(&server, 250);
    }
}

/// Otherwise it would last as long as the clock was set back.
#[tokio::test]
async fn a_lease_from_before_the_clock_was_set_back_is_shortened() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let queue = queue_at(&server);
        queue.push(item("evt_1")).await.unwrap();
        let short = Duration::from_millis(100);
        let held = queue.claim(10, short).await.unwrap().unwrap();
        server.cli(&["ZADD", &format!("{QUEUE}:inflight"), "99999999999999", &held.id.batch]);
        let again = eventually("it can be claimed again", || async {
            queue.claim(10, LEASE).await.unwrap()
        })
        .await;
        assert_eq!((&again.id.batch, again.items), (&held.id.batch, held.items));
        // Callers that request short leases leave a long one alone.
        assert!(queue.claim(10, short).await.unwrap().is_none());
        let ends: f64 =
            server.cli(&["ZSCORE", &format!("{QUEUE}:inflight"), &again.id.batch]).parse().unwrap();
        let now = UtcMillis::now().epoch_millis() as f64;
        assert!(ends > now + LEASE.as_millis() as f64 / 2.0, "{ends} {now}");
    }
}
