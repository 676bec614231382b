//! The same with the embedded default: from SQLite's queue into SQLite's store, compared with prepared
//! inserts of the same rows into a file with the same table, indexes and settings.

use std::path::Path;
use std::time::{Duration, Instant};

use bklit_adapters::sqlite::queue::{self, SqliteQueue};
use bklit_pipeline::queue::{NewItem, Queue as _};
use bklit_wire::event::QueuedEvent;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use rustix::process::Signal;

use crate::support::Daemon;
use crate::{CHUNK, DEADLINE, Options, POLL};

const TABLE: &str = "page_view_event";

/// Drains the backlog, then inserts the same rows; how long each took.
pub fn compare(options: &Options) -> (Duration, Duration) {
    let settings = format!("[worker]\nbatch_size = {}\n", options.batch);
    let mut daemon = Daemon::with_settings(&settings);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_exit(DEADLINE).success());
    let file = daemon.data_dir().join("queue.db");
    fill(&file, options);
    let daemon = daemon.restart();
    let (waiting, began) = (queue::count(&file).unwrap().0, Instant::now());
    while queue::count(&file).unwrap().0 > 0 {
        assert!(began.elapsed() < DEADLINE, "the backlog is not stored");
        std::thread::sleep(POLL);
    }
    // Events stored before the clock started are not counted.
    let drained = began.elapsed().mul_f64(options.events as f64 / waiting.max(1) as f64);
    assert_eq!(daemon.scalar(&format!("SELECT count() FROM {TABLE}")), options.events);
    let store = daemon.data_dir().join("store.db");
    (drained, insert(&store, &daemon.scratch().join("raw.db"), options.batch))
}

fn fill(file: &Path, options: &Options) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let queue = SqliteQueue::open(file, u64::MAX).unwrap();
        let numbers: Vec<_> = (0..options.events).collect();
        for chunk in numbers.chunks(CHUNK) {
            let item = |n: &usize| {
                let event = QueuedEvent::from_json(&options.member(*n)).unwrap();
                NewItem { event: event.into(), client_id: false }
            };
            for pushed in queue.push_many(chunk.iter().map(item).collect()).await {
                pushed.unwrap();
            }
        }
    });
}

/// Inserts the rows of one file into another one, in transactions of `batch` rows.
fn insert(store: &Path, raw: &Path, batch: usize) -> Duration {
    let store = Connection::open(store).unwrap();
    let mut raw = Connection::open(raw).unwrap();
    raw.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    raw.execute_batch("PRAGMA synchronous = FULL; PRAGMA cache_size = -32768").unwrap();
    let mut definitions = store
        .prepare("SELECT sql FROM sqlite_master WHERE tbl_name = ?1 AND sql IS NOT NULL")
        .unwrap();
    for sql in definitions.query_map([TABLE], |row| row.get::<_, String>(0)).unwrap() {
        raw.execute_batch(&sql.unwrap()).unwrap();
    }
    let mut select = store.prepare(&format!("SELECT * FROM {TABLE} ORDER BY rowid")).unwrap();
    let width = select.column_count();
    let rows: Vec<Vec<Value>> = select
        .query_map([], |row| (0..width).map(|column| row.get(column)).collect())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let marks = vec!["?"; width].join(", ");
    let began = Instant::now();
    for rows in rows.chunks(batch) {
        let transaction = raw.transaction().unwrap();
        let mut insert =
            transaction.prepare_cached(&format!("INSERT INTO {TABLE} VALUES ({marks})")).unwrap();
        for row in rows {
            insert.execute(params_from_iter(row)).unwrap();
        }
        drop(insert);
        transaction.commit().unwrap();
    }
    began.elapsed()
}
