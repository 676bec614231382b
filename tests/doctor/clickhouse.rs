//! Checks of ClickHouse as managed services and administrators set it up.

use serde_json::json;
use url::Url;

use super::{assert_found, assert_no_problems, cli};
use crate::support::servers::ClickHouse;
use crate::support::tls::{self, Handshake};

#[test]
fn a_sleeping_service_is_not_an_unavailable_one() {
    let mut server = ClickHouse::own();
    let cli = cli().env("CLICKHOUSE_HOST", &server.url());
    server.freeze();
    assert_found(
        &cli,
        "clickhouse",
        "problem",
        "it accepts connections, but did not answer within",
    );
    server.thaw();
    server.stop();
    assert_found(&cli, "clickhouse", "problem", "Connection refused");
}

/// What managed services have: https, often on port 8443, and a well-known certificate.
#[test]
fn a_server_behind_https_is_checked() {
    let database = ClickHouse::shared();
    let port = Url::parse(&database.url()).unwrap().port().unwrap();
    let proxy = tls::before(port, "server", Handshake::Immediate);
    let cli = cli()
        .env("CLICKHOUSE_HOST", &format!("https://localhost:{proxy}"))
        .env("CLICKHOUSE_DATABASE", database.name())
        .env("BKLIT_TLS_CA_FILE", tls::file("ca.pem").to_str().unwrap());
    cli.run(&["migrate"]).ok();
    assert_no_problems(&cli, "clickhouse");
}

#[test]
fn the_usual_port_of_managed_services_is_suggested() {
    let cli = cli().env("CLICKHOUSE_HOST", "https://127.0.0.1");
    let output = cli.run(&["doctor"]).stdout;
    assert!(output.contains("https://HOST:8443"), "{output}");
}

#[test]
fn a_table_that_the_user_cannot_see_may_exist() {
    let database = ClickHouse::shared();
    let cli =
        cli().env("CLICKHOUSE_HOST", &database.url()).env("CLICKHOUSE_DATABASE", database.name());
    let what = "page_view_event is missing or not visible to this user";
    assert_found(&cli, "clickhouse", "problem", what);
    let output = cli.run(&["doctor"]).stdout;
    assert!(output.contains("grant the user SELECT and INSERT"), "{output}");
}

#[test]
fn materialized_views_are_checked() {
    let server = ClickHouse::own();
    let cli = cli().env("CLICKHOUSE_HOST", &server.url());
    cli.run(&["migrate"]).ok();
    server.query("CREATE TABLE analytics.totals (path String) ENGINE = MergeTree ORDER BY path");
    server.query(
        "CREATE MATERIALIZED VIEW analytics.paths TO analytics.totals AS \
         SELECT url AS path FROM analytics.page_view_event",
    );
    assert_found(&cli, "clickhouse", "warning", "analytics.totals, which the materialized view");
    server.query(
        "ALTER TABLE analytics.totals MODIFY SETTING non_replicated_deduplication_window = 10000",
    );
    assert_no_problems(&cli, "clickhouse");
    server.fault(json!({
        "match": "FROM system.query_views_log", "kind": "rewrite", "from": "system.query_views_log",
        "to": "(SELECT 'analytics.paths' AS view_name, 6 AS exception_code, today() AS event_date, \
               now() AS event_time, 'cannot parse abc' AS exception FROM numbers(3))",
    }));
    assert_found(&cli, "clickhouse", "warning", "view analytics.paths failed 3 times within a day");
    server.query("DROP TABLE analytics.totals");
    assert_found(&cli, "clickhouse", "problem", "writes to analytics.totals, which does not exist");
}
