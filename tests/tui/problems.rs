//! The problems: similar warnings, errors and failed events in groups; and lines that outlive
//! others.

use bklit_console_core::bulk::{BulkReport, End, Operation, Progress, Which};
use bklit_console_core::model::panels::ProblemKey;
use bklit_console_core::model::{Focus, ModelOptions, Screen};
use bklit_console_core::msg::{Effect, Job, Msg, Report};
use bklit_console_core::requests::{Answer, Request};
use bklit_wire::debug_log::{DebugLog, Level, Stage, folded};
use crossterm::event::KeyCode;
use serde_json::json;

use super::feed::{Console, assert_says, busy, log, options, traffic};
use super::views::planned;
use super::{feed, views};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];

/// A line about a refused request, two seconds after the one before it.
fn refused(nth: usize, project: &str, status: u16, error: &str) -> DebugLog {
    let data = json!({ "error": error, "status": status, "path": "/track", "sessionId": "s_1" });
    let mut line = log(14 * nth, Stage::Ingestion, Level::Warn, "Request refused", &data);
    line.project_id = Some(project.to_owned());
    line
}

/// Refused requests of several kinds, and a line that stands for others.
fn refusals() -> Vec<DebugLog> {
    let mut lines: Vec<_> = (0..24)
        .map(|nth| match nth % 4 {
            0 => refused(nth, "blog", 400, "url: expected a string, found an object"),
            1 => refused(nth, "shop", 401, &format!("the token bk_live_{nth:08} is not valid")),
            2 => refused(nth, "shop", 401, "the token bk_live_deadbeef01 is not valid"),
            _ => refused(nth, "docs", 400, &format!("body: not UTF-8: byte at position {nth}")),
        })
        .collect();
    let mut many = refused(24, "shop", 401, "the token bk_live_7 is not valid");
    many.message = folded("Request refused", 9_990).into();
    lines.push(many);
    lines
}

/// The reason of the first failed event of `views::snapshot`, as a line has it.
fn failure(nth: usize) -> DebugLog {
    let data = json!({ "reason": views::failed(0).reason, "batchId": "b_1" });
    let message = "Event refused by the store, moved to the failed queue";
    log(400 + nth, Stage::Clickhouse, Level::Error, message, &data)
}

fn with_problems(options: ModelOptions) -> Console {
    let mut console = feed::busy_with(options);
    open(&mut console);
    console
}

/// Opens the problems, of which there are some.
pub(super) fn open(console: &mut Console) {
    console.logs(refusals());
    console.logs((0..5).map(failure).collect());
    console.tick(1);
    console.keys("P");
    let snapshot = views::snapshot(7);
    console.send(Msg::Answer(Answer::Queue(Ok(snapshot))));
    console.tick(1);
}

fn problems(width: u16, height: u16) -> Console {
    with_problems(options((width, height)))
}

/// Selects the row whose reason begins like this.
#[track_caller]
fn select(console: &mut Console, reason: &str) {
    console.keys("g");
    for _ in 0..20 {
        let selected = console.model.panels().problems.selected().unwrap();
        let what = match &selected.key {
            ProblemKey::Lines(key) => key.what(),
            ProblemKey::Failed(reason) => reason,
        };
        if what.starts_with(reason) {
            return;
        }
        console.keys("j");
    }
    panic!("no group {reason}:\n{}", console.screen());
}

#[test]
fn at_all_sizes() {
    for (width, height) in SIZES {
        let screen = problems(width, height).screen();
        insta::assert_snapshot!(format!("problems_{width}x{height}"), screen);
    }
}

#[test]
fn the_absence_of_problems_is_shown() {
    let mut console = Console::new(80, 24);
    let asked = console.keys("P");
    assert!(matches!(asked, Some(Effect::Ask(Request::Queue { .. }))), "{asked:?}");
    assert_says(&console, "No warnings, errors or failed events.");
    console.logs(vec![refused(0, "p", 400, "url: missing")]);
    console.tick(3_600);
    assert_says(&console, "1 older group; Tab shows them.");
    console.code(KeyCode::Tab);
    console.code(KeyCode::Tab);
    assert_says(&console, "url: missing");
    assert_says(&console, "problems · all");
}

#[test]
fn groups_count_what_a_line_stands_for_and_join_failed_events() {
    let mut console = problems(200, 60);
    select(&mut console, "the token");
    let problems = &console.model.panels().problems;
    let token = problems.selected().unwrap();
    assert_eq!(
        problems.count(token, console.model.panels().queue.polled.answered().unwrap()),
        10_002
    );
    assert_says(&console, "project: shop 10,002");
    select(&mut console, "payload.url is not a URL");
    let problems = &console.model.panels().problems;
    let selected = problems.selected().unwrap();
    assert_eq!(problems.group(selected).unwrap().count, 5);
    assert_eq!(problems.failed_of(selected).unwrap().count, 3);
    assert_says(&console, "3 events in the failed queue, r retries");
    select(&mut console, "not an event");
    assert_says(&console, "failed queue");
    console.code(KeyCode::Enter);
    assert!(matches!(console.model.screen(), Screen::Failed(_)));
}

