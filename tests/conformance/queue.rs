//! The port `Queue`.

mod client_ids;
mod fixtures;
mod model;
mod push_many;
mod repair;
mod sqlite_file;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::redis::queue::Durability;
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_pipeline::queue::{
    Bounds, Claim, ClaimedItem, MAX_BATCH_BYTES, NewItem, Pushed, Queue, QueueError, QueueStats,
    Rejected,
};
use bklit_wire::event::{PageView, Payload, QueuedEvent};
use bklit_wire::time::UtcMillis;

use crate::support::DEADLINE;
use crate::support::redis_proxy::RedisProxy;
use crate::support::servers::Kind;
use fixtures::{Cluster, Fixture, Redis, Sqlite, drain};

const LEASE: Duration = Duration::from_secs(600);
/// A lease that has expired immediately.
const NO_LEASE: Duration = Duration::ZERO;
const MAX_DEPTH: u64 = 50;
const MAX_FAILED: u64 = 30;
const MAX_CLIENT_IDS: u64 = 1_000;
const BOUNDS: Bounds = Bounds { depth: MAX_DEPTH, failed: MAX_FAILED, client_ids: MAX_CLIENT_IDS };

fn item(id: &str, client_id: bool) -> NewItem {
    item_of("p1", id, client_id)
}

fn item_of(project: &str, id: &str, client_id: bool) -> NewItem {
    let (url, now) = (format!("https://example.com/{id}"), UtcMillis::now());
    // The queue's JSON always has a timestamp.
    let view = PageView { url, timestamp: Some(now), ..PageView::default() };
    let event = QueuedEvent {
        id: id.to_owned(),
        payload: Payload::Pageview(Box::new(view)),
        queued_at: now,
        project_id: project.to_owned(),
        push_ticket: None,
    };
    NewItem { event: event.into(), client_id }
}

async fn push(queue: &dyn Queue, id: &str) {
    assert_eq!(queue.push(item(id, false)).await.unwrap(), Pushed::Queued);
}

async fn claim(queue: &dyn Queue, most: usize, lease: Duration) -> Claim {
    queue.claim(most, lease).await.unwrap().expect("something to claim")
}

fn id_of(item: &ClaimedItem) -> String {
    QueuedEvent::from_json(&item.body).unwrap().id
}

fn ids(claim: &Claim) -> Vec<String> {
    claim.items.iter().map(id_of).collect()
}

async fn stats(queue: &dyn Queue) -> [u64; 3] {
    let QueueStats { depth, in_flight, failed, spooled: 0 } = queue.stats().await.unwrap() else {
        panic!("nothing is spooled here");
    };
    [depth, in_flight, failed]
}

async fn events_come_out_whole_and_in_order(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    assert!(queue.claim(10, LEASE).await.unwrap().is_none());
    let sent = item("evt_ü/\"\\\u{1b}\u{7f}", false);
    queue.push(sent.clone()).await.unwrap();
    push(&*queue, "evt_2").await;
    push(&*queue, "evt_3").await;
    assert_eq!(stats(&*queue).await, [3, 0, 0]);
    let first = claim(&*queue, 2, LEASE).await;
    assert_eq!(QueuedEvent::from_json(&first.items[0].body).unwrap(), *sent.event);
    assert_eq!(ids(&claim(&*queue, 2, LEASE).await), ["evt_3"]);
    assert!(queue.claim(10, LEASE).await.unwrap().is_none(), "all are claimed");
    assert_eq!(stats(&*queue).await, [0, 3, 0]);
    queue.acknowledge(&first.id, &[]).await.unwrap();
    assert_eq!(stats(&*queue).await, [0, 1, 0]);
}

