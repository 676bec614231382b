//! The real program in a pseudo-terminal: keys, sizes, signals, and the terminal afterwards.

use std::path::Path;
use std::process::{Command, Stdio};

use portable_pty::CommandBuilder;
use rustix::process::Signal;

use crate::support::pty::{Pty, has_mouse};
use crate::support::{DEADLINE, Daemon, eventually, request};

/// The bytes of the key.
const F2: &str = "\x1bOQ";
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_bklit-tui");

/// A running console with a data dir of its own.
pub(super) struct Program {
    pub(super) pty: Pty,
    pub(super) dir: tempfile::TempDir,
}

impl Program {
    pub(super) fn start() -> Self {
        Self::start_with(&[], (100, 30))
    }

    pub(super) fn start_with(environment: &[(&str, &str)], size: (u16, u16)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), environment, size)
    }

    pub(super) fn start_in(
        dir: tempfile::TempDir,
        environment: &[(&str, &str)],
        size: (u16, u16),
    ) -> Self {
        let mut command = command(PROGRAM, dir.path());
        command.args(arguments(dir.path()));
        for (name, value) in environment {
            command.env(name, value);
        }
        let pty = Pty::spawn(command, size);
        let program = Self { pty, dir };
        program.pty.wait_for_text("curl");
        program
    }

    /// The program's own log in its data dir.
    pub(super) fn file(&self, name: &str) -> String {
        wait_for_file(&self.dir.path().join(name))
    }

    /// Sends a page view with this title.
    pub(super) fn track(&self, title: &str) {
        let body = serde_json::json!({
            "url": "https://example.com/pricing", "projectId": "default", "title": title,
        });
        let authorization = format!("Bearer {}", self.file("token"));
        let headers =
            [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let address = self.file("listen.addr").parse().unwrap();
        let body = body.to_string();
        let answer = request(address, "POST", "/track", &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    #[track_caller]
    pub(super) fn assert_quit(&mut self) {
        assert_eq!(self.pty.wait_for_exit(), Ok(0), "{}", self.pty.contents());
        self.pty.assert_restored();
    }
}

pub(super) fn arguments(dir: &Path) -> [String; 6] {
    let dir = dir.to_str().unwrap().to_owned();
    let port = || "127.0.0.1:0".to_owned();
    ["--data-dir".into(), dir, "--listen".into(), port(), "--websocket-listen".into(), port()]
}

pub(super) fn command(program: &str, dir: &Path) -> CommandBuilder {
    let mut command = CommandBuilder::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BKLIT_")) {
        command.env_remove(name);
    }
    for name in [
        "NO_COLOR",
        "COLORTERM",
        "TMUX",
        "STY",
        "REDIS_URL",
        "CLICKHOUSE_HOST",
        "LC_ALL",
        "LC_CTYPE",
        "LANG",
    ] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color");
    command.env("XDG_CONFIG_HOME", dir);
    command
}

fn wait_for_file(path: &Path) -> String {
    let mut text = String::new();
    eventually(DEADLINE, &format!("{} is there", path.display()), || {
        text = std::fs::read_to_string(path).unwrap_or_default();
        text.ends_with('\n')
    });
    text.trim().to_owned()
}

/// Parameters of all SGR sequences in `bytes`.
pub(super) fn styles(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let sequences = text.split("\x1b[").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | ';' | ':'))?;
        rest[end..].starts_with('m').then(|| rest[..end].to_owned())
    });
    sequences.collect()
}

fn is_color(style: &str) -> bool {
    let parameters = style.split([';', ':']).filter_map(|p| p.parse::<u16>().ok());
    parameters.into_iter().any(|p| matches!(p, 30..=38 | 40..=48 | 90..=97 | 100..=107))
}

#[test]
fn starts_empty_and_quits_with_the_terminal_as_before() {
    let mut program = Program::start();
    let address = program.file("listen.addr");
    program.pty.wait_for_text(&address);
    assert!(program.pty.is_raw());
    program.pty.wait_for("its own screen", |screen| {
        screen.alternate_screen() && screen.hide_cursor() && screen.bracketed_paste()
    });
    assert!(styles(&program.pty.raw()).iter().any(|style| is_color(style)));
    program.pty.send("qq");
    program.assert_quit();
}

#[test]
fn an_event_appears_stage_by_stage() {
    let mut program = Program::start();
    program.track("Pricing");
    for stage in ["ingestion", "queue", "worker", "sqlite", "pubsub"] {
        program.pty.wait_for_text(stage);
    }
    program.pty.wait_for_text("Event queued");
    program.pty.send("qq");
    program.assert_quit();
}

