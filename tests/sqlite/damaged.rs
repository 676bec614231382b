//! Unreadable rows do not affect other rows.

use std::path::Path;
use std::sync::Arc;

use bklit_adapters::sqlite::tokens::SqliteTokenStore;
use bklit_pipeline::auth::{Scope, Secret, TokenRecord, TokenStore};
use bklit_pipeline::queue::spool::SpooledQueue;
use bklit_pipeline::queue::{Order, Queue};
use bklit_pipeline::store::Store;
use bklit_wire::time::UtcMillis;
use serde_json::json;

use super::{LEASE, drain, failed, ids, insert, queue_in, raw, rows, stats, store_in};
use crate::support::events::{at, view};
use crate::support::redis::{eventually, item};
use crate::support::{DEADLINE, Daemon, eventually as wait_until};
use crate::worker::queue::MemoryQueue;

/// Bodies that are not text, with the reason; the last one is possible only in a damaged file.
const UNREADABLE: [(&str, &str); 3] = [
    (r#"CAST(x'7b22ff7d' AS TEXT)"#, "invalid UTF-8 at byte 2"),
    ("x'00ff'", "invalid UTF-8 at byte 1"),
    ("NULL", "Null instead of text"),
];

/// Adds these rows to the queue in `dir`.
fn add_unreadable(dir: &Path) {
    let file = dir.join("queue.db");
    let nullable = |from: &str, to: &str| {
        let sql = format!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '{from}', \
             '{to}') WHERE name = 'queue_item'; PRAGMA writable_schema = RESET"
        );
        drop(raw(&file, &sql));
    };
    nullable("TEXT NOT NULL", "TEXT");
    for (body, _) in UNREADABLE {
        drop(raw(&file, &format!("INSERT INTO queue_item (body) VALUES ({body})")));
    }
    nullable("body TEXT", "body TEXT NOT NULL");
}

#[tokio::test]
async fn an_unreadable_body_is_moved_to_the_failed_events() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue_in(dir.path());
    queue.push(item("a")).await.unwrap();
    drop(queue);
    add_unreadable(dir.path());
    let queue = queue_in(dir.path());
    queue.push(item("b")).await.unwrap();
    assert_eq!(stats(&queue).await, [5, 0, 0]);
    let waiting = queue.waiting(Order::OldestFirst, None, 10).await.unwrap();
    let shown: Vec<_> = waiting.items[1..4].iter().map(|item| item.body.as_str()).collect();
    assert_eq!(shown, ["{\"\u{fffd}}", "\0\u{fffd}", ""]);

    let claim = queue.claim(10, LEASE).await.unwrap().unwrap();
    assert_eq!(ids(&claim), ["a", "b"]);
    assert_eq!(stats(&queue).await, [0, 2, 3]);
    queue.acknowledge(&claim.id, &[]).await.unwrap();
    let items = failed(&queue).await;
    for (item, ((_, reason), body)) in items.iter().zip(UNREADABLE.iter().zip(&shown)) {
        assert!(item.reason.ends_with(reason), "{item:?}");
        assert_eq!(item.body, *body);
    }
    let kept = || -> String {
        let sql = "SELECT group_concat(hex(body), ' ' ORDER BY id) FROM failed_item";
        raw(&dir.path().join("queue.db"), "").query_row(sql, (), |row| row.get(0)).unwrap()
    };
    assert_eq!(kept(), "7B22FF7D 00FF ", "the bytes are unchanged");

    // Retried, they fail again unchanged.
    let all: Vec<_> = items.into_iter().map(|item| item.id).collect();
    assert_eq!(queue.retry_failed(&all).await.unwrap(), 3);
    assert_eq!(stats(&queue).await, [3, 0, 0]);
    let claim = queue.claim(10, LEASE).await.unwrap().unwrap();
    assert_eq!(claim.items.len(), 1, "NULL is empty now, and the worker rejects it");
    assert_eq!(stats(&queue).await, [0, 1, 2]);
    assert_eq!(kept(), "7B22FF7D 00FF");
    let all: Vec<_> = failed(&queue).await.into_iter().map(|item| item.id).collect();
    assert_eq!(queue.delete_failed(&all).await.unwrap(), 2);
}

