//! The page of figures over time, and the history next to the figures.

use bklit_console_core::appearance::Scheme;
use bklit_console_core::model::{Shell, history::Shift};
use bklit_console_core::msg::{Effect, Msg};
use bklit_console_core::requests::{Answer, HistoryWindow, Request};
use bklit_console_core::theme::{Palette, Theme};
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::history::{
    History, HistoryPoint, HistoryQuery, MINUTE, ProjectTotals, QueuePeaks, StageTotals, Totals,
};
use bklit_wire::time::UtcMillis;
use crossterm::event::KeyCode;
use ratatui::style::Modifier;
use serde_json::json;

use super::feed::{Console, NOON, busy, busy_with, log};
use super::terminal::Program;
use crate::support::{DEADLINE, Daemon, eventually};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];

/// What was counted in a point: busier at its end, with a slow and failing stretch in the middle.
fn totals(at: i64, step: i64, level: u64) -> Totals {
    let minute = at / MINUTE % 60;
    let slow = (20..26).contains(&minute);
    // The last point is in progress.
    let passed = ((NOON + 66) * 1_000 - at).clamp(1_000, step) as u64;
    let count = level * passed / 1_000 * (20 + minute as u64) / 40;
    let mut totals = Totals { accepted: count, refused: count / 200, ..Totals::default() };
    let base = [410, 1_900, 200, if slow { 900_000 } else { 7_400 }, 60];
    for (stage, base) in totals.stages.iter_mut().zip(base) {
        *stage = StageTotals { count, ..StageTotals::default() };
        stage.latencies.record(base, count * 9 / 10);
        stage.latencies.record(base * 2, count / 10);
        stage.latencies.record(base * 6, count / 100);
    }
    totals.stages[Stage::Clickhouse.index()].errors = if slow { 3 + count / 100 } else { 0 };
    totals.accept_to_stored = totals.stages[Stage::Clickhouse.index()].latencies.clone();
    let (depth, failed) = if slow { (900, 12) } else { (20, 0) };
    totals.queue = Some(QueuePeaks { depth, failed, ..QueuePeaks::default() });
    totals.projects = [("shop", 6), ("blog", 3), ("documentation", 1)]
        .map(|(project, tenths)| ProjectTotals {
            project: project.to_owned(),
            accepted: count * tenths / 10,
            refused: if project == "blog" { count / 200 } else { 0 },
            failed: 0,
        })
        .to_vec();
    totals
}

fn history(query: HistoryQuery, level: u64) -> History {
    let (from, step) = (query.from().epoch_millis(), query.step());
    let points = (0..query.points() as i64).map(|nth| from + nth * step);
    // One process was down for a while.
    let points = points.filter(|at| !(40..43).contains(&(at / MINUTE % 60)) || step > 5 * MINUTE);
    let point =
        |at| HistoryPoint { at: UtcMillis::from_epoch_millis(at), totals: totals(at, step, level) };
    History {
        from: query.from(),
        to: query.to(),
        step_ms: step,
        points: points.map(point).collect(),
        processes: Vec::new(),
        incomplete: None,
    }
}

/// Answers a request for the page.
pub(super) fn answer(console: &mut Console, effect: &Option<Effect>) -> HistoryQuery {
    let &Some(Effect::Ask(Request::History(query))) = effect else { panic!("{effect:?}") };
    let before = Shift::ALL.map(|shift| Some(history(query.earlier(shift.millis()), 60)));
    let window = HistoryWindow { now: history(query, 100), before };
    console.send(Msg::Answer(Answer::History(Ok(window.into()))));
    query
}

/// A console on the page, with the last hour.
pub(super) fn open_page(console: &mut Console) {
    let asked = console.keys("H");
    answer(console, &asked);
}

fn open(width: u16, height: u16) -> Console {
    let mut console = busy(width, height);
    open_page(&mut console);
    console
}

