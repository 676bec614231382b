//! Faults of the server: whatever happens to an insert, the batch is stored exactly once.

use std::time::{Duration, Instant};

use bklit_pipeline::store::{Store, StoreError};
use serde_json::{Value, json};

use super::{
    batch, hasty, mixed, own, process, process_until_done, shared, store, verify, verify_sessions,
};
use crate::support::events::view;

/// The tables that a batch writes to.
const TABLES: [&str; 5] = [
    "page_view_event",
    "tracked_event",
    "tracked_session",
    "bklit_session_activity",
    "bklit_session_state",
];

fn into(table: &str) -> String {
    format!("INSERT INTO {table}")
}

/// The tokens of the successful inserts into a table.
fn inserts(log: &[Value], table: &str) -> Vec<String> {
    let of = |entry: &&Value| {
        entry["sql"].as_str().unwrap().starts_with(&into(table)) && entry["outcome"] == "done"
    };
    log.iter().filter(of).map(|entry| entry["token"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_server_drops_a_repeat_with_the_same_token() {
    let (server, store) = own(|options| options.check_ids = false).await;
    let events = mixed("e", 20);
    let batch = batch("b", &events);
    for _ in 0..3 {
        store.insert(&batch).await.unwrap();
    }
    let tokens = inserts(&server.log(), "page_view_event");
    assert_eq!(tokens.len(), 9);
    assert!(tokens[0] == tokens[3] && tokens[3] == tokens[6], "{tokens:?}");
    verify(&store, &events).await.unwrap();
    verify_sessions(&store).await;
}

#[tokio::test]
async fn the_token_alone_resolves_a_lost_response() {
    let (server, store) = own(|options| options.check_ids = false).await;
    let events = mixed("e", 20);
    server.fault(
        json!({ "match": into("page_view_event"), "kind": "drop_after_commit", "times": 1 }),
    );
    assert_eq!(process_until_done(&store, &batch("b", &events)).await, 2);
    let tokens = inserts(&server.log(), "page_view_event");
    assert!(tokens.len() == 4 && tokens[0] == tokens[1], "{tokens:?}");
    verify(&store, &events).await.unwrap();
}

/// Shows that the protections that the other tests rely on are needed, and that these tests would
/// detect their absence.
#[tokio::test]
async fn without_token_and_check_a_lost_response_stores_twice() {
    let (server, store) = own(|options| options.check_ids = false).await;
    for table in ["page_view_event", "tracked_event"] {
        server.query(&format!(
            "ALTER TABLE analytics.{table} MODIFY SETTING non_replicated_deduplication_window = 0"
        ));
    }
    let events = mixed("e", 20);
    server.fault(
        json!({ "match": into("page_view_event"), "kind": "drop_after_commit", "times": 1 }),
    );
    assert_eq!(process_until_done(&store, &batch("b", &events)).await, 2);
    let verdict = verify(&store, &events).await.unwrap_err();
    assert!(verdict.ends_with("20 sent") && !verdict.starts_with("20 "), "{verdict}");
}

#[tokio::test]
async fn without_a_window_the_check_alone_resolves_a_lost_response() {
    let (server, store) = own(|_| {}).await;
    for table in TABLES {
        server.query(&format!(
            "ALTER TABLE analytics.{table} MODIFY SETTING non_replicated_deduplication_window = 0"
        ));
    }
    let mut sent = Vec::new();
    for table in TABLES {
        server.fault(json!({ "match": into(table), "kind": "drop_after_commit", "times": 1 }));
        let events = mixed(table, 20);
        assert_eq!(process_until_done(&store, &batch(table, &events)).await, 2, "{table}");
        sent.extend(events);
    }
    verify(&store, &sent).await.unwrap();
}

/// Multi-threaded, so that idle connections are known to be dead once the server is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_an_insert_the_batch_is_stored_once() {
    let (mut server, store) = own(hasty).await;
    let kinds = [
        "drop_before",
        "drop_after_commit",
        "error",
        "error_after_commit",
        "kill_before",
        "kill_after_commit",
    ];
    let mut sent = Vec::new();
    for kind in kinds {
        for (n, table) in TABLES.into_iter().enumerate() {
            let name = format!("{kind}_{table}");
            let events = mixed(&name, 12);
            let batch = batch(&name, &events);
            // Not always the first of the inserts into several months.
            let after = if n < 2 { n } else { 0 };
            server.fault(json!({ "match": into(table), "kind": kind, "times": 1, "after": after }));
            let error = process(&store, &batch).await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable(_)), "{name}: {error}");
            if kind.starts_with("kill") {
                server.restart();
            }
            assert_eq!(process_until_done(&store, &batch).await, 1, "{name}");
            sent.extend(events);
        }
    }
    verify(&store, &sent).await.unwrap();
    verify_sessions(&store).await;
}