/// The caller was cancelled before the result arrived.
async fn a_claim_whose_caller_was_cancelled_is_released(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    push(&*queue, "a").await;
    for _ in 0..20 {
        let claimed = tokio::time::timeout(Duration::ZERO, queue.claim(10, LEASE));
        // If the result was available immediately, nothing was cancelled.
        if let Ok(Some(claimed)) = claimed.await.unwrap_or(Ok(None)) {
            queue.release(&claimed.id).await.unwrap();
        }
    }
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while queue.claim(10, LEASE).await.unwrap().is_none() {
        assert!(tokio::time::Instant::now() < deadline, "the claim was not released");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn an_unacknowledged_batch_is_delivered_again_unchanged(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    for id in ["a", "b", "c"] {
        push(&*queue, id).await;
    }
    let began = UtcMillis::now();
    let first = claim(&*queue, 2, NO_LEASE).await;
    let second = claim(&*queue, 10, LEASE).await;
    assert_eq!(second.items, first.items);
    assert_eq!(second.id.batch, first.id.batch);
    // The times of its events are judged by this.
    let claimed = first.id.first_claimed();
    assert!((began..=UtcMillis::now()).contains(&claimed), "{claimed}");
    assert_eq!(second.id.first_claimed(), claimed);
    assert!(second.id.epoch > first.id.epoch);
    assert_eq!(ids(&claim(&*queue, 10, LEASE).await), ["c"], "then the next event");
}

async fn a_late_acknowledgement_is_refused(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    push(&*queue, "a").await;
    let late = claim(&*queue, 1, NO_LEASE).await;
    let owner = claim(&*queue, 1, LEASE).await;
    let rejects = [Rejected { seq: late.items[0].seq, reason: "late".into() }];
    for result in [
        queue.acknowledge(&late.id, &rejects).await,
        queue.renew(&late.id, LEASE).await,
        queue.release(&late.id).await,
    ] {
        assert!(matches!(result, Err(QueueError::Stale(id)) if id == late.id));
    }
    assert_eq!(stats(&*queue).await, [0, 1, 0]);
    queue.acknowledge(&owner.id, &[]).await.unwrap();
    assert!(matches!(queue.acknowledge(&owner.id, &[]).await, Err(QueueError::Stale(_))));
    assert_eq!(stats(&*queue).await, [0, 0, 0]);
}

async fn a_renewed_lease_holds_and_a_released_one_does_not(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    push(&*queue, "a").await;
    let held = claim(&*queue, 1, NO_LEASE).await;
    queue.renew(&held.id, LEASE).await.unwrap();
    assert!(queue.claim(1, LEASE).await.unwrap().is_none());
    queue.release(&held.id).await.unwrap();
    let next = claim(&*queue, 1, LEASE).await;
    assert_eq!(next.items, held.items);
}

async fn rejected_items_are_kept_with_their_reason_and_can_be_retried(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    for id in ["a", "b", "c"] {
        push(&*queue, id).await;
    }
    let batch = claim(&*queue, 10, LEASE).await;
    let reject =
        |n: usize, reason: &str| Rejected { seq: batch.items[n].seq, reason: reason.into() };
    queue.acknowledge(&batch.id, &[reject(0, "first"), reject(2, "third")]).await.unwrap();
    assert_eq!(stats(&*queue).await, [0, 0, 2]);
    let failed = queue.failed(None, 10).await.unwrap().items;
    let shown: Vec<_> = failed.iter().map(|f| (f.reason.as_str(), f.body.as_str())).collect();
    assert_eq!(shown, [("third", &*batch.items[2].body), ("first", &*batch.items[0].body)]);
    assert_eq!(queue.failed(None, 1).await.unwrap().items.len(), 1);
    assert_eq!(
        queue.retry_failed(&[failed[1].id.clone(), "999999".into(), "?".into()]).await.unwrap(),
        1
    );
    assert_eq!(stats(&*queue).await, [1, 0, 1]);
    assert_eq!(ids(&claim(&*queue, 10, LEASE).await), ["a"]);
    assert_eq!(queue.retry_failed(&[failed[1].id.clone()]).await.unwrap(), 0, "only once");
}

async fn a_batch_of_large_events_is_bounded_by_their_bytes(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    let large = MAX_BATCH_BYTES / 4;
    for n in 0..10 {
        let mut item = item(&n.to_string(), false);
        let view = PageView { url: "x".repeat(large), ..PageView::default() };
        Arc::make_mut(&mut item.event).payload = Payload::Pageview(Box::new(view));
        queue.push(item).await.unwrap();
    }
    let mut claimed = Vec::new();
    while let Some(claim) = queue.claim(5_000, LEASE).await.unwrap() {
        assert!(claim.items.len() <= 4, "{} items", claim.items.len());
        claimed.extend(ids(&claim));
    }
    assert_eq!(claimed, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

async fn a_full_queue_refuses_until_there_is_room(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    queue.push(item("known", true)).await.unwrap();
    for n in 1..MAX_DEPTH {
        push(&*queue, &n.to_string()).await;
    }
    let accepts = queue.accepts().await;
    assert!(matches!(accepts, Err(QueueError::Full { bound: MAX_DEPTH, .. })), "{accepts:?}");
    let full = queue.push(item("more", true)).await;
    assert!(
        matches!(full, Err(QueueError::Full { depth: MAX_DEPTH, bound: MAX_DEPTH })),
        "{full:?}"
    );
    let known = queue.push(item("known", true)).await.unwrap();
    assert_eq!(known, Pushed::Duplicate, "what was accepted stays accepted");
    claim(&*queue, 1, LEASE).await;
    queue.accepts().await.unwrap();
    let more = queue.push(item("more", true)).await.unwrap();
    assert_eq!(more, Pushed::Queued, "a refused event was not remembered");
}

async fn everything_survives_a_restart(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    for id in ["a", "b", "c", "d"] {
        push(&*queue, id).await;
    }
    let rejected = claim(&*queue, 1, LEASE).await;
    let reject = Rejected { seq: rejected.items[0].seq, reason: "bad".into() };
    queue.acknowledge(&rejected.id, &[reject]).await.unwrap();
    let held = claim(&*queue, 2, NO_LEASE).await;
    drop(queue);
    fixture.reopen();
    let queue = fixture.queue();
    assert_eq!(stats(&*queue).await, [1, 2, 1]);
    let again = claim(&*queue, 10, LEASE).await;
    assert_eq!((&again.id.batch, &again.items), (&held.id.batch, &held.items));
    assert!(matches!(queue.acknowledge(&held.id, &[]).await, Err(QueueError::Stale(_))));
    queue.acknowledge(&again.id, &[]).await.unwrap();
    let last = claim(&*queue, 10, LEASE).await;
    assert_eq!(ids(&last), ["d"]);
    queue.acknowledge(&last.id, &[]).await.unwrap();
    drop(queue);
    fixture.reopen();
    // An emptied queue does not reuse batch ids.
    let queue = fixture.queue();
    push(&*queue, "e").await;
    let next = claim(&*queue, 10, LEASE).await;
    assert_ne!(next.id.batch, last.id.batch);
    assert!(matches!(queue.acknowledge(&last.id, &[]).await, Err(QueueError::Stale(_))));
    assert_eq!(stats(&*queue).await, [0, 1, 1]);
}

async fn ready_wakes_for_a_push_and_for_an_expired_lease(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    let soon = Duration::from_secs(20);
    let waiter = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.ready().await }
    });
    push(&*queue, "a").await;
    tokio::time::timeout(soon, waiter).await.expect("a push wakes").unwrap();
    tokio::time::timeout(soon, queue.ready()).await.expect("something waits");
    claim(&*queue, 1, Duration::from_millis(300)).await;
    let idle = tokio::time::timeout(Duration::from_millis(20), queue.ready()).await;
    assert!(idle.is_err(), "the only event is claimed");
    tokio::time::timeout(soon, queue.ready()).await.expect("the lease ends");
    claim(&*queue, 1, LEASE).await;
}

async fn concurrent_clients_lose_and_repeat_nothing(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    let producers: Vec<_> = (0..8)
        .map(|p| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                for n in 0..50 {
                    while queue.push(item(&format!("{p}-{n}"), n % 2 == 0)).await.is_err() {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    let consumers: Vec<_> = (0..4)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.last().is_none_or(|last: &String| last != "end") {
                    queue.ready().await;
                    let Some(claim) = queue.claim(7, LEASE).await.unwrap() else { continue };
                    seen.extend(ids(&claim));
                    queue.acknowledge(&claim.id, &[]).await.unwrap();
                    if seen.iter().any(|id| id == "end") {
                        // Ends the next consumer, too.
                        while queue.push(item("end", false)).await.is_err() {}
                        break;
                    }
                }
                seen
            })
        })
        .collect();
    for producer in producers {
        producer.await.unwrap();
    }
    // The queue may be full.
    while queue.push(item("end", false)).await.is_err() {
        tokio::task::yield_now().await;
    }
    let mut seen = Vec::new();
    for consumer in consumers {
        seen.extend(consumer.await.unwrap().into_iter().filter(|id| id != "end"));
    }
    assert_eq!(seen.len(), 400);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 400);
}

