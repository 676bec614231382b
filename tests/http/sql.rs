//! `/api/sql`: queries of administrators, on both stores.

use std::thread;
use std::time::{Duration, Instant};

use bklit_pipeline::auth::Scope;
use bklit_wire::sql::{MAX_QUERY, MAX_QUERY_ID, MAX_ROWS};
use serde_json::{Value, json};

use super::client::{post, request};
use super::server::Server;
use crate::support::servers::{ClickHouse, Database};
use crate::support::{DEADLINE, Daemon, Response, eventually};

/// Runs until it is stopped.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                       SELECT count(*) FROM n";

const BUSY: &str = "2 queries are running";

fn run(daemon: &Daemon, query: &str) -> Response {
    send(daemon, "/api/sql", &json!({ "query": query }))
}

/// Without a token, as a program on the same machine.
fn send(daemon: &Daemon, path: &str, body: &Value) -> Response {
    let headers = [("Content-Type", "application/json")];
    let body = body.to_string();
    crate::support::request(daemon.addr, "POST", path, &headers, body.as_bytes()).unwrap()
}

fn error(response: &Response) -> String {
    response.json()["error"].as_str().unwrap_or_default().to_owned()
}

fn on_clickhouse(database: &Database) -> Daemon {
    Daemon::with_settings(&format!(
        "clickhouse_url = '{}'\nclickhouse_database = '{}'",
        database.url(),
        database.name()
    ))
}

/// Sends page views and waits until queries find them.
fn stored(daemon: &Daemon, count: usize) {
    for nth in 0..count {
        daemon.track(&format!("https://a.example/{nth}"));
    }
    eventually(DEADLINE, "they are stored", || {
        let found = run(daemon, "SELECT count(*) AS n FROM page_view_event");
        found.status == 200 && found.json()["rows"] == json!([[count]])
    });
}

fn answers(daemon: &Daemon, engine: &str, many: &str) {
    stored(daemon, 3);
    let found = run(daemon, "SELECT url, length(url) AS n FROM page_view_event ORDER BY url");
    let found = found.json();
    assert_eq!(found["columns"], json!(["url", "n"]));
    assert_eq!(found["rows"][0], json!(["https://a.example/0", 19]));
    assert_eq!((&found["truncated"], found["elapsedMs"].is_u64()), (&json!(false), true));
    let cut = run(daemon, many).json();
    assert_eq!(cut["rows"].as_array().unwrap().len(), MAX_ROWS);
    assert_eq!(cut["truncated"], json!(true));
    let schema = daemon.get("/api/sql/schema").json();
    assert_eq!(schema["engine"], engine);
    let tables = schema["tables"].as_array().unwrap().iter();
    let table = tables.into_iter().find(|table| table["name"] == "page_view_event").unwrap();
    assert_eq!(table["columns"][1]["name"], "url", "{table}");
}

fn refuses_everything_else(daemon: &Daemon, more: &[&str]) {
    let writes = [
        "INSERT INTO tracked_event SELECT * FROM tracked_event",
        "DELETE FROM page_view_event",
        "DROP TABLE page_view_event",
        "CREATE TABLE other (a TEXT)",
        "ALTER TABLE page_view_event ADD COLUMN a TEXT",
        "SELECT 1; DROP TABLE page_view_event",
        "SELECT 1; SELECT 2",
    ];
    for query in writes.iter().chain(more) {
        let refused = run(daemon, query);
        assert_eq!(refused.status, 400, "{query}: {}", refused.text());
        assert!(!error(&refused).is_empty(), "{query}");
    }
    for (query, part) in
        [("SELECT 1 FROM FROM", "FROM"), ("SELECT nothing FROM page_view_event", "nothing")]
    {
        let wrong = run(daemon, query);
        assert_eq!(wrong.status, 400, "{query}");
        assert!(error(&wrong).contains(part), "{query}: {}", error(&wrong));
    }
    // What a terminal would interpret arrives escaped.
    let hostile = run(daemon, "SELECT '\u{1b}[31m' FROM no_such_table");
    assert!(!hostile.text().contains('\u{1b}'), "{}", hostile.text());
    let count = run(daemon, "SELECT count(*) AS n FROM page_view_event").json();
    assert_eq!(count["rows"], json!([[3]]), "nothing was changed");
    // Errors of an administrator are not refused requests.
    assert_eq!(daemon.get("/api/refused").json()["total"], json!(0));
}

