//! The queue's list, shared with programs that do not use claims.

use std::time::Duration;

use bklit_adapters::redis::queue::{DEFAULT_PREFIX as QUEUE, RedisQueue, RedisQueueOptions};
use bklit_pipeline::queue::{
    FailedItem, MAX_PUSHED, NewItem, Order, Pushed, Queue, QueueStats, Rejected,
};
use bklit_wire::event::QueuedEvent;
use bklit_wire::queue::MAX_PAGE;
use serde_json::Value;

use crate::support::redis::{LEASE, SOON, event, eventually, ids, item, queue_at, server_at};
use crate::support::servers::{Kind, RedisServer};

/// Events of the existing system, with fewer and with more fields than ours.
const FEWER: &str = r#"{"id":"evt_few","type":"pageview","payload":{"url":"https://a.example/"},"queuedAt":"2026-01-31T12:00:00.000Z","projectId":"p1"}"#;
const MORE: &str = r#"{"v":2,"id":"evt_more","type":"event","payload":{"trackingId":"t","eventType":"click","x":[1]},"queuedAt":"2026-01-31T12:00:00.000Z","projectId":"p1","trace":{"a":null}}"#;

#[tokio::test]
async fn a_plain_rpop_consumer_finds_our_events_in_the_contracts_form() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let queue = queue_at(&server);
        let plain = item("evt_1");
        queue.push(plain.clone()).await.unwrap();
        queue.push(NewItem { event: event("mine").into(), client_id: true }).await.unwrap();
        let now = plain.event.queued_at;
        let expected = format!(
            r#"{{"id":"evt_1","type":"pageview","payload":{{"projectId":"p1","timestamp":"{now}","url":"https://example.com/evt_1"}},"queuedAt":"{now}","projectId":"p1"}}"#
        );
        assert_eq!(server.cli(&["RPOP", QUEUE]), expected);
        let popped: Value = serde_json::from_str(&server.cli(&["RPOP", QUEUE])).unwrap();
        assert_eq!(popped["id"], "mine");
        assert_eq!(queue.stats().await.unwrap(), QueueStats::default());
        assert!(queue.claim(1, LEASE).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_are_reported_and_kept() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let queue = queue_at(&server);
        // The script writes the byte 233 alone.
        let script = "redis.call('LPUSH', KEYS[1], 'ok', '{\"title\":\"caf\\233\"}')";
        server.cli(&["EVAL", script, "1", QUEUE]);
        let batch = queue.claim(10, LEASE).await.unwrap().unwrap();
        assert_eq!((batch.items[0].body.as_str(), batch.items[0].invalid_utf8), ("ok", None));
        let item = &batch.items[1];
        assert_eq!(
            (item.body.as_str(), item.invalid_utf8),
            ("{\"title\":\"caf\u{fffd}\"}", Some(13))
        );
        let rejected = Rejected { seq: item.seq, reason: "not an event".to_owned() };
        queue.acknowledge(&batch.id, &[rejected]).await.unwrap();
        let failed = queue.failed(None, 10).await.unwrap().items.remove(0);
        assert_eq!(queue.retry_failed(&[failed.id]).await.unwrap(), 1);
        let length = "return #redis.call('LINDEX', KEYS[1], 0)";
        assert_eq!(
            server.cli(&["EVAL", length, "1", QUEUE]),
            "16",
            "the bytes are the original ones"
        );
    }
}

#[tokio::test]
async fn items_of_other_programs_are_noticed_and_delivered_unchanged() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let queue = queue_at(&server);
        let ready = tokio::spawn({
            let queue = queue.clone();
            async move { queue.ready().await }
        });
        assert_eq!(server.cli(&["LPUSH", QUEUE, FEWER]), "1");
        tokio::time::timeout(SOON, ready).await.expect("a push by another wakes").unwrap();
        server.cli(&["LPUSH", QUEUE, MORE, "not JSON", ""]);
        let batch = queue.claim(10, LEASE).await.unwrap().unwrap();
        let bodies: Vec<_> = batch.items.iter().map(|item| item.body.as_str()).collect();
        assert_eq!(bodies, [FEWER, MORE, "not JSON", ""]);
        assert!(
            QueuedEvent::from_json(bodies[0]).is_ok() && QueuedEvent::from_json(bodies[1]).is_ok()
        );
        let garbage = |seq| Rejected { seq, reason: "not an event".to_owned() };
        queue.acknowledge(&batch.id, &[garbage(2), garbage(3)]).await.unwrap();
        let failed: Vec<_> = queue
            .failed(None, 10)
            .await
            .unwrap()
            .items
            .into_iter()
            .map(|f| (f.body, f.reason))
            .collect();
        assert_eq!(
            failed,
            [("", "not an event"), ("not JSON", "not an event")].map(|(b, r)| (b.into(), r.into()))
        );
    }
}

