//! The timeline above the log.

use bklit_console_core::keymap::Context;
use bklit_console_core::model::Screen;
use bklit_console_core::msg::Msg;
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::time::UtcMillis;
use crossterm::event::{KeyCode, MouseButton, MouseEventKind};
use serde_json::json;

use super::feed::{Console, NOON, assert_says, log, options};
use super::mouse::mouse;

/// Ten minutes up to noon: a line a second, and for a minute from 11:55 on an error and two warnings
/// more.
fn minutes() -> Vec<DebugLog> {
    let mut lines = Vec::new();
    for second in -600..0 {
        let mut add = |level, message: &str| {
            let mut line = log(0, Stage::Worker, level, message, &json!({ "second": second }));
            line.timestamp = UtcMillis::from_epoch_millis((NOON + second) * 1000);
            lines.push(line);
        };
        add(Level::Info, "Batch claimed");
        if (-300..-240).contains(&second) {
            add(Level::Error, "Batch failed");
            add(Level::Warn, "Store is slow");
            add(Level::Warn, "Store is slow");
        }
    }
    lines
}

fn console(width: u16, height: u16) -> Console {
    let mut console = Console::new(width, height);
    console.logs(minutes());
    console.tick(1);
    console
}

/// The message and the second of the reader's line.
fn reader(console: &Console) -> (String, i64) {
    let model = &console.model;
    let line = model.ring().get(model.pane().cursor_line().unwrap()).unwrap();
    (line.message().to_owned(), line.time().epoch_millis() / 1000 - NOON)
}

#[test]
fn it_is_drawn_at_all_sizes() {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let mut console = console(width, height);
        console.keys("I");
        let name = format!("timeline_{width}x{height}");
        insta::assert_snapshot!(name, console.screen());
    }
    let mut split = console(120, 40);
    split.keys("I");
    split.code(KeyCode::Esc);
    split.keys("sl");
    split.tick(5);
    insta::assert_snapshot!("timeline_split_120x40", split.screen());
    let mut ascii = Console::with({
        let mut options = options((80, 30));
        options.shell.ascii = true;
        options
    });
    ascii.logs(minutes());
    ascii.keys("I");
    assert!(ascii.screen().is_ascii(), "{}", ascii.screen());
}

#[test]
fn the_selection_moves_and_enter_goes_there() {
    let mut console = console(100, 30);
    console.keys("I");
    assert_eq!(console.model.context(), Context::Timeline);
    assert_says(&console, "▶timeline");
    // Zoomed to five minutes, of which each bar has four seconds.
    console.keys("+");
    assert_eq!(console.model.timeline().span(), Some(300));
    let step = console.model.timeline().bars().step;
    assert_eq!(step, 4);
    (0..67).for_each(|_| drop(console.code(KeyCode::Left)));
    assert_says(&console, "11:55:28–11:55:32 · 16 lines · 8 warnings · 4 errors");
    assert!(console.model.pane().follows(), "the log stays until Enter");
    console.code(KeyCode::Enter);
    assert_eq!(reader(&console), ("Batch claimed".to_owned(), -272));
    assert!(!console.model.pane().follows());
    assert_eq!(console.model.context(), Context::Log, "the keys are the log's again");
    // The reader's place is marked.
    assert_says(&console, "11:55:28–11:55:32 · 16 lines");
    console.keys("f");
    console.keys("III");
    assert_says(&console, "▶timeline");
    console.keys("[");
    console.code(KeyCode::Esc);
    assert!(console.model.timeline().is_shown());
    assert_eq!(console.model.context(), Context::Log);
    console.keys("II");
    assert!(!console.model.timeline().is_shown());
    console.keys(":timeline");
    console.code(KeyCode::Enter);
    assert!(console.model.timeline().is_shown());
}

