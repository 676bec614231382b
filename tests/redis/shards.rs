//! A queue of several lists: who gets which events, workers that serve all lists, and changes of their
//! number while events arrive and clients repeat them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bklit_adapters::redis::connection::RedisServer as Server;
use bklit_adapters::redis::queue::check::check;
use bklit_adapters::redis::queue::{DEFAULT_PREFIX as QUEUE, RedisQueue, RedisQueueOptions};
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_pipeline::queue::spool::SpooledQueue;
use bklit_pipeline::queue::{NewItem, Order, Pushed, Queue, QueueError, QueueStats, Rejected};
use bklit_wire::event::QueuedEvent;
use tokio::task::JoinSet;

use crate::support::redis::{LEASE, SOON, event, eventually, ids, options, server_at};
use crate::support::servers::{Kind, RedisCluster, RedisServer};

const SHARDS: u32 = 4;
const LAYOUT: &str = "analytics:queue:shards";

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
    // Another process, which was started with another number, and one that only looks.
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
    let of = |items: Vec<&bklit_pipeline::queue::FailedItem>| -> Vec<String> {
        items.into_iter().map(|item| item.id.clone()).collect()
    };
    assert_eq!(tool.retry_failed(&of(retried)).await.unwrap(), 2);
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

#[tokio::test]
async fn lists_of_an_earlier_number_are_served_and_counted() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let projects = projects(&server).await;
        let before = queue_on(&server, 1);
        before.push(item(&projects[3], "before", true)).await.unwrap();
        assert_eq!(server.cli(&["EXISTS", LAYOUT]), "0", "one list needs no layout");
        let worker = Arc::new(queue_with(server_at(&server), None));
        assert_eq!(drain(&worker).await, ["before"]);
        // It waits while another process starts to use more lists.
        let waiting = tokio::spawn({
            let worker = Arc::clone(&worker);
            async move {
                loop {
                    worker.ready().await;
                    if let Some(claim) = worker.claim(10, LEASE).await.unwrap() {
                        worker.acknowledge(&claim.id, &[]).await.unwrap();
                        return ids(&claim);
                    }
                }
            }
        });
        let many = queue_on(&server, SHARDS);
        many.push(item(&projects[3], "many", false)).await.unwrap();
        let found = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        assert_eq!(found.expect("it is noticed at once").unwrap(), ["many"]);
        for project in &projects {
            many.push(item(project, project, false)).await.unwrap();
        }
        let fewer = queue_on(&server, 1);
        fewer.push(item(&projects[3], "fewer", false)).await.unwrap();
        assert_eq!(server.cli(&["LLEN", QUEUE]), "2");
        assert_eq!(fewer.stats().await.unwrap().depth, 5);
        let mut all = drain(&fewer).await;
        all.sort();
        let mut expected: Vec<_> = projects.iter().map(String::as_str).chain(["fewer"]).collect();
        expected.sort();
        assert_eq!(all, expected);
        let stored = server.cli(&["GET", LAYOUT]);
        assert_eq!(stored, r#"{"epoch":2,"shards":1,"before":[1,4]}"#);
    }
}

#[tokio::test]
async fn a_repeated_event_is_recognised_after_each_change() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let projects = projects(&server).await;
    let queues = [1, SHARDS, 2, 3, 1].map(|shards| queue_on(&server, shards));
    let mut pushed = Vec::new();
    for (n, queue) in queues.iter().enumerate() {
        for project in &projects {
            let id = format!("{project}-{n}");
            assert_eq!(queue.push(item(project, &id, true)).await.unwrap(), Pushed::Queued);
            pushed.push((project, id));
        }
        let again: Vec<_> = pushed.iter().map(|(project, id)| item(project, id, true)).collect();
        let results = queue.push_many(again).await;
        assert!(results.iter().all(|r| matches!(r, Ok(Pushed::Duplicate))), "{n}: {results:?}");
    }
    // Processes that have not noticed the changes, and what a spool forwards.
    for queue in queues.iter().rev() {
        for (project, id) in &pushed {
            let pushed = queue.push(item(project, id, true)).await.unwrap();
            assert_eq!(pushed, Pushed::Duplicate, "{project} {id}");
        }
        let events: Vec<_> =
            pushed.iter().map(|(p, id)| QueuedEvent::clone(&item(p, id, true).event)).collect();
        assert_eq!(queue.push_in_order(&events).await.unwrap(), events.len());
        let other = QueuedEvent { payload: event("other").payload, ..events[0].clone() };
        let other = NewItem { event: other.into(), client_id: true };
        assert!(matches!(queue.push(other).await, Err(QueueError::IdTaken)));
    }
    let mut all = drain(&queues[0]).await;
    all.sort();
    let mut expected: Vec<_> = pushed.into_iter().map(|(_, id)| id).collect();
    expected.sort();
    assert_eq!(all, expected);
}