#[tokio::test]
async fn a_failed_item_keeps_every_byte_until_it_is_retried() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let queue = queue_at(&server);
    // Created by the server, because a command line cannot contain these bytes.
    let bytes = r#"return redis.call('LPUSH', KEYS[1], '\0\1\127\255 "\\/ é')"#;
    server.cli(&["EVAL", bytes, "1", QUEUE]);
    let before =
        server.cli(&["EVAL", "return redis.sha1hex(redis.call('LINDEX', KEYS[1], 0))", "1", QUEUE]);
    let batch = queue.claim(1, LEASE).await.unwrap().unwrap();
    queue
        .acknowledge(&batch.id, &[Rejected { seq: 0, reason: "\"bytes\"\n".into() }])
        .await
        .unwrap();
    let failed = queue.failed(None, 1).await.unwrap().items.remove(0);
    assert_eq!(failed.body, "\0\u{1}\u{7f}\u{fffd} \"\\/ é");
    assert_eq!(failed.reason, "\"bytes\"\n");
    assert_eq!(queue.retry_failed(&[failed.id]).await.unwrap(), 1);
    let after =
        server.cli(&["EVAL", "return redis.sha1hex(redis.call('LINDEX', KEYS[1], 0))", "1", QUEUE]);
    assert_eq!(after, before);
}

#[tokio::test]
async fn failed_items_of_other_programs_are_shown_and_retried_unchanged() {
    let server = RedisServer::start(Kind::Redis, &[]);
    let queue = queue_at(&server);
    let failed_list = format!("{QUEUE}:failed");
    server.cli(&["LPUSH", &failed_list, FEWER, "broken", "broken"]);
    let failed = queue.failed(None, 10).await.unwrap().items;
    let bodies: Vec<_> = failed.iter().map(|f| f.body.as_str()).collect();
    assert_eq!(bodies, ["broken", "broken", FEWER]);
    assert_eq!(failed[2].failed_at.unwrap().to_string(), "2026-01-31T12:00:00.000Z");
    assert_eq!(failed[0].failed_at, None);
    let chosen = [failed[2].id.clone(), failed[0].id.clone()];
    assert_eq!(queue.retry_failed(&chosen).await.unwrap(), 2);
    assert_eq!(server.cli(&["LRANGE", QUEUE, "0", "-1"]), format!("broken\n{FEWER}"));
    assert_eq!(server.cli(&["LRANGE", &failed_list, "0", "-1"]), "broken", "one of two");
    // The other id refers to the same text, which has moved to the old end.
    assert_eq!(queue.delete_failed(&[failed[1].id.clone()]).await.unwrap(), 1);
    assert_eq!(server.cli(&["LLEN", &failed_list]), "0");
}

#[tokio::test]
async fn many_failed_items_are_retried_in_the_requested_order() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let queue = queue_at(&server);
    let events: Vec<_> = (0..2_500).map(|n| event(&n.to_string())).collect();
    queue.push_in_order(&events).await.unwrap();
    let batch = queue.claim(5_000, LEASE).await.unwrap().unwrap();
    let reject = |seq| Rejected { seq, reason: "later".into() };
    queue.acknowledge(&batch.id, &(0..2_500).map(reject).collect::<Vec<_>>()).await.unwrap();
    let oldest_first: Vec<_> =
        all_failed(&*queue).await.into_iter().rev().map(|failed| failed.id).collect();
    let even: Vec<_> = oldest_first.iter().step_by(2).cloned().collect();
    assert_eq!(queue.retry_failed(&even).await.unwrap(), 1_250);
    let retried = ids(&queue.claim(5_000, LEASE).await.unwrap().unwrap());
    let expected: Vec<_> = (0..2_500).step_by(2).map(|n| n.to_string()).collect();
    assert_eq!(retried, expected);
    assert_eq!(queue.stats().await.unwrap().failed, 1_250);
    assert_eq!(queue.retry_failed(&oldest_first).await.unwrap(), 1_250, "the others are left");
}

