//! Changes of failed events in the real program, over HTTP: of many with progress, in an editor, and by
//! rules.

use std::path::Path;

use rustix::process::Signal;

use super::requests::{STORED, attach};
use super::terminal::{PROGRAM, command};
use crate::cli::queue::{with_failed, with_many_failed};
use crate::support::pty::Pty;
use crate::support::{DEADLINE, Daemon, eventually};

/// Enough failed events that the job can be stopped midway.
const MANY: usize = 20_000;

/// A daemon that stores nothing, with many failed events, and a console on it that shows
/// them.
fn with_many() -> (Daemon, Pty, tempfile::TempDir) {
    let mut daemon = Daemon::start();
    daemon.cli(&["queue", "pause", "workers"]);
    daemon.kill9();
    with_many_failed(&daemon.data_dir(), MANY);
    let daemon = daemon.restart();
    let (mut pty, dir) = attach(&daemon, &[]);
    pty.send("d");
    pty.wait_for_text("20,000 failed");
    (daemon, pty, dir)
}

/// Waits until the job runs, and suspends the daemon meanwhile.
fn suspend_on_the_way(daemon: &Daemon, pty: &Pty) {
    pty.wait_for("progress", |screen| {
        let contents = screen.contents();
        let is_begun = contents.contains("RUNNING") && contents.contains(" of 20,000");
        is_begun && !contents.contains(" 0 of 20,000")
    });
    daemon.signal(Signal::STOP);
}

fn counts(daemon: &Daemon) -> (u64, u64) {
    let queue = daemon.get("/api/queue").json();
    (queue["waiting"].as_u64().unwrap(), queue["failed"].as_u64().unwrap())
}

#[test]
fn many_failed_events_are_retried_with_progress_until_stopped() {
    let (daemon, mut pty, _dir) = with_many();
    pty.send("R20000\r");
    suspend_on_the_way(&daemon, &pty);
    pty.send("K");
    pty.wait_for("that it stops", |screen| {
        ["STOPPING", "stopped"].iter().any(|text| screen.contents().contains(text))
    });
    daemon.signal(Signal::CONT);
    pty.wait_for_text("events put back into the queue, stopped");
    let (waiting, failed) = counts(&daemon);
    assert!(waiting > 0 && failed > 0, "{waiting} waiting, {failed} failed");
    assert_eq!(waiting + failed, MANY as u64, "none is lost or repeated");
    let said = format!("{} of 20,000", bklit_wire::numbers::grouped(waiting));
    assert!(pty.contents().contains(&said), "{}", pty.contents());
    // The rest, by its reason, although not all of it is loaded.
    pty.send("P");
    pty.wait_for_text("too large");
    pty.send("r");
    pty.wait_for_text("Type retry:");
    pty.send("retry\r");
    eventually(DEADLINE, "all wait", || counts(&daemon) == (MANY as u64, 0));
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
    pty.assert_restored();
}

#[test]
fn a_daemon_that_dies_midway_leaves_each_event_in_one_place() {
    let (mut daemon, mut pty, _dir) = with_many();
    pty.send("D20000\r");
    suspend_on_the_way(&daemon, &pty);
    daemon.kill9();
    pty.wait_for_text(" deleted, then: ");
    let contents = pty.contents();
    let said = contents.lines().find(|row| row.contains(" deleted, then: ")).unwrap();
    let said = said.split(" of 20,000").next().unwrap().rsplit(' ').next().unwrap();
    let said: u64 = said.replace(',', "").parse().unwrap();
    let daemon = daemon.restart();
    let (waiting, failed) = counts(&daemon);
    let deleted = MANY as u64 - failed;
    // A page whose answer did not arrive may have been deleted, too.
    assert!(waiting == 0 && said <= deleted && deleted <= said + 500, "{said}, {deleted}");
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

#[test]
fn an_export_of_many_failed_events_is_complete_or_absent() {
    let (daemon, mut pty, dir) = with_many();
    let file = dir.path().join("failed.jsonl");
    let typed = format!("X\x15{}\r", file.display());
    pty.send(&typed);
    suspend_on_the_way(&daemon, &pty);
    pty.send("K");
    pty.wait_for_text("stopped; nothing was written");
    daemon.signal(Signal::CONT);
    let left = || std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name());
    let parts = || left().filter(|name| name.to_string_lossy().contains("failed.jsonl")).count();
    assert_eq!(parts(), 0);
    pty.send(&typed);
    pty.wait_for_text("20,000 events written to");
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), MANY);
    pty.send(&typed);
    pty.wait_for_text("already exists");
    assert_eq!((parts(), counts(&daemon)), (1, (0, MANY as u64)));
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

