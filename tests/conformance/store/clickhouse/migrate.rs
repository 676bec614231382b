//! Creating and upgrading the tables.

use bklit_adapters::clickhouse::ClickHouseStore;
use bklit_pipeline::store::{StoreError, schema};
use bklit_wire::diagnostic::Severity;
use serde_json::json;

use super::shared_sessions::THEIR_SESSIONS;
use super::{count, insert, rows, shared, store};
use crate::support::events::{full_view, view};
use crate::support::servers::{ClickHouse, Database};

/// A database without tables.
fn empty() -> (Database, ClickHouseStore) {
    let database = ClickHouse::shared();
    let store = store(&database.url(), |options| options.database = database.name().to_owned());
    (database, store)
}

fn tables(database: &Database) -> String {
    let name = database.name();
    database.query(&format!(
        "SELECT name, create_table_query FROM system.tables WHERE database = '{name}' ORDER BY 1"
    ))
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (database, store) = empty();
    let planned = store.migrate(true).await.unwrap();
    assert_eq!(planned.len(), 5);
    assert_eq!(tables(&database), "");
    assert_eq!(store.migrate(false).await.unwrap(), planned);
    assert_eq!(store.migrate(true).await.unwrap(), [""; 0]);
    let before = tables(&database);
    store.migrate(false).await.unwrap();
    assert_eq!(tables(&database), before);
}

#[tokio::test]
async fn a_server_without_the_database_gets_it() {
    let server = ClickHouse::own();
    let store = store(&server.url(), |options| options.database = "my-analytics".to_owned());
    let planned = store.migrate(true).await.unwrap();
    assert_eq!(planned[0], "CREATE DATABASE IF NOT EXISTS `my-analytics`");
    assert_eq!(server.query("SELECT count() FROM system.databases WHERE name LIKE 'my%'"), "0");
    store.migrate(false).await.unwrap();
    insert(&store, "b", &[full_view("p", "1")]).await;
    assert_eq!(server.query("SELECT count() FROM `my-analytics`.page_view_event"), "1");
}

#[tokio::test]
async fn the_tables_match_the_contract() {
    let (database, _store) = shared().await;
    let name = database.name();
    for table in schema::TABLES {
        let columns = database.query(&format!(
            "SELECT name || ' ' || type FROM system.columns WHERE database = '{name}' \
             AND table = '{}' ORDER BY position",
            table.name
        ));
        let expected: Vec<_> = table
            .columns
            .iter()
            .map(|column| {
                let kind = match column.kind {
                    schema::ColumnType::Text => "String",
                    schema::ColumnType::DateTime => "DateTime",
                    schema::ColumnType::Float64 => "Float64",
                    schema::ColumnType::Int32 => "Int32",
                    schema::ColumnType::Bool => "Bool",
                };
                let nullable = format!("Nullable({kind})");
                format!("{} {}", column.name, if column.nullable { &nullable } else { kind })
            })
            .collect();
        assert_eq!(columns.lines().collect::<Vec<_>>(), expected);
        let engine = database.query(&format!(
            "SELECT engine, partition_key, sorting_key FROM system.tables \
             WHERE database = '{name}' AND name = '{}'",
            table.name
        ));
        let moment = if table.name == "tracked_session" { "started_at" } else { "timestamp" };
        let order = table.order.join(", ");
        assert_eq!(engine, format!("MergeTree\ttoYYYYMM({moment})\t{order}"));
    }
}

/// The tables as Bklit's services create and extend them.
fn theirs(database: &Database) {
    database.query(
        "CREATE TABLE page_view_event (id String, url String, timestamp DateTime, \
         created_at DateTime DEFAULT now(), city Nullable(String), country Nullable(String), \
         country_code Nullable(String), ip Nullable(String), isp Nullable(String), \
         lat Nullable(Float64), lon Nullable(Float64), mobile Nullable(Bool), \
         region Nullable(String), region_name Nullable(String), timezone Nullable(String), \
         zip Nullable(String), user_agent Nullable(String), session_id Nullable(String), \
         project_id String, referrer Nullable(String), utm_campaign Nullable(String), \
         utm_content Nullable(String), utm_medium Nullable(String), utm_source Nullable(String), \
         utm_term Nullable(String)) ENGINE = MergeTree() PARTITION BY toYYYYMM(timestamp) \
         ORDER BY (project_id, timestamp, id) SETTINGS index_granularity = 8192",
    );
    database.query(
        "ALTER TABLE page_view_event ADD COLUMN is_new_visitor Bool DEFAULT false, \
         ADD COLUMN title Nullable(String), ADD COLUMN landing_page Nullable(String)",
    );
    database.query(
        "CREATE TABLE tracked_event (id String, timestamp DateTime, metadata Nullable(String), \
         created_at DateTime DEFAULT now(), event_definition_id String, project_id String, \
         session_id Nullable(String)) ENGINE = MergeTree() PARTITION BY toYYYYMM(timestamp) \
         ORDER BY (project_id, event_definition_id, timestamp, id)",
    );
    database.query(THEIR_SESSIONS);
}

/// The columns of the shared tables: name, type and default, by name.
fn columns(database: &Database) -> String {
    let name = database.name();
    database.query(&format!(
        "SELECT table, name, type, default_kind, default_expression FROM system.columns \
         WHERE database = '{name}' AND table IN ('page_view_event', 'tracked_event', \
         'tracked_session') ORDER BY 1, 2"
    ))
}

