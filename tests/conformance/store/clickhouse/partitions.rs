//! Tables with other partitions than ours: a block with too many of them is divided.

use bklit_adapters::clickhouse::ClickHouseStore;
use bklit_pipeline::store::{Store, StoreError};
use serde_json::json;

use super::{batch, hasty, own, process_until_done, store, verify, verify_sessions};
use crate::support::events::view;
use crate::support::redis::eventually;
use crate::support::servers::ClickHouse;

/// Page views of that many hours, not in order.
fn hourly(name: &str, hours: i64) -> Vec<bklit_wire::event::QueuedEvent> {
    let event = |n: i64| {
        let hour = n * 37 % hours;
        let (id, session) = (format!("{name}{n:04}"), format!("{name}s{n}"));
        view("p", &id, &session, hour * 3600, "/")
    };
    (0..2 * hours).map(event).collect()
}

/// A server of its own whose page views are partitioned by hour.
async fn with_hourly_partitions() -> (ClickHouse, ClickHouseStore) {
    let (server, store) = own(hasty).await;
    server.query("DROP TABLE analytics.page_view_event");
    for statement in store.migrate(true).await.unwrap() {
        server.query(&statement.replace("toYYYYMM(timestamp)", "toStartOfHour(timestamp)"));
    }
    (server, store)
}

#[tokio::test]
async fn a_batch_of_many_partitions_is_divided() {
    let database = ClickHouse::shared();
    let store = store(&database.url(), |options| options.database = database.name().to_owned());
    for statement in store.migrate(true).await.unwrap() {
        let hourly = statement
            .replace("toYYYYMM(timestamp)", "toStartOfHour(timestamp)")
            .replace("toYYYYMM(started_at)", "toStartOfHour(started_at)");
        database.query(&hourly);
    }
    // More than the server's limit of 100 within a month, for events and for sessions.
    let events = hourly("e", 250);
    assert_eq!(store.insert(&batch("b", &events)).await.unwrap().rows, 500);
    assert_eq!(store.insert(&batch("again", &events)).await.unwrap().rows, 0);
    verify(&store, &events).await.unwrap();
    verify_sessions(&store).await;
}

/// A part of a divided block is stored, and the response to another one is lost.
#[tokio::test]
async fn a_divided_batch_is_stored_once_after_a_failure() {
    let (server, store) = with_hourly_partitions().await;
    let events = hourly("e", 250);
    for kind in ["drop_after_commit", "error", "drop_before"] {
        let fault =
            json!({ "match": "INSERT INTO page_view_event", "kind": kind, "times": 1, "after": 4 });
        server.fault(fault);
        let _ = store.insert(&batch("b", &events)).await;
        server.heal();
    }
    store.insert(&batch("b", &events)).await.unwrap();
    verify(&store, &events).await.unwrap();
}

/// A part of a divided block has timed out, and is still to be inserted when the batch is repeated.
#[tokio::test]
async fn a_late_part_of_a_divided_batch_adds_nothing() {
    let (server, store) = with_hourly_partitions().await;
    let events = hourly("e", 250);
    let into = "INSERT INTO page_view_event";
    let slow = json!({ "match": into, "kind": "slow", "delay_ms": 4000, "times": 1, "after": 4 });
    server.fault(slow);
    assert!(store.insert(&batch("b", &events)).await.is_err());
    process_until_done(&store, &batch("b", &events)).await;
    verify(&store, &events).await.unwrap();
    let is_late =
        |logged: &serde_json::Value| logged["fault"] == "slow" && logged["outcome"] == "done";
    eventually("the late part is inserted", || async {
        server.log().iter().any(is_late).then_some(())
    })
    .await;
    verify(&store, &events).await.unwrap();
}

/// The same error code says that merges are behind; then dividing would make it worse.
#[tokio::test]
async fn a_table_with_too_many_parts_is_waited_for() {
    let (server, store) = own(hasty).await;
    server.fault(json!({ "match": "INSERT INTO page_view_event", "kind": "error" }));
    let error = store.insert(&batch("b", &hourly("e", 10))).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("merges"), "{error}");
    assert_eq!(server.faults()[0]["hits"], 1);
}

/// A single row cannot be divided.
#[tokio::test]
async fn a_row_that_is_too_many_partitions_is_not_divided_for_ever() {
    let (server, store) = own(hasty).await;
    let message = "Too many partitions for single INSERT block (more than 1). The limit is \
                   controlled by 'max_partitions_per_insert_block' setting. (TOO_MANY_PARTS)";
    server.fault(
        json!({ "match": "INSERT INTO page_view_event", "kind": "error", "message": message }),
    );
    let error = store.insert(&batch("b", &hourly("e", 2))).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("too fine a partition key"), "{error}");
    // Four rows, two, one.
    assert_eq!(server.faults()[0]["hits"], 3);
}
