//! Lists on the nodes of a cluster, some of which fail or give lists to others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bklit_adapters::redis::queue::check::check;
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_pipeline::queue::spool::SpooledQueue;

use super::*;
use crate::support::redis::{SOON, eventually, options};
use crate::support::servers::RedisCluster;

#[tokio::test]
async fn shards_are_on_different_nodes_and_one_that_fails_does_not_stop_the_others() {
    let mut cluster = RedisCluster::start(&[("cluster-require-full-coverage", "no")]);
    let connect = |cluster: &RedisCluster| Server::new(&options(&cluster.url())).unwrap();
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
            eventually("it can push", || async { queue.push(item(project, &id, true)).await.ok() })
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
    assert!(waiting > 0 && waiting < 5 * projects.len() && waiting.is_multiple_of(5), "{waiting}");
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
        let own: Vec<_> =
            found.iter().filter(|id| id.starts_with(&format!("{project}/"))).collect();
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
