//! The console does not mislead: figures have a time, old events are not shown as new, and unknown
//! values not as zero.

use std::sync::Arc;

use bklit_alerts::AlertSettings;
use bklit_console_core::model::panels::MAX_FAILED;
use bklit_console_core::model::{ModelOptions, Screen, Shell};
use bklit_console_core::msg::{Effect, Msg};
use bklit_console_core::requests::{Answer, Request};
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::gauges::{Failure, Health, QueueGauges};
use bklit_wire::time::UtcMillis;
use crossterm::event::KeyCode;
use serde_json::json;

use super::feed::{Console, busy, gauges, log, options};
use super::views::{mismatches, open_queue, snapshot};

fn errors(console: &mut Console, count: usize) {
    let error = |nth| log(nth, Stage::Worker, Level::Error, "Batch failed", &json!({}));
    console.logs((0..count).map(error).collect());
}

fn with_alerts() -> Console {
    let alerts = AlertSettings { errors_per_minute: 10, ..AlertSettings::default() };
    let shell = Shell { alerts, ..Shell::default() };
    Console::with(ModelOptions { shell, ..options((100, 30)) })
}

#[test]
fn earlier_errors_raise_no_alert_and_count_for_no_rate() {
    let mut console = with_alerts();
    errors(&mut console, 50);
    for _ in 0..4 {
        console.tick(1);
    }
    assert!(!console.screen().contains("ALERT"), "{}", console.screen());
    assert_eq!(console.model.figures().summary().stages[Stage::Worker.index()].rate, 0.0);
    // A process publishes figures: lines that arrive now are current.
    console.feed(vec![DebugMessage::Gauges(Arc::new(gauges(1)))]);
    errors(&mut console, 50);
    for _ in 0..4 {
        console.tick(1);
    }
    assert!(console.screen().contains("ALERT"), "{}", console.screen());
}

#[test]
fn lines_logged_after_it_was_opened_count_before_any_figures_arrive() {
    let mut console = with_alerts();
    let second = console.second;
    let error = |nth| {
        let mut line = log(nth, Stage::Worker, Level::Error, "Batch failed", &json!({}));
        line.timestamp = UtcMillis::from_epoch_millis(second * 1000 + nth as i64);
        line
    };
    console.logs((0..50).map(error).collect());
    for _ in 0..4 {
        console.tick(1);
    }
    assert!(console.screen().contains("ALERT"), "{}", console.screen());
}

#[test]
fn without_published_figures_lines_count_after_a_moment() {
    let mut console = with_alerts();
    console.tick(5);
    errors(&mut console, 50);
    for _ in 0..4 {
        console.tick(1);
    }
    assert!(console.screen().contains("ALERT"), "{}", console.screen());
    let figures = &console.model.figures().summary().stages[Stage::Worker.index()];
    assert_eq!(figures.errors, 50);
    // Clearing the log drops lines but not counts.
    console.keys("C");
    console.tick(1);
    assert_eq!(console.model.figures().summary().stages[Stage::Worker.index()].errors, 50);
    console.tick(70);
    assert_eq!(console.model.figures().summary().stages[Stage::Worker.index()].errors, 0);
}

#[test]
fn refused_requests_are_seen_in_the_figures() {
    let mut console = Console::new(100, 30);
    for _ in 0..3 {
        let mut figures = gauges(20);
        figures.stages[Stage::Ingestion.index()].warnings = 4;
        console.feed(vec![DebugMessage::Gauges(Arc::new(figures))]);
        console.tick(1);
    }
    let screen = console.screen();
    let row = screen.lines().find(|row| row.contains("● ingestion")).unwrap();
    assert!(row.split_whitespace().any(|cell| cell == "12"), "{row}");
}

#[test]
fn a_process_that_hangs_is_not_live() {
    let mut console = busy(100, 30);
    assert!(console.screen().contains("● LIVE"));
    console.tick(9);
    let screen = console.screen();
    assert!(screen.contains("SILENT 10 s") && !screen.contains("LIVE"), "{screen}");
    console.feed(vec![DebugMessage::Gauges(Arc::new(gauges(1)))]);
    assert!(console.screen().contains("● LIVE"));
}

/// An embedded console reports its own process, which runs whether Redis does or not.
#[test]
fn without_redis_a_console_shows_what_its_own_process_knows() {
    let mut console = busy(140, 40);
    console.feed(vec![DebugMessage::Disconnected("Connection refused (os error 111)".into())]);
    assert!(console.screen().contains("NO CONNECTION"), "{}", console.screen());
    let mut figures = gauges(1);
    figures.queue_health = Health::Failing;
    figures.failures = vec![Failure {
        part: "queue".to_owned(),
        message: "Redis unavailable".to_owned(),
        reason: "Connection refused (os error 111)".to_owned(),
        since: None,
    }];
    figures.queue = Some(QueueGauges { in_flight: 2, spooled: 151, ..QueueGauges::default() });
    for _ in 0..3 {
        console.feed(vec![DebugMessage::Gauges(Arc::new(figures.clone()))]);
        console.tick(1);
    }
    let screen = console.screen();
    let header = screen.lines().next().unwrap();
    assert!(header.contains("queue ✗  store ✓") && header.contains("100/s"), "{header}");
    assert!(header.contains("THIS PROCESS ONLY"), "{header}");
    let alert = "✗ queue: Connection refused (os error 111); 151 events in the spool since";
    assert!(screen.contains(alert), "{screen}");
    assert!(screen.contains("151 spooled") && !screen.contains("2 151"), "{screen}");
    // Then the process stops reporting.
    console.tick(6);
    assert!(console.screen().contains("NO CONNECTION"), "{}", console.screen());
    console.feed(vec![DebugMessage::Connected]);
    let screen = console.screen();
    let note = screen.lines().find(|row| row.contains("no connection from")).unwrap();
    assert!(note.contains("console") && !note.contains("unparsed"), "{note}");
}

