//! The real program in a pseudo-terminal: locale, themes, palette, recording, replay, mouse.

use bklit_wire::debug_log::{DebugLog, Level, Stage};
use redis::Commands as _;

use super::terminal::{Program, arguments, command, styles};
use crate::support::pty::Pty;
use crate::support::servers::{Kind, RedisServer};
use crate::support::{DEADLINE, eventually};
use bklit_wire::time::UtcMillis;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bklit-tui");

#[test]
fn a_locale_without_utf_8_gets_ascii() {
    let mut program = Program::start_with(&[("LC_ALL", "C")], (100, 30));
    program.track("Größe");
    program.pty.wait_for_text("Batch stored");
    assert!(program.pty.raw().is_ascii(), "{}", program.pty.contents());
    program.pty.send("qq");
    program.assert_quit();
}

#[test]
fn a_locale_with_utf_8_gets_all_signs_and_colorterm_all_colours() {
    let environment = [("LC_ALL", "C.UTF-8"), ("COLORTERM", "truecolor"), ("BKLIT_THEME", "light")];
    let mut program = Program::start_with(&environment, (100, 30));
    assert!(program.pty.contents().contains('─'));
    assert!(styles(&program.pty.raw()).iter().any(|style| style.contains("8;2;")));
    program.pty.send("qq");
    program.assert_quit();
}

#[test]
fn a_terminal_that_cannot_show_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(PROGRAM, dir.path());
    command.args(arguments(dir.path()));
    command.env("TERM", "dumb");
    let mut pty = Pty::spawn(command, (100, 30));
    assert_eq!(pty.wait_for_exit(), Ok(1));
    let contents = pty.contents();
    assert!(contents.contains("TERM=dumb") && contents.contains("logs --follow"), "{contents}");
}

/// Waits until a file is as wanted, and returns its text.
fn file(path: &std::path::Path, wanted: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    eventually(DEADLINE, &format!("{} is as wanted", path.display()), || {
        text = std::fs::read_to_string(path).unwrap_or_default();
        wanted(&text)
    });
    text
}

/// A console started with arguments, and no pipeline.
fn console(arguments_of_it: &[&str]) -> (Pty, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(PROGRAM, dir.path());
    command.args(arguments(dir.path()));
    command.args(arguments_of_it);
    (Pty::spawn(command, (110, 30)), dir)
}

#[test]
fn commands_are_completed_and_files_written() {
    let mut program = Program::start();
    program.track("exported");
    program.pty.wait_for_text("Batch stored");
    program.pty.send(":lev\t");
    program.pty.wait_for_text("level LEVEL");
    program.pty.send("loud\r");
    program.pty.wait_for_text("info, warn, error");
    program.pty.send("\x1b");
    let out = program.dir.path().join("out.csv");
    program.pty.send(&format!(":export {}\r", out.display()));
    program.pty.wait_for_text("exported ");
    let text = std::fs::read_to_string(&out).unwrap();
    assert!(text.starts_with("time,stage,level") && text.contains("Batch stored"), "{text}");
    program.pty.send(&format!(":export {}\r", out.display()));
    program.pty.wait_for_text("export! overwrites it");
    program.pty.send(":filter level:error\r:save bad\r");
    let saved = program.dir.path().join("console-filters.json");
    file(&saved, |text| text.contains("level:error"));
    program.pty.send(&format!(":export {}/con\t", program.dir.path().display()));
    program.pty.wait_for_text("console-filters.json");
    program.pty.send("\x1b:q\r");
    program.assert_quit();
}