/// A process that uses an earlier layout is refused where it could add a second copy.
#[tokio::test]
async fn a_process_that_has_not_noticed_a_change_adds_nothing_twice() {
    let server = RedisServer::start(Kind::Redis, &[]);
    let projects = projects(&server).await;
    let (old, new) = (queue_on(&server, 1), queue_on(&server, SHARDS));
    let moved = &projects[1];
    old.push(item(moved, "first", true)).await.unwrap();
    assert_eq!(new.push(item(moved, "x", true)).await.unwrap(), Pushed::Queued);
    assert!(server.cli(&["GET", "analytics:queue:fence"]).starts_with("1 "));
    assert_eq!(old.push(item(moved, "x", true)).await.unwrap(), Pushed::Duplicate);
    assert_eq!(old.push(item(moved, "y", true)).await.unwrap(), Pushed::Queued);
    assert_eq!(server.cli(&["LLEN", &list(1)]), "2", "it uses the new layout from now on");
    // Without the fence, it would have been added again.
    let stale = queue_on(&server, 1);
    server.cli(&["DEL", LAYOUT]);
    stale.push(item(moved, "z", false)).await.unwrap();
    server.cli(&["SET", LAYOUT, r#"{"epoch":1,"shards":4,"before":[1]}"#]);
    server.cli(&["DEL", "analytics:queue:fence"]);
    assert_eq!(stale.push(item(moved, "x", true)).await.unwrap(), Pushed::Queued);
}

/// A server that crashes may lose the last second, and with it a change that is in use.
#[tokio::test]
async fn a_layout_that_a_crash_has_undone_is_stored_again() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let projects = projects(&server).await;
    let new = queue_on(&server, SHARDS);
    assert_eq!(new.push(item(&projects[1], "x", true)).await.unwrap(), Pushed::Queued);
    server.cli(&["DEL", LAYOUT]);
    let other = queue_on(&server, 1);
    // The fence says that there was a later layout.
    assert_eq!(other.push(item(&projects[0], "y", true)).await.unwrap(), Pushed::Queued);
    assert_eq!(server.cli(&["GET", LAYOUT]), r#"{"epoch":2,"shards":1,"before":[1]}"#);
    let again = queue_on(&server, SHARDS);
    assert_eq!(again.push(item(&projects[1], "x", true)).await.unwrap(), Pushed::Duplicate);
    assert_eq!(server.cli(&["GET", LAYOUT]), r#"{"epoch":3,"shards":4,"before":[1]}"#);
}

#[tokio::test]
async fn an_invalid_layout_is_an_error_with_its_key() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    server.cli(&["SET", LAYOUT, r#"{"epoch":1,"shards":65,"before":[]}"#]);
    let error = queue_on(&server, 1).push(item("p", "x", false)).await.unwrap_err().to_string();
    assert!(error.contains("analytics:queue:shards is invalid"), "{error}");
}

/// Each command of a look-up in an earlier list is refused in turn.
#[tokio::test]
async fn a_refused_look_up_adds_nothing() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let projects = projects(&server).await;
    let allow = |rules: &[&str]| {
        let all = ["ACL", "SETUSER", "app", "reset", "on", ">a", "~*", "&*", "+@all"];
        server.cli(&[&all, rules].concat());
    };
    let url = server.url().replace("redis://", "redis://app:a@");
    let mut refused = BTreeSet::new();
    for command in ["get", "set", "hget", "exists", "expire", "llen", "time", "lpush", "hset"] {
        for known in [false, true] {
            server.cli(&["FLUSHALL"]);
            allow(&[]);
            if known {
                queue_on(&server, 1).push(item(&projects[1], "x", true)).await.unwrap();
            }
            let queue = queue_with(Server::new(&options(&url)).unwrap(), Some(SHARDS));
            queue.push(item(&projects[1], "other", false)).await.unwrap();
            allow(&[&format!("-{command}")]);
            if queue.push(item(&projects[1], "x", true)).await.is_err() {
                refused.insert(command);
            }
            allow(&[]);
            let pushed = queue.push(item(&projects[1], "x", true)).await.unwrap();
            if known {
                assert_eq!(pushed, Pushed::Duplicate, "{command}");
            }
            let mut all = drain(&queue).await;
            all.sort();
            assert_eq!(all, ["other", "x"], "{command}, known: {known}");
        }
    }
    let needed = ["get", "set", "hget", "exists", "expire", "llen", "time", "lpush", "hset"];
    assert_eq!(refused, needed.into());
}

/// Processes with different numbers push at the same time and repeat each other's events, while the
/// number changes all the time and a worker claims.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_lose_and_repeat_nothing() {
    const IDS: u64 = 400;
    const CHANGES: u64 = 25;
    let server = Arc::new(RedisServer::start(Kind::Valkey, &[]));
    let newest = Arc::new(tokio::sync::RwLock::new(Arc::new(queue_on(&server, 1))));
    let done = Arc::new(AtomicBool::new(false));
    let mut pushers = JoinSet::new();
    for seed in 1..=6_u64 {
        let (server, newest, done) = (Arc::clone(&server), Arc::clone(&newest), Arc::clone(&done));
        pushers.spawn(async move {
            let (mut random, mut accepted) = (seed, BTreeSet::new());
            let mut next = |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) % below
            };
            let mut queue = newest.read().await.clone();
            let mut own = 0;
            while !done.load(Relaxed) {
                // Some processes are restarted, others go on with the layout that they know.
                match next(40) {
                    0 => queue = newest.read().await.clone(),
                    1 => queue = Arc::new(queue_on(&server, 1 + next(5) as u32)),
                    _ => {}
                }
                let n = next(IDS);
                let mut items = vec![item(&format!("project-{}", n % 23), &n.to_string(), true)];
                if next(3) == 0 {
                    own += 1;
                    let id = format!("own-{seed}-{own}");
                    items.push(item(&format!("project-{}", next(23)), &id, false));
                }
                let names: Vec<_> = items.iter().map(|item| item.event.id.clone()).collect();
                for (id, result) in names.into_iter().zip(queue.push_many(items).await) {
                    result.unwrap();
                    accepted.insert(id);
                }
            }
            accepted
        });
    }
    let claiming = {
        let (worker, done) = (queue_with(server_at(&server), None), Arc::clone(&done));
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            while !done.load(Relaxed) {
                let ready = tokio::time::timeout(Duration::from_millis(50), worker.ready()).await;
                if ready.is_err() {
                    continue;
                }
                let Some(claim) = worker.claim(7, LEASE).await.unwrap() else { continue };
                claimed.extend(ids(&claim));
                worker.acknowledge(&claim.id, &[]).await.unwrap();
            }
            claimed
        })
    };
    for change in 0..CHANGES {
        let shards = [4, 1, 3, 7, 2][change as usize % 5];
        let queue = Arc::new(queue_on(&server, shards));
        queue.push(item("changes", &format!("change-{change}"), true)).await.unwrap();
        *newest.write().await = queue;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    done.store(true, Relaxed);
    let mut accepted: BTreeSet<_> = (0..CHANGES).map(|change| format!("change-{change}")).collect();
    while let Some(pushed) = pushers.join_next().await {
        accepted.extend(pushed.unwrap());
    }
    let mut claimed = claiming.await.unwrap();
    claimed.extend(drain(&queue_with(server_at(&server), None)).await);
    assert!(accepted.len() > IDS as usize / 2, "{}", accepted.len());
    assert_eq!(claimed.len(), accepted.len(), "{:?}", repeated(&claimed));
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), accepted);
}

