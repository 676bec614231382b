//! `simulate` against a real daemon.

use std::collections::HashSet;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use portable_pty::CommandBuilder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::pty::Pty;
use crate::support::{Cli, DEADLINE, Daemon, eventually};

/// Waits until each of the ids is stored exactly once, and nothing else.
#[track_caller]
fn assert_stored_once(daemon: &Daemon, ids: &[&str]) {
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "an id was repeated");
    let all = "(SELECT id FROM page_view_event UNION ALL SELECT id FROM tracked_event)";
    eventually(DEADLINE, "all events are stored", || {
        daemon.scalar(&format!("SELECT count() FROM {all}")) == json!(ids.len())
    });
    let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    let found = format!("SELECT count(DISTINCT id) FROM {all} WHERE id IN ({list})");
    assert_eq!(daemon.scalar(&found), json!(ids.len()));
}

/// The number after `name` at the start of a line of the report.
#[track_caller]
fn figure(report: &str, name: &str) -> u64 {
    let line = report.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{report}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn every_accepted_event_is_stored_once() {
    let daemon = Daemon::start();
    let ids = daemon.scratch().join("ids");
    let cli = Cli::on(&daemon.data_dir());
    let url = daemon.url("");
    let report = cli
        .run(&[
            "simulate",
            "--url",
            &url,
            "--rate",
            "50",
            "--duration",
            "2s",
            "--bad",
            "20",
            "--seed",
            "7",
            "--ids",
            ids.to_str().unwrap(),
        ])
        .ok();
    let (sent, accepted) = (figure(&report, "sent"), figure(&report, "accepted"));
    let refused = figure(&report, "refused");
    assert_eq!((sent, accepted + refused, figure(&report, "failed")), (100, 100, 0), "{report}");
    assert!((5..50).contains(&refused), "{report}");
    assert!(report.contains(&format!("({refused} as expected, 0 unexpected)")), "{report}");
    assert!(report.contains("latency   p50 ") && report.contains("seed      7\n"), "{report}");
    assert!(!report.contains('\x1b'), "{report:?}");
    let text = std::fs::read_to_string(&ids).unwrap();
    let ids: Vec<_> = text.lines().collect();
    assert!(ids.len() as u64 <= accepted && ids.len() > 50, "{} of {accepted}", ids.len());
    assert_stored_once(&daemon, &ids);
    let sessions = daemon.scalar("SELECT count(DISTINCT session_id) FROM tracked_session");
    assert!(sessions.as_u64().is_some_and(|count| count > 20), "{sessions}");
}

#[test]
fn an_interrupt_ends_it_with_the_report() {
    let daemon = Daemon::start();
    let ids = daemon.scratch().join("ids");
    let cli = Cli::on(&daemon.data_dir());
    // Without --url it finds the daemon by its data dir.
    let arguments = ["simulate", "--rate", "200", "--bad", "0", "--ids", ids.to_str().unwrap()];
    let child = cli.command(&arguments).spawn().unwrap();
    eventually(DEADLINE, "some events are accepted", || {
        std::fs::read_to_string(&ids).is_ok_and(|text| text.lines().count() >= 20)
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "no progress without a terminal");
    assert_eq!(figure(&report, "sent"), figure(&report, "accepted"), "{report}");
    let text = std::fs::read_to_string(&ids).unwrap();
    assert_stored_once(&daemon, &text.lines().collect::<Vec<_>>());
}

#[test]
fn a_terminal_shows_the_progress() {
    let daemon = Daemon::start();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_bklit-tui"));
    command.env_clear();
    command.env("TERM", "xterm-256color");
    command.args(["simulate", "--rate", "20", "--bad", "0"]);
    command.args(["--url", &daemon.url(""), "--token", &daemon.token()]);
    let mut pty = Pty::spawn(command, (120, 20));
    pty.wait_for("the second line of progress", |screen| {
        let text = screen.contents();
        text.contains("   1s  sent ") && text.contains("failed 0") && text.contains("p99 ")
    });
    // Ctrl-C.
    pty.send("\x03");
    pty.wait_for("the report alone", |screen| {
        let text = screen.contents();
        text.contains("accepted  ") && text.contains("seed ") && !text.contains("1s  sent")
    });
}

#[test]
fn a_wrong_token_is_an_error_with_the_reason() {
    let daemon = Daemon::start();
    let token = format!("bk_live_{}", "0".repeat(64));
    let cli = Cli::on(&daemon.data_dir()).env("BKLIT_TOKEN", &token);
    let output = cli.run(&["simulate", "--rate", "50", "--duration", "200ms", "--bad", "0"]);
    assert!(output.stdout.contains("accepted  0 "), "{output:?}");
    let error = output.failed();
    assert!(error.contains("unexpected responses") && error.contains("401"), "{error}");
    assert!(!error.contains(&token), "{error}");
}

#[test]
fn an_unreachable_pipeline_is_a_clear_error() {
    // A privileged port on which nothing listens.
    let url = "http://127.0.0.1:1";
    let arguments = ["simulate", "--url", url, "--token", "t", "--duration", "1s"];
    let error = Cli::new().run(&arguments).failed();
    assert!(error.contains(&format!("is bklit-tui running at {url}?")), "{error}");
    let error = Cli::new().run(&["simulate", "--url", url]).failed();
    assert!(error.contains("BKLIT_TOKEN"), "{error}");
}

#[test]
fn invalid_numbers_are_refused() {
    for (flag, value) in [
        ("--rate", "0"),
        ("--rate", "-1"),
        ("--rate", "NaN"),
        ("--rate", "100001"),
        ("--bad", "101"),
        ("--duration", "long"),
    ] {
        let output = Cli::new().run(&["simulate", &format!("{flag}={value}")]);
        assert_eq!(output.code, Some(2), "{flag} {value}");
        assert!(output.stderr.contains(flag), "{}", output.stderr);
    }
}

/// A server that answers `GET /health` with 200 and everything else with `answer`, then closes.
fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // It ends with the test process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).unwrap();
            for line in reader.by_ref().lines().map_while(Result::ok) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).unwrap();
            let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let answer = if first.starts_with("GET /health") { ok } else { answer };
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn refusals_and_missing_responses_are_counted_separately() {
    let run = |answer| {
        let url = server(answer);
        let arguments = [
            "simulate",
            "--url",
            &url,
            "--token",
            "t",
            "--bad",
            "0",
            "--rate",
            "50",
            "--duration",
            "200ms",
        ];
        Cli::new().run(&arguments)
    };
    let full = run(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull",
    );
    assert!(full.stdout.contains("refused   10 (0 as expected, 10 unexpected)"), "{full:?}");
    assert!(full.failed().contains("503 to POST /track: full"));
    let silent = run("");
    assert!(silent.stdout.contains("failed    10 "), "{silent:?}");
    assert!(silent.failed().contains("requests without a response: 10; "));
    let nonsense = run("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhm");
    assert!(nonsense.stdout.contains("wrong     10 "), "{nonsense:?}");
    assert!(nonsense.failed().contains("200 to POST /track: hm"));
}