#[test]
fn a_gap_between_connections_is_shown_in_the_log() {
    let mut console = busy(100, 30);
    console.feed(vec![DebugMessage::Disconnected("reset by peer".into())]);
    let screen = console.screen();
    let header = screen.lines().next().unwrap();
    assert!(header.contains("–") && !header.contains("/s"), "{header}");
    console.tick(13);
    console.feed(vec![DebugMessage::Disconnected("refused".into())]);
    console.feed(vec![DebugMessage::Connected]);
    let screen = console.screen();
    assert!(screen.contains("no connection from 12:0"), "{screen}");
}

#[test]
fn a_notice_hides_no_filter_and_disappears_with_the_next_key() {
    let mut console = busy(80, 24);
    console.keys("&level:>=warn");
    console.code(KeyCode::Enter);
    console.keys("n");
    let screen = console.screen();
    assert!(screen.contains("no search yet") && screen.contains("filter “level:>=warn”"));
    console.keys("k");
    assert!(!console.screen().contains("no search yet"));
}

#[test]
fn actions_after_a_search_apply_to_a_match() {
    let mut console = busy(120, 40);
    console.keys("g");
    console.keys("/checkout");
    console.code(KeyCode::Enter);
    let number = console.model.pane().cursor_line().unwrap();
    let line = console.model.ring().get(number).unwrap();
    assert!(line.fields().contains("checkout"), "{}", line.fields());
}

#[test]
fn failed_events_further_back_are_looked_for() {
    let mut console = busy(100, 30);
    let mut found = snapshot(25);
    found.view.failed = 260;
    found.has_more = true;
    open_queue(&mut console, Ok(found.clone()));
    assert!(console.screen().contains("235 older not loaded"), "{}", console.screen());
    console.keys("R");
    assert!(console.screen().contains("Retry 260 events?"), "{}", console.screen());
    assert!(console.screen().contains("Enter retry"), "{}", console.screen());
    console.code(KeyCode::Esc);
    console.keys("/no such reason");
    console.code(KeyCode::Enter);
    assert!(console.screen().contains("searching 235 more"), "{}", console.screen());
    let asked = (0..20).find_map(|_| {
        console.tick(1).filter(|effect| matches!(effect, Effect::Ask(Request::Queue { .. })))
    });
    assert_eq!(asked, Some(Effect::Ask(Request::Queue { failed: MAX_FAILED })));
    let mut all = snapshot(260);
    all.view.failed = 260;
    all.has_more = false;
    console.send(Msg::Answer(Answer::Queue(Ok(all))));
    assert!(console.screen().contains("No failed event matches"), "{}", console.screen());
}

#[test]
fn without_an_answer_published_figures_stay_and_batches_are_not_none() {
    let mut console = busy(100, 30);
    open_queue(&mut console, Err("nobody to ask".to_owned()));
    let screen = console.screen();
    assert!(screen.contains("waiting") && screen.contains("unavailable"), "{screen}");
}

#[test]
fn open_views_are_bounded() {
    let mut console = busy(100, 30);
    console.keys("k");
    for _ in 0..40 {
        console.keys("t");
        console.code(KeyCode::Enter);
    }
    let mut back = 0;
    while !matches!(console.model.screen(), Screen::Log(_)) {
        console.code(KeyCode::Esc);
        back += 1;
        assert!(back <= 8, "too many layers");
    }
}

#[test]
fn the_list_of_findings_never_scrolls_past_its_end() {
    let mut console = busy(100, 30);
    mismatches(&mut console, 500);
    console.keys("VG");
    mismatches(&mut console, 100);
    let screen = console.screen();
    let rows = screen.lines().filter(|row| row.contains("url differs")).count();
    assert!(rows > 10, "{screen}");
}

#[test]
fn commands_work_in_views_and_what_changes_the_log_shows_it() {
    let mut console = busy(100, 30);
    open_queue(&mut console, Ok(snapshot(3)));
    console.keys(":live");
    let asked = console.code(KeyCode::Enter);
    assert!(matches!(asked, Some(Effect::Ask(Request::Live))), "{asked:?}");
    assert!(matches!(console.model.screen(), Screen::Visitors(_)));
    console.keys(":level error");
    console.code(KeyCode::Enter);
    assert!(matches!(console.model.screen(), Screen::Log(_)));
}

#[test]
fn goto_shows_a_time() {
    let mut console = Console::new(100, 30);
    let line = |nth| log(nth, Stage::Worker, Level::Info, "Batch stored", &json!({ "n": nth }));
    console.logs((0..400).map(line).collect());
    let at = |console: &Console| console.model.pane().cursor_line();
    // Lines are 137 ms apart and begin a minute before noon.
    console.keys(":goto 11:59:30");
    console.code(KeyCode::Enter);
    assert_eq!(at(&console), Some(219));
    console.keys(":goto 50s");
    console.code(KeyCode::Enter);
    assert_eq!(at(&console), Some(73));
    console.keys(":goto 11:30");
    console.code(KeyCode::Enter);
    assert_eq!(at(&console), Some(0));
    assert!(console.screen().contains("this is the oldest"), "{}", console.screen());
    console.keys(":goto 25:00");
    console.code(KeyCode::Enter);
    assert!(console.screen().contains("invalid time"), "{}", console.screen());
}
