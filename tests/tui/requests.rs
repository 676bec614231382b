//! The queue's and the live view of the real program: in its own process, and over HTTP.

use serde_json::json;

use crate::cli::queue::with_failed;
use crate::support::pty::Pty;
use crate::support::{Cli, DEADLINE, Daemon, eventually, request};

use super::terminal::{PROGRAM, Program, command};

pub(super) const STORED: &str = "SELECT count() AS n FROM page_view_event";

fn stored(cli: &Cli) -> String {
    cli.run(&["sql", "--json", STORED]).ok()
}

/// Five failed events, `b1` the newest, one of which is retried and then stored.
#[test]
fn a_failed_event_is_inspected_retried_and_shown_as_stored() {
    let dir = tempfile::tempdir().unwrap();
    with_failed(dir.path());
    let mut program = Program::start_in(dir, &[], (100, 30));
    let cli = Cli::on(program.dir.path());
    let pty = &mut program.pty;
    pty.send("d");
    pty.wait_for_text("5 failed");
    // Escaped, not interpreted.
    pty.wait_for_text("Column `x` is missing\\u{1b}[31m");
    pty.send("\r");
    pty.wait_for_text("\"url\": \"https://example.com/b1\"");
    pty.wait_for_text("too large");
    pty.send("r");
    pty.wait_for_text("1 event put back");
    pty.send("t");
    pty.wait_for_text("trace of b1");
    pty.wait_for("it on its way to the store", |screen| {
        let contents = screen.contents();
        ["worker", "sqlite"].iter().all(|stage| contents.contains(stage))
    });
    eventually(DEADLINE, "b1 is stored", || stored(&cli).contains("\"n\":1"));
    pty.send("\x1b");
    // A lone ESC is distinguished from the beginning of a sequence by the time after it.
    pty.wait_for_text("failed event");
    pty.send("q");
    pty.wait_for_text("4 failed");
    pty.wait_for("without it", |screen| !screen.contents().contains(" b1 "));
    // Those of one reason, with a typed confirmation.
    pty.send("/large\r");
    pty.wait_for_text("with “large”");
    pty.send("D2\r");
    pty.wait_for_text("Nothing done: type 1 or delete");
    pty.send("\x15delete\r");
    pty.wait_for_text("1 event deleted");
    pty.wait_for_text("3 failed");
    let file = program.dir.path().join("out.jsonl");
    program.pty.send(&format!("\x1b[6~/\x15missing\rX\x15{}\r", file.display()));
    program.pty.wait_for_text("3 events written to");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    program.pty.send("qqq");
    program.pty.send("\x03");
    program.assert_quit();
}

/// A refused event is found, explained and traced to its visitor: in the same process, and over
/// HTTP.
#[test]
fn a_refused_event_is_a_problem_and_belongs_to_its_session() {
    let daemon = Daemon::start();
    let token = format!("Bearer {}", daemon.token());
    let post = |body: &str| {
        let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
        request(daemon.addr, "POST", "/track", &headers, body.as_bytes()).unwrap().status
    };
    let view = r#"{"url":"https://shop.example/","sessionId":"visit-7","projectId":"default"}"#;
    assert_eq!(post(view), 200);
    for title in ["one", "two"] {
        let bad = format!(r#"{{"title":"{title}","sessionId":"visit-7","projectId":"default"}}"#);
        assert_eq!(post(&bad), 400);
    }
    eventually(DEADLINE, "the page view is stored", || daemon.scalar(STORED) == 1);
    let (mut pty, _dir) = attach(&daemon, &[]);
    pty.wait_for_text("Request refused");
    pty.send("P");
    pty.wait_for("the group", |screen| {
        let contents = screen.contents();
        contents.contains("url: missing") && contents.contains("problems · last 10 min")
    });
    pty.send("\r");
    pty.wait_for_text("2 lines");
    pty.send("b");
    pty.wait_for("the session", |screen| {
        let contents = screen.contents();
        ["session visit-7", "1 stored", "2 refused", "https://shop.example/"]
            .iter()
            .all(|part| contents.contains(part))
    });
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

/// A console shows what happened before it was opened.
#[test]
fn earlier_lines_are_shown_at_the_start() {
    let daemon = Daemon::start();
    let id = daemon.track("https://example.com/before");
    eventually(DEADLINE, "the page view is stored", || daemon.scalar(STORED) == 1);
    let (mut pty, _dir) = attach(&daemon, &[]);
    pty.wait_for_text("example.com/bef");
    pty.send(&format!("&id:{id}\rgt"));
    pty.wait_for("the trace", |screen| {
        let contents = screen.contents();
        ["trace of", "ingestion", "queue", "worker"].iter().all(|part| contents.contains(part))
    });
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

pub fn attach(daemon: &Daemon, arguments: &[&str]) -> (Pty, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(PROGRAM, dir.path());
    command.args(["attach", &daemon.url(""), "--data-dir", dir.path().to_str().unwrap()]);
    command.args(arguments);
    let pty = Pty::spawn(command, (100, 30));
    pty.wait_for_text(&daemon.addr.to_string());
    (pty, dir)
}

fn token(daemon: &Daemon, scope: &str) -> String {
    let made = daemon.cli(&["token", "create", "--project", "*", "--scope", scope, "--quiet"]);
    made.trim().to_owned()
}

#[test]
fn over_http_an_admin_repairs_and_a_reader_is_refused() {
    let daemon = Daemon::start();
    with_failed(&daemon.data_dir());
    let (mut pty, _dir) = attach(&daemon, &["--token", &token(&daemon, "read")]);
    pty.send("d");
    pty.wait_for_text("5 failed");
    pty.send("r");
    pty.wait_for_text("cannot retry: refused");
    pty.wait_for_text("5 failed");
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));

    let admin = token(&daemon, "admin");
    let (mut pty, _dir) = attach(&daemon, &["--token", &admin, "--read-only"]);
    pty.wait_for_text("READ-ONLY");
    pty.send("d");
    pty.wait_for_text("5 failed");
    pty.send("R");
    pty.wait_for_text("read-only: start without --read-only");
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));

    let (mut pty, _dir) = attach(&daemon, &["--token", &admin]);
    pty.send("d");
    pty.wait_for_text("5 failed");
    pty.send("R5\r");
    pty.wait_for_text("5 events put back");
    pty.wait_for_text("Nothing failed.");
    eventually(DEADLINE, "all are stored", || daemon.scalar(STORED) == 5);
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
    pty.assert_restored();
}

