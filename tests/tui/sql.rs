//! Queries on the store: typed and completed, run and stopped, their results shown and exported.

use std::collections::BTreeMap;

use bklit_console_core::keymap::Context;
use bklit_console_core::model::palette::commands::COMMANDS;
use bklit_console_core::model::sql::Outcome;
use bklit_console_core::model::{Focus, Shell};
use bklit_console_core::msg::{Effect, Job, Msg, Report};
use bklit_console_core::requests::{Answer, Request};
use bklit_console_core::theme::{Palette, Theme};
use bklit_wire::sql::{Engine, QueryResult, SqlAnswer, SqlColumn, SqlSchema, SqlTable};
use crossterm::event::KeyCode;
use serde_json::{Value, json};

use super::feed::{Console, busy, options_with};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];
const QUERY: &str = "SELECT * FROM page_view_event";

fn schema() -> SqlSchema {
    let table = |name: &str, columns: &[&str]| SqlTable {
        name: name.to_owned(),
        columns: columns
            .iter()
            .map(|name| SqlColumn { name: (*name).to_owned(), r#type: "TEXT".to_owned() })
            .collect(),
    };
    let tables = vec![
        table("page_view_event", &["id", "url", "project_id", "timestamp", "referrer_hostname"]),
        table("tracked_event", &["id", "event_definition_id", "project_id", "metadata"]),
    ];
    SqlSchema { engine: Engine::Sqlite, tables }
}

/// A result with many columns, some of them wide or hostile.
fn answer(rows: usize) -> SqlAnswer {
    let columns = [
        "id",
        "project_id",
        "url",
        "views",
        "share",
        "metadata",
        "referrer_hostname",
        "user_agent",
        "country",
        "city",
        "title",
    ];
    let row = |nth: usize| {
        let metadata = json!({ "plan": "pro", "seats": nth, "trial": { "days": 14 } }).to_string();
        vec![
            json!(format!("evt_019c13f0a7b87000{nth:016x}")),
            json!("shop"),
            json!(format!("https://shop.example/products/{nth}?utm_source=newsletter")),
            json!(nth * 137),
            json!(-0.5 * nth as f64),
            if nth.is_multiple_of(3) { Value::Null } else { json!(metadata) },
            json!("=cmd|' /C calc'!A0"),
            json!("Mozilla/5.0 (X11; Linux x86_64; rv:147.0) Gecko/20100101 Firefox/147.0"),
            json!("日本"),
            json!("\u{1b}[31m東京\n"),
            json!("An article with a title, and \"quotes\". ".repeat(40)),
        ]
    };
    let result = QueryResult {
        columns: columns.map(str::to_owned).to_vec(),
        rows: (0..rows).map(row).collect(),
        truncated: rows >= 1_000,
    };
    SqlAnswer { result, elapsed_ms: 35 }
}

/// Types and runs a command.
pub(super) fn command(console: &mut Console, line: &str) -> Option<Effect> {
    console.keys(":");
    console.keys(line);
    console.code(KeyCode::Enter)
}

/// Opens the screen; the tables are known.
pub(super) fn open(console: &mut Console) {
    assert_eq!(command(console, "sql"), Some(Effect::Ask(Request::SqlSchema)));
    console.send(Msg::Answer(Answer::SqlSchema(Ok(schema()))));
    assert_eq!(console.model.context(), Context::SqlInput);
}

/// Runs a query; returns its number.
fn run(console: &mut Console, query: &str) -> u64 {
    console.keys(query);
    let effect = console.code(KeyCode::Enter);
    let Some(Effect::Ask(Request::Sql { number, query: sent })) = effect else {
        panic!("{effect:?}")
    };
    assert_eq!(sent, query);
    number
}

/// Opens the screen with a result of this many rows.
pub(super) fn open_result(console: &mut Console, rows: usize) {
    open(console);
    let number = run(console, QUERY);
    console.send(Msg::Answer(Answer::Sql(number, Ok(answer(rows)))));
    assert_eq!(console.model.context(), Context::Sql);
}

pub(super) fn input(console: &Console) -> &str {
    console.model.panels().sql.input.value()
}

fn at_all_sizes(name: &str, prepare: impl Fn(&mut Console)) {
    for (width, height) in SIZES {
        let mut console = busy(width, height);
        prepare(&mut console);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), console.screen());
    }
}