/// At any point of an insert, of a merge and of other work of the server.
#[tokio::test]
async fn a_killed_server_has_each_batch_once() {
    let (mut server, store) = own(hasty).await;
    let store = std::sync::Arc::new(store);
    let mut sent = Vec::new();
    for round in 0..10 {
        let batches: Vec<_> = (0..3)
            .map(|n| mixed(&format!("{round}_{n}"), 30))
            .map(|events| batch(&events[0].id, &events))
            .collect();
        sent.extend(batches.iter().flat_map(|batch| batch.events.to_vec()));
        let worker = tokio::spawn({
            let (store, batches) = (std::sync::Arc::clone(&store), batches.clone());
            async move {
                for batch in &batches {
                    let _ = process(&*store, batch).await;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(40 * round)).await;
        server.restart();
        worker.await.unwrap();
        for batch in &batches {
            process_until_done(&*store, batch).await;
        }
    }
    verify(&*store, &sent).await.unwrap();
    verify_sessions(&*store).await;
}

#[tokio::test]
async fn a_hanging_server_causes_a_timeout() {
    let (server, store) = own(hasty).await;
    let mut sent = Vec::new();
    for kind in ["hang", "hang_after_commit"] {
        let events = mixed(kind, 12);
        let batch = batch(kind, &events);
        server.fault(json!({ "match": into("page_view_event"), "kind": kind, "times": 1 }));
        let began = Instant::now();
        let error = store.insert(&batch).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(began.elapsed() < Duration::from_secs(10), "{kind}: {:?}", began.elapsed());
        server.heal();
        process_until_done(&store, &batch).await;
        sent.extend(events);
    }
    server.freeze();
    let (began, frozen) = (Instant::now(), mixed("frozen", 12));
    let error = store.insert(&batch("frozen", &frozen)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(store.ping().await.is_err());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    server.thaw();
    process_until_done(&store, &batch("frozen", &frozen)).await;
    sent.extend(frozen);
    verify(&store, &sent).await.unwrap();
    verify_sessions(&store).await;
}

/// The first insert has timed out and is still running when the second one arrives.
#[tokio::test]
async fn a_late_insert_adds_nothing() {
    let (server, store) = own(hasty).await;
    let events = mixed("e", 12);
    let slow =
        json!({ "match": into("page_view_event"), "kind": "slow", "delay_ms": 4000, "times": 1 });
    server.fault(slow);
    assert!(store.insert(&batch("b", &events)).await.is_err());
    process_until_done(&store, &batch("b", &events)).await;
    verify(&store, &events).await.unwrap();
    let late = || inserts(&server.log(), "page_view_event");
    let deadline = Instant::now() + Duration::from_secs(30);
    while late().len() < 4 {
        assert!(Instant::now() < deadline, "{:?}", late());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let tokens = late();
    assert!(tokens[..3].contains(&tokens[3]), "{tokens:?}");
    verify(&store, &events).await.unwrap();
}

/// A block of unknown outcome is sent again as it was; after a refusal, its events are looked up.
#[tokio::test]
async fn only_a_block_of_unknown_outcome_is_repeated_unchecked() {
    let (server, store) = own(hasty).await;
    let events = vec![view("p", "e1", "s", 0, "/")];
    for (kind, first) in [("error", "SELECT"), ("drop_before", "INSERT")] {
        let fault =
            json!({ "match": into("page_view_event"), "kind": kind, "code": 53, "times": 1 });
        server.fault(fault);
        assert!(store.insert(&batch(kind, &events)).await.is_err());
        server.heal();
        let before = server.log().len();
        store.insert(&batch(kind, &events)).await.unwrap();
        let log = server.log();
        let mut statements = log[before..].iter().filter_map(|entry| entry["sql"].as_str());
        // The columns are read again after any failure.
        let next = statements.find(|sql| !sql.contains("system.")).unwrap();
        assert!(next.starts_with(first), "after {kind}: {next}");
        server.query("TRUNCATE TABLE analytics.page_view_event");
    }
}

#[tokio::test]
async fn a_cancelled_insert_is_completed_by_the_next() {
    let (_server, store) = own(hasty).await;
    let events = mixed("e", 12);
    for millis in 0..40 {
        let millis = Duration::from_millis(millis);
        let _ = tokio::time::timeout(millis, store.insert(&batch("b", &events))).await;
    }
    process_until_done(&store, &batch("b", &events)).await;
    verify(&store, &events).await.unwrap();
    verify_sessions(&store).await;
}

/// The server has recorded the token but lost the part, and reports success.
#[tokio::test]
async fn a_burnt_token_is_replaced() {
    let (server, store) = own(|_| {}).await;
    let events = mixed("e", 12);
    server.fault(json!({ "match": into("page_view_event"), "kind": "burn_token", "times": 1 }));
    let inserted = store.insert(&batch("b", &events)).await.unwrap();
    assert_eq!(inserted.rows, 12);
    verify(&store, &events).await.unwrap();
    let tokens = inserts(&server.log(), "page_view_event");
    assert!(tokens.iter().any(|token| token.ends_with(":1")), "{tokens:?}");
    // If the server keeps nothing at all, the insert fails.
    server.fault(json!({ "match": into("page_view_event"), "kind": "burn_token" }));
    let error = store.insert(&batch("c", &[view("p", "x", "s", 0, "/")])).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}

/// Only an earlier attempt can have left a token without rows, so a first one is not checked. This
/// shows that `verify` would detect it if that were wrong.
#[tokio::test]
async fn a_first_attempt_is_not_checked() {
    let (server, store) = own(|_| {}).await;
    let first = |name: &str| {
        let mut batch = batch(name, &mixed(name, 12));
        batch.is_first_attempt = true;
        batch
    };
    let batch = first("b");
    store.insert(&batch).await.unwrap();
    verify(&store, &batch.events).await.unwrap();
    let selects = server
        .log()
        .into_iter()
        .filter(|entry| entry["sql"].as_str().unwrap().contains(" AS event FROM "));
    assert_eq!(selects.count(), 6, "one look-up per table and month");
    let lost = first("c");
    server.fault(json!({ "match": into("page_view_event"), "kind": "burn_token", "times": 1 }));
    store.insert(&lost).await.unwrap();
    let all: Vec<_> = batch.events.iter().chain(lost.events.iter()).cloned().collect();
    assert!(verify(&store, &all).await.is_err());
}

/// The same for the version of a session, which nothing else would reveal.
#[tokio::test]
async fn a_burnt_token_of_a_session_is_replaced() {
    let (server, store) = own(|_| {}).await;
    let events = mixed("e", 30);
    server.fault(json!({ "match": into("tracked_session"), "kind": "burn_token", "times": 1 }));
    process(&store, &batch("b", &events)).await.unwrap();
    verify(&store, &events).await.unwrap();
    verify_sessions(&store).await;
    let tokens = inserts(&server.log(), "tracked_session");
    assert!(tokens.iter().any(|token| token.contains(":1:")), "{tokens:?}");
}

#[tokio::test]
async fn temporary_errors_are_not_refusals() {
    let (mut server, store) = own(hasty).await;
    let events = [view("p", "1", "s", 0, "/")];
    for code in [3, 60, 159, 164, 202, 241, 242, 243, 252, 319, 516, 999] {
        let message = format!("error {code}");
        server
            .fault(json!({ "match": "INSERT", "kind": "error", "code": code, "message": message }));
        let error = store.insert(&batch("b", &events)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{code}: {error}");
        assert!(error.to_string().contains(&message), "{error}");
        server.heal();
    }
    server.stop();
    let began = Instant::now();
    let error = store.insert(&batch("b", &events)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
    server.restart();
    assert_eq!(store.insert(&batch("b", &events)).await.unwrap().rows, 1);
}

#[tokio::test]
async fn only_rows_that_the_table_rejects_are_refused() {
    let (database, store) = shared().await;
    database.query("ALTER TABLE page_view_event ADD CONSTRAINT c CHECK url != '/bad'");
    let [good, bad] = [view("p", "1", "s", 0, "/good"), view("p", "2", "s", 1, "/bad")];
    let both = batch("b", &[good.clone(), bad.clone()]);
    let error = store.insert(&both).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    assert!(error.to_string().contains("Constraint"), "{error}");
    assert_eq!(store.insert(&batch("b.0", std::slice::from_ref(&good))).await.unwrap().rows, 1);
    assert!(matches!(store.insert(&batch("b.1", &[bad])).await, Err(StoreError::Refused(_))));
    verify(&store, &[good]).await.unwrap();
}

#[tokio::test]
async fn missing_tables_are_a_temporary_error() {
    let (database, store) = shared().await;
    for table in TABLES {
        database.query(&format!("DROP TABLE {table}"));
        let batch = batch(table, &mixed(table, 12));
        let error = process(&store, &batch).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{table}: {error}");
        assert!(error.to_string().contains("bklit-tui migrate"), "{table}: {error}");
        store.migrate(false).await.unwrap();
        process(&store, &batch).await.unwrap();
    }
    // Three of each batch's twelve events are custom events, whose table was dropped second.
    assert_eq!(database.query("SELECT count() FROM page_view_event"), "45");
    assert_eq!(database.query("SELECT count() FROM tracked_event"), "12");
}

/// The column is dropped between two batches, and added again by a migration.
#[tokio::test]
async fn altering_a_table_is_not_an_error_of_the_rows() {
    let (database, store) = shared().await;
    store.insert(&batch("1", &[view("p", "1", "s", 0, "/")])).await.unwrap();
    database.query("ALTER TABLE page_view_event MODIFY COLUMN title String DEFAULT ''");
    // The first insert detects the change, the next one uses the new columns.
    let events = [view("p", "2", "s", 1, "/")];
    assert!(process_until_done(&store, &batch("2", &events)).await <= 2);
    database.query("ALTER TABLE page_view_event DROP COLUMN gclid");
    let error = store.insert(&batch("3", &[view("p", "3", "s", 2, "/")])).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    store.migrate(false).await.unwrap();
    store.insert(&batch("3", &[view("p", "3", "s", 2, "/")])).await.unwrap();
    assert_eq!(database.query("SELECT count() FROM page_view_event"), "3");
}

#[tokio::test]
async fn two_stores_on_one_server_store_once() {
    let (database, first) = shared().await;
    let second = store(&database.url(), |options| options.database = database.name().to_owned());
    let events = mixed("e", 200);
    for some in events.chunks(20) {
        let batch = batch(&some[0].id, some);
        let (one, two) = tokio::join!(first.insert(&batch), second.insert(&batch));
        one.unwrap();
        two.unwrap();
    }
    verify(&first, &events).await.unwrap();
    verify_sessions(&first).await;
}
