//! Jumps over many lines: in slices, with progress, and cancelled by a key.

use bklit_console_core::model::Screen;
use bklit_console_core::msg::Msg;
use bklit_wire::debug_log::{Level, Stage};
use crossterm::event::KeyCode;
use serde_json::json;

use super::feed::{Console, log};

const LINES: usize = 3_000;

/// Lines of which the first is an error about an event that the last one is about, too; few are
/// examined at a time.
fn many(width: u16) -> Console {
    let mut console = Console::new(width, 24);
    let line = |nth: usize| {
        let level = if nth == 0 { Level::Error } else { Level::Info };
        let mut line = log(nth, Stage::ALL[nth % 6], level, &format!("line {nth}"), &json!({}));
        let ends = nth == 0 || nth == LINES - 1;
        line.event_id = Some(if ends { "evt_ends".into() } else { format!("evt_{nth}") });
        line
    };
    console.logs((0..LINES).map(line).collect());
    console.model.set_slice(100);
    console
}

/// Works to the end; returns how many turns that took.
fn work(console: &mut Console) -> usize {
    let mut turns = 0;
    while console.model.has_work() {
        console.send(Msg::Work);
        turns += 1;
        assert!(turns < 10 * LINES);
    }
    turns
}

#[test]
fn a_far_line_is_reached_slice_by_slice_with_progress() {
    for (key, wanted) in [("E", "an error"), ("W", "a warning or error"), ("O", "the event")] {
        for width in [60, 80, 200] {
            let mut console = many(width);
            console.keys(key);
            assert!(console.model.pane().follows(), "{key} looks at all lines at once");
            let says = format!("looking for {wanted} 3 %, Esc stops");
            assert!(console.screen().contains(&says), "{says:?}\n{}", console.screen());
            (0..14).for_each(|_| {
                console.send(Msg::Work);
            });
            assert!(console.screen().contains("50 %"), "{}", console.screen());
            let turns = work(&mut console);
            assert!((10..20).contains(&turns), "{key} {turns}");
            assert_eq!(console.model.pane().cursor_line(), Some(0), "{key}");
            assert!(!console.screen().contains("looking for"), "{}", console.screen());
        }
    }
}

#[test]
fn esc_cancels_only_the_jump() {
    let mut console = many(80);
    console.keys("/line");
    console.code(KeyCode::Enter);
    work(&mut console);
    let before = (console.model.pane().position(), console.log_rows());
    console.keys("E");
    assert!(console.model.has_work());
    console.code(KeyCode::Esc);
    assert!(!console.model.has_work());
    assert_eq!((console.model.pane().position(), console.log_rows()), before);
    assert_eq!(console.model.notice(), Some("jump cancelled"));
    assert!(console.model.pane().search().is_some(), "that is the next layer");
    console.code(KeyCode::Esc);
    assert!(console.model.pane().search().is_none());
}

#[test]
fn any_other_key_cancels_it_and_has_its_effect() {
    for (key, does) in [("k", "moves"), ("?", "opens"), ("\u{1}", "nothing")] {
        let mut console = many(80);
        console.keys("E");
        assert!(console.model.seek().is_some());
        console.keys(key);
        assert!(console.model.seek().is_none(), "{does}");
        assert_eq!(matches!(console.model.screen(), Screen::Help { .. }), key == "?");
        work(&mut console);
        assert_ne!(console.model.pane().cursor_line(), Some(0), "{does}");
    }
    // The same key starts a new search from the reader's line.
    let mut console = many(80);
    console.keys("EEw");
    work(&mut console);
    assert_eq!(console.model.notice(), Some("no warning or error below"));
}

/// Not all lines have been searched yet, so the next match is not known.
#[test]
fn the_next_line_found_is_waited_for() {
    let mut console = many(80);
    console.keys("/\"line 7\"");
    console.code(KeyCode::Enter);
    assert!(console.model.has_work());
    assert_eq!(console.model.pane().found().len(), 0);
    console.keys("N");
    assert!(console.model.seek().is_some() && console.model.pane().follows());
    assert!(console.screen().contains("looking for a match"), "{}", console.screen());
    while console.model.seek().is_some() {
        console.send(Msg::Work);
    }
    assert_eq!(console.model.pane().cursor_line(), Some(799), "the nearest above");
    work(&mut console);
    console.keys("n");
    assert_eq!(console.model.notice(), Some("search wrapped"));
    assert_eq!(console.model.pane().cursor_line(), Some(7));
}

#[test]
fn cleared_lines_are_not_searched() {
    let mut console = many(80);
    console.keys("E");
    console.keys("C");
    assert!(!console.model.has_work());
    console.keys("e");
    assert_eq!(console.model.notice(), Some("no error below"));
}

/// What is shown matters more than the number of lines, even while a filter is being applied.
#[test]
fn a_filter_in_progress_is_named() {
    for width in [60, 80, 200] {
        let mut console = many(width);
        console.keys("5");
        assert!(console.model.has_work());
        while console.model.has_work() {
            assert!(console.screen().contains("without pubsub"), "{}", console.screen());
            console.send(Msg::Work);
        }
    }
}