#[test]
fn a_query_reads_the_embedded_store() {
    let daemon = Daemon::start();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) \
                SELECT i FROM n";
    answers(&daemon, "sqlite", many);
    let file = daemon.scratch().join("other.db");
    let attach = format!("ATTACH DATABASE '{}' AS other", file.display());
    let vacuum = format!("VACUUM INTO '{}'", file.display());
    refuses_everything_else(
        &daemon,
        &[
            &attach,
            &vacuum,
            "PRAGMA query_only = 0",
            "PRAGMA journal_mode = DELETE",
            "SELECT load_extension('x')",
            "SELECT readfile('/etc/passwd')",
            "SELECT writefile('x', 'y')",
        ],
    );
    assert!(!file.exists());
}

#[test]
fn a_query_reads_clickhouse() {
    let database = ClickHouse::shared();
    let daemon = on_clickhouse(&database);
    answers(&daemon, "clickhouse", "SELECT number FROM numbers(1500)");
    let file = daemon.scratch().join("out.csv");
    let into_file =
        format!("INSERT INTO FUNCTION file('{}', 'CSV', 'a UInt8') SELECT 1", file.display());
    refuses_everything_else(
        &daemon,
        &[
            &into_file,
            "INSERT INTO FUNCTION url('http://127.0.0.1:9/', 'CSV', 'a UInt8') SELECT 1",
            "SELECT * FROM url('http://127.0.0.1:9/', 'CSV', 'a UInt8')",
            "SELECT * FROM file('/etc/passwd', 'LineAsString')",
            "SELECT 1 SETTINGS readonly = 0",
            "SELECT 1 SETTINGS max_execution_time = 0",
            "SYSTEM FLUSH LOGS",
            "SELECT 1 FORMAT CSV",
            &format!("SELECT 1 INTO OUTFILE '{}'", file.display()),
            &format!("SELECT 1 INTO OUTFILE '{}' AND STDOUT", file.display()),
        ],
    );
    assert!(!file.exists());
    let wide = |columns: usize| run(&daemon, &format!("SELECT {}", vec!["1"; columns].join(",")));
    assert_eq!(wide(1_000).json()["columns"].as_array().unwrap().len(), 1_000);
    let refused = wide(1_001);
    assert_eq!(refused.status, 400);
    assert!(error(&refused).contains("1001 columns"), "{}", refused.text());
}

/// The store itself ends a query, after its time limit or when it is stopped; until then, the
/// number of running queries is limited.
#[test]
fn queries_can_be_stopped_and_are_limited_in_number_and_time() {
    let daemon = Daemon::start();
    stored(&daemon, 1);
    let daemon = &daemon;
    // Repeated if the query that checks whether both are running took the slot.
    let endless = |id: &str| loop {
        let ended = send(daemon, "/api/sql", &json!({ "query": ENDLESS, "id": id }));
        if !error(&ended).contains(BUSY) {
            break ended;
        }
    };
    let stop = |id: &str| send(daemon, "/api/sql/stop", &json!({ "id": id })).json();
    thread::scope(|scope| {
        let began = Instant::now();
        let [one, two] = ["one", "two"].map(|id| scope.spawn(move || endless(id)));
        eventually(DEADLINE, "both are running", || run(daemon, "SELECT 1").status == 503);
        let busy = run(daemon, "SELECT 1");
        assert!(error(&busy).contains(BUSY), "{}", busy.text());
        assert!(busy.header("retry-after").is_some());
        assert_eq!(stop("three"), json!({ "stopped": false }));
        assert_eq!(stop("one"), json!({ "stopped": true }));
        let stopped = one.join().unwrap();
        assert_eq!((stopped.status, error(&stopped).as_str()), (503, "the query was stopped"));
        assert_eq!(run(daemon, "SELECT 1").status, 200, "its place is free");
        // The other one ends on its own.
        let late = two.join().unwrap();
        assert_eq!(late.status, 503);
        assert!(error(&late).contains("took longer than 10s"), "{}", late.text());
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    });
    assert_eq!(run(daemon, "SELECT 1").json()["rows"], json!([[1]]));
}