#[test]
fn screens() {
    at_all_sizes("sql_saved", open);
    at_all_sizes("sql_completed", |console| {
        open(console);
        console.keys("SELECT p FROM page_view_event WHERE timestamp > '2026-01-31' AND re");
    });
    at_all_sizes("sql_result", |console| open_result(console, 1_000));
    at_all_sizes("sql_columns", |console| {
        open_result(console, 30);
        (0..3).for_each(|_| drop(console.code(KeyCode::Right)));
        console.keys("jjjj");
    });
    at_all_sizes("sql_row", |console| {
        open_result(console, 30);
        console.keys("jj");
        console.code(KeyCode::Enter);
    });
    at_all_sizes("sql_running", |console| {
        open(console);
        run(console, QUERY);
        console.tick(3);
    });
    at_all_sizes("sql_failed", |console| {
        open(console);
        let number = run(console, "SELECT nothing FROM page_view_event");
        let reason = "no such column: nothing \u{1b}[31m".to_owned();
        console.send(Msg::Answer(Answer::Sql(number, Err(reason))));
    });
}

#[test]
fn an_error_leaves_the_query_to_be_corrected() {
    let mut console = busy(80, 24);
    open(&mut console);
    let number = run(&mut console, "SELEC 1");
    console.send(Msg::Answer(Answer::Sql(number, Err("near \"SELEC\": syntax error".into()))));
    assert!(console.screen().contains("near \"SELEC\": syntax error"));
    assert_eq!((console.model.context(), input(&console)), (Context::SqlInput, "SELEC 1"));
    console.keys("2");
    assert_eq!(input(&console), "SELEC 12");
}

#[test]
fn esc_and_ctrl_c_stop_a_query_and_its_answer_no_longer_counts() {
    for stop in ["esc", "ctrl-c"] {
        let mut console = busy(80, 24);
        open(&mut console);
        let number = run(&mut console, QUERY);
        console.tick(2);
        assert!(console.screen().contains("running 2 s"), "{}", console.screen());
        let effect = if stop == "esc" { console.code(KeyCode::Esc) } else { console.ctrl('c') };
        assert_eq!(effect, None);
        assert_eq!(console.model.take_outbox().pop(), Some(Effect::StopSql), "{stop}");
        assert!(console.screen().contains("query stopped"));
        console.send(Msg::Answer(Answer::Sql(number, Ok(answer(3)))));
        assert!(matches!(console.model.panels().sql.outcome, Outcome::Saved));
        console.code(KeyCode::Esc);
        assert_eq!(console.model.context(), Context::Log);
        assert_eq!(console.ctrl('c'), Some(Effect::Quit), "without a query");
    }
}

#[test]
fn tab_completes_and_the_history_comes_back() {
    let mut console = busy(120, 40);
    open(&mut console);
    console.keys("sel");
    console.code(KeyCode::Tab);
    console.keys(" * FROM page");
    assert!(console.screen().contains("table, 5 columns"));
    console.code(KeyCode::Tab);
    assert_eq!(input(&console), "select * FROM page_view_event");
    console.keys(" WHERE ref");
    console.code(KeyCode::Tab);
    assert_eq!(input(&console), "select * FROM page_view_event WHERE referrer_hostname");
    // Esc closes the completions first.
    console.keys(" AND u");
    console.code(KeyCode::Esc);
    assert_eq!(console.model.context(), Context::SqlInput);
    console.ctrl('u');
    let first = run(&mut console, "SELECT 1");
    console.send(Msg::Answer(Answer::Sql(first, Ok(answer(1)))));
    console.code(KeyCode::Tab);
    console.keys("1");
    assert!(matches!(console.code(KeyCode::Enter), Some(Effect::Ask(Request::Sql { .. }))));
    console.code(KeyCode::Tab);
    console.code(KeyCode::Up);
    assert_eq!(input(&console), "SELECT 1");
    console.code(KeyCode::Down);
    assert_eq!(input(&console), "SELECT 11");
    console.code(KeyCode::Down);
    assert_eq!(console.model.context(), Context::Sql, "below the query are the rows");
    console.keys("k");
    assert_eq!(console.model.context(), Context::SqlInput, "and above the rows is the query");
}

#[test]
fn saved_queries_run_by_name_and_from_the_list() {
    let shell = Shell {
        queries: BTreeMap::from([("signups".to_owned(), "SELECT 7".to_owned())]),
        ..Shell::default()
    };
    let mut console = Console::with(options_with((120, 40), Theme::new(Palette::Ansi256), shell));
    let effect = command(&mut console, "sql signups");
    assert_eq!(effect, Some(Effect::Ask(Request::Sql { number: 1, query: "SELECT 7".into() })));
    let asked = console.model.take_outbox();
    assert!(asked.contains(&Effect::Ask(Request::SqlSchema)), "{asked:?}");
    console.code(KeyCode::Esc);
    console.code(KeyCode::Esc);
    command(&mut console, "sql");
    console.send(Msg::Answer(Answer::SqlSchema(Ok(schema()))));
    console.ctrl('u');
    console.code(KeyCode::Down);
    let screen = console.screen();
    assert!(screen.contains("signups") && screen.contains("Most viewed pages"), "{screen}");
    console.keys("jj");
    let effect = console.code(KeyCode::Enter);
    let Some(Effect::Ask(Request::Sql { query, .. })) = effect else { panic!("{effect:?}") };
    assert!(query.contains("datetime('now', '-1 day')"), "{query}");
    assert_eq!(input(&console), query);
    console.keys(":sql sig");
    console.code(KeyCode::Tab);
    assert!(
        console.screen().contains(":  sql signups") || console.screen().contains(": sql signups")
    );
}