#[tokio::test]
async fn a_queue_of_only_unreadable_rows_is_emptied() {
    let dir = tempfile::tempdir().unwrap();
    drop(queue_in(dir.path()));
    for _ in 0..3 {
        add_unreadable(dir.path());
    }
    let queue = queue_in(dir.path());
    assert!(queue.claim(2, LEASE).await.unwrap().is_none());
    assert_eq!(stats(&queue).await, [0, 0, 9]);
}

#[tokio::test]
async fn a_body_damaged_in_flight_leaves_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue_in(dir.path());
    for id in ["a", "b", "c"] {
        queue.push(item(id)).await.unwrap();
    }
    let held = queue.claim(2, LEASE).await.unwrap().unwrap();
    let whole = queue.claim(1, LEASE).await.unwrap().unwrap();
    let damage = "UPDATE queue_item SET body = x'ff' WHERE seq <> 2";
    drop(raw(&dir.path().join("queue.db"), damage));
    let batch = queue.batch_items(&held.id.batch, 10).await.unwrap().unwrap();
    assert_eq!(batch[0], "\u{fffd}");
    queue.release(&held.id).await.unwrap();
    queue.release(&whole.id).await.unwrap();
    let again = queue.claim(10, LEASE).await.unwrap().unwrap();
    assert_eq!((&again.id.batch, ids(&again)), (&held.id.batch, vec!["b".to_owned()]));
    assert_eq!(queue.batches(10).await.unwrap()[0].items, 1);
    assert!(queue.claim(10, LEASE).await.unwrap().is_none(), "nothing else is left");
    assert_eq!(queue.batches(10).await.unwrap().len(), 1);
    queue.acknowledge(&again.id, &[]).await.unwrap();
    assert_eq!(stats(&queue).await, [0, 0, 2]);
}

#[tokio::test]
async fn an_unreadable_failed_row_is_listed_with_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue_in(dir.path());
    let rows = "INSERT INTO failed_item (body, reason, failed_at)
                VALUES (x'ff', CAST(x'ff41' AS TEXT), 'noon'), ('body', 'reason', 1000)";
    drop(raw(&dir.path().join("queue.db"), rows));
    let items = failed(&queue).await;
    let shown: Vec<_> = items.iter().map(|item| (&*item.body, &*item.reason)).collect();
    assert_eq!(shown, [("\u{fffd}", "\u{fffd}A"), ("body", "reason")]);
    assert_eq!(items[0].failed_at, None);
    assert_eq!(items[1].failed_at, Some(UtcMillis::from_epoch_millis(1000)));
}

#[tokio::test]
async fn the_spool_is_moved_without_unreadable_rows() {
    let dir = tempfile::tempdir().unwrap();
    let spool = queue_in(dir.path());
    spool.push(item("a")).await.unwrap();
    drop(spool);
    add_unreadable(dir.path());
    let spool = Arc::new(queue_in(dir.path()));
    spool.push(item("b")).await.unwrap();
    let queue = Arc::new(MemoryQueue::new());
    let spooled = SpooledQueue::new(
        Arc::clone(&queue) as Arc<dyn Queue>,
        Arc::clone(&spool) as Arc<dyn Queue>,
    );
    eventually("the spool is emptied", || async { (!spooled.is_spooling()).then_some(()) }).await;
    assert_eq!(drain(&*queue).await, ["a", "b"]);
    assert_eq!(stats(&*spool).await, [0, 0, 3]);
}

#[tokio::test]
async fn events_of_an_unreadable_batch_are_queued_again() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue_in(dir.path());
    for id in ["a", "b", "c", "d"] {
        queue.push(item(id)).await.unwrap();
    }
    for most in [2, 1] {
        queue.claim(most, LEASE).await.unwrap().unwrap();
    }
    drop(queue);
    let damage = "UPDATE batch SET id = CAST(x'ff' AS TEXT) WHERE first_seq = 1;
                  UPDATE batch_claim SET owner = CAST(x'ff' AS TEXT), claimed_at = 'noon',
                                         lease_until = x'00'";
    drop(raw(&dir.path().join("queue.db"), damage));
    let queue = queue_in(dir.path());
    assert_eq!(stats(&queue).await, [3, 1, 0]);
    assert_eq!(queue.batches(10).await.unwrap()[0].owner.as_deref(), Some("\u{fffd}"));
    assert_eq!(drain(&queue).await, ["c", "d", "a", "b"]);
    assert_eq!(stats(&queue).await, [0, 0, 0]);
}

