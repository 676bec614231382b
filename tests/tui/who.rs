//! Where events come from: requests, rows, and the lines that they lead to.

use bklit_console_core::model::{Focus, Screen};
use bklit_console_core::msg::{Effect, Msg};
use bklit_console_core::requests::{Answer, Request};
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::time::UtcMillis;
use bklit_wire::who::{Dimension, WhoCounts, WhoQuery, WhoRow, WhoSort, WhoSpan, WhoView};
use crossterm::event::KeyCode;
use serde_json::{Value, json};

use super::feed::{Console, NOON, assert_says, busy, log};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];

fn row(value: &str, [accepted, refused, failed]: [u64; 3], before: Option<f64>) -> WhoRow {
    let counts = WhoCounts { accepted, refused, failed };
    WhoRow { value: value.to_owned(), name: None, counts, before }
}

/// An answer with these rows, and some events of others.
fn view(query: WhoQuery, rows: Vec<WhoRow>) -> WhoView {
    let mut total = WhoCounts { accepted: 40, refused: 1, failed: 0 };
    let others = total;
    for WhoRow { counts, .. } in &rows {
        total.accepted += counts.accepted;
        total.refused += counts.refused;
        total.failed += counts.failed;
    }
    WhoView {
        query,
        process: "1-a".to_owned(),
        roles: "ingestion,worker,websocket".to_owned(),
        from: Some(UtcMillis::from_epoch_millis(NOON * 1_000)),
        to: Some(UtcMillis::from_epoch_millis((NOON + 60) * 1_000)),
        total,
        before: Some(61.0),
        rows,
        others,
        missing: WhoCounts::default(),
        estimated: false,
    }
}

fn answer(console: &mut Console, view: WhoView) {
    console.send(Msg::Answer(Answer::Who(Ok(view))));
}

fn projects() -> WhoView {
    let mut rows = vec![
        row("shop", [24_000, 480, 0], Some(10.5)),
        row("default", [3_000, 60, 218], Some(50.0)),
        row("blog", [60, 0, 0], Some(4.0)),
        row("docs", [0, 0, 0], Some(1.0)),
        row("new-customer", [700, 0, 0], Some(0.0)),
        row("", [0, 37, 0], None),
    ];
    rows.extend((0..60).map(|n| row(&format!("small-{n:02}"), [9, 0, 0], Some(0.14))));
    view(WhoQuery::default(), rows)
}

/// Opens the view, with more rows than any screen has.
pub(super) fn open(console: &mut Console) {
    console.keys("T");
    answer(console, projects());
}

fn opened(width: u16, height: u16) -> Console {
    let mut console = busy(width, height);
    open(&mut console);
    console
}

#[track_caller]
fn requested(effect: Option<Effect>) -> WhoQuery {
    match effect {
        Some(Effect::Ask(Request::Who(query))) => query,
        other => panic!("{other:?}"),
    }
}

#[test]
fn at_all_sizes() {
    for (width, height) in SIZES {
        let screen = opened(width, height).screen();
        insta::assert_snapshot!(format!("who_{width}x{height}"), screen);
    }
}

#[test]
fn long_urls_sorted_by_refusals_of_several_processes() {
    for (width, height) in [(80, 24), (200, 60)] {
        let mut console = opened(width, height);
        console.code(KeyCode::BackTab);
        let long = format!("https://shop.example/{}", "category/".repeat(18));
        let query = WhoQuery { by: Dimension::Country, ..WhoQuery::default() };
        assert_eq!(console.model.panels().who.query(), query);
        (0..4).for_each(|_| drop(console.code(KeyCode::Left)));
        console.keys("--ss");
        let query =
            WhoQuery { by: Dimension::Address, span: WhoSpan::Hour, sort: WhoSort::Refused };
        assert_eq!(console.model.panels().who.query(), query);
        console.code(KeyCode::Tab);
        let query = WhoQuery { by: Dimension::Page, ..query };
        let rows = vec![
            row(&long, [0, 9_000, 0], None),
            row("https://shop.example/\u{1b}[31m", [120_000, 3, 7], None),
        ];
        let mut shown = view(query, rows);
        shown.from = Some(UtcMillis::from_epoch_millis((NOON - 3_300) * 1_000));
        shown.roles = "ingestion".to_owned();
        shown.process = "2-b".to_owned();
        shown.missing.refused = 12;
        shown.estimated = true;
        answer(&mut console, shown);
        let screen = console.screen();
        insta::assert_snapshot!(format!("who_pages_{width}x{height}"), screen);
    }
}