#[test]
fn all_rows_and_columns_are_reached() {
    let mut console = busy(80, 24);
    open_result(&mut console, 300);
    assert!(console.screen().contains("300 rows in 35 ms"), "{}", console.screen());
    console.keys("G");
    assert!(console.screen().contains("row 300 of 300"));
    for _ in 0..30 {
        console.code(KeyCode::Right);
    }
    let screen = console.screen();
    assert!(screen.contains("title") && screen.contains("–11 of 11"), "{screen}");
    assert!(screen.contains("\\u{1b}[31m東京\\n") && !screen.contains('\u{1b}'), "{screen}");
    for _ in 0..30 {
        console.code(KeyCode::Left);
    }
    console.code(KeyCode::Enter);
    let screen = console.screen();
    assert!(screen.contains("row 300 of 300") && screen.contains("utm_source=news"));
    console.code(KeyCode::Right);
    assert!(console.screen().contains("this is the last row"));
    console.code(KeyCode::Left);
    assert!(console.screen().contains("row 299 of 300"));
    let Some(Effect::Copy(json)) = console.keys("Y") else { panic!("not copied") };
    let row: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&row["views"], &row["project_id"]), (&json!(298 * 137), &json!("shop")));
    let id = row["id"].as_str().unwrap().to_owned();
    assert_eq!(console.keys("t"), Some(Effect::Ask(Request::Event(id))));
}

/// Exports what is shown; returns the file's content.
fn exported(console: &mut Console, begin: Option<Effect>, name: &str) -> String {
    let Some(Effect::Job(Job::BeginExport(target))) = begin else { panic!("{begin:?}") };
    assert_eq!((target.path.as_str(), target.overwrite), (name, false));
    let mut out = String::new();
    loop {
        console.send(Msg::Report(Report::PieceWritten));
        match console.send(Msg::Work) {
            Some(Effect::Job(Job::ExportPiece(piece))) => out.push_str(&piece),
            Some(Effect::Job(Job::EndExport)) => break,
            other => panic!("{other:?}"),
        }
    }
    console.send(Msg::Report(Report::Exported(Ok(name.to_owned()))));
    out
}

#[test]
fn a_result_is_exported_as_csv_without_formulas_or_as_json_lines() {
    let mut console = busy(120, 40);
    open_result(&mut console, 300);
    console.keys("X");
    assert!(console.screen().contains("Export 300 rows"), "{}", console.screen());
    console.ctrl('u');
    console.keys("out.txt");
    assert_eq!(console.code(KeyCode::Enter), None);
    assert!(console.screen().contains(".jsonl or .csv"));
    console.ctrl('u');
    console.keys("out.csv");
    let begin = console.code(KeyCode::Enter);
    let csv = exported(&mut console, begin, "out.csv");
    assert!(console.screen().contains("exported 300 rows to out.csv"));
    let lines: Vec<_> = csv.split("\r\n").collect();
    assert!(lines[0].starts_with("id,project_id,url,views,share,"), "{}", lines[0]);
    assert!(lines[2].contains(",137,-0.5,"), "a negative number is a number: {}", lines[2]);
    assert!(lines[1].contains(",'=cmd|' /C calc'!A0,"), "{}", lines[1]);
    assert_eq!(lines.len(), 302);
    let begin = command(&mut console, "export out.jsonl");
    let jsonl = exported(&mut console, begin, "out.jsonl");
    let rows: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[0]["referrer_hostname"]), (300, &json!("=cmd|' /C calc'!A0")));
    console.code(KeyCode::Esc);
    let lines = console.model.ring().len();
    let begin = command(&mut console, "export log.jsonl");
    assert_eq!(exported(&mut console, begin, "log.jsonl").lines().count(), lines, "of the log");
}

#[test]
fn the_tables_are_requested_until_they_are_known() {
    let mut console = busy(120, 40);
    assert_eq!(console.keys("B"), Some(Effect::Ask(Request::SqlSchema)));
    let old = "not supported by the daemon; is it an older version?";
    console.send(Msg::Answer(Answer::SqlSchema(Err(old.into()))));
    assert!(console.screen().contains(old), "{}", console.screen());
    assert_eq!(console.tick(5), None);
    assert_eq!(console.tick(30), Some(Effect::Ask(Request::SqlSchema)));
    console.send(Msg::Answer(Answer::SqlSchema(Ok(schema()))));
    assert_eq!(console.tick(100), None);
    assert!(matches!(console.model.focus(), Focus::Sql));
    assert!(COMMANDS.iter().any(|command| command.name == "sql"));
}
