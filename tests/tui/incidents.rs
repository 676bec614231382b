//! A bad night: what the first screen shows about each incident, and where its keys lead.

use bklit_console_core::model::Screen;
use bklit_console_core::msg::Msg;
use bklit_console_core::requests::Answer;
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::gauges::{Failure, Gauges, Health, QueueGauges};
use bklit_wire::pause::Pause;
use bklit_wire::time::UtcMillis;
use crossterm::event::KeyCode;
use serde_json::json;

use super::feed::{Console, NOON, assert_says, assert_silent, busy, log, pass};
use super::views::{open_queue, snapshot};

const REDIS: &str = "no connection to Redis at 10.0.0.7:6379: Connection refused";

fn failure(part: &str, reason: &str) -> Failure {
    Failure { part: part.to_owned(), reason: reason.to_owned(), ..Failure::default() }
}

/// Another process has the store locked; nothing is stored.
fn locked(figures: &mut Gauges) {
    figures.store_health = Health::Failing;
    figures.failures = vec![failure("store", "store.db is locked by process 311 (sqlite3)")];
    figures.accept_to_stored = Default::default();
    for stage in &mut figures.stages[2..] {
        *stage = Default::default();
    }
    figures.queue = Some(QueueGauges { depth: 1_204, lapsed: Some(0), ..QueueGauges::default() });
}

/// Redis is gone; events go to the spool.
fn without_redis(figures: &mut Gauges) {
    (figures.queue_health, figures.worker_health) = (Health::Failing, Health::Failing);
    let worker = format!("the queue is unavailable: {REDIS}");
    figures.failures = vec![failure("queue", REDIS), failure("worker", &worker)];
    // What was known before.
    figures.queue =
        Some(QueueGauges { depth: 7, spooled: 340, lapsed: None, ..QueueGauges::default() });
}

#[test]
fn a_small_screen_says_what_is_wrong_after_the_alert_is_acknowledged() {
    let mut console = busy(80, 24);
    assert_says(&console, "accept→stored p95");
    pass(&mut console, 12, locked);
    assert_says(&console, "ALERT  ✗ store.db is locked by process 311 (sqlite3) since 12:01:");
    console.keys("a");
    assert_silent(&console, "ALERT");
    assert_says(&console, "queue 1,204 · clickhouse: store.db is locked by process 311 (sqlite3) ");
    assert_says(&console, "P problems");
    insta::assert_snapshot!("store_locked_80x24", console.screen());
    console.resize(200, 60);
    assert_says(&console, "nothing stored for 1");
    assert_silent(&console, "accept→stored");
}

#[test]
fn an_alert_that_ended_says_so_in_any_space() {
    for width in [60, 80, 100, 200] {
        let mut console = busy(width, 24);
        pass(&mut console, 12, locked);
        pass(&mut console, 5, |_| {});
        assert_says(&console, " normal");
        pass(&mut console, 8, |_| {});
        assert_says(&console, "✓");
        let screen = console.screen();
        let row = screen.lines().find(|row| row.contains(" ALERT ")).unwrap();
        assert!(row.contains(" ended"), "{row}");
    }
    let mut console = busy(80, 24);
    pass(&mut console, 12, without_redis);
    let screen = console.screen();
    let row = screen.lines().find(|row| row.contains(" ALERT ")).unwrap();
    assert!(row.contains("queue: no connection to Redis at …Connection refused 12:01:"), "{row}");
}

#[test]
fn without_redis_the_depth_is_unknown_and_the_spool_is_not() {
    let mut console = busy(80, 24);
    pass(&mut console, 12, without_redis);
    assert_says(&console, "─ queue – · 340 spooled · queue: Connection refused");
    assert_silent(&console, "7 of 1,000");
    console.resize(120, 40);
    let screen = console.screen();
    let waiting = screen.lines().find(|row| row.contains("│ waiting")).unwrap();
    assert!(waiting.contains("│ waiting            –"), "{waiting}");
    assert_says(&console, "Connection refused since 12:01");
    let node = screen.lines().nth(4).unwrap();
    assert!(node.contains("│ ") && node.contains("Connection refused"), "{node}");
    assert_silent(&console, "…sed");
    console.resize(160, 40);
    assert_says(&console, "; 340 events in the spool since 12:01");
    // The queue is read again while the spool is emptied.
    pass(&mut console, 2, |figures| {
        figures.queue_health = Health::Failing;
        figures.failures = vec![failure("queue", "9 wait there until the queue accepts them")];
        figures.queue =
            Some(QueueGauges { depth: 331, spooled: 9, lapsed: Some(0), ..QueueGauges::default() });
    });
    assert_says(&console, "331 of 1,000");
}