/// An id from a ticket: its lines from before the console was opened, and where the event is.
#[test]
fn an_event_is_traced_by_its_id_over_http() {
    let daemon = Daemon::start();
    with_failed(&daemon.data_dir());
    let id = daemon.track("https://example.com/ticket");
    eventually(DEADLINE, "it is stored", || daemon.scalar(STORED) == 1);
    let (mut pty, _dir) = attach(&daemon, &["--token", &token(&daemon, "read")]);
    pty.wait_for_text("Batch stored");
    // Lines received as history are dropped, so that they come from the request.
    pty.send(&format!("C:trace \"{id}\"\r"));
    pty.wait_for_text(&format!("trace of {id}"));
    pty.wait_for_text("stored in page_view_event, accepted");
    pty.wait_for_text("Event received");
    pty.wait_for_text("Page view stored");
    pty.send("\x1b");
    pty.wait_for_text("0 lines");
    pty.send(":trace s1\r");
    pty.wait_for_text("failed since");
    pty.wait_for_text("Column `x` is missing\\u{1b}[31m");
    pty.send("\x1b");
    pty.send(":trace s1234\r");
    pty.wait_for_text("not found: neither stored nor in the queue");
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

/// The last answer stays, with its age and why there is nothing newer; keys keep working.
#[test]
fn a_hanging_daemon_leaves_the_last_answer_and_the_keys() {
    let daemon = Daemon::start();
    with_failed(&daemon.data_dir());
    let (mut pty, _dir) = attach(&daemon, &[]);
    pty.send("d");
    pty.wait_for_text("5 failed");
    daemon.signal(rustix::process::Signal::STOP);
    pty.wait_for_text("no answer within 6 s");
    pty.wait_for_text(" old");
    pty.send("\r");
    pty.wait_for_text("example.com/b1");
    daemon.signal(rustix::process::Signal::CONT);
    pty.send("q");
    pty.wait_for_text("5 failed");
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

/// An unavailable store does not affect anything else.
#[test]
fn without_its_store_the_rest_of_the_console_works() {
    let daemon = Daemon::with_settings("clickhouse_url = \"http://127.0.0.1:9\"");
    with_failed(&daemon.data_dir());
    let (mut pty, _dir) = attach(&daemon, &[]);
    pty.send("v");
    pty.wait_for_text("Unavailable: the store is unavailable");
    pty.send("d");
    pty.wait_for_text("5 failed");
    pty.send("r");
    pty.wait_for_text("1 event put back");
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

#[test]
fn visitors_are_shown_and_served_to_readers() {
    let daemon = Daemon::start();
    let view = json!({
        "url": "https://example.com/pricing", "projectId": "default", "sessionId": "s",
    });
    assert_eq!(daemon.post("/track", &view).status, 200);
    let (mut pty, _dir) = attach(&daemon, &[]);
    pty.send("v");
    pty.wait_for_text("1 visitor in the last 5 min");
    pty.wait_for_text("https://example.com/pricing");
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
    let view = daemon.get("/api/live").json();
    assert_eq!(view["projects"][0]["projectId"], "default");
    assert_eq!(view["topPages"][0]["views"], 1);
    let refused = crate::support::request(
        daemon.addr,
        "GET",
        "/api/live",
        &[("X-Forwarded-For", "192.0.2.1")],
        b"",
    );
    assert_eq!(refused.unwrap().status, 401);
}
