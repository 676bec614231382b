//! How rows use their space: nothing is cut next to empty cells, and the most useful parts come
//! first.

use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::gauges::{Failure, Gauges, Health};
use crossterm::event::KeyCode;
use serde_json::json;

use super::feed::{Console, assert_says, busy, log, pass};

const LOCKED: &str = "store.db is locked by process 29181 (python3)";
const REVOKED: &str = "the token is not valid: it does not exist or was revoked";
const OTHER_PROJECT: &str = "the token is not for this project";

#[track_caller]
fn row(console: &Console, with: &str) -> String {
    let screen = console.screen();
    let row = screen.lines().find(|row| row.contains(with));
    row.unwrap_or_else(|| panic!("{with:?} is not in:\n{screen}")).to_owned()
}

fn refused(nth: usize, path: &str, error: &str) -> DebugLog {
    let url = format!("https://www.example.com{path}");
    let data = json!({ "error": error, "path": "/track", "status": 401, "url": url });
    log(10 * nth, Stage::Ingestion, Level::Warn, "Request refused", &data)
}

/// A console that shows problems: two kinds of refused requests, and a locked store.
fn problems(width: u16, height: u16) -> Console {
    let mut console = Console::new(width, height);
    let paths = ["/", "/pricing", "/checkout", "/docs"];
    console.logs((0..8).map(|nth| refused(nth, paths[nth % 4], REVOKED)).collect());
    console.logs((8..12).map(|nth| refused(nth, "/", OTHER_PROJECT)).collect());
    let data = json!({ "error": LOCKED });
    console.logs(vec![log(200, Stage::Clickhouse, Level::Error, "Batch not stored", &data)]);
    console.tick(1);
    console.keys("P");
    console.tick(1);
    console
}

#[test]
fn problems_have_no_empty_columns_next_to_a_reason() {
    let console = problems(80, 24);
    assert_says(&console, OTHER_PROJECT);
    assert!(!console.screen().contains("failed "), "nothing has failed:\n{}", console.screen());
    let console = problems(120, 36);
    for reason in [REVOKED, OTHER_PROJECT, "store.db is locked by process"] {
        assert_says(&console, reason);
    }
    assert!(!row(&console, "count  ").contains("project"), "{}", console.screen());
}

#[test]
fn a_small_screen_has_the_details_of_the_selected_problem() {
    let mut console = problems(80, 20);
    assert_says(&console, LOCKED);
    console.keys("j");
    assert_says(&console, REVOKED);
    assert_says(&console, "8 times from 11:59:00 to 11:59:09");
}

#[test]
fn lines_of_a_group_begin_with_what_they_do_not_have_in_common() {
    let mut console = problems(80, 24);
    console.keys("j");
    console.code(KeyCode::Enter);
    assert_says(&console, &format!("log · {REVOKED} ─"));
    let rows = console.log_rows().join("\n");
    for path in ["/pricing", "/checkout", "/docs"] {
        let whole = format!("WARN  url=https://www.example.com{path}  Re");
        assert!(rows.contains(&whole), "{path}:\n{rows}");
    }
    assert_says(&console, "only these (Esc goes back)");
}

#[test]
fn of_a_url_the_path_is_shown() {
    let mut console = Console::new(80, 24);
    let data = json!({ "url": "https://www.example.com/checkout", "type": "pageview" });
    let mut line = log(0, Stage::Ingestion, Level::Info, "Event received", &data);
    line.duration = Some(1.5);
    console.logs(vec![line]);
    assert!(console.log_rows()[0].contains("  url=www.e…/checkout …"), "{}", console.screen());
    // With more space, details begin after the longest message.
    let data = json!({ "url": "https://www.example.com/docs/getting-started" });
    let mut console = Console::new(120, 40);
    console.logs(vec![log(0, Stage::Ingestion, Level::Info, "Event received", &data)]);
    let whole = "Event received  url=https://www.example.com/docs/getting-started";
    assert!(console.log_rows()[0].contains(whole), "{}", console.screen());
}

#[test]
fn no_column_is_reserved_for_repeats() {
    let mut console = Console::new(80, 24);
    let line = |nth, message| log(nth, Stage::Worker, Level::Info, message, &json!({}));
    console.logs(vec![line(0, "same"), line(1, "same"), line(2, "other")]);
    console.keys("z");
    console.tick(1);
    assert!(row(&console, "INFO  same").ends_with(" ×2 │"), "{}", console.screen());
    assert_says(&console, "INFO  other");
}