#[test]
fn many_refused_events_are_seen_in_the_flow_and_raise_an_alert() {
    let mut console = busy(80, 24);
    pass(&mut console, 60, |figures| (figures.accepted, figures.refused) = (60, 2));
    assert_silent(&console, "% refused");
    assert_silent(&console, "ALERT");
    pass(&mut console, 60, |figures| (figures.accepted, figures.refused) = (60, 40));
    assert_says(&console, "· 40 % refused ·");
    assert_says(&console, "ALERT  ✗ 40 % of events refused (2,400 in a minute) since 12:0");
    console.resize(120, 40);
    assert_says(&console, "40 % refused");
    assert_says(&console, "; clients get an error since 12:0");
    let mut lines = refusals();
    for line in &mut lines {
        line.project_id = Some("shop".to_owned());
        line.timestamp = UtcMillis::from_epoch_millis((NOON + 190) * 1000);
    }
    console.logs(lines);
    console.tick(1);
    assert_says(&console, "; mostly 400 shop: title");
    console.resize(200, 60);
    assert_says(&console, "; mostly 400 shop: title: expected a string, found");
}

/// A flood of refused requests, and an error among them.
fn refusals() -> Vec<DebugLog> {
    let mut lines: Vec<_> = (0..40)
        .map(|nth| {
            let error = "title: expected a string, found a number";
            let data = json!({ "error": error, "url": format!("https://shop.example/{nth}"),
                "status": 400, "sessionId": "s_1", "token": "tok_1" });
            log(nth, Stage::Ingestion, Level::Warn, "Request refused", &data)
        })
        .collect();
    let locked = json!({ "reason": "store.db is locked by process 311 (sqlite3)" });
    lines.push(log(40, Stage::Clickhouse, Level::Error, "Cannot store a batch, retrying", &locked));
    lines
}

#[test]
fn problems_open_at_the_worst_one_and_esc_leads_back_also_during_an_alert() {
    let mut console = busy(80, 24);
    console.logs(refusals().split_off(20));
    console.keys("Pj");
    let selected = |console: &Console| {
        let problems = &console.model.panels().problems;
        (problems.selected().unwrap().key.level(), problems.cursor().selected())
    };
    assert_eq!(selected(&console).1, 1);
    console.code(KeyCode::Esc);
    pass(&mut console, 12, locked);
    console.logs(refusals());
    console.keys("P");
    console.send(Msg::Answer(Answer::Queue(Ok(snapshot(0)))));
    assert_eq!(selected(&console), (Level::Error, 0));
    console.keys("jj");
    let at = selected(&console);
    console.code(KeyCode::Enter);
    assert!(matches!(console.model.screen(), Screen::Log(_)));
    assert_says(&console, "ALERT");
    console.code(KeyCode::Esc);
    assert!(matches!(console.model.screen(), Screen::Problems(_)), "{}", console.screen());
    assert_says(&console, "ALERT");
    assert_eq!(selected(&console), at, "where it was left");
}

#[test]
fn the_lines_of_a_group_show_what_they_do_not_have_in_common() {
    let mut console = Console::new(120, 40);
    console.logs(refusals());
    console.tick(1);
    console.keys("Pj");
    console.code(KeyCode::Enter);
    assert_says(&console, "log · title: expected a string, found a number ─");
    assert_says(&console, "only these (Esc goes back)");
    let rows = console.log_rows();
    let last = rows.iter().rev().find(|row| row.contains("Request refused")).unwrap();
    assert!(last.contains("url=https://shop.example/39"), "{last}");
    assert!(!last.contains("expected a string"), "{last}");
}

#[test]
fn keys_that_would_do_nothing_are_not_offered() {
    let mut console = busy(200, 60);
    open_queue(&mut console, Ok(snapshot(0)));
    for key in ["r retry", "R retry all", "d delete", "D delete all", "X export", "filter"] {
        assert_silent(&console, &format!(" {key} "));
    }
    let mut console = Console::new(200, 60);
    console.logs(refusals());
    console.tick(1);
    console.keys("P");
    assert_silent(&console, "t trace");
    assert_silent(&console, "b session");
    console.keys("G");
    assert_says(&console, "b session");
    console.code(KeyCode::Enter);
    console.keys("k");
    console.resize(100, 40);
    console.code(KeyCode::Enter);
    assert!(matches!(console.model.screen(), Screen::Detail(_)));
    assert_silent(&console, "t trace");
    assert_says(&console, "b session");
}

#[test]
fn the_reason_of_a_failing_process_is_shown_at_any_width() {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let mut console = busy(width, height);
        pass(&mut console, 3, without_redis);
        console.keys("M");
        console.tick(1);
        assert_says(&console, &format!("─ queue: {REDIS} ─"));
    }
}

#[test]
fn a_pause_says_who_why_and_since_when_at_any_width() {
    let pause = || {
        Some(Pause {
            by: "ann@ops".to_owned(),
            reason: Some("new disk".to_owned()),
            since: UtcMillis::from_epoch_millis(NOON * 1000),
        })
    };
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let mut console = busy(width, height);
        pass(&mut console, 12, |figures| {
            figures.paused.workers = pause();
            // Nothing is stored.
            figures.stages[3] = Default::default();
            figures.accept_to_stored = Default::default();
        });
        assert_says(&console, "WORKERS PAUSED");
        assert_says(&console, "paused by ann@ops since 12:00:00: new disk");
        if width > 80 {
            assert_says(&console, "nothing stored for 14 s");
        }
        let mut console = busy(width, height);
        pass(&mut console, 3, |figures| figures.paused.intake = pause());
        assert_says(&console, "INTAKE PAUSED");
        assert_says(&console, "paused by ann@ops since 12:00:00: new disk");
    }
}