#[test]
fn a_recording_is_replayed() {
    let mut program = Program::start();
    let path = program.dir.path().join("session.jsonl");
    program.pty.send(&format!(":record {}\r", path.display()));
    program.pty.wait_for_text("recording to");
    program.track("for the record");
    program.pty.wait_for_text("Batch stored");
    file(&path, |text| text.contains("Batch stored") && text.contains("\"gauges\""));
    program.pty.send(":record off\r");
    program.pty.wait_for_text("recorded");
    program.pty.send("qq");
    program.assert_quit();
    let text = file(&path, |text| text.contains("\"end\":\"stopped\""));
    assert!(text.starts_with("{\"recording\":1,"), "{text}");
    std::fs::write(&path, format!("{text}this is no line\n{{\"cut")).unwrap();
    let (mut replay, _dir) = console(&["replay", path.to_str().unwrap(), "--speed", "max"]);
    replay.wait_for_text("REPLAY END");
    replay.wait_for_text("Batch stored");
    replay.wait_for_text("2 lines of the file are unreadable");
    replay.send("C");
    replay.wait_for("an empty log", |screen| !screen.contents().contains("Batch stored"));
    replay.send("\x1b[D");
    replay.wait_for_text("Batch stored");
    replay.send("q");
    assert_eq!(replay.wait_for_exit(), Ok(0));
    replay.assert_restored();
}

/// Lines of a minute, a second apart.
fn minute(from: i64) -> String {
    let lines = (0..60).map(|second| {
        let mut line = DebugLog::new(Stage::Queue, Level::Info, format!("second {second:02}"));
        line.timestamp = UtcMillis::from_epoch_millis(from + second * 1000);
        serde_json::to_string(&line).unwrap() + "\n"
    });
    lines.collect()
}

#[test]
fn plain_lines_are_replayed_held_and_gone_through() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines.jsonl");
    std::fs::write(&path, minute(1_769_860_800_000)).unwrap();
    let (mut replay, _dir) = console(&["replay", path.to_str().unwrap()]);
    replay.wait_for_text("second 00");
    replay.send(" ");
    replay.wait_for_text("REPLAY PAUSED");
    replay.send("\x1b[C\x1b[C");
    replay.wait_for_text("second 20");
    assert!(!replay.contents().contains("second 25"), "{}", replay.contents());
    replay.send("\x1b[D");
    replay.wait_for("ten seconds back", |screen| {
        let text = screen.contents();
        text.contains("second 10") && !text.contains("second 15")
    });
    replay.send(" ");
    replay.wait_for_text("REPLAY ×1");
    replay.send("]]]]]");
    replay.wait_for_text("REPLAY END");
    replay.wait_for_text("second 59");
    replay.send("q");
    assert_eq!(replay.wait_for_exit(), Ok(0));
    let nothing = dir.path().join("nothing");
    std::fs::write(&nothing, "no\nrecording\n").unwrap();
    let (mut refused, _dir) = console(&["replay", nothing.to_str().unwrap()]);
    assert_eq!(refused.wait_for_exit(), Ok(1));
    assert!(refused.contents().contains("line 1 cannot be read"), "{}", refused.contents());
}

#[test]
fn attach_watches_a_redis_and_reports_its_loss() {
    let mut server = RedisServer::start(Kind::Valkey, &[("requirepass", "secret")]);
    let (mut attached, _dir) = console(&["attach", &server.url()]);
    attached.wait_for_text(&format!("Redis 127.0.0.1:{}", server.port()));
    attached.wait_for_text("LIVE");
    let mut publisher = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let line = DebugLog::new(Stage::Worker, Level::Warn, "from another program");
    let line = serde_json::to_string(&line).unwrap();
    eventually(DEADLINE, "the console listens", || {
        publisher.publish::<_, _, u64>("debug-logs", &line).unwrap() > 0
    });
    attached.wait_for_text("from another program");
    // The queue can be inspected and repaired without a daemon.
    redis::pipe()
        .lpush("analytics:queue", &["1", "2", "3"])
        .lpush("analytics:queue:failed", "broken")
        .exec(&mut publisher)
        .unwrap();
    attached.send("d");
    attached.wait_for("waiting and failed events", |screen| {
        let text = screen.contents();
        text.contains("3 waiting") && text.contains("1 failed")
    });
    attached.send("\x1b");
    let now = bklit_wire::time::UtcMillis::now().epoch_millis();
    let members = [(now, "s-1"), (now, "s-2")];
    redis::pipe().zadd_multiple("live:sessions:shop", &members).exec(&mut publisher).unwrap();
    attached.send("v");
    attached.wait_for("the visitors", |screen| {
        screen.contents().lines().any(|line| line.contains("shop") && line.contains('2'))
    });
    attached.send("\x1b");
    assert!(!attached.contents().contains("secret"));
    server.kill9();
    attached.wait_for_text("NO CONNECTION");
    attached.send("q");
    assert_eq!(attached.wait_for_exit(), Ok(0));
    attached.assert_restored();
}