async fn all_failed(queue: &dyn Queue) -> Vec<FailedItem> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = queue.failed(after.as_deref(), MAX_PAGE).await.unwrap();
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn deleting_page_by_page_misses_nothing_while_others_add_and_delete() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let queue = queue_at(&server);
    let failed_list = format!("{QUEUE}:failed");
    let fill = "for i = 1, 20000 do redis.call('LPUSH', KEYS[1], \
                '{\"reason\":\"r' .. i % 2 .. '\",\"body\":\"' .. i .. '\"}') end";
    server.cli(&["EVAL", fill, "1", &failed_list]);
    let (mut after, mut deleted, mut pages) = (None, 0, 0);
    loop {
        let page = queue.failed(after.as_deref(), MAX_PAGE).await.unwrap();
        let odd = page.items.iter().filter(|item| item.reason == "r1");
        let odd: Vec<_> = odd.map(|item| item.id.clone()).collect();
        deleted += queue.delete_failed(&odd).await.unwrap();
        pages += 1;
        // Items that are added, or removed at the old end, do not hide others.
        server.cli(&["LPUSH", &failed_list, "new"]);
        server.cli(&[
            "EVAL",
            "for i = 1, 10 do redis.call('RPOP', KEYS[1]) end",
            "1",
            &failed_list,
        ]);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(pages >= 40, "{pages}");
    let left = all_failed(&*queue).await;
    assert_eq!(left.iter().filter(|item| item.reason == "r1").count(), 0);
    let evens = left.iter().filter(|item| item.reason == "r0").count() as u64;
    assert_eq!(left.iter().filter(|item| item.body == "new").count(), pages);
    assert!(deleted >= 9_700 && evens >= 9_700, "{deleted} {evens}");
}

#[tokio::test]
async fn deleting_waiting_items_during_claims_loses_no_others() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let queue = queue_at(&server);
        let events: Vec<_> = (0..6_000).map(|n| event(&n.to_string())).collect();
        queue.push_in_order(&events).await.unwrap();
        let claimer = tokio::spawn({
            let queue = queue_at(&server);
            async move {
                let mut claimed = Vec::new();
                while let Some(claim) = queue.claim(37, LEASE).await.unwrap() {
                    claimed.extend(ids(&claim));
                    queue.acknowledge(&claim.id, &[]).await.unwrap();
                }
                claimed
            }
        });
        let (mut after, mut deleted) = (None, 0);
        loop {
            let page = queue.waiting(Order::NewestFirst, after.as_deref(), 100).await.unwrap();
            let chosen = page.items.iter().step_by(2).map(|item| item.id.clone());
            deleted += queue.delete_waiting(&chosen.collect::<Vec<_>>()).await.unwrap();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let claimed = claimer.await.unwrap();
        assert!(deleted > 0);
        assert_eq!(claimed.len() as u64 + deleted, 6_000, "each is claimed or deleted");
        let unique: std::collections::HashSet<_> = claimed.iter().collect();
        assert_eq!(unique.len(), claimed.len());
        assert_eq!(queue.stats().await.unwrap(), QueueStats::default());
    }
}

#[tokio::test]
async fn batches_have_the_requested_size_and_are_in_order() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let queue = queue_at(&server);
        let fill = "for i = 1, 45000 do redis.call('LPUSH', KEYS[1], \
                    '{\"id\":\"' .. i .. '\",\"type\":\"pageview\",\"payload\":{\"url\":\"u\"},\
                    \"queuedAt\":0,\"projectId\":\"p\"}') end";
        server.cli(&["EVAL", fill, "1", QUEUE]);
        let first = queue.claim(20_000, LEASE).await.unwrap().unwrap();
        let rest = queue.claim(50_000, Duration::ZERO).await.unwrap().unwrap();
        let again = queue.claim(1, LEASE).await.unwrap().unwrap();
        assert_eq!((first.items.len(), rest.items.len()), (20_000, 25_000));
        assert_eq!((&again.id.batch, &again.items), (&rest.id.batch, &rest.items));
        let numbers = ids(&first).into_iter().chain(ids(&rest));
        assert!(numbers.eq((1..=45_000).map(|n| n.to_string())));
        // All items of a large batch can be rejected.
        let reject = |seq| Rejected { seq, reason: "bad".into() };
        queue.acknowledge(&first.id, &(0..20_000).map(reject).collect::<Vec<_>>()).await.unwrap();
        queue.acknowledge(&again.id, &[]).await.unwrap();
        let stats = QueueStats { failed: 20_000, ..QueueStats::default() };
        assert_eq!(queue.stats().await.unwrap(), stats);
        let newest = &queue.failed(None, 1).await.unwrap().items[0];
        assert!(newest.body.contains("\"id\":\"20000\""), "{newest:?}");
        assert_eq!(server.cli(&["KEYS", "*:batch:*"]), "", "nothing is left of the batches");
    }
}

#[tokio::test]
async fn events_pushed_together_are_one_write() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let queue = queue_at(&server);
    for client_id in [false, true] {
        let items = |prefix: &str| -> Vec<_> {
            let new = |n| NewItem { event: event(&format!("{prefix}{n}")).into(), client_id };
            (0..MAX_PUSHED).map(new).collect()
        };
        // The script is loaded, and the depth is known.
        queue.push_many(items("a")).await;
        server.cli(&["CONFIG", "RESETSTAT"]);
        let results = queue.push_many(items("b")).await;
        assert!(results.len() == MAX_PUSHED && results.iter().all(Result::is_ok));
        let stats = server.cli(&["INFO", "commandstats"]);
        assert!(stats.contains("cmdstat_evalsha:calls=1,"), "{client_id}: {stats}");
    }
}

