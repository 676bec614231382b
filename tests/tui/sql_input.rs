//! Typing and pasting queries: they are run as they are, or not at all.

use std::collections::BTreeMap;

use bklit_console_core::model::{Focus, Shell};
use bklit_console_core::msg::{Effect, Msg};
use bklit_console_core::requests::Request;
use bklit_console_core::theme::{Palette, Theme};
use crossterm::event::KeyCode;

use super::feed::{Console, busy, options_with};
use super::sql::{command, input, open};

/// The query that Enter runs.
fn sent(console: &mut Console) -> Option<String> {
    match console.code(KeyCode::Enter) {
        Some(Effect::Ask(Request::Sql { query, .. })) => Some(query),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pasted_query_is_run_as_it_is() {
    for query in [
        "SELECT 'it\\'s -- x', b FROM t",
        "SELECT count() FROM t # all\nWHERE project_id='p'",
        "SELECT url -- the page\nFROM page_view_event\n-- the end",
        "SELECT 'two\nlines,\ta tab, a \u{200b}, \u{1b} and ❤\u{fe0f}'",
        "SELECT '\u{301}e\u{301}\u{301}\u{301}\u{301}\u{301}'",
    ] {
        let mut console = busy(80, 24);
        open(&mut console);
        console.send(Msg::Paste(query.into()));
        assert!(!console.screen().contains(['\t', '\u{1b}', '\u{200b}']));
        assert_eq!(sent(&mut console).as_deref(), Some(query));
        // And from the history.
        console.code(KeyCode::Tab);
        console.ctrl('u');
        console.code(KeyCode::Up);
        assert_eq!(sent(&mut console).as_deref(), Some(query));
    }
    // What terminals send for the end of a line.
    let mut console = busy(80, 24);
    open(&mut console);
    console.send(Msg::Paste("SELECT 1 -- one\r+ 1\r\n+ 2\n".into()));
    assert!(console.screen().contains("SELECT 1 -- one⏎+ 1⏎+ 2"), "{}", console.screen());
    assert_eq!(sent(&mut console).as_deref(), Some("SELECT 1 -- one\n+ 1\n+ 2"));
}

#[test]
fn a_saved_query_is_run_as_it_is() {
    let query = "SELECT 'a\nb\u{200b}' -- one\n+ 1".to_owned();
    let queries = BTreeMap::from([("own".to_owned(), query.clone())]);
    let shell = Shell { queries, ..Shell::default() };
    let mut console = Console::with(options_with((120, 40), Theme::new(Palette::Ansi256), shell));
    open(&mut console);
    assert!(console.screen().contains("SELECT 'a b\\u{200b}' -- one + 1"), "{}", console.screen());
    console.code(KeyCode::Down);
    assert_eq!(sent(&mut console), Some(query.clone()));
    console.code(KeyCode::Esc);
    let effect = command(&mut console, "sql own");
    assert!(matches!(effect, Some(Effect::Ask(Request::Sql { query: sent, .. })) if sent == query));
}

/// A query with a missing part would have a different meaning.
#[test]
fn a_query_that_is_too_long_is_not_run() {
    let mut console = busy(80, 24);
    open(&mut console);
    console.send(Msg::Paste("x".repeat(4_000)));
    // The end, where the cursor is, is visible.
    assert!(console.screen().contains("xxx"));
    console.ctrl('u');
    console.keys("SELECT 1 ");
    console.send(Msg::Paste("x".repeat(3_992)));
    assert_eq!(input(&console), "SELECT 1 ", "all or nothing");
    assert!(console.screen().contains("longer than 4,000 characters"), "{}", console.screen());
    assert_eq!(sent(&mut console), None);
    assert!(console.screen().contains("not run"), "{}", console.screen());
    // After the next change it is the query that is shown.
    console.keys("+ 1");
    assert_eq!(sent(&mut console).as_deref(), Some("SELECT 1 + 1"));
    // The same for keys, which terminals without bracketed paste send.
    console.code(KeyCode::Tab);
    console.ctrl('u');
    console.send(Msg::Paste("x".repeat(3_999)));
    console.keys("yz");
    assert!(input(&console).ends_with("xy"));
    assert_eq!(sent(&mut console), None);
    assert!(console.screen().contains("not run"), "{}", console.screen());
}

#[test]
fn a_command_that_is_too_long_is_not_executed() {
    let mut console = busy(80, 24);
    for pasted in [
        format!("sql SELECT 1 -- {}", "x".repeat(1_000)),
        "sql SELECT 1 -- one\n + 1".to_owned(),
        "sql SELECT '\u{200b}'".to_owned(),
    ] {
        console.keys(":");
        console.send(Msg::Paste(pasted.clone()));
        let Focus::Palette(palette) = console.model.focus() else { panic!("it closed") };
        assert!(palette.problem.is_some() && palette.input.value().is_empty(), "{pasted}");
        console.keys("sql SELECT 2");
        console.send(Msg::Paste(pasted.replace("sql SELECT ", " + ")));
        assert_eq!(console.code(KeyCode::Enter), None, "{pasted}");
        assert!(matches!(console.model.focus(), Focus::Palette(_)), "{pasted}");
        console.code(KeyCode::Esc);
    }
    console.keys(":");
    console.send(Msg::Paste(format!("sql SELECT {}", "1".repeat(989))));
    console.keys("2");
    assert_eq!(console.code(KeyCode::Enter), None);
    console.code(KeyCode::Esc);
    // Before the end, the line end of a comment counts.
    console.keys(":sql SELECT 1 FROM t");
    (0..6).for_each(|_| drop(console.code(KeyCode::Left)));
    console.send(Msg::Paste("-- one\n".into()));
    assert_eq!(console.code(KeyCode::Enter), None);
}
