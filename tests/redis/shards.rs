//! A queue of several lists: how events are spread, workers that serve all lists, and changes of
//! their number while events arrive and clients repeat them.

mod changes;
mod nodes;
mod partly;

use std::collections::{BTreeMap, BTreeSet};

use bklit_adapters::redis::connection::RedisServer as Server;
use bklit_adapters::redis::queue::{DEFAULT_PREFIX as QUEUE, RedisQueue, RedisQueueOptions};
use bklit_pipeline::queue::{FailedItem, NewItem, Order, Queue, QueueError, QueueStats, Rejected};
use bklit_wire::event::QueuedEvent;
use bklit_wire::queue::Edit;

use crate::support::redis::{LEASE, event, ids, server_at};
use crate::support::servers::{Kind, RedisServer};

const SHARDS: u32 = 4;

fn queue_with(server: Server, shards: Option<u32>) -> RedisQueue {
    let of_queue = RedisQueueOptions {
        shards,
        // Otherwise each claim takes up to a second.
        durable_claims: false,
        ..RedisQueueOptions::default()
    };
    RedisQueue::new(server, &of_queue)
}

fn queue_on(server: &RedisServer, shards: u32) -> RedisQueue {
    queue_with(server_at(server), Some(shards))
}

fn item(project: &str, id: &str, client_id: bool) -> NewItem {
    let event = QueuedEvent { project_id: project.to_owned(), ..event(id) };
    NewItem { event: event.into(), client_id }
}

fn list(shard: usize) -> String {
    if shard == 0 { QUEUE.to_owned() } else { format!("{{{QUEUE}:{shard}}}") }
}

/// A project for each of the shards, in their order.
async fn projects(server: &RedisServer) -> Vec<String> {
    let queue = queue_on(server, SHARDS);
    let mut found = BTreeMap::new();
    for n in 0.. {
        let project = format!("project-{n}");
        queue.push(item(&project, "x", false)).await.unwrap();
        let filled = (0..SHARDS as usize).find(|n| server.cli(&["LLEN", &list(*n)]) == "1");
        found.entry(filled.expect("a list with the event")).or_insert(project);
        server.cli(&["FLUSHALL"]);
        if found.len() == SHARDS as usize {
            return found.into_values().collect();
        }
    }
    unreachable!("all shards have projects")
}

async fn claimed(queue: &RedisQueue, most: usize) -> Vec<String> {
    let claim = queue.claim(most, LEASE).await.unwrap().expect("something to claim");
    queue.acknowledge(&claim.id, &[]).await.unwrap();
    ids(&claim)
}

/// Claims and acknowledges everything.
async fn drain(queue: &RedisQueue) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(claim) = queue.claim(1_000, LEASE).await.unwrap() {
        found.extend(ids(&claim));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
    }
    found
}

#[tokio::test]
async fn a_full_list_does_not_hold_up_the_others() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let projects = projects(&server).await;
    let queue = queue_on(&server, SHARDS);
    let many = (0..1_000).map(|n| item(&projects[2], &format!("many-{n}"), false)).collect();
    assert!(queue.push_many(many).await.iter().all(Result::is_ok));
    for (n, project) in projects.iter().enumerate() {
        queue.push(item(project, &format!("one-{n}"), n % 2 == 0)).await.unwrap();
    }
    assert_eq!(queue.stats().await.unwrap().depth, 1_004);
    let depths: Vec<_> = queue.shards().iter().map(|shard| shard.depth).collect();
    assert_eq!(depths, [1, 1, 1_001, 1]);
    let mut first = Vec::new();
    for _ in 0..SHARDS {
        first.extend(claimed(&queue, 10).await);
    }
    assert_eq!(first.len(), 13, "{first:?}");
    for n in [0, 1, 3] {
        assert!(first.contains(&format!("one-{n}")), "{first:?}");
    }
    // What arrives later does not wait for the full list, either.
    for n in 0..5 {
        let late = format!("late-{n}");
        queue.push(item(&projects[n % 2], &late, false)).await.unwrap();
        queue.ready().await;
        let mut next = Vec::new();
        for _ in 0..SHARDS {
            next.extend(claimed(&queue, 2).await);
        }
        assert!(next.contains(&late), "{n}: {next:?}");
    }
    assert!(queue.stats().await.unwrap().depth > 900);
    assert_eq!(server.cli(&["LLEN", QUEUE]), "0");
}

fn edit(item: &FailedItem, body: &str) -> Edit {
    Edit { id: item.id.clone(), body: body.to_owned() }
}