#[test]
fn an_alert_runs_the_users_command() {
    let dir = tempfile::tempdir().unwrap();
    let (config, out) = (dir.path().join("alerts.toml"), dir.path().join("out"));
    let command_line = format!(
        "echo $BKLIT_ALERT_KIND $BKLIT_ALERT_VALUE > {}; echo no pager >&2; exit 1",
        out.display()
    );
    std::fs::write(&config, format!("[alerts]\ncommand = '{command_line}'\n")).unwrap();
    let mut program = Program::start_with(&[("BKLIT_CONFIG", config.to_str().unwrap())], (110, 30));
    program.pty.send(":notify stage:ingestion\r");
    program.pty.wait_for_text("each line that matches");
    program.track("alarming");
    program.pty.wait_for_text("ALERT");
    file(&out, |text| text == "lines 1\n");
    program.pty.wait_for_text("no pager");
    assert!(program.pty.raw().contains(&7));
    program.pty.send("a");
    program.pty.wait_for("no banner", |screen| !screen.contents().contains("ALERT"));
    program.pty.send("qq");
    program.assert_quit();
}

#[test]
fn custom_keys_are_in_effect_and_in_the_footer() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("keys.toml");
    std::fs::write(&config, "[console.keys]\npause = \"A\"\n").unwrap();
    let mut program = Program::start_with(&[("BKLIT_CONFIG", config.to_str().unwrap())], (110, 30));
    program.pty.wait_for_text("A pause");
    program.pty.send("A");
    program.pty.wait_for_text("PAUSED");
    program.pty.send("A/A");
    program.pty.wait_for_text("Search:  A");
    program.pty.send("\x1bq");
    program.assert_quit();
}

#[test]
fn the_workers_are_paused_and_resumed() {
    let mut program = Program::start();
    program.pty.send(":pause workers disk full\r");
    program.pty.wait_for_text("WORKERS PAUSED");
    program.track("waiting");
    program.pty.wait_for_text("disk full");
    program.pty.send(":resume workers\r");
    program.pty.wait_for_text("Batch stored");
    program.pty.wait_for("nothing is paused", |screen| !screen.contents().contains("PAUSED"));
    // Events were accepted a moment ago, so it asks first.
    program.pty.send("qq");
    program.assert_quit();
}

/// The terminal gives each of these signs its own cell; none of them may be left behind.
#[test]
fn combining_signs_are_removed_with_their_consonant() {
    let mut program = Program::start();
    for (text, sign) in [("ค่าน้ำ", '\u{0e33}'), ("दी", '\u{0940}')] {
        program.pty.send(&format!("/{text}"));
        program.pty.wait_for("the text", |screen| screen.contents().contains(sign));
        program.pty.send("\x7f\x7fzz");
        program.pty.wait_for("the other text", |screen| screen.contents().contains("zz"));
        assert!(!program.pty.contents().contains(sign), "{}", program.pty.contents());
        program.pty.send("\x1b");
        program.pty.wait_for("no field", |screen| !screen.contents().contains("zz"));
    }
    program.pty.send("\x03");
    program.assert_quit();
}
