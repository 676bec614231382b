//! Files of earlier versions are upgraded with all their content; newer ones are refused and not
//! changed. The `.sql` files next to this one contain the tables of the first version.

use std::path::{Path, PathBuf};
use std::sync::Barrier;

use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_adapters::sqlite::store::SqliteStore;
use bklit_adapters::sqlite::tokens::SqliteTokenStore;
use bklit_pipeline::auth::{Scope, Secret, TokenRecord, TokenStore};
use bklit_pipeline::queue::{NewItem, Pushed, Queue};
use bklit_pipeline::store::Inserted;
use bklit_pipeline::store::baseline::{Baseline, Kind, Pick, Side, Span};
use bklit_wire::event::QueuedEvent;
use bklit_wire::time::UtcMillis;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{LEASE, drain, failed, ids, insert, names, queue_in, raw, rows, stats, store_in};
use crate::support::events::{NOON, at, end, full_view, view};
use crate::support::{Cli, DEADLINE, Daemon, eventually};

const QUEUE: &str = include_str!("queue.sql");
const STORE: &str = include_str!("store.sql");
const TOKENS: &str = include_str!("tokens.sql");

/// Tables that later programs added without raising the version.
const QUEUE_ADDITIONS: [&str; 3] = [
    "",
    "CREATE TABLE batch_note (batch_id TEXT PRIMARY KEY, note TEXT NOT NULL) WITHOUT ROWID;
     INSERT INTO batch_note VALUES ('old', 'half stored');",
    "CREATE TABLE batch_claim (
         batch_id TEXT PRIMARY KEY,
         owner TEXT NOT NULL,
         claimed_at INTEGER NOT NULL,
         lease_until INTEGER NOT NULL
     ) WITHOUT ROWID;
     CREATE TABLE queue_count (
         id INTEGER PRIMARY KEY CHECK (id = 1),
         depth INTEGER NOT NULL,
         in_flight INTEGER NOT NULL,
         failed INTEGER NOT NULL
     );
     INSERT INTO batch_claim VALUES ('old', 'elsewhere:1', 1, 2);
     INSERT INTO queue_count VALUES (1, 7, 3, 1);",
];

fn event(n: usize) -> QueuedEvent {
    view("default", &format!("evt_{n}"), "s", n as i64, &format!("https://a.example/{n}"))
}

/// Events 0 to 2 are in flight, 3 to 9 wait, 10 has failed.
fn fill_queue(file: &Path, additions: &str) {
    let connection = raw(file, &format!("PRAGMA journal_mode = WAL; {QUEUE} {additions}"));
    for n in 0..10 {
        let sql = "INSERT INTO queue_item (body) VALUES (?)";
        connection.execute(sql, [event(n).to_json()]).unwrap();
        let sql = "INSERT INTO client_event_id VALUES ('default', ?, ?)";
        let now = UtcMillis::now().epoch_millis();
        connection.execute(sql, params![format!("evt_{n}"), now]).unwrap();
    }
    connection.execute("INSERT INTO batch VALUES ('old', 1, 3, 2)", ()).unwrap();
    let sql = "INSERT INTO failed_item (body, reason, failed_at) VALUES (?, 'bad', 1000)";
    connection.execute(sql, [event(10).to_json()]).unwrap();
}

