//! Alerts of a pipeline without a console.

use std::path::Path;

use crate::support::servers::ClickHouse;
use crate::support::{DEADLINE, Daemon, eventually};

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn settings(clickhouse: &ClickHouse, out: &Path, more: &str) -> String {
    let write = format!(
        "echo $BKLIT_ALERT_KIND $BKLIT_ALERT_STATE $BKLIT_ALERT_COUNT \"$BKLIT_ALERT_SOURCE\" >> {}",
        out.display()
    );
    format!(
        "clickhouse_url = '{}'\nqueue.alarm_depth = 2\n[alerts]\nerrors_per_minute = 0\n\
         command = '{write}'\n{more}",
        clickhouse.url()
    )
}

#[test]
fn a_daemon_reports_a_failing_store_and_its_recovery() {
    let dir = tempfile::tempdir().unwrap();
    let (out, unused) = (dir.path().join("out"), dir.path().join("unused"));
    let mut clickhouse = ClickHouse::own();
    let daemon = Daemon::with_settings(&settings(&clickhouse, &out, ""));
    let silent = Daemon::with_settings(&settings(&clickhouse, &unused, "daemon = false"));
    eventually(DEADLINE, "it stores", || daemon.get("/ready").json()["roles"]["worker"] == "ready");
    assert!(lines(&out).is_empty());
    clickhouse.kill9();
    for daemon in [&daemon, &silent] {
        daemon.track("https://a.example/");
    }
    // The first events stay in flight, the others wait.
    eventually(DEADLINE, "both alerts are raised", || {
        daemon.track("https://a.example/");
        lines(&out).len() == 2
    });
    let source =
        format!("{} (ClickHouse {})", daemon.addr, clickhouse.url().replace("http://", ""));
    let mut raised = lines(&out);
    raised.sort();
    let expected = ["queue-depth", "store"].map(|kind| format!("{kind} raised 1 {source}"));
    assert_eq!(raised, expected);
    let log = daemon.stderr();
    assert!(log.contains("alert: store: ") && log.contains("events waiting, above 2"), "{log}");
    clickhouse.restart();
    eventually(DEADLINE, "both have ended", || lines(&out).len() == 4);
    let mut over = lines(&out).split_off(2);
    over.sort();
    assert_eq!(over, ["queue-depth", "store"].map(|kind| format!("{kind} over 1 {source}")));
    assert!(daemon.stderr().contains("alert ended: store"), "{}", daemon.stderr());
    assert!(lines(&unused).is_empty() && !silent.stderr().contains("alert"));
}

#[test]
fn a_command_that_fails_or_hangs_is_logged_and_blocks_nothing() {
    let settings = "clickhouse_url = 'http://127.0.0.1:1'\n[alerts]\nerrors_per_minute = 1\n\
                    command = 'case $BKLIT_ALERT_KIND in store) sleep 600;; *) echo no pager >&2; exit 3;; esac'";
    let daemon = Daemon::with_settings(settings);
    daemon.track("https://a.example/");
    eventually(DEADLINE, "the one that hangs was ended", || {
        daemon.stderr().contains("it took longer than 10 s")
    });
    eventually(DEADLINE, "the next one has run", || daemon.stderr().contains("no pager"));
    daemon.track("https://a.example/");
}

/// A console in the same process raises the alerts, so they are raised once.
#[test]
fn a_console_in_the_same_process_raises_the_alerts_alone() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let config = home.path().join("bklit.toml");
    let command_line = format!("echo $BKLIT_ALERT_KIND >> {}", out.display());
    let settings = format!(
        "clickhouse_url = 'http://127.0.0.1:1'\n[alerts]\nerrors_per_minute = 0\ncommand = '{command_line}'"
    );
    std::fs::write(&config, settings).unwrap();
    let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_bklit-tui"));
    command.env_clear();
    for (name, value) in [("TERM", "xterm-256color"), ("BKLIT_WEBSOCKET_LISTEN", "127.0.0.1:0")] {
        command.env(name, value);
    }
    command.env("HOME", home.path());
    command.cwd(home.path());
    command.args(["--listen", "127.0.0.1:0", "--data-dir", "data", "--config"]);
    command.arg(config.as_os_str());
    let mut pty = crate::support::pty::Pty::spawn(command, (110, 30));
    pty.wait_for_text("ALERT");
    eventually(DEADLINE, "it has run", || lines(&out) == ["store"]);
    // As long as a second alert would take.
    let log = home.path().join("data/bklit-tui.log");
    pty.wait_for_text("store ✗");
    pty.send("q");
    assert_eq!(pty.wait_for_exit(), Ok(0));
    assert_eq!(lines(&out), ["store"]);
    assert!(!std::fs::read_to_string(log).unwrap().contains("\"alert"));
}
