//! Long lines: wrapped, or scrolled sideways.

use bklit_console_core::msg::Effect;
use bklit_console_core::msg::Msg;
use bklit_console_core::playback::{ReplayCommand, ReplayState, Replayed};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::time::UtcMillis;
use crossterm::event::{KeyCode, MouseButton, MouseEventKind};
use serde_json::json;

use super::feed::{Console, assert_says, log};
use super::mouse::mouse;

/// A line whose details end with their number.
fn long(nth: usize, words: usize) -> DebugLog {
    let words = (0..words).map(|word| format!("word{word:02}")).collect::<Vec<_>>().join(" ");
    let data = json!({ "url": words, "zlast": format!("end-of-{nth}") });
    log(nth, Stage::Worker, Level::Info, &format!("line {nth}"), &data)
}

/// Adds lines that are longer than the screen is wide.
pub(super) fn add_long(console: &mut Console) {
    console.logs((0..30).map(|nth| long(nth, 12)).collect());
}

fn console(lines: impl Iterator<Item = DebugLog>) -> Console {
    let mut console = Console::new(80, 24);
    console.logs(lines.collect());
    console.tick(1);
    console
}

#[test]
fn wrapped_lines_take_several_rows_with_the_start_only_on_the_first() {
    let mut console = console((0..30).map(|nth| long(nth, 12)));
    assert!(!console.screen().contains("end-of-29"), "cut off");
    console.keys("L");
    assert_says(&console, "long lines wrapped, at most 6 rows");
    insta::assert_snapshot!("wrapped_80x24", console.screen());
    let rows = console.log_rows();
    assert!(rows.last().unwrap().contains("end-of-29"), "the newest is visible as a whole");
    let starts = rows.iter().filter(|row| row.contains("worker")).count();
    assert!(starts < rows.len() / 2, "{rows:#?}");
    console.keys("L");
    assert!(!console.screen().contains("end-of-29"));
}

#[test]
fn a_truncated_line_has_a_mark() {
    let mut console = console((0..2).map(|nth| long(nth, 200)));
    console.keys(":set wrap on");
    console.code(KeyCode::Enter);
    let rows = console.log_rows();
    let marked = rows.iter().filter(|row| row.trim_end_matches(['│', ' ']).ends_with('…')).count();
    assert_eq!(marked, 2, "the end of one line, and another one: {rows:#?}");
}

/// Moving by lines and screens shows every line, and the selected one as a whole.
#[test]
fn every_line_can_be_reached() {
    let mut console = console((0..40).map(|nth| long(nth, nth % 30)));
    console.keys("Lg");
    let reader = |console: &Console| console.model.pane().cursor_line().unwrap();
    for nth in 0..40 {
        assert_eq!(reader(&console), nth);
        let row = console.log_rows().into_iter().find(|row| row.contains('▌')).unwrap();
        assert!(row.contains(&format!("line {nth} ")), "{row}");
        console.keys("j");
    }
    console.keys("g");
    let mut seen = vec![false; 40];
    for _ in 0..60 {
        for row in console.log_rows() {
            for (nth, seen) in seen.iter_mut().enumerate() {
                *seen |= row.contains(&format!("line {nth} "));
            }
        }
        console.code(KeyCode::PageDown);
    }
    assert!(seen.iter().all(|&seen| seen), "paging skips no line: {seen:?}");
    assert_eq!(reader(&console), 39);
    for _ in 0..60 {
        console.code(KeyCode::PageUp);
    }
    assert_eq!(reader(&console), 0);
}

#[test]
fn a_click_on_any_row_selects_its_line() {
    let mut console = console((0..40).map(|nth| long(nth, nth % 20)));
    console.code(KeyCode::F(2));
    console.keys("Lgjjjjjj");
    let log = console.model.layout().unwrap().log;
    let number = |row: &String| {
        let rest = row.split("line ").nth(1)?;
        rest.split(' ').next()?.parse::<u64>().ok()
    };
    for nth in 0..log.height {
        // The nearest row above that starts a line.
        let rows = console.log_rows();
        let Some(line) = rows[..=usize::from(nth)].iter().rev().find_map(number) else { continue };
        let before = console.model.pane().position();
        mouse(&mut console, MouseEventKind::Down(MouseButton::Left), (log.x + 40, log.y + nth));
        if before != console.model.pane().position() {
            assert_eq!(console.model.pane().cursor_line(), Some(line), "row {nth}");
        }
        // A click on the selected line opens it.
        console.code(KeyCode::Esc);
    }
}

#[test]
fn the_visible_lines_do_not_move_while_lines_arrive() {
    let mut console = console((0..60).map(|nth| long(nth, nth % 25)));
    console.keys("Lkkkkkk");
    let rows = console.log_rows();
    for nth in 60..90 {
        console.logs(vec![long(nth, nth % 25)]);
        assert_eq!(console.log_rows(), rows, "after line {nth}");
    }
    console.resize(120, 40);
    console.resize(80, 24);
    let reader = console.log_rows().into_iter().find(|row| row.contains('▌'));
    assert_eq!(reader, rows.into_iter().find(|row| row.contains('▌')));
}

#[test]
fn a_search_is_highlighted_wherever_it_is() {
    let mut console = console((0..3).map(|nth| long(nth, 14)));
    console.keys("L/word13");
    console.code(KeyCode::Enter);
    let buffer = console.buffer();
    let log = console.model.layout().unwrap().log;
    let found = |x: u16, y: u16| {
        let text: String = (0..6).map(|dx| buffer[(x + dx, y)].symbol().to_owned()).collect();
        text == "word13" && buffer[(x, y)].bg != buffer[(x, log.bottom())].bg
    };
    let places = (log.y..log.bottom()).flat_map(|y| (log.x..log.right() - 6).map(move |x| (x, y)));
    assert_eq!(places.filter(|&(x, y)| found(x, y)).count(), 3, "{}", console.screen());
}

#[test]
fn cut_lines_scroll_to_their_end_and_back() {
    let mut console = console((0..30).map(|nth| long(nth, 12)));
    let before = console.log_rows();
    let mut presses = 0;
    while !console.screen().contains("end-of-29") {
        console.keys(".");
        presses += 1;
        assert!(presses < 20, "{}", console.screen());
    }
    insta::assert_snapshot!("scrolled_right_80x24", console.screen());
    let rows = console.log_rows();
    assert!(rows.iter().all(|row| row.contains("worker")), "the start stays: {rows:#?}");
    (0..9).for_each(|_| drop(console.code(KeyCode::Right)));
    assert_says(&console, "this is the end of the longest line shown");
    (0..20).for_each(|_| drop(console.code(KeyCode::Left)));
    assert_says(&console, "this is the start of the lines");
    console.tick(5);
    assert_eq!(console.log_rows(), before);
    console.keys("L,");
    assert_says(&console, "long lines are wrapped; L cuts them off");
}

/// In a replay, the arrows are for its clock.
#[test]
fn arrows_seek_in_a_replay() {
    let mut console = console((0..30).map(|nth| long(nth, 12)));
    let at = UtcMillis::from_epoch_millis(0);
    console.send(Msg::Replay(vec![Replayed::State(ReplayState {
        start: at,
        end: at,
        at,
        speed: 0,
        paused: false,
        seeking: false,
        ended: false,
        unreadable: 0,
        first_unreadable: None,
    })]));
    let effect = console.code(KeyCode::Right);
    assert!(matches!(effect, Some(Effect::Replay(ReplayCommand::Seek(_)))), "{effect:?}");
    assert_eq!(console.keys("."), None);
    assert!(console.model.pane().shift() > 0);
}