fn version(file: &Path) -> i64 {
    let connection = Connection::open(file).unwrap();
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_queue_of_each_earlier_version_drains_exactly_once() {
    for additions in QUEUE_ADDITIONS {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("queue.db");
        fill_queue(&file, additions);
        let queue = queue_in(dir.path());
        assert_eq!(stats(&queue).await, [7, 3, 1], "{additions}");
        let again = NewItem { event: event(5).into(), client_id: true };
        assert_eq!(queue.push(again).await.unwrap(), Pushed::Duplicate);
        let claim = queue.claim(100, LEASE).await.unwrap().unwrap();
        assert_eq!((&*claim.id.batch, claim.id.epoch, ids(&claim)), ("old", 3, names(0..3)));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
        let bad = failed(&queue).await;
        assert_eq!((&*bad[0].reason, bad[0].failed_at.unwrap().epoch_millis()), ("bad", 1000));
        assert_eq!(queue.retry_failed(&[bad[0].id.clone()]).await.unwrap(), 1);
        assert_eq!(drain(&queue).await, names(3..11));
        drop(queue);
        assert_eq!(version(&file), 3);
        assert_eq!(stats(&queue_in(dir.path())).await, [0, 0, 0]);
    }
}

/// A store of the first version, without the latest columns.
fn fill_store(file: &Path) {
    let connection = raw(file, &format!("PRAGMA journal_mode = WAL; {STORE}"));
    let first = event(0);
    let sql = "INSERT INTO page_view_event (id, url, timestamp, created_at, session_id, project_id,
                                            is_new_visitor)
               VALUES (?1, 'https://a.example/0', ?2, ?2, 's', 'default', 1)";
    connection.execute(sql, [&first.id, &at(0).to_date_time()]).unwrap();
    let sql = "INSERT INTO session_state (id, session_id, started_at, did_bounce, entry_page,
                   exit_page, project_id, updated_at, views, entry_key, exit_key, last_at,
                   last_seen, idle_since)
               VALUES ('ses_1', 's', ?1, 1, 'https://a.example/0', 'https://a.example/0',
                       'default', ?1, 1, ?2, ?2, ?3, ?3, ?3)";
    let key = format!("{NOON}{}", first.id);
    connection.execute(sql, params![at(0).to_date_time(), key, NOON]).unwrap();
    let later = "ALTER TABLE page_view_event DROP COLUMN is_new_visitor;
                 ALTER TABLE page_view_event DROP COLUMN landing_page;
                 ALTER TABLE page_view_event DROP COLUMN twclid;
                 CREATE TABLE page_view_event_baseline AS SELECT * FROM page_view_event;
                 CREATE UNIQUE INDEX page_view_event_baseline_id
                     ON page_view_event_baseline (project_id, id);
                 DROP VIEW tracked_session;
                 ALTER TABLE session_state DROP COLUMN visitor_id;
                 CREATE VIEW tracked_session AS SELECT id FROM session_state WHERE views > 0;
                 INSERT INTO stored_batch (id, digest) VALUES ('before', x'00');";
    connection.execute_batch(later).unwrap();
}

#[tokio::test]
async fn a_store_of_the_first_version_accepts_new_events_and_keeps_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.db");
    fill_store(&file);
    let store = store_in(dir.path());
    let again = insert(&store, "again", &[event(0)]).await;
    assert_eq!(again, Inserted { known: vec![0], ..Inserted::default() });
    let new = [event(1), full_view("default", "full"), end("default", "end", "s", 9)];
    let inserted = insert(&store, "new", &new).await;
    assert_eq!(inserted.rows, 2);
    let views = "SELECT id, is_new_visitor, twclid IS NULL FROM page_view_event ORDER BY id";
    let expected = [
        [json!("evt_0"), json!(0), json!(1)],
        [json!("evt_1"), json!(0), json!(1)],
        [json!("full"), json!(1), json!(0)],
    ];
    assert_eq!(rows(&store, views).await, expected);
    let session = "SELECT id, entry_page, exit_page, did_bounce, duration, visitor_id
                   FROM tracked_session WHERE session_id = 's'";
    let [entry, exit] = ["https://a.example/0", "https://a.example/1"].map(Value::from);
    assert_eq!(
        rows(&store, session).await,
        [[json!("ses_1"), entry, exit, json!(0), json!(9), Value::Null]]
    );
    let kept = raw(&file, "").query_row(
        "SELECT id FROM stored_batch ORDER BY number LIMIT 1",
        (),
        |row| row.get(0),
    );
    assert_eq!(kept, Ok("before".to_owned()));
    drop(store);
    assert_eq!(version(&file), 2);
}

#[tokio::test]
async fn a_baseline_of_an_earlier_version_is_written_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    fill_store(&dir.path().join("store.db"));
    let store = store_in(dir.path());
    store.prepare().await.unwrap();
    let events = [event(1), full_view("default", "full")];
    insert(&store, "new", &events).await;
    store.write(&events.to_vec().into()).await.unwrap();
    let noon = NOON / 1000;
    let span = Span { since: noon - 60, until: noon + 60, project: None };
    let pick = Pick::Span { span: &span, after: None, most: 10 };
    let stored = store.read(Side::Queue, Kind::PageViews, pick).await.unwrap().rows;
    assert_eq!(stored.len(), 3);
    assert_eq!(store.read(Side::Baseline, Kind::PageViews, pick).await.unwrap().rows, stored);
}

#[tokio::test]
async fn opening_an_up_to_date_file_does_not_change_it() {
    let dir = tempfile::tempdir().unwrap();
    fill_store(&dir.path().join("store.db"));
    let schema = || -> i64 {
        drop(store_in(dir.path()));
        let connection = Connection::open(dir.path().join("store.db")).unwrap();
        connection.pragma_query_value(None, "schema_version", |row| row.get(0)).unwrap()
    };
    assert_eq!(schema(), schema());
}