#[test]
fn the_order_and_the_span_change_and_the_selection_stays() {
    let mut console = problems(120, 40);
    let first = |console: &Console| {
        let rows = console.model.panels().problems.rows();
        rows.first().map(|row| row.key.clone()).unwrap()
    };
    let by_count = first(&console);
    select(&mut console, "body: not UTF-8");
    let selected =
        |console: &Console| console.model.panels().problems.selected().unwrap().key.clone();
    let before = selected(&console);
    console.keys("s");
    assert_says(&console, "by last seen");
    assert_ne!(first(&console), by_count);
    assert_eq!(selected(&console), before);
    for span in ["last hour", "· all ·", "last 10 min"] {
        console.code(KeyCode::Tab);
        assert_says(&console, span);
        assert_eq!(selected(&console), before);
    }
}

#[test]
fn the_lines_of_a_group_are_shown_and_esc_goes_back() {
    let mut console = problems(120, 40);
    console.keys("q5");
    let filter = console.model.pane().filter().stages;
    console.keys("P");
    select(&mut console, "url: expected a string");
    console.code(KeyCode::Enter);
    assert!(matches!(console.model.screen(), Screen::Log(_)));
    let rows = console.log_rows().into_iter().filter(|row| row.contains("ingestion"));
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.len(), 6, "{rows:#?}");
    assert!(rows.iter().all(|row| row.contains("sessionId=s_1")), "{rows:#?}");
    console.tick(5);
    assert_says(&console, "log · url: expected a string, found an object ─");
    assert_says(&console, "only these (Esc goes back)");
    console.code(KeyCode::Esc);
    assert!(matches!(console.model.screen(), Screen::Problems(_)));
    assert_eq!(console.model.pane().filter().stages, filter, "as it was before");
    select(&mut console, "url: expected a string");
    console.keys("t");
    assert_says(&console, "this line has no event or batch");
}

#[test]
fn a_group_is_retried_after_a_question() {
    let mut console = problems(120, 40);
    select(&mut console, "url: expected");
    assert_eq!(console.keys("r"), None);
    assert_says(&console, "this group has no failed events");
    select(&mut console, "payload.url");
    assert_eq!(console.keys("r"), None);
    assert_says(&console, "Retry at least 3 events? Type retry:");
    console.keys("retry");
    let plan = planned(console.code(KeyCode::Enter));
    let reason = "payload.url is not a URL: relative URL without a base";
    assert_eq!((plan.operation, plan.which), (Operation::Retry, Which::Reason(reason.into())));
    assert_eq!((plan.known.count, plan.total), (3, 47));
    console.keys("D");
    assert_says(&console, "is still in progress");
    let progress = Progress { seen: 47, chosen: 5, done: 5, invalid: 0 };
    let report = BulkReport { progress, end: Some(End::Done(None)) };
    console.send(Msg::Report(Report::Bulk(report)));
    assert_says(&console, "5 events put back into the queue");
    console.keys("D");
    assert_says(&console, "Delete at least 3 events permanently? Type delete:");
    let read_only = ModelOptions { read_only: true, ..options((120, 40)) };
    let mut console = with_problems(read_only);
    select(&mut console, "payload.url");
    assert_eq!(console.keys("r"), None);
    assert_says(&console, "read-only");
}

#[test]
fn a_group_is_exported_its_failed_events_or_its_lines() {
    let mut console = problems(120, 40);
    select(&mut console, "payload.url");
    console.keys("X");
    assert_says(&console, "Export at least 3 failed events to file:");
    assert_says(&console, "failed-20260131");
    let plan = planned(console.code(KeyCode::Enter));
    assert!(matches!(plan.operation, Operation::Export(_)), "{plan:?}");
    let progress = Progress { seen: 47, chosen: 3, done: 3, invalid: 0 };
    let report = BulkReport { progress, end: Some(End::Done(Some("x".into()))) };
    console.send(Msg::Report(Report::Bulk(report)));
    select(&mut console, "body: not UTF-8");
    console.keys("X");
    assert_says(&console, "Export the group's lines to file:");
    assert_says(&console, "problem-20260131");
    let begun = console.code(KeyCode::Enter);
    assert!(matches!(begun, Some(Effect::Job(Job::BeginExport(_)))), "{begun:?}");
    console.send(Msg::Report(bklit_console_core::msg::Report::PieceWritten));
    let mut written = String::new();
    while let Some(Effect::Job(Job::ExportPiece(piece))) = console.send(Msg::Work) {
        written.push_str(&piece);
        console.send(Msg::Report(bklit_console_core::msg::Report::PieceWritten));
    }
    assert_eq!(written.lines().count(), 6, "{written}");
    assert!(written.lines().all(|line| line.contains("body: not UTF-8")));
}