/// A stop may overtake its query, which then must not run.
#[test]
fn a_query_that_was_stopped_before_it_arrived_does_not_run() {
    let daemon = Daemon::start();
    let ask = |path: &str, body: &Value| send(&daemon, path, body);
    let query = json!({ "query": "SELECT 1", "id": "early" });
    assert_eq!(ask("/api/sql/stop", &json!({ "id": "early" })).json()["stopped"], false);
    let stopped = ask("/api/sql", &query);
    assert_eq!((stopped.status, error(&stopped).as_str()), (503, "the query was stopped"));
    assert_eq!(ask("/api/sql", &query).status, 200, "once");
}

#[test]
fn invalid_requests_say_what_is_valid() {
    let daemon = Daemon::with_settings("[http]\nmax_body_bytes = 1000000");
    for (path, body, field) in [
        ("/api/sql", json!({}), "body"),
        ("/api/sql", json!({ "query": 1 }), "body"),
        ("/api/sql", json!({ "query": "SELECT 1", "rows": 7 }), "body"),
        ("/api/sql", json!({ "query": " " }), "query"),
        ("/api/sql", json!({ "query": "SELECT 1 \0 FROM t" }), "query"),
        ("/api/sql", json!({ "query": "x".repeat(MAX_QUERY + 1) }), "query"),
        ("/api/sql", json!({ "query": "SELECT 1", "id": "" }), "id"),
        ("/api/sql/stop", json!({ "id": "x".repeat(MAX_QUERY_ID + 1) }), "id"),
        ("/api/sql/stop", json!({}), "body"),
    ] {
        let refused = send(&daemon, path, &body);
        assert_eq!(refused.status, 400, "{path} {}", refused.text());
        assert!(error(&refused).starts_with(field), "{path}: {}", error(&refused));
    }
}

#[tokio::test]
async fn only_administrators_query() {
    let server = Server::start().await;
    let (admin, _) = server.tokens.make(Scope::Admin, &[], |_| {}).await;
    let (limited, _) = server.tokens.make(Scope::Admin, &["p"], |_| {}).await;
    let elsewhere = ("Via", "1.1 proxy");
    let sends = |path: &str, headers: &[(&str, &str)]| {
        if path.contains("schema") {
            return request("GET", path, headers).into_bytes();
        }
        let body = if path.ends_with("stop") { r#"{"id":"a"}"# } else { r#"{"query":"SELECT 1"}"# };
        let length = body.len().to_string();
        let own = [("Content-Type", "application/json"), ("Content-Length", length.as_str())];
        (request("POST", path, &[&own, headers].concat()) + body).into_bytes()
    };
    for path in ["/api/sql", "/api/sql/stop", "/api/sql/schema"] {
        for token in [server.ingest.as_str(), &server.read, limited.expose(), "bk_live_"] {
            let bearer = format!("Bearer {token}");
            let answer = server.send(sends(path, &[("Authorization", &bearer)])).await;
            assert_eq!(answer.status, 401, "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        }
        for header in [elsewhere, ("Origin", "https://evil.example"), ("Host", "rebound.example")] {
            assert_eq!(server.send(sends(path, &[header])).await.status, 401, "{path} {header:?}");
        }
        // URLs end up in logs.
        let in_query = format!("{path}?token={}", admin.expose());
        assert_eq!(server.send(sends(&in_query, &[elsewhere])).await.status, 401, "{path}");
        // This server has no store.
        let bearer = format!("Bearer {}", admin.expose());
        let let_in = server.send(sends(path, &[elsewhere, ("Authorization", &bearer)])).await;
        let expected = if path.ends_with("stop") { 200 } else { 503 };
        assert_eq!(let_in.status, expected, "{path}");
        if expected == 503 {
            assert!(let_in.error().contains("without the role worker"), "{path}");
        }
    }
    let body = r#"{"query":"SELECT 1"}"#;
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(server.send(post("/api/sql", &form, body)).await.status, 415);
}
