//! Changes of failed events of several lists, of which one cannot be changed.

use super::*;

/// Failed events of the first two lists, two of each, and those of the second made inaccessible.
async fn with_a_broken_list() -> (RedisServer, RedisQueue, Vec<FailedItem>, impl Fn(bool)) {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let projects = projects(&server).await;
    let queue = queue_on(&server, SHARDS);
    for (project, id) in [(0, "a"), (0, "b"), (1, "c"), (1, "d")] {
        queue.push(item(&projects[project], id, false)).await.unwrap();
    }
    for _ in 0..2 {
        let claim = queue.claim(2, LEASE).await.unwrap().unwrap();
        let reject = |seq| Rejected { seq, reason: "bad".to_owned() };
        queue.acknowledge(&claim.id, &[reject(0), reject(1)]).await.unwrap();
    }
    let failed = queue.failed(None, 10).await.unwrap().items;
    assert_eq!(failed.len(), 4);
    let (url, list) = (server.url(), format!("{}:failed", list(1)));
    let cli = move |breaks: bool| {
        let client = redis::Client::open(url.as_str()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let saved = format!("{list}-saved");
        let (from, to) = if breaks { (&list, &saved) } else { (&saved, &list) };
        if !breaks {
            let _: () = redis::cmd("DEL").arg(&list).query(&mut connection).unwrap();
        }
        let _: () = redis::cmd("RENAME").arg(from).arg(to).query(&mut connection).unwrap();
        if breaks {
            let _: () = redis::cmd("SET").arg(&list).arg("x").query(&mut connection).unwrap();
        }
    };
    cli(true);
    (server, queue, failed, cli)
}

#[track_caller]
fn assert_partly<T: std::fmt::Debug>(result: Result<T, QueueError>, changed: u64, invalid: usize) {
    let Err(QueueError::Partly { done, reason }) = result else { panic!("{result:?}") };
    assert_eq!((done.changed, done.invalid.len()), (changed, invalid));
    assert!(reason.contains("WRONGTYPE"), "{reason}");
}

#[tokio::test]
async fn a_result_says_what_was_done_although_one_list_failed() {
    let (_server, queue, failed, set_broken) = with_a_broken_list().await;
    let id = |n: usize| failed[n].id.clone();
    let of_list = |first: bool| -> Vec<usize> {
        let is_of = |n: &usize| failed[*n].body.contains("/a") || failed[*n].body.contains("/b");
        (0..4).filter(|n| is_of(n) == first).collect()
    };
    let (kept, broken) = (of_list(true), of_list(false));
    let edits = [
        edit(&failed[kept[0]], &failed[kept[0]].body),
        edit(&failed[kept[1]], "{}"),
        edit(&failed[broken[0]], &failed[broken[0]].body),
    ];
    let edited = queue.retry_edited(&edits).await;
    if let Err(QueueError::Partly { done, .. }) = &edited {
        assert_eq!(done.invalid[0].id, id(kept[1]), "with its list");
    }
    assert_partly(edited, 1, 1);
    assert_partly(queue.delete_failed(&[id(broken[1]), id(kept[1])]).await, 1, 0);
    // Nothing was done.
    let error = queue.retry_failed(&[id(broken[0])]).await.unwrap_err();
    assert!(matches!(error, QueueError::Unavailable(_)), "{error:?}");
    set_broken(false);
    assert_eq!(queue.retry_failed(&[id(broken[0]), id(broken[1]), id(kept[0])]).await.unwrap(), 2);
}

#[tokio::test]
async fn retried_events_are_counted_although_one_list_failed() {
    let (_server, queue, failed, _) = with_a_broken_list().await;
    let ids: Vec<_> = failed.iter().map(|failed| failed.id.clone()).collect();
    assert_partly(queue.retry_failed(&ids).await, 2, 0);
}