#[test]
fn the_status_says_that_lines_are_scrolled_sideways() {
    let mut console = busy(80, 24);
    console.keys(".");
    assert_says(&console, "from column ");
    console.keys(",");
    assert!(!console.screen().contains("from column "));
}

fn locked(figures: &mut Gauges) {
    figures.store_health = Health::Failing;
    let reason = LOCKED.to_owned();
    figures.failures = vec![Failure { part: "store".to_owned(), reason, ..Failure::default() }];
    figures.stages[3..].iter_mut().for_each(|stage| *stage = Default::default());
}

#[test]
fn an_alert_has_its_times_to_the_second() {
    let mut console = busy(80, 24);
    pass(&mut console, 12, locked);
    assert_says(&console, &format!("{LOCKED} since 12:01:"));
    pass(&mut console, 60, |_| {});
    let row = row(&console, LOCKED);
    assert!(row.contains(" ended 12:0"), "{row}");
}

#[test]
fn a_title_shortens_what_says_less_than_the_reason() {
    let mut console = busy(80, 24);
    pass(&mut console, 12, locked);
    assert_says(&console, &format!("clickhouse: {LOCKED} "));
}

#[test]
fn why_a_stage_has_a_sign_is_readable_on_a_small_screen() {
    let errors = |count: u64| {
        let mut console = busy(80, 24);
        pass(&mut console, 1, |figures| figures.stages[3].errors = count);
        console
    };
    let console = errors(4);
    assert_says(&console, " · clickhouse 4 errors/min");
    assert!(row(&console, "100/s ▲").contains('▲') && !console.screen().contains('✗'));
    let console = errors(4_000);
    assert_says(&console, " · clickhouse 4,000 errors/min");
    assert!(row(&console, "/s ✗").contains('✗'));
}

#[test]
fn columns_of_completions_are_as_wide_as_needed() {
    let mut console = Console::new(80, 24);
    console.keys(":sea");
    assert_says(&console, "search  QUERY  Search; without a query, end the search");
}

#[test]
fn messages_are_complete() {
    let mut console = Console::new(80, 24);
    console.keys("&levle:warn");
    assert_says(&console, "unknown key `levle`");
    let screen = console.screen();
    let end = screen.lines().last().unwrap();
    assert!(end.ends_with("write \"levle:warn\""), "{screen}");
    assert!(screen.lines().count() == 24, "{screen}");
}

#[test]
fn figures_say_what_time_they_cover() {
    let console = busy(80, 24);
    assert_says(&console, " 1m: p50 ──── p95 ──── p99  p95 by s ");
    assert_says(&console, "100/s accepted");
}

#[test]
fn an_empty_pane_names_all_conditions_that_hide_lines() {
    let mut console = busy(80, 24);
    console.keys("&nowhere");
    console.code(KeyCode::Enter);
    console.keys("l1");
    assert_says(&console, "filter “nowhere”: ");
    assert_says(&console, "warnings and errors: ");
    assert_says(&console, "without ingestion: ");
}

#[test]
fn the_history_has_the_titles_of_all_lists_and_what_is_slow() {
    let mut console = Console::new(80, 24);
    let data = json!({ "url": "https://example.com/checkout" });
    let mut slow = log(0, Stage::Worker, Level::Info, "Processing page view", &data);
    slow.duration = Some(900.0);
    console.logs(vec![slow]);
    console.tick(1);
    let asked = console.keys("H");
    super::history::answer(&mut console, &asked);
    assert_says(&console, "slowest failures projects");
    assert_says(&console, "✗ failures ");
    assert!(row(&console, "900 ms").contains("/checkout"), "{}", console.screen());
}

#[test]
fn the_history_opens_with_the_pipeline_now() {
    for open in ["H", ":history\n"] {
        let mut console = busy(120, 40);
        super::history::open_page(&mut console);
        console.keys("4");
        (0..5).for_each(|_| drop(console.code(KeyCode::Left)));
        assert_says(&console, "clickhouse  ▲ ");
        console.keys("q");
        for c in open.chars() {
            console.code(if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) });
        }
        assert_says(&console, "pipeline  now");
    }
}
