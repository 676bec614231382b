//! Tables as people have them: with materialized views that fail, and columns that not every value
//! fits into.

use serde_json::json;

use super::{VIEWS, stored};
use crate::support::servers::ClickHouse;
use crate::support::{Cli, DEADLINE, Daemon, eventually};

#[test]
fn each_event_is_either_stored_or_failed() {
    let database = ClickHouse::shared();
    let settings = format!(
        "clickhouse_url = '{}'\nclickhouse_database = '{}'\n[worker]\nbatch_wait = '500ms'",
        database.url(),
        database.name()
    );
    let migrate = Cli::new()
        .env("CLICKHOUSE_HOST", &database.url())
        .env("CLICKHOUSE_DATABASE", database.name());
    migrate.run(&["migrate"]).ok();
    database.query("ALTER TABLE page_view_event MODIFY COLUMN url FixedString(30)");
    database.query("CREATE TABLE titles (title UInt8) ENGINE = MergeTree ORDER BY title");
    database.query(
        "CREATE MATERIALIZED VIEW as_numbers TO titles AS SELECT toUInt8(title) AS title \
         FROM page_view_event",
    );
    let daemon = Daemon::with_settings(&settings);
    let url = |n: usize| match n {
        7 => "https://a.example/longer-than-the-column-allows".to_owned(),
        _ => format!("https://a.example/{n}"),
    };
    for n in 0..20 {
        let title = if n == 3 { "abc".to_owned() } else { n.to_string() };
        let body = json!({ "url": url(n), "title": title, "projectId": "default" });
        assert_eq!(daemon.post("/track", &body).status, 200);
    }
    stored(&daemon, 19);
    eventually(DEADLINE, "nothing is waiting", || {
        let queue = daemon.queue();
        queue["waiting"] == 0 && queue["inFlight"] == 0
    });
    assert_eq!(daemon.queue()["failed"], 1, "{}", daemon.stderr());
    let failed = daemon.cli(&["queue", "list"]);
    assert!(failed.contains("is longer than 30 bytes"), "{failed}");
    assert_eq!(database.query(VIEWS), "19");
    assert_eq!(database.query("SELECT uniqExact(id) FROM page_view_event"), "19");
    let view = format!("view {}.as_numbers", database.name());
    let lines = daemon.stderr();
    assert!(lines.contains("Stored incompletely") && lines.contains(&view), "{lines}");
}