fn at_all_sizes(name: &str, console: impl Fn(u16, u16) -> Console) {
    for (width, height) in SIZES {
        let screen = console(width, height).screen();
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

#[test]
fn the_pipeline() {
    at_all_sizes("history", open);
}

#[test]
fn a_stage_compared_with_yesterday_at_a_time() {
    at_all_sizes("history_stage", |width, height| {
        let mut console = open(width, height);
        console.keys("4cc");
        (0..37).for_each(|_| drop(console.code(KeyCode::Left)));
        console
    });
}

#[test]
fn the_last_minute() {
    at_all_sizes("history_minute", |width, height| {
        let mut console = open(width, height);
        console.keys("+1");
        console
    });
}

#[test]
fn without_figures() {
    at_all_sizes("history_failed", |width, height| {
        let mut console = Console::new(width, height);
        console.keys("H");
        let failed = Err("the history of figures is unavailable; try again later".to_owned());
        console.send(Msg::Answer(Answer::History(failed)));
        console
    });
}

/// It can be read without colours, and on terminals that have only ASCII or 16 colours.
#[test]
fn the_heat_map_is_legible_everywhere() {
    let page = |theme, ascii| {
        let shell = Shell { ascii, ..Shell::default() };
        let mut console = busy_with(super::feed::options_with((120, 40), theme, shell));
        let asked = console.keys("H");
        answer(&mut console, &asked);
        console.code(KeyCode::Left);
        console
    };
    let ascii = page(Theme::new(Palette::NoColour), true).screen();
    assert!(ascii.is_ascii(), "{ascii}");
    insta::assert_snapshot!("history_ascii_120x40", ascii);
    for theme in [Theme::of(Scheme::Mono, Palette::TrueColour), Theme::new(Palette::Ansi16)] {
        let buffer = page(theme, false).buffer();
        let reversed =
            buffer.content().iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED));
        assert!(reversed.count() > 8, "the selected time is visible");
        let shades = ["▒", "▓", "█"]
            .map(|shade| buffer.content().iter().filter(|cell| cell.symbol() == shade).count());
        assert!(shades.iter().all(|&count| count > 0), "{shades:?}");
    }
}

/// The log follows the selected time, and stays there when the page is closed.
#[test]
fn the_log_follows_the_selected_time() {
    let mut console = Console::new(100, 40);
    let lines = (0..50).map(|minute| {
        let mut line = log(0, Stage::Worker, Level::Info, &format!("line {minute:02}"), &json!({}));
        line.timestamp = UtcMillis::from_epoch_millis((NOON - 3_000 + minute * 60) * 1_000);
        line
    });
    console.logs(lines.collect());
    console.tick(1);
    let asked = console.keys("H");
    answer(&mut console, &asked);
    (0..10).for_each(|_| drop(console.code(KeyCode::Left)));
    let looked_at = console.screen();
    assert!(looked_at.contains("▲ Sat 2026-01-31 11:50:00"), "{looked_at}");
    console.code(KeyCode::Esc);
    let number = console.model.pane().cursor_line().unwrap();
    let line = console.model.ring().get(number).unwrap();
    assert_eq!(line.message(), "line 40");
    console.keys("H");
    console.keys("G");
    console.code(KeyCode::Esc);
    assert!(console.model.pane().follows(), "back at the present");
}

#[test]
fn zooming_and_moving_request_the_window() {
    let mut console = busy(120, 40);
    let asked = console.keys("H");
    let hour = answer(&mut console, &asked);
    assert_eq!((hour.step(), hour.points()), (MINUTE, 60));
    let asked = console.keys("-");
    let day = answer(&mut console, &asked);
    assert_eq!((day.step(), day.points()), (10 * MINUTE, 144));
    let asked = console.keys("-");
    let week = answer(&mut console, &asked);
    assert_eq!((week.step(), week.points()), (60 * MINUTE, 168));
    // Last night at three.
    (0..9).for_each(|_| drop(console.code(KeyCode::Left)));
    assert!(console.screen().contains("▲ Sat 2026-01-31 03:00:00"), "{}", console.screen());
    console.keys("+");
    let asked = console.keys("+");
    // The first request of the two is still pending; the second one follows its answer.
    let asked = asked.or_else(|| console.tick(1));
    assert_eq!(asked, None);
    let pending = HistoryQuery::new(
        UtcMillis::from_epoch_millis((NOON - 24 * 3_600) * 1_000),
        UtcMillis::from_epoch_millis(NOON * 1_000),
        std::time::Duration::from_secs(600),
    );
    let window = HistoryWindow { now: history(pending.unwrap(), 1), before: [const { None }; 3] };
    console.send(Msg::Answer(Answer::History(Ok(window.into()))));
    let asked = console.tick(1);
    let night = answer(&mut console, &asked);
    let three = UtcMillis::from_epoch_millis((NOON - 9 * 3_600) * 1_000);
    assert!(night.place(three).is_some() && night.step() == MINUTE, "{night:?}");
    // Moved beyond the window, so the new window is requested.
    let asked = (0..7).find_map(|_| console.keys("["));
    assert!(matches!(asked, Some(Effect::Ask(Request::History(_)))), "{asked:?}");
}