#[test]
fn two_processes_may_open_an_old_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let [queue, store] = ["queue.db", "store.db"].map(|name| dir.path().join(name));
    fill_queue(&queue, QUEUE_ADDITIONS[1]);
    fill_store(&store);
    let all = Barrier::new(8);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (all, dir) = (&all, dir.path());
            scope.spawn(move || {
                all.wait();
                if n % 2 == 0 { drop(queue_in(dir)) } else { drop(store_in(dir)) }
            });
        }
    });
    assert_eq!((version(&queue), version(&store)), (3, 2));
}

#[tokio::test]
async fn tokens_of_the_first_version_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.db");
    let mut token =
        TokenRecord::new(&Secret::generate().unwrap(), Scope::Ingest, vec!["p".into()]).unwrap();
    token.allowed_domains = vec!["a.example".into()];
    let sql = "INSERT INTO token VALUES (?, ?, ?, NULL, 'ingest', '[\"p\"]', '[\"a.example\"]', ?,
                                         NULL)";
    let created_at = token.created_at.epoch_millis();
    let row = params![token.id, token.hash.to_hex(), token.prefix, created_at];
    raw(&file, TOKENS).execute(sql, row).unwrap();
    let tokens = SqliteTokenStore::open(&file).unwrap();
    assert_eq!(tokens.list().await.unwrap(), [token.clone()]);
    assert_eq!(tokens.find(&token.hash).await.unwrap(), Some(token));
}

#[test]
fn a_newer_file_is_refused_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let opened = |name: &str| -> (PathBuf, Option<String>) {
        let file = dir.path().join(name);
        let error = match name {
            "queue.db" => SqliteQueue::open(&file, 10).err().map(|error| error.to_string()),
            "store.db" => SqliteStore::open(&file).err().map(|error| error.to_string()),
            _ => SqliteTokenStore::open(&file).err().map(|error| error.to_string()),
        };
        (file, error)
    };
    for name in ["queue.db", "store.db", "tokens.db"] {
        let (file, error) = opened(name);
        assert_eq!(error, None);
        drop(raw(&file, "PRAGMA user_version = 99"));
        let error = opened(name).1.unwrap();
        assert!(error.contains("written by a newer bklit-tui"), "{error}");
        assert!(error.contains(name) && error.contains("version 99"), "{error}");
        assert_eq!(version(&file), 99);
    }
}

#[test]
fn a_pipeline_continues_with_the_files_of_an_earlier_version() {
    let mut daemon = Daemon::start();
    daemon.kill9();
    let dir = daemon.data_dir();
    for name in ["queue.db", "store.db"] {
        for file in [name.to_owned(), format!("{name}-wal"), format!("{name}-shm")] {
            let _ = std::fs::remove_file(dir.join(file));
        }
    }
    fill_queue(&dir.join("queue.db"), QUEUE_ADDITIONS[1]);
    fill_store(&dir.join("store.db"));
    let daemon = daemon.restart();
    // Event 0 was stored before the upgrade, but its batch was not acknowledged.
    let ids = "SELECT group_concat(id, ' ' ORDER BY rowid) FROM page_view_event";
    let stored = || daemon.scalar(ids) == json!(names(0..10).join(" "));
    eventually(DEADLINE, "each event is stored once", stored);
    assert_eq!(daemon.scalar("SELECT count(*) FROM tracked_session"), json!(1));
    assert_eq!(daemon.cli(&["queue", "list", "--json"]).lines().count(), 1);
    assert!(daemon.stderr().contains("migrated a file"), "{}", daemon.stderr());
}

/// Its waiting events are lost, which must be reported.
#[test]
fn a_queue_missing_next_to_a_store_is_reported() {
    let mut daemon = Daemon::start();
    daemon.track("https://a.example/");
    let stored = || daemon.scalar("SELECT count(*) FROM page_view_event") == json!(1);
    eventually(DEADLINE, "the event is stored", stored);
    assert!(!daemon.stderr().contains("is missing"), "{}", daemon.stderr());
    daemon.kill9();
    for file in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        let _ = std::fs::remove_file(daemon.data_dir().join(file));
    }
    let doctor = Cli::on(&daemon.data_dir()).run(&["doctor"]);
    assert!(doctor.stdout.contains("queue.db is missing"), "{}", doctor.stdout);
    let daemon = daemon.restart();
    let log = daemon.stderr();
    assert!(log.contains("WARN") && log.contains("queue.db is missing"), "{log}");
}