fn repeated(all: &[String]) -> Vec<&String> {
    let mut seen = BTreeSet::new();
    all.iter().filter(|id| !seen.insert(*id)).collect()
}

#[tokio::test]
async fn shards_are_on_different_nodes_and_one_that_fails_does_not_stop_the_others() {
    let mut cluster = RedisCluster::start(&[("cluster-require-full-coverage", "no")]);
    let connect =
        |cluster: &RedisCluster| Server::new(&options(&cluster.url())).unwrap();
    let queue = Arc::new(queue_with(connect(&cluster), Some(8)));
    let projects: Vec<_> = (0..60).map(|n| format!("project-{n}")).collect();
    for project in &projects {
        queue.push(item(project, project, false)).await.unwrap();
    }
    let owners: Vec<_> = (0..8).map(|shard| cluster.owner(&list(shard)).port()).collect();
    assert!(owners.iter().collect::<BTreeSet<_>>().len() > 1, "{owners:?}");
    queue.ready().await;
    let shown = queue.shards();
    assert!(shown.is_empty(), "not counted yet");
    assert_eq!(queue.stats().await.unwrap().depth, 60);
    let first = claimed(&queue, 1).await.remove(0);
    // Not the node of the first shard, which has the layout.
    let down = *owners.iter().find(|port| **port != owners[0]).unwrap();
    let node = cluster.nodes.iter_mut().find(|node| node.port() == down).unwrap();
    node.kill9();
    let began = Instant::now();
    let (mut refused, mut accepted) = (BTreeSet::new(), Vec::new());
    for project in &projects {
        let id = format!("{project}-later");
        match queue.push(item(project, &id, false)).await {
            Ok(_) => accepted.push(id),
            Err(_) => drop(refused.insert(project.clone())),
        }
    }
    assert!(!refused.is_empty() && !accepted.is_empty());
    let mut found = BTreeSet::from([first]);
    let expected: BTreeSet<_> = projects
        .iter()
        .filter(|project| !refused.contains(*project))
        .flat_map(|project| [project.clone(), format!("{project}-later")])
        .collect();
    while !expected.is_subset(&found) {
        assert!(began.elapsed() < SOON, "{:?}", expected.difference(&found));
        tokio::time::timeout(SOON, queue.ready()).await.expect("the others have events");
        let Some(claim) = queue.claim(10, LEASE).await.unwrap() else { continue };
        found.extend(ids(&claim));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
    }
    let error = queue.stats().await.unwrap_err().to_string();
    assert!(error.contains("shard "), "{error}");
    assert!(queue.accepts().await.is_err());
    let node = cluster.nodes.iter_mut().find(|node| node.port() == down).unwrap();
    node.restart();
    let missing = |found: &BTreeSet<String>| projects.iter().any(|id| !found.contains(id));
    while missing(&found) {
        assert!(began.elapsed() < 2 * SOON, "{found:?}");
        let _ = tokio::time::timeout(SOON, queue.ready()).await;
        let Ok(Some(claim)) = queue.claim(10, LEASE).await else { continue };
        found.extend(ids(&claim));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
    }
    eventually("all is counted again", || async {
        (queue.stats().await.ok()? == QueueStats::default()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_moved_shard_is_followed() {
    let cluster = RedisCluster::start(&[]);
    let server = || Server::new(&options(&cluster.url())).unwrap();
    let queue = Arc::new(queue_with(server(), Some(SHARDS)));
    let projects: Vec<_> = (0..30).map(|n| format!("project-{n}")).collect();
    for round in 0..3 {
        for project in &projects {
            let id = format!("{project}-{round}");
            eventually("it can push", || async {
                queue.push(item(project, &id, true)).await.ok()
            })
            .await;
        }
        let mut found = Vec::new();
        while found.len() < projects.len() {
            tokio::time::timeout(SOON, queue.ready()).await.expect("there are events");
            let Ok(Some(claim)) = queue.claim(10, LEASE).await else { continue };
            found.extend(ids(&claim));
            queue.acknowledge(&claim.id, &[]).await.unwrap();
        }
        assert!(found.iter().all(|id| id.ends_with(&format!("-{round}"))), "{found:?}");
        for shard in 0..SHARDS as usize {
            let key = list(shard);
            cluster.begin_move(&key).finish();
        }
    }
}

/// Accepts everything while a node is down, and stores what is for the other nodes.
#[tokio::test]
async fn only_events_for_a_failed_node_are_spooled() {
    let mut cluster = RedisCluster::start(&[("cluster-require-full-coverage", "no")]);
    let server = Server::new(&options(&cluster.url())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let spool = Arc::new(SqliteQueue::open(&dir.path().join("queue.db"), 10_000).unwrap());
    let queue = Arc::new(queue_with(server, Some(8)));
    let spooled = SpooledQueue::new(queue.clone(), spool);
    let projects: Vec<_> = (0..40).map(|n| format!("project-{n}")).collect();
    eventually("the spool is empty", || async { (!spooled.is_spooling()).then_some(()) }).await;
    for project in &projects {
        spooled.push(item(project, &format!("{project}/0"), false)).await.unwrap();
    }
    assert_eq!(drain(&queue).await.len(), projects.len());
    let of_first = cluster.owner(QUEUE).port();
    let node = cluster.nodes.iter_mut().find(|node| node.port() != of_first).unwrap();
    node.kill9();
    let mut expected = BTreeSet::new();
    for n in 1..=5 {
        let items: Vec<_> =
            projects.iter().map(|p| item(p, &format!("{p}/{n}"), n % 2 == 0)).collect();
        expected.extend(items.iter().map(|item| item.event.id.clone()));
        for pushed in spooled.push_many(items).await {
            pushed.unwrap();
        }
    }
    // Whole projects are in the spool, or none of their events.
    let waiting = spooled.spooled() as usize;
    assert!(waiting > 0 && waiting < 5 * projects.len() && waiting % 5 == 0, "{waiting}");
    let mut found = Vec::new();
    while found.len() < expected.len() - waiting {
        tokio::time::timeout(SOON, queue.ready()).await.expect("the others have events");
        let Some(claim) = queue.claim(50, LEASE).await.unwrap() else { continue };
        found.extend(ids(&claim));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
    }
    let node = cluster.nodes.iter_mut().find(|node| !node.answers()).unwrap();
    node.restart();
    eventually("the spool is empty", || async { (!spooled.is_spooling()).then_some(()) }).await;
    let began = Instant::now();
    while found.len() < expected.len() {
        assert!(began.elapsed() < SOON, "{} of {}", found.len(), expected.len());
        let _ = tokio::time::timeout(Duration::from_secs(1), queue.ready()).await;
        let Ok(Some(claim)) = queue.claim(50, LEASE).await else { continue };
        found.extend(ids(&claim));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
    }
    for project in &projects {
        let own: Vec<_> = found.iter().filter(|id| id.starts_with(&format!("{project}/"))).collect();
        assert!(own.is_sorted() && own.len() == 5, "{own:?}");
    }
    assert_eq!(queue.stats().await.unwrap(), QueueStats::default());
}

#[tokio::test]
async fn doctor_explains_several_lists_and_other_numbers() {
    let cluster = RedisCluster::start(&[]);
    let server = Server::new(&options(&cluster.url())).unwrap();
    let found = async |shards| -> Vec<String> {
        let options = RedisQueueOptions { shards: Some(shards), ..RedisQueueOptions::default() };
        let found = check(server.clone(), &options, 3).await.unwrap();
        found.into_iter().map(|finding| finding.what).collect()
    };
    let has = |found: &[String], text: &str| found.iter().any(|what| what.contains(text));
    let before = found(1).await;
    assert!(!has(&before, "lists"), "{before:?}");
    let queue = queue_with(server.clone(), Some(6));
    for n in 0..30 {
        queue.push(item(&format!("project-{n}"), "x", false)).await.unwrap();
    }
    let owners = (0..6).map(|shard| cluster.owner(&list(shard)).port());
    let other = owners.into_iter().find(|port| *port != cluster.owner(QUEUE).port()).unwrap();
    let node = cluster.nodes.iter().find(|node| node.port() == other).unwrap();
    node.cli(&["CONFIG", "SET", "appendonly", "no"]);
    let after = found(6).await;
    assert!(has(&after, "the queue has 6 lists, 6 in use; Bklit's TypeScript worker"), "{after:?}");
    assert!(has(&after, "events waiting in the queue: 30"), "{after:?}");
    let of_node = format!("127.0.0.1:{other}: it has no append-only file");
    assert!(has(&after, &of_node), "{after:?}");
    let another = found(2).await;
    assert!(has(&another, "queue.shards is 2, but the pipelines use 6"), "{another:?}");
}