#[test]
fn the_slowest_events_and_projects_open() {
    let mut console = open(120, 40);
    console.keys("4");
    assert!(console.screen().contains("slowest failures"), "{}", console.screen());
    let asked = console.code(KeyCode::Enter);
    assert!(
        matches!(&asked, Some(Effect::Ask(Request::Event(id))) if id.starts_with("evt_")),
        "{asked:?}"
    );
    assert!(console.screen().contains("trace of"));
    console.code(KeyCode::Esc);
    console.code(KeyCode::Tab);
    assert!(console.screen().contains("Batch could not be stored: database is locked"));
    console.keys("0");
    console.code(KeyCode::Tab);
    let screen = console.screen();
    assert!(screen.contains("shop") && screen.contains("blog"), "{screen}");
    console.code(KeyCode::Down);
    console.code(KeyCode::Enter);
    assert_eq!(console.model.pane().filter().project.as_deref(), Some("blog"));
}

#[test]
fn names_of_projects_get_the_space_of_unused_columns() {
    let projects = |width, height| {
        let mut console = open(width, height);
        (0..2).for_each(|_| drop(console.code(KeyCode::Tab)));
        console.screen()
    };
    let row = |screen: &str, project: &str| {
        let row = screen.lines().find_map(|line| line.split_once(project));
        row.unwrap_or_else(|| panic!("{project}: {screen}")).1.trim_matches(['│', ' ']).to_owned()
    };
    let screen = projects(120, 40);
    assert!(!screen.contains("0 failed"), "{screen}");
    assert_eq!(row(&screen, "▌shop"), "189 accepted      0 refused", "{screen}");
    assert_eq!(row(&screen, "blog"), "94 accepted      1 refused", "{screen}");
    let screen = projects(80, 24);
    assert_eq!(row(&screen, "blog"), "1 refused", "{screen}");
    assert_eq!(row(&screen, "documentation"), "31 accepted", "{screen}");
}

#[test]
fn commands_open_a_stage_and_the_pipeline() {
    let mut console = busy(120, 40);
    for (command, title) in [
        (":stage worker", "worker  now  latency"),
        (":stage sqlite", "clickhouse  now"),
        (":history", "pipeline  now  accept→stored"),
    ] {
        console.keys(command);
        console.code(KeyCode::Enter);
        let screen = console.screen();
        assert!(screen.contains(title), "{command}: {screen}");
    }
    console.keys(":stage nowhere");
    console.code(KeyCode::Enter);
    assert!(console.screen().contains("unknown stage"), "{}", console.screen());
}

/// Next to the figures, the last hour is shown once more than the last minute is known.
#[test]
fn bars_show_the_last_hour_from_the_start() {
    let mut console = Console::new(200, 60);
    // The first request was sent at the first tick.
    let asked = console.tick(61);
    let Some(Effect::Ask(Request::Bars(query))) = asked else { panic!("{asked:?}") };
    let before = console.screen();
    assert!(before.contains("p95 by second"), "{before}");
    let history = history(query, 100);
    console.send(Msg::Answer(Answer::Bars(Ok(History { points: Vec::new(), ..history.clone() }))));
    assert!(console.screen().contains("p95 by second"), "nothing is known yet");
    console.send(Msg::Answer(Answer::Bars(Ok(history))));
    let screen = console.screen();
    assert!(screen.contains("last hour"), "{screen}");
    let row = screen.lines().find(|row| row.contains("4 ● ")).unwrap();
    assert!(row.contains('█') && row.contains('▁'), "{row}");
    console.keys("+");
    assert!(console.screen().contains("p95 by second"));
    // One request at a time.
    let asked = console.keys("-");
    assert!(matches!(asked, Some(Effect::Ask(Request::Bars(_)))), "{asked:?}");
    console.send(Msg::Answer(Answer::Bars(Err("away".into()))));
    let asked = console.keys("-");
    assert!(matches!(asked, Some(Effect::Ask(Request::Bars(query))) if query.step() > MINUTE));
    assert!(console.screen().contains("last day"));
}

/// The real program: in its own process and attached, the history is there at the start.
#[test]
fn the_history_is_there_at_the_start() {
    let daemon = Daemon::start();
    daemon.track("https://example.com/before");
    eventually(DEADLINE, "it is stored", || {
        let history = daemon.get("/api/history").json();
        // The minute may have changed since the daemon started.
        let mut points = history["points"].as_array().unwrap().iter();
        points.any(|point| point["acceptToStored"][0][1] == 1)
    });
    let (mut pty, _dir) = super::requests::attach(&daemon, &[]);
    pty.send("H");
    pty.wait_for_text("accept→stored, accepted");
    pty.wait_for("the figures", |screen| {
        screen.contents().contains("p50") && screen.contents().contains('█')
    });
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
    let mut program = Program::start_with(&[], (100, 40));
    program.pty.send(":stage worker\r");
    program.pty.wait_for_text("worker  now  latency");
    program.pty.wait_for_text("compared");
    program.pty.send("\x03");
    program.assert_quit();
}
