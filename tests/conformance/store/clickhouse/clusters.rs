//! `migrate --cluster`. The engine of the tests has no clusters, so it only parses the statements.

use bklit_pipeline::store::StoreError;
use serde_json::json;

use super::store;
use crate::support::servers::ClickHouse;

/// A server that knows clusters of one and of two shards.
fn server() -> ClickHouse {
    let server = ClickHouse::own();
    server.fault(json!({
        "match": "FROM system.clusters", "kind": "rewrite", "from": "system.clusters",
        "to": "(SELECT 'one' AS cluster, 1 AS shard_num UNION ALL SELECT 'two', 1 UNION ALL \
               SELECT 'two', 2)",
    }));
    server
}

#[tokio::test]
async fn the_statements_for_a_cluster_are_valid() {
    let server = server();
    let store = store(&server.url(), |options| options.database = "my-db".to_owned());
    let plain = store.migrate(true).await.unwrap().len();
    let one = store.migrate_cluster("one", true).await.unwrap();
    assert_eq!(one.len(), plain);
    let two = store.migrate_cluster("two", true).await.unwrap();
    // Two statements for each table, one for the database.
    assert_eq!(two.len(), 2 * plain - 1);
    for statement in one.iter().chain(&two) {
        assert!(server.query(&format!("EXPLAIN AST {statement}")).contains("CreateQuery"));
        assert!(statement.contains(" ON CLUSTER "), "{statement}");
        let replicated = statement.contains("MergeTree");
        assert_eq!(replicated, statement.contains("Replicated"), "{statement}");
        assert!(!statement.contains("non_replicated"), "{statement}");
    }
    insta::assert_snapshot!("migrate_cluster", two.join(";\n"));
}

#[tokio::test]
async fn an_unknown_cluster_is_refused() {
    let server = server();
    let store = store(&server.url(), |_| {});
    let error = store.migrate_cluster("three", false).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    assert!(error.to_string().contains("unknown cluster three (one, two)"), "{error}");
    server.heal();
    let error = store.migrate_cluster("one", false).await.unwrap_err();
    assert!(error.to_string().contains("unknown cluster one (none)"), "{error}");
}