#[tokio::test]
async fn new_tables_have_the_columns_of_bklits() {
    let (original, upgrading) = empty();
    theirs(&original);
    let planned = upgrading.migrate(false).await.unwrap();
    assert!(planned.iter().all(|sql| !sql.contains("MODIFY COLUMN")), "{planned:#?}");
    let (new, creating) = empty();
    creating.migrate(false).await.unwrap();
    assert_eq!(columns(&new), columns(&original));
    assert!(columns(&new).contains("updated_at\tDateTime\tDEFAULT\tnow()"));
}

/// Tables created by an early version, with rows.
fn old(database: &Database) {
    database.query(
        "CREATE TABLE page_view_event (id String, url String, timestamp DateTime('UTC'), \
         created_at DateTime, session_id LowCardinality(Nullable(String)), project_id String, \
         title String, country LowCardinality(String), mobile Nullable(UInt8), extra UInt8 DEFAULT 7) \
         ENGINE = MergeTree PARTITION BY toYYYYMM(timestamp) ORDER BY (project_id, timestamp, id)",
    );
    database.query(
        "CREATE TABLE tracked_session (id String, session_id String, started_at DateTime, \
         ended_at Nullable(DateTime), duration Nullable(Int32), did_bounce Bool, \
         visitor_id Nullable(String), entry_page String, exit_page String, \
         user_agent Nullable(String), country Nullable(String), country_code Nullable(String), \
         city Nullable(String), project_id String, updated_at DateTime) ENGINE = MergeTree \
         ORDER BY (project_id, started_at, session_id) \
         SETTINGS non_replicated_deduplication_window = 100",
    );
    database.query(
        "INSERT INTO page_view_event (id, url, timestamp, created_at, session_id, project_id) \
         VALUES ('old', '/old', '2026-01-31 12:00:00', '2026-01-31 12:00:00', 's', 'p')",
    );
}

#[tokio::test]
async fn existing_tables_are_upgraded_and_keep_their_rows() {
    let (database, store) = empty();
    old(&database);
    let before = tables(&database);
    let planned = store.migrate(true).await.unwrap();
    assert_eq!(tables(&database), before);
    let adds = planned.iter().filter(|sql| sql.contains("ADD COLUMN IF NOT EXISTS")).count();
    // The old table has nine of the contract's columns.
    assert_eq!(adds, schema::PAGE_VIEW_EVENT.columns.len() - 9);
    let windows = planned
        .iter()
        .filter(|sql| sql.contains("MODIFY SETTING non_replicated_deduplication_window = 10000"));
    assert_eq!(windows.count(), 2);
    let default = |table: &str, column: &str, value: &str| {
        let start = format!("{table} MODIFY COLUMN {column} ");
        let end = format!(" DEFAULT {value}");
        planned.iter().any(|sql| sql.contains(&start) && sql.ends_with(&end))
    };
    assert!(default("page_view_event", "created_at", "now()"), "{planned:#?}");
    assert!(default("tracked_session", "updated_at", "now()"), "{planned:#?}");
    assert!(default("tracked_session", "did_bounce", "false"), "{planned:#?}");
    assert!(planned.iter().any(|sql| sql.contains(" is_new_visitor Bool DEFAULT false")));

    store.migrate(false).await.unwrap();
    assert_eq!(store.migrate(true).await.unwrap(), [""; 0]);
    insert(&store, "b", &[full_view("p", "new"), view("p", "bare", "s", 0, "/")]).await;
    let sql =
        "SELECT id, title, country, mobile, is_new_visitor, extra FROM page_view_event ORDER BY id";
    let found = rows(&store, sql).await;
    assert_eq!(found[0], [json!("bare"), json!(""), json!(""), json!(null), json!(0), json!(7)]);
    assert_eq!(found[1][3..], [json!(1), json!(1), json!(7)]);
    assert!(found[1][2].as_str().unwrap().starts_with("country ∞"), "{:?}", found[1]);
    assert_eq!(found[2][0], "old");
    // Repeats of events that the former system stored are recognised.
    insert(&store, "c", &[view("p", "old", "s", 0, "/old")]).await;
    assert_eq!(count(&store, "page_view_event").await, 3);
}

#[tokio::test]
async fn a_table_with_another_engine_is_not_changed() {
    let (database, store) = empty();
    database.query("CREATE TABLE tracked_event (id String) ENGINE = Memory");
    let before = tables(&database);
    let error = store.migrate(false).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    assert!(error.to_string().contains("tracked_event is a Memory"), "{error}");
    assert_eq!(tables(&database), before);
}

#[tokio::test]
async fn the_check_reports_risks_of_loss_and_duplicates() {
    let (database, store) = empty();
    old(&database);
    let findings = store.check().await.unwrap();
    let has = |severity: Severity, what: &str| {
        findings.iter().any(|finding| finding.severity == severity && finding.what.contains(what))
    };
    assert!(has(Severity::Good, "ClickHouse 2"), "{findings:#?}");
    assert!(has(Severity::Good, "its clock agrees"), "{findings:#?}");
    assert!(has(Severity::Problem, "tracked_event is missing"), "{findings:#?}");
    assert!(has(Severity::Problem, "page_view_event has no column gclid"), "{findings:#?}");
    assert!(has(Severity::Problem, "page_view_event remembers no insert tokens"), "{findings:#?}");
    assert!(has(Severity::Warning, "tracked_session remembers only 100"), "{findings:#?}");
    let bad = findings.iter().filter(|finding| finding.severity > Severity::Good);
    assert!(bad.clone().all(|finding| finding.advice.contains("migrate")), "{findings:#?}");

    store.migrate(false).await.unwrap();
    let findings = store.check().await.unwrap();
    assert!(findings.iter().all(|finding| finding.severity == Severity::Good), "{findings:#?}");
}