#[tokio::test]
async fn unreadable_counts_are_recalculated() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue_in(dir.path());
    queue.push(item("a")).await.unwrap();
    drop(raw(&dir.path().join("queue.db"), "UPDATE queue_count SET depth = 'many'"));
    queue.push(item("b")).await.unwrap();
    assert_eq!(stats(&queue).await, [2, 0, 0]);
    assert_eq!(drain(&queue).await, ["a", "b"]);
}

#[test]
fn a_pipeline_stores_events_behind_an_unreadable_row() {
    let mut daemon = Daemon::start();
    daemon.kill9();
    add_unreadable(&daemon.data_dir());
    let daemon = daemon.restart();
    daemon.track("https://a.example/");
    let stored = || daemon.scalar("SELECT count(*) FROM page_view_event") == json!(1);
    wait_until(DEADLINE, "the event is stored", stored);
    let listed = daemon.cli(&["queue", "list", "--json"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.contains("invalid UTF-8 at byte 2"), "{listed}");
    assert!(daemon.stderr().contains("moved an unreadable event"), "{}", daemon.stderr());
}

#[tokio::test]
async fn a_damaged_session_accepts_events_and_blocks_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path());
    let views = [view("p", "1", "a", 0, "/1"), view("p", "2", "b", 1, "/2")];
    insert(&store, "1", &views).await;
    let damage = "UPDATE session_state SET entry_page = CAST(x'ff' AS TEXT) WHERE session_id = 'a';
                  UPDATE session_state SET session_id = CAST(x'ff' AS TEXT) WHERE session_id = 'b'";
    drop(raw(&dir.path().join("store.db"), damage));
    let views = [view("p", "3", "a", 5, "/3"), view("p", "4", "c", 6, "/4")];
    assert_eq!(insert(&store, "2", &views).await.rows, 2);
    let sql = "SELECT exit_page FROM tracked_session WHERE session_id = 'a'";
    assert_eq!(rows(&store, sql).await, [[json!("/3")]]);
    // One of three idle sessions has an unreadable id.
    for expected in [vec![], vec!["a"], vec!["c"], vec![]] {
        let ended = store.end_idle_sessions(at(60), 1).await.unwrap();
        let ended: Vec<_> = ended.iter().map(|key| key.session_id.as_str()).collect();
        assert_eq!(ended, expected);
    }
}

#[tokio::test]
async fn the_live_view_skips_unreadable_values() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_in(dir.path());
    insert(&store, "1", &[view("p", "1", "a", 0, "/1"), view("q", "2", "b", 1, "/2")]).await;
    let damage = "UPDATE page_view_event SET project_id = CAST(x'ff' AS TEXT), timestamp = 'noon',
                  url = CAST(x'2fff' AS TEXT) WHERE id = '2'";
    drop(raw(&dir.path().join("store.db"), damage));
    let seen = bklit_pipeline::store::live_view::live_view(&store, None, at(10)).await.unwrap();
    assert!(seen.projects.iter().any(|project| project.project_id == "p"), "{seen:?}");
    assert!(seen.top_pages.iter().any(|page| page.url == "/1"), "{seen:?}");
    assert!(seen.last_events.iter().any(|event| event.event_id == "1"), "{seen:?}");
}

#[tokio::test]
async fn a_damaged_token_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.db");
    let tokens = SqliteTokenStore::open(&file).unwrap();
    let new = || TokenRecord::new(&Secret::generate().unwrap(), Scope::Read, Vec::new()).unwrap();
    let (bad, good) = (new(), new());
    for token in [&bad, &good] {
        tokens.create(token.clone()).await.unwrap();
    }
    let damage = format!("UPDATE token SET projects = CAST(x'ff' AS TEXT) WHERE id = '{}'", bad.id);
    drop(raw(&file, &damage));
    let listing = tokens.listing().await;
    assert_eq!((listing.tokens.as_slice(), listing.unreadable), (&[good.clone()][..], 1));
    assert_eq!(tokens.find(&good.hash).await.unwrap(), Some(good));
    assert!(tokens.find(&bad.hash).await.is_err(), "it does not count as revoked");
    assert!(tokens.revoke(&bad.id).await.unwrap());
    assert_eq!(tokens.listing().await.unreadable, 0);
}