use client_ids::{
    a_clients_retry_is_queued_once_and_ids_are_per_project,
    an_accepted_event_whose_id_is_taken_fails_with_a_reason, an_id_is_for_one_content_of_one_kind,
    another_title, other, too_many_ids_are_forgotten_the_oldest_first,
};
use push_many::{
    a_full_failed_list_refuses_events_pushed_together, events_pushed_in_order_are_pushed_once,
    events_pushed_together_have_a_result_each,
};
use repair::{
    a_batch_in_flight_shows_its_owner_and_lease,
    a_full_failed_list_refuses_new_events_and_finishes_accepted_ones,
    an_event_is_found_wherever_it_is, edited_items_are_queued_instead_of_failed_ones,
    failed_items_are_listed_in_pages_and_deleted, only_the_chosen_waiting_items_are_deleted,
    the_events_of_a_batch_can_be_read, waiting_items_are_listed_in_pages,
};

/// Runs each function against each adapter. To add an adapter, add a line below.
macro_rules! conformance {
    ($adapter:ident, $fixture:expr, [$($test:ident),+ $(,)?]) => {
        mod $adapter {
            #[allow(unused_imports)]
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(&mut $fixture).await;
                }
            )+

            #[test]
            fn matches_the_model() {
                super::model::matches_the_model(|| Box::new($fixture));
            }
        }
    };
}