/// A flood of other lines, and what remains after it.
#[test]
fn warnings_and_errors_outlive_a_flood() {
    let mut console = Console::with(ModelOptions { max_lines: 1_000, ..options((120, 40)) });
    console.logs(refusals());
    console.keys("l");
    let before = console.model.pane().index().len();
    console.keys("ll");
    let flood = |from: usize| {
        let line =
            |nth| log(400 + from + nth, Stage::Queue, Level::Info, "Event queued", &json!({}));
        (0..2_000).map(line).collect::<Vec<_>>()
    };
    for part in 0..5 {
        console.logs(flood(2_000 * part));
    }
    assert_says(&console, "1,000 lines from 12:");
    console.keys("E");
    assert_says(&console, "no error above; l shows older ones");
    console.keys("f");
    console.keys("l");
    assert_eq!(console.model.pane().filter().level, Level::Warn);
    assert_eq!(console.model.pane().index().len(), before);
    assert!(before == 25, "{before}");
    assert_says(&console, "25 lines · following");
    console.keys("g");
    assert!(console.log_rows()[0].contains("url: expected"), "{:?}", console.log_rows());
    console.keys("c");
    assert_says(&console, "the lines around this one are no longer kept");
    console.code(KeyCode::Enter);
    assert_says(&console, "sessionId");
    console.code(KeyCode::Esc);
    console.keys("/UTF-8");
    console.code(KeyCode::Enter);
    assert_says(&console, "of 6");
    console.keys("P");
    select(&mut console, "body: not UTF-8");
    console.code(KeyCode::Enter);
    assert_eq!(console.model.pane().index().len(), 6);
}

#[test]
fn a_span_that_the_log_does_not_reach_says_where_it_begins() {
    let mut console = Console::with(ModelOptions { max_lines: 100, ..options((120, 40)) });
    console.logs(traffic(200));
    console.keys(":since 10m");
    console.code(KeyCode::Enter);
    assert_says(&console, "since 11:50:00, log begins 12:0");
}

#[test]
fn different_reasons_are_not_folded_and_columns_stay() {
    let mut console = Console::new(120, 40);
    let line = |nth: usize, error: &str| refused(nth, "p", 400, error);
    console.logs(vec![
        line(0, "event evt_11 is unknown"),
        line(1, "event evt_12 is unknown"),
        line(2, "event evt_13 is unknown"),
        line(3, "url: missing"),
        line(4, "body: empty"),
        line(5, "body: empty"),
    ]);
    // The columns at which the reasons begin.
    let columns = |console: &Console| {
        let rows = console.log_rows().into_iter().filter(|row| row.contains("refused"));
        let columns = rows.map(|row| {
            let starts = ["event evt_", "url: missing", "body: empty"];
            let start = starts.iter().find_map(|start| row.find(start)).unwrap();
            bklit_wire::text::width(&row[..start])
        });
        let mut columns: Vec<_> = columns.collect();
        columns.dedup();
        columns
    };
    assert_eq!(columns(&console).len(), 1);
    console.keys("z");
    let rows = console.log_rows();
    let rows: Vec<_> = rows.iter().filter(|row| row.contains("refused")).collect();
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(rows[0].contains("×3") && rows[0].contains("evt_13"), "{rows:#?}");
    assert!(!rows[1].contains('×') && rows[2].contains("×2"), "{rows:#?}");
    assert_eq!(columns(&console).len(), 1, "{rows:#?}");
    console.tick(5);
    assert_says(&console, "repeats folded");
}

#[test]
fn esc_removes_conditions_one_by_one_and_an_empty_pane_names_them() {
    let mut console = busy(120, 40);
    let lines = console.model.ring().len();
    console.keys(":project shop");
    console.code(KeyCode::Enter);
    console.keys("ll");
    console.keys("0");
    console.keys("!");
    console.keys("&nowhere");
    console.code(KeyCode::Enter);
    // An alert would consume the first Esc.
    console.keys("a");
    assert_says(&console, &format!("None of {lines} lines match."));
    assert_says(&console, &format!("filter “nowhere”: hides {lines} lines; & edits it"));
    assert_says(&console, "Esc removes them one by one, the last one first.");
    assert!(!console.screen().contains("errors: hides"), "what the filter hides counts for it");
    let shown = |console: &Console| {
        let filter = console.model.pane().filter();
        let (stages, all) = (filter.stages, bklit_console_core::model::filter::StageSet::ALL);
        (filter.query.is_some(), filter.project.is_some(), stages != all, filter.level)
    };
    assert_eq!(shown(&console), (true, true, true, Level::Error));
    for expected in [
        (false, true, true, Level::Error),
        (false, false, true, Level::Error),
        (false, false, false, Level::Error),
        (false, false, false, Level::Info),
        (false, false, false, Level::Info),
    ] {
        assert_eq!(console.code(KeyCode::Esc), None);
        assert_eq!(shown(&console), expected);
        if expected == (false, true, true, Level::Error) {
            let by_level = format!("errors: hides {} lines; l shows other levels", lines - 9);
            assert_says(&console, &by_level);
            assert_says(&console, "only ingestion: hides 9 lines; 0 shows all stages");
        }
    }
    console.keys(":filter nowhere");
    console.code(KeyCode::Enter);
    assert_says(&console, &format!("filter “nowhere”: hides {lines} lines; & edits it"));
    assert_says(&console, "Esc removes it.");
}