#[test]
fn it_shows_what_the_filter_shows() {
    let mut console = console(100, 30);
    console.keys("I");
    console.code(KeyCode::Esc);
    assert_eq!(console.model.timeline().bars().total(), [600, 120, 60]);
    console.keys("l");
    assert_eq!(console.model.timeline().bars().total(), [0, 120, 60]);
    console.keys("l");
    assert_eq!(console.model.timeline().bars().total(), [0, 0, 60]);
    assert_says(&console, "60 lines · 60 errors");
    // Folded repeats still count.
    console.keys("z");
    assert_eq!(console.model.timeline().bars().total(), [0, 0, 60]);
    console.keys("zl&nothing like this");
    console.code(KeyCode::Enter);
    assert_eq!(console.model.timeline().bars().total(), [0, 0, 0]);
    assert_says(&console, "0 lines");
    console.keys("I");
    console.code(KeyCode::Left);
    console.code(KeyCode::Enter);
    assert_says(&console, "no lines to go to");
}

/// Also while the filter is being applied, and after it has been.
#[test]
fn a_filter_in_slices_ends_with_the_right_bars() {
    let mut console = console(100, 30);
    console.model.set_slice(50);
    console.keys("Il");
    assert!(console.model.has_work());
    while console.model.has_work() {
        console.send(Msg::Work);
    }
    assert_eq!(console.model.timeline().bars().total(), [0, 120, 60]);
}

/// A flood does not redraw it with each frame, and nothing is drawn without new lines.
#[test]
fn bars_change_at_most_once_a_second() {
    let mut console = console(100, 30);
    console.keys("I");
    console.code(KeyCode::Esc);
    let before = console.model.timeline().bars().clone();
    for _ in 0..20 {
        console.logs(minutes());
        assert_eq!(*console.model.timeline().bars(), before);
    }
    console.tick(1);
    assert_ne!(*console.model.timeline().bars(), before);
    console.tick(5);
    console.model.drawn();
    console.tick(1);
    assert!(!console.model.needs_redraw(), "nothing has changed");
}

#[test]
fn a_click_goes_there() {
    let mut console = console(100, 30);
    console.code(KeyCode::F(2));
    console.keys("I");
    console.code(KeyCode::Esc);
    let strip = console.model.layout().unwrap().timeline.unwrap();
    let bars = console.model.timeline().bars().clone();
    let with_errors = bars.counts.iter().position(|levels| levels[2] > 0).unwrap();
    let (column, _) = bars.columns(with_errors, strip.bars.width.into());
    let at = (strip.bars.x + u16::try_from(column).unwrap(), strip.bars.y + 1);
    mouse(&mut console, MouseEventKind::Down(MouseButton::Left), at);
    assert_eq!(reader(&console).1, bars.seconds(with_errors).start - NOON);
    assert_eq!(console.model.context(), Context::Log);
    // Left of the bars there is nothing.
    let before = reader(&console);
    let labels = (strip.labels.x, strip.labels.y);
    mouse(&mut console, MouseEventKind::Down(MouseButton::Left), labels);
    assert_eq!(reader(&console), before);
}

#[test]
fn without_space_it_says_so() {
    let mut console = console(80, 20);
    console.keys("I");
    assert_says(&console, "no space for the timeline; i hides the figures");
    assert_eq!(console.model.context(), Context::Log);
    console.keys("i");
    assert_eq!(console.model.context(), Context::Timeline);
    console.keys("iI");
    assert!(!console.model.timeline().is_shown());
}

/// From the history page, Enter shows the selected time in the log, or says what the log holds.
#[test]
fn the_history_leads_to_the_log() {
    let mut console = console(100, 40);
    let asked = console.keys("H");
    super::history::answer(&mut console, &asked);
    (0..5).for_each(|_| drop(console.code(KeyCode::Left)));
    console.code(KeyCode::Enter);
    assert!(matches!(console.model.screen(), Screen::Log(_)));
    assert_eq!(reader(&console), ("Batch claimed".to_owned(), -300));
    console.keys("H");
    (0..20).for_each(|_| drop(console.code(KeyCode::Left)));
    console.code(KeyCode::Enter);
    assert!(matches!(console.model.screen(), Screen::History(_)));
    assert_says(&console, "not in the log, which holds 11:50:00 to 11:59:59");
    // Lines that the pane hides are not shown either, but the nearest one that it shows.
    (0..24).for_each(|_| drop(console.code(KeyCode::Right)));
    console.code(KeyCode::Esc);
    console.keys("lH");
    (0..2).for_each(|_| drop(console.code(KeyCode::Left)));
    console.code(KeyCode::Enter);
    assert_says(&console, "is shown; this is the nearest one");
    assert_eq!(reader(&console).0, "Store is slow");
}