#[test]
fn help_opens_and_every_size_works() {
    let mut program = Program::start();
    program.pty.send("?");
    program.pty.wait_for_text("─ keys ─");
    for (columns, rows) in [(40, 10), (1, 1), (200, 60), (3, 50), (59, 14), (100, 30)] {
        program.pty.resize(columns, rows);
        if columns >= 40 {
            program.pty.wait_for("a drawn screen", |screen| !screen.contents().trim().is_empty());
        }
    }
    program.pty.wait_for_text("─ keys ─");
    program.pty.send("\x1b");
    program.pty.wait_for_text("curl");
    program.pty.send("qq");
    program.assert_quit();
}

#[test]
fn ctrl_c_quits_at_once() {
    let mut program = Program::start();
    program.pty.send("/text\x03");
    program.assert_quit();
}

#[test]
fn signals_that_end_it_restore_the_terminal() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut program = Program::start();
        program.pty.send(F2);
        program.pty.wait_for("the mouse", has_mouse);
        program.pty.signal(signal);
        let _ = program.pty.wait_for_exit();
        program.pty.assert_restored();
    }
}

#[test]
fn a_vanished_terminal_ends_the_program() {
    let mut program = Program::start();
    program.pty.hang_up();
    let _ = program.pty.wait_for_exit();
}

#[test]
fn the_shell_stops_and_continues_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = command("sh", dir.path());
    let program = arguments(dir.path()).join(" ");
    // Without a prompt and by hand: what an interactive shell does on Ctrl-Z and `fg`.
    let script = format!("set -m; {PROGRAM} {program}; echo was-stopped; read key; fg; echo over");
    shell.args(["-c", &script]);
    let mut pty = Pty::spawn(shell, (100, 30));
    pty.wait_for_text("curl");
    pty.send(F2);
    pty.wait_for("the mouse", has_mouse);
    // Once by the key, once by a signal from outside.
    pty.send("\x1a");
    pty.wait_for("the shell", |screen| {
        screen.contents().contains("was-stopped") && !screen.alternate_screen()
    });
    assert!(!pty.is_raw() && !pty.has_mouse());
    pty.send("\r");
    pty.wait_for("the console", |screen| {
        screen.contents().contains("curl") && screen.alternate_screen() && has_mouse(screen)
    });
    assert!(pty.is_raw());
    pty.send("?");
    pty.wait_for("an answer to a key", |screen| !screen.contents().contains("curl"));
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
    assert!(pty.contents().contains("over"), "{}", pty.contents());
    pty.assert_restored();
}

#[test]
fn without_a_shell_it_cannot_be_suspended() {
    let mut program = Program::start();
    // It is a session leader, so nothing could continue it.
    program.pty.send("\x1a");
    program.pty.signal(Signal::TSTP);
    program.pty.send("?");
    program.pty.wait_for("an answer to a key", |screen| !screen.contents().contains("curl"));
    program.pty.send("\x03");
    program.assert_quit();
}

#[test]
fn continuing_after_an_external_stop_redraws() {
    let mut program = Program::start();
    program.pty.signal(Signal::STOP);
    let drawn = program.pty.raw().len();
    program.pty.signal(Signal::CONT);
    program.pty.wait_for_output_after(drawn, "curl");
    program.pty.send("qq");
    program.assert_quit();
}

