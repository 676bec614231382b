//! `logs --follow` on a running daemon.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout};

use bklit_tui::pipeline::debug_log::Stage;
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

    /// The first line with `part`, with new page views until it comes: the follower sees only
    /// what happens after it has connected.
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
fn prints_lines_as_they_come_and_ends_with_its_reader() {
    let daemon = Daemon::start();
    let mut follower = Follower::start(&daemon, &[]);
    let line = follower.line_with(&daemon, "evt_");
    assert!(!line.contains('\x1b'), "colours in a pipe: {line:?}");
    assert!(Stage::ALL.iter().any(|stage| line.contains(stage.as_str())), "{line}");
    // As when `head` has seen enough.
    follower.lines = None;
    eventually(DEADLINE, "it ends once nobody reads", || {
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
fn mistakes_are_named() {
    let cli = Cli::new();
    for (arguments, part) in [
        (&["logs"][..], "--follow"),
        (&["logs", "--follow", "--stage", "nap"], "nap"),
        (&["logs", "--follow", "--level", "loud"], "loud"),
        (&["logs", "--follow", "--grep", "("], "("),
    ] {
        let error = cli.run(arguments).failed();
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
}
