//! Other numbers of lists, while events arrive, clients repeat them and workers wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bklit_pipeline::queue::Pushed;
use tokio::task::JoinSet;

use super::*;
use crate::support::redis::options;

const LAYOUT: &str = "analytics:queue:shards";

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
                // Some processes are restarted, others continue with the layout that they know.
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
