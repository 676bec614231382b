//! Queries on the store in the real program, on both stores.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bklit_wire::sql::TIME_LIMIT;
use serde_json::json;

use super::requests::attach;
use super::terminal::Program;
use crate::support::pty::Pty;
use crate::support::servers::ClickHouse;
use crate::support::{DEADLINE, Daemon, eventually, request};

/// Runs until it is stopped.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                       SELECT i FROM n WHERE i < 0";

/// A query in a console, with completion, and its result.
fn queries(pty: &mut Pty, engine: &str) {
    pty.send("B");
    pty.wait_for_text(&format!("sql {engine}"));
    pty.send("SELECT ur\t, count(*) AS n FROM page_v\t GROUP BY url\r");
    pty.wait_for("the result", |screen| {
        let contents = screen.contents();
        ["1 row in", "https://example.com/pricing"].iter().all(|part| contents.contains(part))
    });
    pty.send("\r");
    pty.wait_for_text("row 1 of 1");
    pty.send("\x1b");
    pty.wait_for_text("1 row in");
    pty.send(":sql DROP TABLE page_view_event\r");
    pty.wait_for_text(if engine == "sqlite" { "only one SELECT" } else { "readonly mode" });
    pty.send("\x15pages\r");
    pty.wait_for("the saved query", |screen| {
        let contents = screen.contents();
        contents.contains("1 row in") && contents.contains("sessions")
    });
}

#[test]
fn the_embedded_store_is_queried_exported_and_remembered() {
    let mut program = Program::start();
    program.track("queried");
    program.pty.wait_for_text("Batch stored");
    queries(&mut program.pty, "sqlite");
    let file = program.dir.path().join("out.csv");
    program.pty.send(&format!("X\x15{}\r", file.display()));
    program.pty.wait_for_text("exported 1 row to");
    let csv = std::fs::read_to_string(&file).unwrap();
    assert!(csv.starts_with("project_id,url,views,sessions\r\ndefault,https://"), "{csv}");
    let saved = program.dir.path().join("console-history.json");
    eventually(DEADLINE, "the history is saved", || {
        std::fs::read_to_string(&saved).is_ok_and(|text| text.contains("GROUP BY url"))
    });
    program.pty.send(&format!(":sql {ENDLESS}\r"));
    program.pty.wait_for_text("stops it");
    program.pty.send("\x03");
    program.pty.wait_for_text("query stopped");
    program.pty.send(":q\r");
    program.assert_quit();
}

#[test]
fn clickhouse_is_queried_over_http_by_administrators() {
    let database = ClickHouse::shared();
    let daemon = Daemon::with_settings(&format!(
        "clickhouse_url = '{}'\nclickhouse_database = '{}'",
        database.url(),
        database.name()
    ));
    daemon.track("https://example.com/pricing");
    let count = || daemon.run(&["sql", "--json", "SELECT count() AS n FROM page_view_event"]);
    eventually(DEADLINE, "it is stored", || count().stdout.contains("\"n\":1"));
    let token = |scope: &str| {
        let made = ["token", "create", "--project", "*", "--scope", scope, "--quiet"];
        daemon.cli(&made).trim().to_owned()
    };
    let (mut pty, _dir) = attach(&daemon, &["--token", &token("admin")]);
    queries(&mut pty, "clickhouse");
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
    let (mut pty, _dir) = attach(&daemon, &["--token", &token("read")]);
    pty.send(":sql SELECT 1\r");
    pty.wait_for_text("refused: ");
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

/// The limit on queries applies to the process, not to each entry point.
#[test]
fn the_console_and_http_share_the_slots() {
    let mut program = Program::start();
    let address = program.file("listen.addr").parse().unwrap();
    let ask = |path: &str, body: serde_json::Value| {
        let headers = [("Content-Type", "application/json")];
        request(address, "POST", path, &headers, body.to_string().as_bytes()).unwrap()
    };
    let (refused, start) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        // Both slots are taken over HTTP, again if a query of the console was first or the time
        // limit ended one.
        let endless = ["one", "two"].map(|id| {
            let (ask, refused) = (&ask, &refused);
            scope.spawn(move || {
                while !refused.load(Ordering::Relaxed) && start.elapsed() < DEADLINE {
                    ask("/api/sql", json!({ "query": ENDLESS, "id": id }));
                }
            })
        });
        let mut number = 7000;
        eventually(DEADLINE, "the console is refused", || {
            number += 1;
            program.pty.send(&format!(":sql SELECT {number} - 1000 AS answer\r"));
            let answer = (number - 1000).to_string();
            program.pty.wait_for("an answer", |screen| {
                let contents = screen.contents();
                refused.store(contents.contains("2 queries are running"), Ordering::Relaxed);
                refused.load(Ordering::Relaxed) || contents.contains(&answer)
            });
            refused.load(Ordering::Relaxed)
        });
        eventually(DEADLINE, "the queries are stopped", || {
            ask("/api/sql/stop", json!({ "id": "one" }));
            ask("/api/sql/stop", json!({ "id": "two" }));
            endless.iter().all(|thread| thread.is_finished())
        });
    });
    program.pty.send("\x1b:q\r");
    program.assert_quit();
}

/// A query is stopped before the next one is sent: there is always a slot for the only user.
#[test]
fn queries_in_quick_succession_over_http_replace_each_other() {
    let daemon = Daemon::start();
    let (mut pty, _dir) = attach(&daemon, &[]);
    for round in 0..5 {
        let endless = format!(":sql {ENDLESS}\r").repeat(3);
        pty.send(&format!("{endless}:sql SELECT 7000 + {round} AS answer\r"));
        pty.wait_for_text(&(7000 + round).to_string());
    }
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

/// The daemon stops queries that the console has stopped, so that there is a slot for the next
/// ones.
#[test]
fn a_query_is_stopped_over_http() {
    let daemon = Daemon::start();
    let (mut pty, _dir) = attach(&daemon, &[]);
    for _ in 0..3 {
        let began = Instant::now();
        pty.send(&format!(":sql {ENDLESS}\r"));
        pty.wait_for_text("stops it");
        pty.send("\x1b");
        pty.wait_for_text("query stopped");
        // Sent by a task of its own.
        eventually(DEADLINE, "the daemon has stopped it", || {
            let body = json!({ "query": "SELECT 1" }).to_string();
            let headers = [("Content-Type", "application/json")];
            let both = std::thread::scope(|scope| {
                let ask = || request(daemon.addr, "POST", "/api/sql", &headers, body.as_bytes());
                let [one, two] = [scope.spawn(ask), scope.spawn(ask)];
                [one.join().unwrap().unwrap().status, two.join().unwrap().unwrap().status]
            });
            both == [200, 200]
        });
        assert!(began.elapsed() < TIME_LIMIT, "it ended by itself");
    }
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}
