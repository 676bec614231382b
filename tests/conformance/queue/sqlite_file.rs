//! SQLite alone: one file opened by several processes, which respect each other's claims.

use std::path::Path;

use super::*;

fn open(dir: &Path) -> SqliteQueue {
    SqliteQueue::open(&dir.join("queue.db"), MAX_DEPTH).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_lease_is_respected_by_other_processes() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = [open(dir.path()), open(dir.path())];
    push(&one, "e1").await;
    let held = claim(&one, 10, NO_LEASE).await;
    one.renew(&held.id, LEASE).await.unwrap();
    assert!(other.claim(10, LEASE).await.unwrap().is_none());
    one.acknowledge(&held.id, &[]).await.unwrap();
    assert!(other.claim(10, LEASE).await.unwrap().is_none());
    // Nothing of the batch is left in the file.
    let file = rusqlite::Connection::open(dir.path().join("queue.db")).unwrap();
    for table in ["queue_item", "batch", "batch_claim"] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(file.query_row(&sql, (), |row| row.get::<_, i64>(0)).unwrap(), 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_held_by_the_process_that_claimed_it_last() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = [open(dir.path()), open(dir.path())];
    push(&one, "e1").await;
    let lapsed = claim(&one, 10, NO_LEASE).await;
    let taken = claim(&other, 10, LEASE).await;
    assert_eq!((taken.id.epoch, &taken.items), (lapsed.id.epoch + 1, &lapsed.items));
    assert!(one.claim(10, LEASE).await.unwrap().is_none());
    let late = one.acknowledge(&lapsed.id, &[]).await;
    assert!(matches!(late, Err(QueueError::Stale(_))), "{late:?}");
    other.acknowledge(&taken.id, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_rejects_items_of_its_own_batch_only() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path());
    for id in ["e1", "e2"] {
        push(&queue, id).await;
    }
    let first = claim(&queue, 1, LEASE).await;
    let second = claim(&queue, 1, LEASE).await;
    let foreign = Rejected { seq: second.items[0].seq, reason: "not its own".to_owned() };
    queue.acknowledge(&first.id, &[foreign]).await.unwrap();
    assert_eq!(queue.stats().await.unwrap().failed, 0);
    queue.acknowledge(&second.id, &[]).await.unwrap();
}

#[tokio::test]
async fn sequence_numbers_are_never_reused() {
    let mut fixture = Sqlite::new();
    let mut seen = HashSet::new();
    for id in ["a", "b", "c"] {
        let queue = fixture.queue();
        push(&*queue, id).await;
        let batch = claim(&*queue, 1, LEASE).await;
        assert!(seen.insert(batch.items[0].seq), "a batch is a range of numbers");
        queue.acknowledge(&batch.id, &[]).await.unwrap();
        drop(queue);
        fixture.reopen();
    }
}