#[tokio::test]
async fn operations_on_items_and_batches_find_their_list() {
    let server = RedisServer::start(Kind::Redis, &[]);
    let projects = projects(&server).await;
    let queue = queue_on(&server, SHARDS);
    for (n, project) in projects.iter().enumerate() {
        for id in ["a", "b", "c"] {
            queue.push(item(project, &format!("{id}{n}"), false)).await.unwrap();
        }
    }
    let mut claims = Vec::new();
    for _ in 0..SHARDS {
        claims.push(queue.claim(1, LEASE).await.unwrap().unwrap());
    }
    // Another process, which was started with another number, and one that only reads.
    let other = queue_on(&server, 1);
    let tool = queue_with(server_at(&server), None);
    let mut batches: Vec<_> = tool.batches(10).await.unwrap().into_iter().map(|b| b.id).collect();
    let mut expected: Vec<_> = claims.iter().map(|claim| claim.id.batch.clone()).collect();
    batches.sort();
    expected.sort();
    assert_eq!(batches, expected);
    assert_eq!(tool.batches(3).await.unwrap().len(), 3);
    for claim in &claims {
        assert_eq!(tool.batch_items(&claim.id.batch, 10).await.unwrap().unwrap().len(), 1);
        other.renew(&claim.id, LEASE).await.unwrap();
        let rejected = Rejected { seq: 0, reason: ids(claim).remove(0) };
        other.acknowledge(&claim.id, &[rejected]).await.unwrap();
        assert!(matches!(queue.release(&claim.id).await, Err(QueueError::Stale(_))));
    }
    let stats = QueueStats { depth: 8, failed: 4, ..QueueStats::default() };
    assert_eq!(tool.stats().await.unwrap(), stats);
    // Merged by time, over pages.
    let (mut waiting, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = tool.waiting(Order::NewestFirst, after.as_deref(), 3).await.unwrap();
        waiting.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let id = |body: &str| QueuedEvent::from_json(body).unwrap().id;
    let shown: Vec<_> = waiting.iter().map(|item| id(&item.body)).collect();
    assert_eq!(shown, ["c3", "b3", "c2", "b2", "c1", "b1", "c0", "b0"]);
    let oldest = tool.waiting(Order::OldestFirst, None, 1).await.unwrap();
    assert_eq!(id(&oldest.items[0].body), "b0");
    let some: Vec<_> = waiting.iter().step_by(2).map(|item| item.id.clone()).collect();
    assert_eq!(tool.delete_waiting(&some).await.unwrap(), 4);
    let failed = tool.failed(None, 10).await.unwrap().items;
    let reasons: BTreeSet<_> = failed.iter().map(|item| &*item.reason).collect();
    assert_eq!(reasons, ["a0", "a1", "a2", "a3"].into());
    let (retried, deleted): (Vec<_>, Vec<_>) =
        failed.iter().partition(|item| ["a1", "a2"].contains(&&*item.reason));
    let of = |items: Vec<&FailedItem>| -> Vec<String> {
        items.into_iter().map(|item| item.id.clone()).collect()
    };
    let edits = [edit(retried[0], &retried[0].body), edit(retried[1], "{}")];
    let edited = tool.retry_edited(&edits).await.unwrap();
    assert_eq!((edited.changed, &edited.invalid[0].id), (1, &retried[1].id));
    assert_eq!(tool.retry_failed(&of(retried)).await.unwrap(), 1, "the other one");
    assert_eq!(tool.delete_failed(&of(deleted)).await.unwrap(), 2);
    let mut rest = drain(&other).await;
    rest.sort();
    assert_eq!(rest, ["a1", "a2", "b0", "b1", "b2", "b3"]);
}

#[tokio::test]
async fn a_push_in_doubt_is_settled_where_it_was_sent() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let projects = projects(&server).await;
    let queue = queue_on(&server, SHARDS);
    for (n, project) in projects.iter().enumerate() {
        queue.push(item(project, "plain", false)).await.unwrap();
        let series = server.cli(&["KEYS", "*:series:*"]);
        let mut series = series.lines().filter_map(|key| key.rsplit(':').next());
        let of_shard = |name: &&str| match n {
            0 => !name.contains('@'),
            _ => name.ends_with(&format!("@{n}")),
        };
        let name = series.find(of_shard).expect("a series of the shard").to_owned();
        let later = queue_with(server_at(&server), Some(1 + n as u32 % 2));
        assert!(later.settle(&format!("{name}:1")).await.unwrap(), "it was added");
        assert!(!later.settle(&format!("{name}:2")).await.unwrap(), "it was not");
        let pushed = queue.push(item(project, "again", false)).await;
        assert!(pushed.is_err(), "settling has closed the series: {pushed:?}");
    }
}