/// An editor that is a script, which gets the file as `$1`.
fn editor(dir: &Path, script: &str) -> String {
    let path = dir.join("editor.sh");
    std::fs::write(&path, script).unwrap();
    format!("sh {}", path.display())
}

fn attach_with_editor(daemon: &Daemon, script: &str) -> (Pty, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(PROGRAM, dir.path());
    command.env_remove("VISUAL");
    command.env("EDITOR", editor(dir.path(), script));
    command.args(["attach", &daemon.url(""), "--data-dir", dir.path().to_str().unwrap()]);
    let mut pty = Pty::spawn(command, (100, 30));
    pty.wait_for_text(&daemon.addr.to_string());
    pty.send("d");
    pty.wait_for_text("5 failed");
    (pty, dir)
}

#[test]
fn a_failed_event_is_edited_compared_and_retried() {
    let daemon = Daemon::start();
    with_failed(&daemon.data_dir());
    // Ctrl-C in the editor is not meant for the console. The first edit is invalid.
    let script = "trap : INT; kill -INT 0; echo editing\n\
        if grep -q pagevue \"$1\"; then sed -i 's/pagevue/pageview/; s/example.com/fixed.example/' \"$1\"\n\
        else sed -i s/pageview/pagevue/ \"$1\"; fi\n";
    let (mut pty, dir) = attach_with_editor(&daemon, script);
    pty.send("e");
    pty.wait_for_text("e edits it again");
    pty.wait_for_text("pagevue");
    assert!(!pty.contents().contains("puts it into the queue"), "{}", pty.contents());
    pty.send("e");
    pty.wait_for_text("Enter puts it into the queue");
    pty.wait_for_text("-     \"url\": \"https://example.com/b1\"");
    pty.wait_for_text("+     \"url\": \"https://fixed.example/b1\"");
    pty.send("\r");
    pty.wait_for_text("edited event put back into the queue");
    pty.wait_for_text("4 failed");
    let fixed = format!("{STORED} WHERE url = 'https://fixed.example/b1'");
    eventually(DEADLINE, "it is stored", || daemon.scalar(&fixed) == 1);
    let kept = std::fs::read_to_string(dir.path().join("edited-events.jsonl")).unwrap();
    assert!(kept.contains("https://example.com/b1") && kept.lines().count() == 1, "{kept}");
    // Discarded, nothing changes.
    pty.send("e");
    pty.wait_for_text("e edits it again");
    pty.send("\x1b");
    pty.wait_for_text("discarded");
    assert_eq!(counts(&daemon), (0, 4));
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
    pty.assert_restored();
}

#[test]
fn a_console_that_is_stopped_ends_its_editor() {
    let daemon = Daemon::start();
    with_failed(&daemon.data_dir());
    let (mut pty, dir) = attach_with_editor(&daemon, "echo $$ >\"$0.pid\"; exec sleep 600\n");
    pty.send("e");
    let file = dir.path().join("editor.sh.pid");
    let mut pid = String::new();
    eventually(DEADLINE, "the editor runs", || {
        pid = std::fs::read_to_string(&file).unwrap_or_default();
        pid.ends_with('\n')
    });
    pty.signal(Signal::TERM);
    assert_eq!(pty.wait_for_exit(), Ok(0));
    pty.assert_restored();
    let is_gone = || !Path::new(&format!("/proc/{}", pid.trim())).exists();
    eventually(DEADLINE, "the editor has ended", is_gone);
}

#[test]
fn a_group_is_edited_by_a_rule_after_a_preview() {
    let daemon = Daemon::start();
    with_failed(&daemon.data_dir());
    let (mut pty, dir) = attach_with_editor(&daemon, "true\n");
    pty.send("P");
    pty.wait_for_text("too large");
    pty.send("d");
    pty.send("/shop\rE");
    pty.wait_for_text("Edit 3 events by rule:");
    pty.send("set payload.title = Repaired\r");
    pty.wait_for_text("a text needs quotes");
    pty.send("\x15set payload.title = \"Repaired\"\r");
    pty.wait_for_text("changes 3 events of 3");
    pty.wait_for_text("+     \"title\": \"Repaired\"");
    pty.send("\r");
    pty.wait_for_text("Edit and retry 3 events? Type 3:");
    pty.send("3\r");
    pty.wait_for_text("3 events edited and put back into the queue; the originals are in");
    let titled = format!("{STORED} WHERE title = 'Repaired'");
    eventually(DEADLINE, "they are stored", || daemon.scalar(&titled) == 3);
    let kept = std::fs::read_to_string(dir.path().join("edited-events.jsonl")).unwrap();
    assert_eq!((kept.lines().count(), counts(&daemon)), (3, (0, 2)));
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
    pty.assert_restored();
}
