//! Replicated tables behind a balancer. The engine of the tests cannot replicate, so two servers
//! stand for two replicas: one takes the inserts, and queries are forwarded to the other one, to
//! which the tests copy rows or not. Both say that their tables are replicated.

use bklit_adapters::clickhouse::ClickHouseStore;
use bklit_pipeline::store::{Store, StoreError};
use bklit_wire::event::{Payload, QueuedEvent};
use serde_json::json;

use super::{LIMITS, batch, hasty, store};
use crate::support::events::custom;
use crate::support::servers::ClickHouse;

/// Two replicas, of which the second one lags.
struct Replicas {
    first: ClickHouse,
    second: ClickHouse,
    store: ClickHouseStore,
}

const TABLE: &str = "analytics.tracked_event";

impl Replicas {
    /// Tables that are partitioned by day.
    async fn start() -> Self {
        let (first, second) = (ClickHouse::own(), ClickHouse::own());
        for server in [&first, &second] {
            let store = store(&server.url(), hasty);
            for statement in store.migrate(true).await.unwrap() {
                server.query(&statement.replace("toYYYYMM(timestamp)", "toYYYYMMDD(timestamp)"));
            }
        }
        let replicas = Self { store: store(&first.url(), hasty), first, second };
        replicas.balance();
        replicas
    }

    fn balance(&self) {
        self.first.fault(json!({
            "match": "FROM system.tables", "kind": "rewrite",
            "from": "engine, engine_full", "to": "'ReplicatedMergeTree' AS engine, engine_full",
        }));
        let second = self.second.url().replace("http://", "");
        self.first.fault(json!({
            "match": "AS event FROM tracked_event", "kind": "forward", "to": second,
        }));
    }

    /// Copies those rows to the second one that it does not have yet.
    fn copy(&self, condition: &str) {
        let columns = "id, timestamp, metadata, created_at, event_definition_id, project_id";
        let rows = self
            .first
            .query(&format!("SELECT {columns} FROM {TABLE} WHERE {condition} FORMAT Values"));
        if !rows.is_empty() {
            self.second.query(&format!("INSERT INTO {TABLE} ({columns}) VALUES {rows}"));
        }
    }

    async fn verify(&self, events: usize) {
        let counted = self
            .store
            .query("SELECT count(), uniqExact(id) FROM tracked_event", LIMITS)
            .await
            .unwrap();
        assert_eq!(counted.rows, [[json!(events), json!(events)]]);
    }
}

/// Events without sessions, on three days.
fn events(name: &str, n: i64) -> Vec<QueuedEvent> {
    let event = |n: i64| {
        let mut event = custom("p", &format!("{name}{n}"), "", n % 3 * 86_400 + n);
        let Payload::Event(custom) = &mut event.payload else { unreachable!() };
        custom.session_id = None;
        event
    };
    (0..n).map(event).collect()
}

#[tokio::test]
async fn a_replica_that_lags_causes_no_duplicates() {
    let replicas = Replicas::start().await;
    let events = events("e", 101);
    for _ in 0..3 {
        let inserted = replicas.store.insert(&batch("b", &events)).await.unwrap();
        assert_eq!(inserted.rows, 101, "the second one does not have the rows");
    }
    replicas.verify(101).await;
    replicas.copy("1");
    let again = replicas.store.insert(&batch("c", &events)).await.unwrap();
    assert_eq!(again.rows, 0, "by now it has them");
    replicas.verify(101).await;
}

/// The response is lost, and until the next attempt the replica gets only some of the partitions.
#[tokio::test]
async fn a_retry_on_a_replica_with_part_of_the_rows_causes_no_duplicates() {
    let replicas = Replicas::start().await;
    let mut all = 0;
    for kind in ["drop_after_commit", "error_after_commit", "hang_after_commit", "drop_before"] {
        let events = events(kind, 101);
        replicas.first.heal();
        replicas
            .first
            .fault(json!({ "match": "INSERT INTO tracked_event", "kind": kind, "times": 1 }));
        replicas.balance();
        let batch = batch(kind, &events);
        let error = replicas.store.insert(&batch).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{kind}: {error}");
        replicas.copy(&format!("startsWith(id, '{kind}') AND toYYYYMMDD(timestamp) = 20260131"));
        replicas.store.insert(&batch).await.unwrap();
        all += events.len();
        replicas.verify(all).await;
    }
}

/// Shows that these tests would detect duplicates: if the tables do not say that they are
/// replicated, rows that a query does not find count as lost.
#[tokio::test]
async fn without_replication_missing_rows_are_inserted_again() {
    let replicas = Replicas::start().await;
    let plain = store(&replicas.first.url(), hasty);
    replicas.first.heal();
    let second = replicas.second.url().replace("http://", "");
    replicas
        .first
        .fault(json!({ "match": "AS event FROM tracked_event", "kind": "forward", "to": second }));
    assert!(plain.insert(&batch("b", &events("e", 10))).await.is_err());
    let rows = format!("SELECT count() > uniqExact(id) FROM {TABLE}");
    assert_eq!(replicas.first.query(&rows), "1");
}

#[tokio::test]
async fn queries_that_decide_ask_for_consistency() {
    let replicas = Replicas::start().await;
    let consistent = json!({ "setting": "select_sequential_consistency", "kind": "slow" });
    replicas.first.heal();
    replicas.first.fault(json!({
        "match": "FROM system.tables", "kind": "rewrite",
        "from": "engine, engine_full", "to": "'SharedMergeTree' AS engine, engine_full",
    }));
    replicas.first.fault(consistent);
    replicas.store.insert(&batch("b", &events("e", 3))).await.unwrap();
    let hits = replicas.first.faults()[1]["hits"].as_u64().unwrap();
    // One for each month.
    assert_eq!(hits, 2);
}

/// A table on one server only would be missing on the others.
#[tokio::test]
async fn missing_tables_are_not_created_on_one_replica() {
    let replicas = Replicas::start().await;
    replicas.first.query("DROP TABLE analytics.tracked_session");
    let exists = || replicas.first.query("EXISTS analytics.tracked_session");
    let error = replicas.store.migrate(false).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    assert!(error.to_string().contains("migrate --cluster NAME"), "{error}");
    let behind = replicas.store.create_missing().await.unwrap();
    assert!(behind[0].starts_with("CREATE TABLE"), "{behind:?}");
    assert_eq!(exists(), "0");
    // ClickHouse Cloud creates tables on all servers.
    replicas.first.heal();
    replicas.first.fault(json!({
        "match": "FROM system.tables", "kind": "rewrite",
        "from": "engine, engine_full", "to": "'SharedMergeTree' AS engine, engine_full",
    }));
    replicas.store.migrate(false).await.unwrap();
    assert_eq!(exists(), "1");
}

#[tokio::test]
async fn replicas_that_are_behind_or_read_only_are_reported() {
    let server = ClickHouse::own();
    let store = store(&server.url(), |_| {});
    store.migrate(false).await.unwrap();
    server.fault(json!({
        "match": "FROM system.replicas", "kind": "rewrite", "from": "system.replicas",
        "to": "(SELECT 'analytics' AS database, 'page_view_event' AS table, 1::UInt8 AS is_readonly, \
               90::UInt64 AS absolute_delay, 3::UInt32 AS total_replicas, 2::UInt32 AS active_replicas)",
    }));
    let findings = store.check().await.unwrap();
    for what in ["page_view_event is read-only", "is 90 s behind", "2 of 3 replicas"] {
        let found = findings.iter().find(|found| found.what.contains(what));
        assert!(found.is_some_and(|found| !found.advice.is_empty()), "{what}: {findings:#?}");
    }
}