#[test]
fn cleared_lines_come_back() {
    let mut console = busy(120, 40);
    let before = (console.model.ring().len(), console.log_rows());
    console.keys("u");
    assert_says(&console, "no cleared lines to show");
    console.keys("C");
    assert_says(&console, "u shows them again");
    assert_eq!(console.model.ring().len(), 0);
    console.logs(vec![refused(0, "p", 400, "url: missing")]);
    assert_eq!(console.model.pane().index().len(), 1);
    console.keys("u");
    while console.model.has_work() {
        console.send(Msg::Work);
    }
    assert_eq!(console.model.ring().len(), before.0 + 1);
    assert_eq!(console.model.pane().index().len(), before.0 + 1);
    assert!(console.log_rows().contains(&before.1[before.1.len() - 1]));
}

#[test]
fn quitting_a_pipeline_in_use_asks_first() {
    let mut options = options((120, 40));
    options.shell.stops_pipeline = true;
    let mut console = feed::busy_with(options.clone());
    assert_eq!(console.keys("q"), None);
    let mut other = feed::busy_with(options.clone());
    assert_eq!(other.ctrl('c'), Some(Effect::Quit), "at once");
    assert_says(&console, "events are arriving, quitting stops this pipeline; q again quits");
    console.tick(5);
    assert_eq!(console.keys("q"), None, "that was too late");
    assert_eq!(console.keys("q"), Some(Effect::Quit));
    console.tick(70);
    assert_eq!(console.keys("q"), Some(Effect::Quit), "nothing has arrived for a minute");
    assert_eq!(Console::with(options).keys("q"), Some(Effect::Quit));
    let mut console = busy(120, 40);
    assert_eq!(console.keys("q"), Some(Effect::Quit), "another process's pipeline goes on");
}

#[test]
fn the_help_is_searched() {
    let mut console = busy(80, 24);
    console.keys("?/session");
    assert!(matches!(console.model.focus(), Focus::Prompt(_)));
    assert_says(&console, "Session: all events");
    assert_says(&console, ":session ID");
    assert!(!console.screen().contains("Redraw the screen"), "{}", console.screen());
    console.code(KeyCode::Enter);
    assert_says(&console, "with “session”");
    console.code(KeyCode::Esc);
    assert!(matches!(console.model.screen(), Screen::Help(_)), "the whole help again");
    console.keys("/no such thing");
    assert_says(&console, "No key or command with that text.");
    console.code(KeyCode::Esc);
    console.code(KeyCode::Esc);
    assert!(matches!(console.model.screen(), Screen::Log(_)));
}

#[test]
fn queries_typed_before_come_back() {
    let mut console = busy(80, 24);
    let mut saved = 0;
    for (open, typed) in [("/", "checkout"), ("&", "stored"), ("/", "queued")] {
        console.keys(open);
        console.ctrl('u');
        console.keys(typed);
        console.code(KeyCode::Enter);
        let effects = console.model.take_outbox().into_iter();
        saved += effects.filter(|e| matches!(e, Effect::Job(Job::SaveHistories(_)))).count();
    }
    assert_eq!(saved, 3);
    let value = |console: &Console| {
        let Focus::Field(field) = console.model.focus() else { panic!("no field") };
        field.input.value().to_owned()
    };
    console.keys("/");
    let values =
        [KeyCode::Up, KeyCode::Up, KeyCode::Up, KeyCode::Down, KeyCode::Down].map(|code| {
            console.code(code);
            value(&console)
        });
    assert_eq!(values, ["stored", "checkout", "checkout", "stored", "queued"]);
    console.code(KeyCode::Up);
    let search = console.model.pane().search().unwrap().source().to_owned();
    assert_eq!(search, "stored", "applied at once");
    console.code(KeyCode::Esc);
    assert_eq!(console.model.pane().search().unwrap().source(), "queued");
}
