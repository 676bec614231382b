//! The production store: the suite on a real server, and tests specific to ClickHouse.

mod clusters;
mod columns;
mod faults;
mod idle;
mod interleaved;
mod migrate;
mod partitions;
mod replicas;
mod restricted;
mod sessions;
mod shared_sessions;
mod sleeping;
mod views;
mod zones;

use std::time::{Duration, Instant};

use bklit_adapters::clickhouse::{ClickHouseOptions, ClickHouseStore, Timeouts};
use bklit_pipeline::store::{Batch, Inserted, Store, StoreError};
use bklit_wire::event::{Payload, QueuedEvent};
use serde_json::{Value, json};

use super::{Fixture, LIMITS, SESSIONS, count, insert, row, rows, store_suite, write_sessions};
use crate::support::events::{at, custom, full_view, view};
use crate::support::servers::{ClickHouse, Database};

async fn open() -> Fixture {
    let (database, store) = shared().await;
    Fixture { store: Box::new(store), cases: 25, _keep: Box::new(database) }
}

store_suite!(on_clickhouse, super::open);

/// A store in a separate database on the server that all tests share.
async fn shared() -> (Database, ClickHouseStore) {
    let database = ClickHouse::shared();
    let store = store(&database.url(), |options| options.database = database.name().to_owned());
    store.migrate(false).await.unwrap();
    (database, store)
}

#[tokio::test]
async fn the_live_view_is_independent_of_the_columns_time_zone() {
    let database = ClickHouse::shared();
    let store = store(&database.url(), |options| options.database = database.name().to_owned());
    let zoned = |statement: &String| statement.replace(" DateTime", " DateTime('Asia/Tokyo')");
    for statement in store.migrate(true).await.unwrap().iter().map(zoned) {
        if statement.contains("_event") {
            database.query(&statement);
        }
    }
    store.migrate(false).await.unwrap();
    let types = "SELECT DISTINCT type FROM system.columns WHERE database = currentDatabase() AND name = 'timestamp'";
    assert_eq!(database.query(types), "DateTime(\\'Asia/Tokyo\\')");
    super::the_live_view_counts_current_visitors(&store).await;
}

/// A store on a separate server.
async fn own(change: impl FnOnce(&mut ClickHouseOptions)) -> (ClickHouse, ClickHouseStore) {
    let server = ClickHouse::own();
    let store = store(&server.url(), change);
    store.migrate(false).await.unwrap();
    (server, store)
}

fn store(url: &str, change: impl FnOnce(&mut ClickHouseOptions)) -> ClickHouseStore {
    let mut options = ClickHouseOptions { url: url.to_owned(), ..ClickHouseOptions::default() };
    change(&mut options);
    ClickHouseStore::new(options).unwrap()
}

/// Short timeouts, for tests with faults.
fn hasty(options: &mut ClickHouseOptions) {
    let request = Duration::from_secs(2);
    options.timeouts = Timeouts { request, batch: request * 5, ..Timeouts::default() };
}

fn batch(id: &str, events: &[QueuedEvent]) -> Batch {
    Batch { id: id.to_owned(), events: events.to_vec().into(), is_first_attempt: false }
}

/// Page views and custom events of a few sessions, in three months.
fn mixed(name: &str, n: i64) -> Vec<QueuedEvent> {
    const MONTH: i64 = 31 * 24 * 3600;
    let event = |n: i64| {
        let (id, session) = (format!("{name}_{n}"), format!("{name}_s{}", n % 7));
        let seconds = n + (n % 3) * MONTH;
        match n % 4 {
            0 => custom("p", &id, &session, seconds),
            _ => view("p", &id, &session, seconds, &format!("/{n}")),
        }
    };
    (0..n).map(event).collect()
}