#[tokio::test]
async fn ids_are_remembered_for_a_day() {
    let server = RedisServer::start(Kind::Redis, &[]);
    let queue = queue_at(&server);
    queue.push(NewItem { event: event("mine").into(), client_id: true }).await.unwrap();
    queue.push(item("ours")).await.unwrap();
    let ids = server.cli(&["KEYS", "*:ids:*"]);
    let seconds: u32 = server.cli(&["TTL", &ids]).parse().unwrap();
    assert!((86_300..=86_400).contains(&seconds), "{ids}: {seconds}");
}

#[tokio::test]
async fn remembered_ids_are_few_and_small() {
    let server = RedisServer::start(Kind::Redis, &[]);
    let options = RedisQueueOptions { max_client_ids: 2_000, ..RedisQueueOptions::default() };
    let queue = RedisQueue::new(server_at(&server), &options);
    let long = |n: usize| format!("{n:0>120}");
    let events: Vec<_> = (0..8_000).map(|n| event(&long(n))).collect();
    for some in events.chunks(500) {
        queue.push_in_order(some).await.unwrap();
    }
    let keys = server.cli(&["KEYS", "*:ids:*"]);
    let count = |command: &[&str]| server.cli(command).parse::<u64>().unwrap();
    let ids: u64 = keys.lines().map(|key| count(&["HLEN", key])).sum();
    assert!((900..=2_000).contains(&ids), "{ids}");
    let bytes: u64 = keys.lines().map(|key| count(&["MEMORY", "USAGE", key])).sum();
    assert!(bytes / ids < 60, "{bytes} bytes for {ids} ids");
}

#[tokio::test]
async fn ids_that_an_earlier_version_remembered_are_recognised() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    // SHA-256 of the length of `p1` in 8 bytes, `p1` and `mine`.
    server.cli(&["SET", "analytics:queue:seen:ccea805615ca93268d2a780e61826e5c", "1"]);
    let queue = queue_at(&server);
    let known = NewItem { event: event("mine").into(), client_id: true };
    assert_eq!(queue.push(known).await.unwrap(), Pushed::Duplicate);
}

#[tokio::test]
async fn a_prefix_keeps_queues_apart() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let prefix = "{analytics}:queue".to_owned();
    let options = RedisQueueOptions { prefix, ..RedisQueueOptions::default() };
    let other = RedisQueue::new(server_at(&server), &options);
    other.push(NewItem { event: event("x").into(), client_id: true }).await.unwrap();
    assert!(queue_at(&server).claim(1, LEASE).await.unwrap().is_none());
    assert_eq!(server.cli(&["LLEN", "{analytics}:queue"]), "1");
    other.claim(1, LEASE).await.unwrap().unwrap();
    for key in server.cli(&["KEYS", "*"]).lines() {
        assert!(key.starts_with("{analytics}:queue"), "{key}");
    }
}

#[tokio::test]
async fn a_cancelled_claim_leaves_the_batch_to_others() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let queue = queue_at(&server);
    // Connects first, so that the next claim is sent before it is cancelled.
    queue.push(item("a")).await.unwrap();
    let held = queue.claim(1, LEASE).await.unwrap().unwrap();
    queue.acknowledge(&held.id, &[]).await.unwrap();
    queue.push(item("b")).await.unwrap();
    server.freeze();
    let given_up = tokio::time::timeout(Duration::from_millis(200), queue.claim(1, LEASE)).await;
    assert!(given_up.is_err());
    server.thaw();
    let other = queue_at(&server);
    let claim = eventually("it is released", || async { other.claim(1, LEASE).await.unwrap() });
    assert_eq!(ids(&claim.await), ["b"]);
}

#[tokio::test]
async fn claims_need_not_wait_for_the_disk() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let options = RedisQueueOptions { durable_claims: false, ..RedisQueueOptions::default() };
    let queue = RedisQueue::new(server_at(&server), &options);
    queue.push(item("a")).await.unwrap();
    queue.claim(1, LEASE).await.unwrap().unwrap();
    let calls = |info: &str| -> u64 {
        let line = info.lines().find(|line| line.starts_with("cmdstat_waitaof:"));
        line.map_or(0, |line| line.split(['=', ',']).nth(1).unwrap().parse().unwrap())
    };
    let asked = calls(&server.cli(&["INFO", "commandstats"]));
    assert_eq!(asked, 0, "not even a probe");
    let waiting = queue_at(&server);
    waiting.push(item("b")).await.unwrap();
    waiting.claim(1, LEASE).await.unwrap().unwrap();
    assert_eq!(calls(&server.cli(&["INFO", "commandstats"])), 2);
}
