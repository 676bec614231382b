//! `logs --follow` on a running daemon.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout};

use bklit_wire::debug_log::Stage;
use serde_json::Value;

use crate::support::{Cli, DEADLINE, Daemon, eventually};

/// A running `logs --follow`; killed when it is dropped.
struct Follower {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
    _cli: Cli,
}

impl Follower {
    fn start(daemon: &Daemon, arguments: &[&str]) -> Self {
        let cli = Cli::on(&daemon.data_dir());
        let url = daemon.url("");
        let arguments = [&["logs", &url, "--follow"], arguments].concat();
        let mut child = cli.command(&arguments).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines: Some(lines), _cli: cli }
    }

    /// The first line with `part`. Sends page views until it arrives, because the follower only
    /// receives lines from after it has connected.
    #[track_caller]
    fn line_with(&mut self, daemon: &Daemon, part: &str) -> String {
        std::thread::scope(|scope| {
            let (found, stop) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                let pause = std::time::Duration::from_millis(50);
                let start = std::time::Instant::now();
                while stop.recv_timeout(pause).is_err() && start.elapsed() < DEADLINE {
                    daemon.track("https://a.example/watched");
                }
            });
            let lines = self.lines.as_mut().unwrap();
            let line = lines.map_while(Result::ok).find(|line| line.contains(part));
            let _ = found.send(());
            line.unwrap_or_else(|| panic!("no line with {part}"))
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn prints_lines_as_they_arrive_and_ends_when_the_reader_does() {
    let daemon = Daemon::start();
    let mut follower = Follower::start(&daemon, &[]);
    let line = follower.line_with(&daemon, "evt_");
    assert!(!line.contains('\x1b'), "colours in a pipe: {line:?}");
    assert!(Stage::ALL.iter().any(|stage| line.contains(stage.as_str())), "{line}");
    // As when `head` closes the pipe.
    follower.lines = None;
    eventually(DEADLINE, "it ends once the pipe is closed", || {
        daemon.track("https://a.example/unseen");
        follower.child.try_wait().unwrap().is_some()
    });
    assert!(follower.child.wait().unwrap().success());
}

#[test]
fn filters_by_stage_and_text_and_prints_json() {
    let daemon = Daemon::start();
    let mut follower = Follower::start(&daemon, &["--json", "--stage", "worker,queue"]);
    follower.line_with(&daemon, "\"worker\"");
    for _ in 0..10 {
        daemon.track("https://a.example/watched");
        let line = follower.lines.as_mut().unwrap().next().unwrap().unwrap();
        let log: Value = serde_json::from_str(&line).unwrap();
        assert!(log["stage"] == "worker" || log["stage"] == "queue", "{line}");
    }
    let mut follower = Follower::start(&daemon, &["--json", "--grep", "evt_[0-9a-f]{8}"]);
    let line = follower.line_with(&daemon, "eventId");
    assert!(serde_json::from_str::<Value>(&line).unwrap()["eventId"].is_string(), "{line}");
}

#[test]
fn errors_name_the_value() {
    let cli = Cli::new();
    for (arguments, part) in [
        (&["logs", "--follow", "--stage", "nap"][..], "nap"),
        (&["logs", "--history", "some"], "some"),
        (&["logs", "--follow", "--level", "loud"], "loud"),
        (&["logs", "--follow", "--grep", "("], "("),
    ] {
        let error = cli.run(arguments).failed();
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
}

/// A daemon played by the test: answers the next request with `events`.
fn answer(server: &TcpListener, events: &str) -> TcpStream {
    let (mut connection, _) = server.accept().unwrap();
    let head = BufReader::new(&connection).lines().map(Result::unwrap);
    assert!(head.take_while(|line| !line.is_empty()).count() > 1);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    connection.write_all((head.to_owned() + events).as_bytes()).unwrap();
    connection
}

fn event(message: &str) -> String {
    let log = serde_json::json!({
        "timestamp": "2026-01-31T12:00:00.000Z", "stage": "queue", "level": "warn",
        "message": message, "data": {"k": "v"}, "future": true,
    });
    format!("data: {log}\n\n")
}

#[test]
fn losses_are_reported_on_stderr_and_clients_text_is_escaped() {
    for json in [false, true] {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let cli = Cli::new().env("TZ", "UTC");
        let mut arguments = vec!["logs", "--follow", url.as_str()];
        arguments.extend(json.then_some("--json"));
        let mut child = cli.command(&arguments).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut err = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let lost = "event: lost\ndata: {\"lost\":3}\n\n";
        let hostile = "data: \u{1b}]0;pwned\u{7}\n\n";
        drop(answer(&server, &(event("a\u{1b}[31m\u{202e}b") + lost + hostile)));
        let (line, unparsed) = (out.next().unwrap(), out.next().unwrap());
        let connection = answer(&server, &event("second"));
        let second = out.next().unwrap();
        if json {
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                (&line["message"], &line["future"]),
                (&"a\u{1b}[31m\u{202e}b".into(), &true.into())
            );
            let unparsed: Value = serde_json::from_str(&unparsed).unwrap();
            assert_eq!(unparsed["unparsed"], "\u{1b}]0;pwned\u{7}");
        } else {
            let start = "2026-01-31 12:00:00.000 queue      WARN  ";
            assert_eq!(line, format!("{start}a\\u{{1b}}[31m\\u{{202e}}b k=v"));
            assert!(unparsed.ends_with("\\u{1b}]0;pwned\\u{7}"), "{unparsed}");
            assert_eq!(second, format!("{start}second k=v"));
        }
        let reports: Vec<_> = (0..4).map(|_| err.next().unwrap()).collect();
        assert_eq!(reports[0], format!("connected to {url}"));
        assert!(reports[1].starts_with("3 messages lost"), "{reports:?}");
        assert!(reports[2].starts_with("disconnected from "), "{reports:?}");
        assert_eq!(reports[3], reports[0]);
        drop(connection);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_closed_pipe_is_noticed_without_lines() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let cli = Cli::new();
    let mut child = cli.command(&["logs", "--follow", &url]).spawn().unwrap();
    let _connection = answer(&server, "");
    drop(child.stdout.take());
    eventually(DEADLINE, "it ends", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_daemon_that_refuses_is_an_error_at_once() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let refuse = std::thread::spawn(move || {
        let (mut connection, _) = server.accept().unwrap();
        let head = BufReader::new(&connection).lines().map(Result::unwrap);
        assert!(head.take_while(|line| !line.is_empty()).count() > 1);
        let body = r#"{"error":"a read token is needed"}"#;
        let answer =
            format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        connection.write_all(answer.as_bytes()).unwrap();
    });
    let error = Cli::new().run(&["logs", "--follow", &url]).failed();
    assert!(error.contains("a read token is needed") && error.contains("--scope read"), "{error}");
    refuse.join().unwrap();
}

#[test]
fn kept_lines_are_printed_and_then_it_ends() {
    let daemon = Daemon::start();
    let id = daemon.track("https://example.com/before");
    let url = daemon.url("");
    let stored = |lines: &str| lines.contains("clickhouse") && lines.contains(&id);
    let mut all = String::new();
    crate::support::eventually(DEADLINE, "the history has all steps", || {
        all = daemon.cli(&["logs", &url]);
        stored(&all)
    });
    assert!(all.contains("Event queued") && all.contains("ingestion"), "{all}");
    let last = daemon.cli(&["logs", &url, "--history", "1"]);
    assert_eq!(last.lines().count(), 1, "{last}");
    let none = daemon.cli(&["logs", &url, "--history", "0"]);
    assert_eq!(none, "");
    let json = daemon.cli(&["logs", &url, "--json", "--grep", &id, "--stage", "queue"]);
    let line: Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(line["eventId"], id.as_str());
    // The last lines are those that pass the filters.
    let newest = daemon.cli(&["logs", &url, "--history", "1", "--stage", "ingestion"]);
    assert!(newest.lines().count() == 1 && newest.contains("ingestion"), "{newest}");
    let mut newest = Follower::start(&daemon, &["--history", "1", "--stage", "ingestion"]);
    newest.line_with(&daemon, "ingestion");
    let mut follower = Follower::start(&daemon, &["--history", "1000", "--grep", &id]);
    follower.line_with(&daemon, &id);
}

#[test]
fn without_a_daemon_there_is_no_history() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Cli::new().run(&["logs", &format!("http://{free}")]).failed();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn a_daemon_without_history_shows_new_lines() {
    let daemon = Daemon::with_settings("debug_history = 0");
    daemon.track("https://example.com/");
    assert_eq!(daemon.cli(&["logs", &daemon.url("")]), "");
    let mut follower = Follower::start(&daemon, &[]);
    follower.line_with(&daemon, "evt_");
}

#[test]
fn sampling_is_reported_on_stderr_when_it_starts_and_ends() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let cli = Cli::new();
    let mut child = cli.command(&["logs", "--follow", "--json", &url]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let gauges = |sampling, left_out| {
        let gauges = serde_json::json!({
            "process": "p", "sampling": sampling, "linesSampledOut": left_out,
        });
        format!("event: gauges\ndata: {gauges}\n\n")
    };
    let lost = "event: lost\ndata: {\"lost\":3}\n\n";
    let begin = gauges(1, 0) + &event("one") + &gauges(8, 70) + &gauges(8, 30) + lost + lost;
    let connection = answer(&server, &(begin + &gauges(1, 0) + &event("two")));
    assert!(err.next().unwrap().starts_with("connected to"));
    assert!(err.next().unwrap().starts_with("1 of 8 events shown"));
    assert!(err.next().unwrap().starts_with("3 messages lost"));
    assert!(err.next().unwrap().ends_with(", 6 in total"));
    assert_eq!(err.next().unwrap(), "all events shown again; 100 lines were sampled out");
    drop(connection);
    for message in ["one", "two"] {
        let line: Value = serde_json::from_str(&out.next().unwrap()).unwrap();
        assert_eq!(line["message"], message);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A daemon that samples under load: that is reported, also with --project.
#[test]
fn sampling_is_reported_also_with_a_project() {
    let daemon = Daemon::with_settings("debug_lines_per_second = 1");
    for scope in [&[][..], &["--project", "default"]] {
        let mut follower = Follower::start(&daemon, &[&["--json"], scope].concat());
        let err = BufReader::new(follower.child.stderr.take().unwrap());
        std::thread::scope(|scope| {
            let (reported, stop) = std::sync::mpsc::channel::<()>();
            let daemon = &daemon;
            scope.spawn(move || {
                let start = std::time::Instant::now();
                while stop.try_recv().is_err() && start.elapsed() < DEADLINE {
                    daemon.track("https://a.example/flood");
                }
            });
            let mut lines = err.lines().map_while(Result::ok);
            let found = lines.find(|line| line.contains(" events shown: too many lines"));
            let _ = reported.send(());
            assert!(found.is_some(), "nothing is reported");
        });
        let lines = follower.lines.take().unwrap();
        follower.child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
        }
    }
}