/// Checks that each event is stored exactly once and unchanged, and nothing else is stored.
async fn verify(store: &dyn Store, sent: &[QueuedEvent]) -> Result<(), String> {
    let views = "SELECT project_id, id, toUnixTimestamp(timestamp), url FROM page_view_event";
    let customs = "SELECT project_id, id, toUnixTimestamp(timestamp), event_definition_id \
                   FROM tracked_event";
    let all = format!("SELECT * FROM ({views} UNION ALL {customs}) ORDER BY 2");
    let found = store.query(&all, LIMITS).await.map_err(|error| format!("unverified: {error}"))?;
    let mut expected: Vec<Vec<Value>> = sent
        .iter()
        .map(|event| {
            let what = match &event.payload {
                Payload::Pageview(view) => &view.url,
                Payload::Event(custom) => &custom.tracking_id,
                Payload::SessionEnd(_) => unreachable!(),
            };
            let seconds = event.timestamp().epoch_seconds();
            vec![json!(event.project_id), json!(event.id), json!(seconds), json!(what)]
        })
        .collect();
    expected.sort_by_key(|row| row[1].as_str().map(str::to_owned));
    if found.rows == expected {
        return Ok(());
    }
    Err(format!("{} rows stored for {} sent", found.rows.len(), expected.len()))
}

/// Checks that every session's latest version matches its events.
async fn verify_sessions(store: &dyn Store) {
    let expected = "SELECT session_id, argMin(url, (timestamp, id)), argMax(url, (timestamp, id)), \
                    count() < 2 FROM page_view_event GROUP BY session_id ORDER BY 1";
    let latest =
        format!("SELECT session_id, entry_page, exit_page, did_bounce FROM {SESSIONS} ORDER BY 1");
    assert_eq!(rows(store, &latest).await, rows(store, expected).await);
}

/// Inserts a batch and writes its sessions.
async fn process(store: &dyn Store, batch: &Batch) -> Result<Inserted, StoreError> {
    let inserted = store.insert(batch).await?;
    write_sessions(store).await?;
    Ok(inserted)
}

/// Does the same until it succeeds; returns the number of attempts.
async fn process_until_done(store: &dyn Store, batch: &Batch) -> u32 {
    for attempt in 1..20 {
        match process(store, batch).await {
            Ok(_) => return attempt,
            Err(StoreError::Unavailable(_)) => {}
            Err(refused) => panic!("{refused}"),
        }
    }
    panic!("batch {} cannot be stored", batch.id);
}

#[tokio::test]
async fn a_batch_is_one_block_per_table_and_month() {
    let (server, store) = own(|_| {}).await;
    let events = mixed("e", 60);
    insert(&store, "b", &events).await;
    verify(&store, &events).await.unwrap();
    verify_sessions(&store).await;
    let log = server.log();
    let blocks = |table: &str| {
        let inserts = format!("INSERT INTO {table} ");
        let of = |entry: &&Value| entry["sql"].as_str().unwrap().starts_with(&inserts);
        log.iter().filter(of).map(|entry| entry["token"].to_string()).collect::<Vec<_>>()
    };
    let tokens = blocks("page_view_event");
    assert_eq!((tokens.len(), blocks("tracked_event").len()), (3, 3));
    assert!(tokens[0].starts_with("\"b:page_view_event:202601:"), "{tokens:?}");
    let parts = "SELECT count() FROM system.parts WHERE active AND database = 'analytics' \
                 AND table = 'page_view_event'";
    assert_eq!(server.query(parts), "3");
}

