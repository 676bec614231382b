//! The console's loop in a pseudo-terminal, on streams that the real pipeline does not produce:
//! floods, panics. The program is this test binary itself, which runs only [`child`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bklit_console::{ConsoleOptions, Source, run};
use bklit_tui::commands::console_options;
use bklit_tui::config::Settings;
use bklit_wire::debug_bus::{DebugMessage, DebugStream};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use portable_pty::CommandBuilder;
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use crate::support::pty::Pty;
use crate::support::{DEADLINE, eventually, resident_kib};

const MODE: &str = "BKLIT_TEST_CONSOLE";
/// Where the child reports how the console ended; its terminal without.
const REPORT: &str = "BKLIT_TEST_REPORT";
/// Small enough that the buffer fills quickly, after which memory no longer grows.
const MAX_LINES: usize = 5_000;

/// Not a test of its own: the console for the others.
#[test]
fn child() {
    let Ok(mode) = std::env::var(MODE) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let end = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let on_signal = shutdown.clone();
        let kind = tokio::signal::unix::SignalKind::terminate();
        let mut terminate = tokio::signal::unix::signal(kind).unwrap();
        tokio::spawn(async move {
            terminate.recv().await;
            on_signal.cancel();
        });
        // The default would end the process before the console sees that the terminal is gone.
        let kind = tokio::signal::unix::SignalKind::hangup();
        let _ignored = tokio::signal::unix::signal(kind).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings { data_dir: dir.path().to_owned(), ..Settings::default() };
        // So that every exit has to restore it.
        settings.console.mouse = true;
        settings.console.max_lines = MAX_LINES;
        let options =
            ConsoleOptions { no_color: false, ..console_options("test".into(), &settings) };
        let source = Source::Bus(Box::new(Script { mode: mode.clone(), next: 0 }));
        let console = run(options, source, None, shutdown);
        let patience = if mode == "dropped" { Duration::from_millis(500) } else { Duration::MAX };
        tokio::time::timeout(patience, console).await
    });
    let report = match end {
        Ok(Ok(end)) => format!("ended: {end:?}"),
        Ok(Err(error)) => format!("failed: {error:#}"),
        Err(_) => "dropped".to_owned(),
    };
    if let Ok(file) = std::env::var(REPORT) {
        std::fs::write(file, report).unwrap();
    } else {
        println!("{report}");
    }
    std::process::exit(7);
}

struct Script {
    mode: String,
    next: u64,
}

#[async_trait]
impl DebugStream for Script {
    async fn next(&mut self) -> Option<DebugMessage> {
        self.next += 1;
        let line = |text: String| {
            let log = DebugLog::new(Stage::Queue, Level::Info, text);
            Some(DebugMessage::Log(Arc::new(log)))
        };
        match (self.mode.as_str(), self.next) {
            ("flood", number) => line(format!("line {number}")),
            // Nothing of one screen remains on the next one.
            ("noise", number) => {
                let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                line(format!("line {number} {}", format!("{noise:x} ").repeat(8)))
            }
            (_, 1) => line("the first line".into()),
            ("panic", _) => {
                // Time to draw; a cancelled wait starts over.
                tokio::time::sleep(Duration::from_millis(300)).await;
                panic!("on the console's thread");
            }
            ("panic elsewhere", 2) => {
                let _ = std::thread::spawn(|| panic!("on another thread")).join();
                line("goes on".into())
            }
            ("closed", _) => None,
            _ => std::future::pending().await,
        }
    }
}

fn command(mode: &str) -> CommandBuilder {
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["tui::console::child", "--exact", "--nocapture"]);
    command.env(MODE, mode);
    command.env("RUST_BACKTRACE", "0");
    command
}

fn console(mode: &str) -> Pty {
    Pty::spawn(command(mode), (80, 24))
}

#[track_caller]
fn assert_ended(pty: &mut Pty, how: &str) {
    assert_eq!(pty.wait_for_exit(), Ok(7));
    let contents = pty.contents();
    assert!(contents.contains(how), "{how:?} is not in:\n{contents}");
    pty.assert_restored();
}