#[test]
fn keys_change_what_is_requested() {
    let mut console = busy(120, 40);
    let default = WhoQuery::default();
    assert_eq!(requested(console.keys("T")), default);
    assert_says(&console, "loading…");
    answer(&mut console, projects());
    assert_eq!(console.tick(1), None, "not every second");
    assert_eq!(requested(console.tick(1)), default);
    answer(&mut console, projects());
    let by = requested(console.code(KeyCode::Tab));
    assert_eq!(by, WhoQuery { by: Dimension::Token, ..default });
    assert!(!console.screen().contains("new-customer"), "{}", console.screen());
    // The answer to the previous request comes too late.
    answer(&mut console, projects());
    assert!(!console.screen().contains("new-customer"), "{}", console.screen());
    answer(&mut console, view(by, vec![row("tok_1", [5, 0, 0], None)]));
    assert_says(&console, "tok_1");
    assert_eq!(requested(console.code(KeyCode::BackTab)), default);
    assert_eq!(requested(console.keys("-")).span, WhoSpan::TenMinutes);
    assert_eq!(requested(console.keys("-")).span, WhoSpan::Hour);
    assert_eq!(requested(console.keys("+")).span, WhoSpan::TenMinutes);
    for sort in [WhoSort::Change, WhoSort::Refused, WhoSort::Failed, WhoSort::Rate] {
        assert_eq!(requested(console.keys("s")).sort, sort);
    }
    // The choice is kept when the view is closed.
    console.keys("q");
    console.keys(":who");
    console.code(KeyCode::Enter);
    assert!(matches!(console.model.screen(), Screen::Who(_)));
    let query = WhoQuery { span: WhoSpan::TenMinutes, ..default };
    assert_eq!(console.model.panels().who.query(), query);
    assert_eq!(requested(console.tick(70)), query, "the last answer was lost");
}

#[test]
fn the_selection_stays_at_its_value_when_rows_change_places() {
    let mut console = opened(120, 40);
    console.keys("jj");
    let selected = |console: &Console| console.model.panels().who.selected().unwrap().value.clone();
    assert_eq!(selected(&console), "blog");
    let mut moved = projects();
    moved.rows.swap(0, 2);
    answer(&mut console, moved.clone());
    assert_eq!(selected(&console), "blog");
    // The first row is the one with the most events, whichever that is.
    answer(&mut console, projects());
    console.keys("g");
    moved.rows.swap(0, 1);
    answer(&mut console, moved);
    assert_eq!(selected(&console), "default");
    assert_eq!(console.keys("y"), Some(Effect::Copy("default".to_owned())));
}

#[test]
fn missing_answers_are_explained() {
    let mut console = Console::new(100, 30);
    console.keys("T");
    let failed = |why: &str| Msg::Answer(Answer::Who(Err(why.to_owned())));
    console.send(failed("not supported by the daemon; is it an older version?"));
    assert_says(&console, "Unavailable: not supported by the daemon");
    answer(&mut console, projects());
    console.send(failed("no answer within 6 s"));
    assert_says(&console, "no answer: no answer within 6 s");
    assert_says(&console, "new-customer");
    let empty = WhoView { roles: "worker".to_owned(), ..WhoView::default() };
    answer(&mut console, empty);
    assert_says(&console, "No events in this time.");
    assert_says(&console, "this process accepts no events");
    console.code(KeyCode::Enter);
    assert!(matches!(console.model.screen(), Screen::Who(_)));
}

/// A line for each value, which is found by its filter alone.
#[test]
fn each_value_leads_to_its_lines() {
    for (by, value, filter, found) in [
        (Dimension::Token, "tok_1", "data.token:=tok_1", json!({ "token": "tok_1" })),
        (Dimension::Address, "::1", "data.peer:=::1", json!({ "peer": "::1" })),
        (
            Dimension::Page,
            "https://a.example/x",
            "data.url:=https://a.example/x",
            json!({ "url": "https://a.example/x?y" }),
        ),
        (Dimension::Type, "pageview", "data.type:=pageview", json!({ "type": "pageview" })),
        (
            Dimension::Type,
            "event add to cart",
            "data.eventType:=\"add to cart\"",
            json!({ "type": "event", "eventType": "add to cart" }),
        ),
        (
            Dimension::Referrer,
            "news.example",
            "data.referrer:news.example",
            json!({ "referrer": "https://news.example/today" }),
        ),
        (Dimension::Referrer, "", "-data.referrer:*", json!({ "url": "u" })),
        (Dimension::Country, "DE", "data.countryCode:=DE", json!({ "countryCode": "DE" })),
    ] {
        let mut console = Console::new(120, 40);
        let line =
            |nth, data: &Value| log(nth, Stage::Ingestion, Level::Info, "Event received", data);
        let mut other = line(1, &json!({ "referrer": "r", "other": 1 }));
        other.message = "another".into();
        console.logs(vec![line(0, &found), other]);
        console.keys("T");
        while console.model.panels().who.query().by != by {
            console.code(KeyCode::Right);
        }
        let query = console.model.panels().who.query();
        answer(&mut console, view(query, vec![row(value, [1, 0, 0], None)]));
        console.code(KeyCode::Enter);
        assert!(matches!(console.model.screen(), Screen::Log(_)), "{value}");
        let shown = console.model.pane().filter().query.clone().unwrap();
        assert_eq!(shown.source(), filter);
        let rows = console.log_rows().concat();
        assert!(rows.contains("Event received") && !rows.contains("another"), "{filter}: {rows}");
        assert_says(&console, &format!("only lines with {filter}"));
    }
}

#[test]
fn a_project_becomes_the_panes_project_and_its_lines_are_exported() {
    let mut console = opened(120, 40);
    console.keys("X");
    assert!(matches!(console.model.focus(), Focus::Prompt(_)));
    assert_says(&console, "who-20260131-");
    console.code(KeyCode::Esc);
    console.code(KeyCode::Enter);
    assert_eq!(console.model.pane().filter().project.as_deref(), Some("shop"));
    // Events without a project have no filter.
    open(&mut console);
    console.keys("jjjjj");
    console.code(KeyCode::Enter);
    assert_says(&console, "cannot be filtered");
    assert!(matches!(console.model.screen(), Screen::Who(_)));
}
