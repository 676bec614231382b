//! The files of the embedded adapters: damaged ones, and those of earlier versions.

mod damaged;
mod older;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_adapters::sqlite::store::SqliteStore;
use bklit_pipeline::queue::{Claim, FailedItem, NewItem, Queue, QueueStats};
use bklit_pipeline::store::{Batch, Inserted, QueryLimits, Store};
use bklit_wire::event::QueuedEvent;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::events::view;

const LEASE: Duration = Duration::from_secs(600);
const LIMITS: QueryLimits = QueryLimits::new(1000, Duration::from_secs(30));

fn queue_in(dir: &Path) -> SqliteQueue {
    SqliteQueue::open(&dir.join("queue.db"), 10_000).unwrap()
}

fn store_in(dir: &Path) -> SqliteStore {
    SqliteStore::open(&dir.join("store.db")).unwrap()
}

/// Waiting, in flight, failed.
async fn stats(queue: &dyn Queue) -> [u64; 3] {
    let QueueStats { depth, in_flight, failed, .. } = queue.stats().await.unwrap();
    [depth, in_flight, failed]
}

fn ids(claim: &Claim) -> Vec<String> {
    claim.items.iter().map(|item| QueuedEvent::from_json(&item.body).unwrap().id).collect()
}

/// Claims and acknowledges everything; returns the ids.
async fn drain(queue: &dyn Queue) -> Vec<String> {
    let mut drained = Vec::new();
    while let Some(claim) = queue.claim(4, LEASE).await.unwrap() {
        drained.extend(ids(&claim));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
    }
    drained
}

async fn failed(queue: &dyn Queue) -> Vec<FailedItem> {
    let mut items = queue.failed(None, 100).await.unwrap().items;
    items.reverse();
    items
}

async fn insert(store: &dyn Store, id: &str, events: &[QueuedEvent]) -> Inserted {
    store
        .insert(&Batch {
            id: id.to_owned(),
            events: events.to_vec().into(),
            is_first_attempt: false,
        })
        .await
        .unwrap()
}

async fn rows(store: &dyn Store, sql: &str) -> Vec<Vec<Value>> {
    store.query(sql, LIMITS).await.unwrap().rows
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("evt_{n}")).collect()
}

/// Runs SQL on a file, bypassing the program.
fn raw(file: &Path, sql: &str) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

/// Events pass through the ports without being copied.
#[tokio::test]
async fn a_pushed_event_is_not_kept_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let event = Arc::new(view("p", "1", "s", 0, "/"));
    let queue = queue_in(dir.path());
    queue.push(NewItem { event: Arc::clone(&event), client_id: true }).await.unwrap();
    assert_eq!(Arc::strong_count(&event), 1);
    let store = store_in(dir.path());
    let batch = Batch {
        id: "1".to_owned(),
        events: Arc::new(vec![Arc::unwrap_or_clone(event)]),
        is_first_attempt: false,
    };
    assert_eq!(store.insert(&batch).await.unwrap().rows, 1);
    assert_eq!(Arc::strong_count(&batch.events), 1, "so the worker can reuse the events");
}
