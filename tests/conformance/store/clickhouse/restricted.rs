//! Users who may not change settings, or not write.

use bklit_adapters::clickhouse::ClickHouseStore;
use bklit_pipeline::store::Store;
use bklit_wire::diagnostic::{Diagnostic, Severity};
use serde_json::{Value, json};

use super::{LIMITS, batch, mixed, own, process_until_done, store, verify, verify_sessions};
use crate::support::servers::ClickHouse;

/// The settings that statements are sent with.
const SETTINGS: [&str; 15] = [
    "max_execution_time",
    "max_query_size",
    "select_sequential_consistency",
    "insert_deduplication_token",
    "insert_deduplicate",
    "async_insert",
    "max_insert_block_size",
    "min_insert_block_size_rows",
    "min_insert_block_size_bytes",
    "optimize_on_insert",
    "input_format_null_as_default",
    "max_result_rows",
    "result_overflow_mode",
    "cancel_http_readonly_queries_on_client_close",
    "output_format_json_quote_denormals",
];

/// Makes the server refuse a setting, as it does for a user whose profile fixes it.
fn fix(server: &ClickHouse, setting: &str) {
    let message =
        format!("Setting {setting} should not be changed. (SETTING_CONSTRAINT_VIOLATION)");
    server.fault(json!({ "setting": setting, "kind": "error", "code": 452, "message": message }));
}

/// The same with a bound, or for a user in read-only mode.
fn fix_otherwise(server: &ClickHouse, setting: &str, code: i32) {
    let message = match code {
        164 => format!("Cannot modify '{setting}' setting in readonly mode. (READONLY)"),
        115 => format!(
            "Setting {setting} is neither a builtin setting nor started with the prefix \
                        'SQL_' registered for user-defined settings. (UNKNOWN_SETTING)"
        ),
        _ => format!(
            "Setting {setting} shouldn't be greater than 10. (SETTING_CONSTRAINT_VIOLATION)"
        ),
    };
    server.fault(json!({ "setting": setting, "kind": "error", "code": code, "message": message }));
}

async fn findings(store: &ClickHouseStore) -> Vec<Diagnostic> {
    store.check().await.unwrap()
}

#[tokio::test]
async fn a_profile_that_fixes_settings_is_respected() {
    let server = ClickHouse::own();
    SETTINGS.iter().for_each(|setting| fix(&server, setting));
    let store = store(&server.url(), |_| {});
    store.migrate(false).await.unwrap();
    let events = mixed("e", 40);
    assert_eq!(process_until_done(&store, &batch("b", &events)).await, 1);
    store.insert(&batch("again", &events)).await.unwrap();
    verify(&store, &events).await.unwrap();
    verify_sessions(&store).await;
    // Each is sent once without success; those of queries once more, to find out which ones are
    // refused.
    let refused = server.faults().iter().map(|fault| fault["hits"].as_u64().unwrap()).max();
    assert_eq!(refused, Some(2), "{:#?}", server.faults());
    let findings = findings(&store).await;
    let found = |severity: Severity, what: &str| {
        findings.iter().any(|found| found.severity == severity && found.what.contains(what))
    };
    assert!(found(Severity::Warning, "setting insert_deduplication_token: an insert that"));
    assert!(found(Severity::Warning, "setting async_insert"), "{findings:#?}");
    assert!(found(Severity::Good, "setting max_execution_time; it is not needed"));
}

#[tokio::test]
async fn each_way_of_forbidding_a_setting_is_recognized() {
    let server = ClickHouse::own();
    let codes = [164, 115, 452];
    for (setting, code) in SETTINGS.iter().zip(codes.into_iter().cycle()) {
        fix_otherwise(&server, setting, code);
    }
    let store = store(&server.url(), |_| {});
    store.migrate(false).await.unwrap();
    let events = mixed("e", 20);
    assert_eq!(process_until_done(&store, &batch("b", &events)).await, 1);
    verify(&store, &events).await.unwrap();
}

/// A query must not write, so for a user who may write it is sent as read-only or not at all.
#[tokio::test]
async fn a_query_is_read_only_or_refused() {
    let (server, store) = own(|_| {}).await;
    fix(&server, "readonly");
    let error = store.query("SELECT 1", LIMITS).await.unwrap_err();
    assert!(error.to_string().contains("Setting readonly"), "{error}");
    server.heal();
    fix_otherwise(&server, "readonly", 164);
    assert_eq!(store.query("SELECT 1", LIMITS).await.unwrap().rows, [[json!(1)]]);
}

#[tokio::test]
async fn missing_permissions_are_named() {
    let (server, store) = own(|_| {}).await;
    let good = |found: &Diagnostic| found.severity == Severity::Good;
    assert!(findings(&store).await.iter().all(good));
    let denied = |what: &str, code: i32, message: &str| -> Value {
        json!({ "match": what, "kind": "error", "code": code, "message": message })
    };
    for (table, code, message) in [
        (
            "page_view_event",
            497,
            "bklit: Not enough privileges. To execute this query, it's \
          necessary to have the grant INSERT(id) ON analytics.page_view_event. (ACCESS_DENIED)",
        ),
        ("bklit_session_state", 164, "bklit: Cannot execute query in readonly mode. (READONLY)"),
    ] {
        server.fault(denied(&format!("INSERT INTO {table}"), code, message));
        let findings = findings(&store).await;
        let found = findings.iter().find(|found| found.what.contains(message)).unwrap();
        assert_eq!(found.severity, Severity::Problem);
        assert!(found.what.contains(&format!("may not read and insert into {table}")), "{found:?}");
        assert!(found.advice.contains("GRANT SELECT, INSERT ON analytics.*"), "{found:?}");
        server.heal();
    }
}