macro_rules! queue_conformance {
    ($adapter:ident, $fixture:expr) => {
        conformance!(
            $adapter,
            $fixture,
            [
                events_come_out_whole_and_in_order,
                a_claim_whose_caller_was_cancelled_is_released,
                an_unacknowledged_batch_is_delivered_again_unchanged,
                a_late_acknowledgement_is_refused,
                a_renewed_lease_holds_and_a_released_one_does_not,
                rejected_items_are_kept_with_their_reason_and_can_be_retried,
                a_clients_retry_is_queued_once_and_ids_are_per_project,
                an_id_is_for_one_content_of_one_kind,
                too_many_ids_are_forgotten_the_oldest_first,
                an_accepted_event_whose_id_is_taken_fails_with_a_reason,
                a_batch_of_large_events_is_bounded_by_their_bytes,
                a_full_queue_refuses_until_there_is_room,
                a_full_failed_list_refuses_new_events_and_finishes_accepted_ones,
                everything_survives_a_restart,
                a_batch_in_flight_shows_its_owner_and_lease,
                waiting_items_are_listed_in_pages,
                only_the_chosen_waiting_items_are_deleted,
                failed_items_are_listed_in_pages_and_deleted,
                edited_items_are_queued_instead_of_failed_ones,
                the_events_of_a_batch_can_be_read,
                an_event_is_found_wherever_it_is,
                events_pushed_in_order_are_pushed_once,
                events_pushed_together_have_a_result_each,
                a_full_failed_list_refuses_events_pushed_together,
                ready_wakes_for_a_push_and_for_an_expired_lease,
                concurrent_clients_lose_and_repeat_nothing,
            ]
        );
    };
}

queue_conformance!(sqlite, super::Sqlite::new());
queue_conformance!(valkey, super::Redis::new(Kind::Valkey, Durability::Always));
queue_conformance!(redis, super::Redis::new(Kind::Redis, Durability::Everysec));
queue_conformance!(
    declared_keys,
    super::Redis::behind(Kind::Valkey, RedisProxy::with_declared_keys)
);
queue_conformance!(shards, super::Redis::sharded(Kind::Valkey, Durability::Always));
queue_conformance!(shards_in_a_cluster, super::Cluster::new());
queue_conformance!(resp2, super::Redis::behind(Kind::Redis, RedisProxy::without_hello));