#[test]
fn quits_by_key_and_by_shutdown() {
    let mut pty = console("calm");
    pty.wait_for_text("the first line");
    assert!(pty.is_raw() && pty.has_mouse());
    pty.send("q");
    assert_ended(&mut pty, "ended: Quit");

    let mut pty = console("calm");
    pty.wait_for_text("the first line");
    pty.signal(Signal::TERM);
    assert_ended(&mut pty, "ended: Shutdown");
}

#[test]
fn outlives_a_bus_that_closes() {
    let mut pty = console("closed");
    pty.wait_for_text("the first line");
    pty.send("?");
    pty.wait_for("the help", |screen| screen.contents().to_lowercase().contains("keys"));
    pty.send("\x03");
    assert_ended(&mut pty, "ended: Quit");
}

#[test]
fn a_dropped_console_restores_the_terminal() {
    let mut pty = console("dropped");
    pty.wait_for("its own screen", vt100::Screen::alternate_screen);
    assert_ended(&mut pty, "dropped");
}

#[test]
fn a_panic_restores_the_terminal_before_its_report() {
    let mut pty = console("panic");
    pty.wait_for_text("the first line");
    assert_ended(&mut pty, "failed: the console panicked");
    assert!(pty.contents().contains("on the console's thread"), "{}", pty.contents());
}

#[test]
fn another_threads_panic_is_reported_afterwards() {
    let mut pty = console("panic elsewhere");
    pty.wait_for_text("goes on");
    assert!(!pty.contents().contains("on another thread"));
    pty.send("q");
    assert_ended(&mut pty, "ended: Quit");
    assert!(pty.contents().contains("on another thread"), "{}", pty.contents());
}

#[test]
fn a_key_is_answered_in_a_flood() {
    let mut pty = console("flood");
    pty.wait_for_text("line ");
    pty.send("?");
    pty.wait_for("the help", |screen| screen.contents().to_lowercase().contains("keys"));
    pty.send("\x03");
    assert_ended(&mut pty, "ended: Quit");
}

/// The terminal accepts a tenth of what the console could draw.
#[test]
fn a_slow_terminal_gets_fewer_frames_and_the_newest() {
    const PACE: usize = 10 * 1024;
    // The kernel's buffers, the frame that is being written, and the one with the key's effect.
    const ON_ITS_WAY: usize = 48 * 1024;
    let mut pty = Pty::spawn(command("noise"), (200, 60));
    pty.wait_for_text("line ");
    pty.slow_down(PACE);
    let start = pty.received();
    // Long enough that queued frames would be ten times what may be in transit.
    eventually(DEADLINE, "some seconds pass", || pty.received() > start + 4 * PACE);
    let memory = resident_kib(pty.pid());
    let pressed = pty.received();
    pty.send("?");
    pty.wait_for("the help", |screen| screen.contents().contains("─ keys ─"));
    let before_it = pty.received() - pressed;
    assert!(before_it < ON_ITS_WAY, "{before_it} bytes came before what the key did");
    let grown = resident_kib(pty.pid()).saturating_sub(memory);
    assert!(grown < 16 << 10, "{grown} KiB more in memory");
    pty.slow_down(0);
    pty.send("\x03");
    assert_ended(&mut pty, "ended: Quit");
}

#[test]
fn a_frozen_terminal_does_not_delay_the_exit() {
    let mut pty = console("flood");
    pty.wait_for_text("line ");
    pty.jam();
    pty.signal(Signal::TERM);
    eventually(DEADLINE, "the modes are given back", || !pty.is_raw());
    pty.freeze(false);
    assert_eq!(pty.wait_for_exit(), Ok(7));
}

#[test]
fn a_vanished_terminal_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    for mode in ["calm", "flood"] {
        let report = dir.path().join(mode);
        let mut command = command(mode);
        command.env(REPORT, &report);
        let mut pty = Pty::spawn(command, (80, 24));
        pty.wait_for_text("line");
        pty.hang_up();
        assert_eq!(pty.wait_for_exit(), Ok(7));
        assert_eq!(std::fs::read_to_string(report).unwrap(), "ended: HungUp");
    }
}
