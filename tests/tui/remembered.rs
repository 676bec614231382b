//! The layout of a console is restored in the next run.

use std::os::unix::fs::PermissionsExt as _;

use bklit_console_core::model::{ModelOptions, Shell};
use bklit_console_core::msg::{Effect, Job};
use bklit_console_core::remembered::Remembered;
use bklit_console_core::update::{begin, restore};
use crossterm::event::KeyCode;

use super::feed::{Console, busy_with, options};
use super::properties::lines;
use super::terminal::{Program, arguments, command};
use crate::support::pty::Pty;
use crate::support::{DEADLINE, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bklit-tui");
const LAYOUT: &str = "console-layout.json";

fn with_theme(name: &str) -> ModelOptions {
    let shell = Shell { theme_name: name.into(), ..Shell::default() };
    ModelOptions { shell, ..options((120, 40)) }
}

/// What was saved last.
fn saved(console: &mut Console) -> Option<Remembered> {
    let mut layouts = console.model.take_outbox().into_iter().filter_map(|effect| match effect {
        Effect::Job(Job::SaveLayout(layout)) => Some(layout),
        _ => None,
    });
    layouts.next_back()
}

#[test]
fn panes_filters_and_theme_are_restored() {
    let mut console = busy_with(with_theme("dark"));
    begin(&mut console.model);
    console.keys("j");
    assert_eq!(saved(&mut console), None, "moving changes nothing that is kept");
    console.keys("3Lz:process a");
    console.code(KeyCode::Enter);
    console.keys("sll4&stored");
    assert!(saved(&mut console).is_some());
    console.keys(" -x");
    assert_eq!(saved(&mut console), None, "not while typing");
    console.code(KeyCode::Enter);
    console.keys("iIL:theme light");
    console.code(KeyCode::Enter);
    console.keys(":since 10m");
    console.code(KeyCode::Enter);
    let layout = saved(&mut console).unwrap();
    let read = Remembered::read(&layout.to_text().unwrap()).unwrap();

    let mut next = Console::with(with_theme("dark"));
    let notice = restore(&mut next.model, &read).unwrap();
    assert_eq!(notice, "the filters of the last run apply; Esc removes them one by one");
    begin(&mut next.model);
    lines(&mut next, 60, "after");
    let (before, after) = (console.model.panes(), next.model.panes());
    assert_eq!((after.count(), after.focus()), (2, 1));
    for nth in 0..2 {
        let (before, after) = (before.get(nth), after.get(nth));
        assert_eq!(after.filter().stages, before.filter().stages);
        assert_eq!(after.filter().level, before.filter().level);
        assert_eq!((after.folds(), after.wraps()), (before.folds(), before.wraps()));
        assert_eq!(after.filter().process.as_ref().map(|p| p.name.as_str()), Some("a"));
        assert_eq!(after.filter().since, None, "a time does not stay");
    }
    let query = after.get(1).filter().query.as_ref().map(|query| query.source().to_owned());
    assert_eq!(query.as_deref(), Some("stored -x"));
    assert!(next.model.timeline().is_shown());
    let colour = |console: &Console| console.buffer()[(2, 0)].fg;
    assert_eq!(colour(&next), colour(&console), "the theme");
    next.keys("j");
    assert_eq!(saved(&mut next), None, "it looks as before");

    // The conditions that hide the lines are named in the empty pane.
    let screen = next.screen();
    assert!(screen.contains("errors") && screen.contains("stored -x"), "{screen}");
    // If the settings name another theme now, that one counts.
    let mut other = Console::with(with_theme("mono"));
    let plain = colour(&other);
    restore(&mut other.model, &read);
    assert_eq!(colour(&other), plain);
    // A replay is of something else.
    let mut replay = Console::with(with_theme("dark"));
    assert_eq!(restore(&mut replay.model, &read.without_filters()), None);
    assert_eq!(replay.model.panes().count(), 1);
    assert!(replay.model.pane().filter().shows_all() && replay.model.timeline().is_shown());
}

#[test]
fn a_filter_that_is_no_longer_valid_is_left_out() {
    let text = br#"{"version":1,"panes":[{"query":"level:loud","stages":["later","queue"]},
        {},{},{},{},{}],"focus":99,"full":true}"#;
    let mut console = Console::new(80, 24);
    let notice = restore(&mut console.model, &Remembered::read(text).unwrap()).unwrap();
    assert!(notice.contains("no longer valid"), "{notice}");
    assert_eq!(console.model.panes().count(), 4, "as many as there can be");
    assert_eq!(console.model.panes().focus(), 3);
    lines(&mut console, 12, "x");
    let shown = console.model.panes().get(0).index().len();
    assert_eq!(shown, 2, "only lines of the queue");
}

fn start(dir: &std::path::Path, more: &[&str]) -> Pty {
    let mut command = command(PROGRAM, dir);
    command.args(arguments(dir));
    command.args(more);
    Pty::spawn(command, (120, 40))
}

fn quit(mut pty: Pty) {
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0), "{}", pty.contents());
    pty.assert_restored();
}

/// The real program, run after run.
#[test]
fn the_next_run_looks_the_same() {
    let mut program = Program::start_with(&[], (120, 40));
    program.track("one");
    program.pty.wait_for_text("Batch stored");
    program.pty.send("Il");
    program.pty.wait_for_text("warnings and errors");
    // Saved although the process ends at once.
    program.pty.send("\x03");
    program.assert_quit();
    let dir = program.dir;
    let file = dir.path().join(LAYOUT);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut pty = start(dir.path(), &["--read-only"]);
    pty.wait_for_text("the filters of the last run apply; Esc removes them one by one");
    pty.wait_for_text("warnings and errors");
    pty.wait_for_text("0 lines");
    pty.send("\x1b");
    pty.wait_for("all lines", |screen| !screen.contents().contains("warnings and errors"));
    quit(pty);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"level\": null") && text.contains("\"timeline\": true"), "{text}");

    let pty = {
        let mut pty = start(dir.path(), &["--no-remember"]);
        pty.wait_for_text("curl");
        assert!(!pty.contents().contains("warnings and errors"), "{}", pty.contents());
        pty.send("l");
        pty.wait_for_text("warnings and errors");
        pty
    };
    quit(pty);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "neither read nor saved");

    std::fs::write(&file, "{\"version\":2}").unwrap();
    let mut pty = start(dir.path(), &[]);
    pty.wait_for_text("console-layout.json is ignored: version 2 is not supported");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"version\":2}", "kept until a change");
    pty.send("I");
    eventually(DEADLINE, "the layout is saved", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("\"version\": 1"))
    });
    quit(pty);
}