#[test]
fn no_color_is_respected_and_the_selection_stays_visible() {
    let mut program = Program::start_with(&[("NO_COLOR", "1")], (100, 30));
    program.track("Pricing");
    program.pty.wait_for_text("Event queued");
    program.pty.send("k");
    program.pty.send("k");
    program.pty.wait_for("something reversed", |screen| {
        let (rows, columns) = screen.size();
        let mut cells =
            (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
        cells.any(|(row, column)| screen.cell(row, column).is_some_and(vt100::Cell::inverse))
    });
    program.pty.send("\x03");
    program.assert_quit();
    let colored: Vec<_> =
        styles(&program.pty.raw()).into_iter().filter(|style| is_color(style)).collect();
    assert_eq!(colored, [""; 0]);
}

#[test]
fn a_hostile_line_is_escaped() {
    let mut program = Program::start_with(&[], (200, 40));
    program
        .track("\u{1b}]0;pwned\u{7}\u{1b}[2J\u{1b}[31mred\u{9b}5m\u{202e}rtl\u{200b}\ttab\nline");
    program.pty.wait_for_text("pwned");
    program.pty.wait_for_text("Event received");
    // The line's detail as well.
    program.pty.send("g\r");
    program.pty.wait_for_text("\\u");
    program.pty.send("\x03");
    program.assert_quit();
    let raw = String::from_utf8(program.pty.raw()).expect("only text");
    for hostile in ["\u{1b}]0;", "\u{1b}[31mred", "\u{9b}", "\u{202e}", "\u{200b}", "\ttab"] {
        assert!(!raw.contains(hostile), "{hostile:?} reached the terminal");
    }
}

#[test]
fn the_curl_line_can_be_copied() {
    for (environment, start) in
        [(&[][..], "\x1b]52;c;"), (&[("TMUX", "/tmp/tmux,1,0")][..], "\x1bPtmux;\x1b\x1b]52;c;")]
    {
        let mut program = Program::start_with(environment, (100, 30));
        let drawn = program.pty.raw().len();
        program.pty.send("y");
        program.pty.wait_for_output_after(drawn, start);
        program.pty.send("qq");
        program.assert_quit();
    }
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(arguments(dir.path()))
        .env("XDG_CONFIG_HOME", dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("--no-ui") && error.contains("logs --follow"), "{error}");
    assert_eq!(output.stdout, b"");
}

/// `attach` on a daemon: the same console, from another process.
#[test]
fn attach_shows_a_daemons_lines_and_its_end() {
    let mut daemon = Daemon::start();
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(PROGRAM, dir.path());
    command.args(["attach", &daemon.url("")]);
    let mut pty = Pty::spawn(command, (100, 30));
    pty.wait_for_text(&daemon.addr.to_string());
    daemon.track("https://example.com/pricing");
    pty.wait_for_text("Event queued");
    pty.wait_for_text("example.com/pri");
    daemon.kill9();
    pty.wait_for("the loss", |screen| screen.contents().to_lowercase().contains("no connection"));
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
    pty.assert_restored();
}

#[test]
fn panes_a_filter_and_a_trace_in_a_real_terminal() {
    let mut program = Program::start();
    program.track("Pricing");
    program.pty.wait_for_text("Event queued");
    program.pty.send("s");
    program.pty.wait_for_text("▶2");
    program.pty.send("&stage:que");
    program.pty.wait_for_text("unknown stage");
    program.pty.send("ue\r");
    program.pty.wait_for_text("filter “stage:queue”");
    program.pty.send("t");
    program.pty.wait_for_text("trace of evt_");
    program.pty.wait_for("its way to the store", |screen| {
        let contents = screen.contents();
        ["ingestion", "queue", "worker"].iter().all(|stage| contents.contains(stage))
    });
    program.pty.send("\x1b");
    program.pty.wait_for_text("▶2");
    program.pty.send("S");
    program.pty.wait_for("one pane", |screen| !screen.contents().contains("▶2"));
    program.pty.send("qq");
    program.assert_quit();
}

/// A mouse report: a button, and a position counted from 1.
fn mouse(program: &mut Program, button: u8, (x, y): (u16, u16)) {
    program.pty.send(&format!("\x1b[<{button};{x};{y}M"));
    program.pty.send(&format!("\x1b[<{button};{x};{y}m"));
}

#[test]
fn the_mouse_scrolls_selects_and_opens_and_is_released() {
    let mut program = Program::start();
    for nth in 0..8 {
        program.track(&format!("Page {nth}"));
    }
    program.pty.wait_for("more lines than rows", |screen| {
        let contents = screen.contents();
        let lines = contents.split(" lines · following").next().unwrap_or_default();
        lines.rsplit(' ').next().is_some_and(|count| count.parse().is_ok_and(|n: u32| n > 30))
    });
    // While it is off, it is not requested, and reports that arrive nevertheless have no effect.
    assert!(!program.pty.has_mouse());
    program.pty.send("\x1b[<64;10;20M");
    program.pty.send(F2);
    program.pty.wait_for("the mouse", has_mouse);
    program.pty.wait_for_text("mouse is on");
    assert!(program.pty.contents().contains("following"), "{}", program.pty.contents());
    mouse(&mut program, 64, (10, 20));
    program.pty.wait_for("a scrolled log", |screen| !screen.contents().contains("following"));
    // A click on another row selects its line, a second one opens it.
    mouse(&mut program, 0, (30, 15));
    program.pty.wait_for("the selected line", |screen| {
        screen.cell(14, 1).is_some_and(|cell| cell.contents() == "▌")
    });
    mouse(&mut program, 0, (30, 15));
    program.pty.wait_for_text("─ line ");
    program.pty.send("\x1b");
    program.pty.wait_for_text("ingestion");
    program.pty.send("qq");
    program.assert_quit();
}