#[tokio::test]
async fn any_text_can_be_an_id() {
    let (_database, store) = shared().await;
    let ids =
        ["it's", "back\\slash", "line\nend", "nul\0nul", "tab\t", "ø🦀", "?", "{x:String}", " "];
    let events: Vec<_> = ids.iter().map(|id| view(id, id, id, 0, "/")).collect();
    assert_eq!(insert(&store, "1", &events).await.rows, ids.len() as u64);
    assert_eq!(insert(&store, "2", &events).await.rows, 0);
    let mut stored: Vec<_> =
        rows(&store, "SELECT id FROM page_view_event ORDER BY id").await.concat();
    stored.sort_by_key(ToString::to_string);
    let mut expected: Vec<_> = ids.iter().map(|id| json!(id)).collect();
    expected.sort_by_key(ToString::to_string);
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn repeats_are_found_among_many_rows_of_one_second() {
    let (database, store) = shared().await;
    let known = [view("p", "known", "s", 0, "/"), view("p", "line\nend", "s", 0, "/")];
    insert(&store, "1", &known).await;
    let crowd = "INSERT INTO page_view_event (id, url, timestamp, created_at, project_id) \
                 SELECT 'crowd' || toString(number), '/', toDateTime('2026-01-31 12:00:00'), \
                 now(), 'p' FROM numbers(60000)";
    database.query(crowd);
    let [first, second] = known;
    let new = view("p", "new", "s", 0, "/");
    assert_eq!(insert(&store, "2", &[first, new, second]).await.rows, 1);
    assert_eq!(count(&store, "page_view_event").await, 60_003);
}

#[tokio::test]
async fn user_and_password_are_sent() {
    let server = ClickHouse::with_account("bklit", "s3cret/@");
    let with = |password: &str| {
        store(&server.url(), |options| {
            options.user = Some("bklit".to_owned());
            options.password = Some(password.to_owned());
            options.database = "default".to_owned();
        })
    };
    with("s3cret/@").ping().await.unwrap();
    let url = server.url().replace("http://", "http://bklit:s3cret%2F%40@");
    store(&url, |options| options.database = "default".to_owned()).ping().await.unwrap();
    let error = with("wrong").ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("password"), "{error}");
    let shown = format!("{:?}", ClickHouseOptions { url, ..ClickHouseOptions::default() });
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn an_invalid_url_is_refused() {
    for url in ["localhost:8123", "redis://localhost", "", "http://"] {
        let options = ClickHouseOptions { url: url.to_owned(), ..ClickHouseOptions::default() };
        let error = ClickHouseStore::new(options).err().unwrap();
        assert!(error.to_string().contains("http://localhost:8123"), "{url}: {error}");
    }
    // A server without TLS counts as unavailable.
    let url = ClickHouse::shared().url().replace("http://", "https://");
    let error = store(&url, |_| {}).ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_result_that_is_not_a_table_is_refused() {
    let (_database, store) = shared().await;
    let error = store.query("SELECT 1 FORMAT CSV", LIMITS).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    let found = row(&store, "SELECT [1, 2], map('a', 1), 1 / 0, toDecimal32(1.5, 1), true").await;
    assert_eq!(found, [json!("[1,2]"), json!("{\"a\":1}"), json!("inf"), json!(1.5), json!(1)]);
    let settings = "SELECT 1 SETTINGS max_execution_time = 0";
    assert!(store.query(settings, LIMITS).await.is_err(), "limits can be lifted");
}

#[tokio::test]
async fn large_batches_are_stored_and_recognised() {
    let (_database, store) = shared().await;
    let view = |batch: i64, n: i64| {
        let mut event = full_view("p", &format!("evt_{batch}_{n:026}"));
        let Payload::Pageview(view) = &mut event.payload else { unreachable!() };
        view.timestamp = Some(at(batch + n / 5_000));
        view.session_id = Some(format!("{batch:04}-{:032}", n / 4));
        event
    };
    for number in 0..4 {
        let events: Vec<_> = (0..10_000).map(|n| view(number, n)).collect();
        let batch = batch(&format!("b{number}"), &events);
        let began = Instant::now();
        assert_eq!(store.insert(&batch).await.unwrap().rows, 10_000);
        let took = began.elapsed();
        let began = Instant::now();
        assert_eq!(store.insert(&batch).await.unwrap().rows, 0);
        println!("10,000 rows: {took:?}; repeated: {:?}", began.elapsed());
    }
    assert_eq!(count(&store, "page_view_event").await, 40_000);
    assert_eq!(count(&store, SESSIONS).await, 10_000);
}

#[tokio::test]
async fn rows_of_sessions_wait_while_large_batches_follow_each_other() {
    let (_database, store) = shared().await;
    let events: Vec<_> =
        (0..5_000).map(|n| view("p", &format!("{n}"), &format!("s{}", n % 100), 0, "/")).collect();
    let rows = async || {
        let result = store.query("SELECT count() FROM tracked_session", LIMITS).await;
        result.unwrap().rows[0][0].clone()
    };
    for number in ["first", "second"] {
        store.insert(&batch(number, &events)).await.unwrap();
        store.settle().await.unwrap();
        assert!(store.write_sessions().await.unwrap().more, "{number}");
        assert_eq!(rows().await, json!(0), "{number}");
    }
    store.write_sessions().await.unwrap();
    assert_eq!(rows().await, json!(100));
}
