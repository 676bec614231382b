//! Queries, console commands and keys that the pages name.

use bklit_console_core::keymap::BINDINGS;
use bklit_console_core::model::palette::commands;
use bklit_console_core::model::query::{Purpose, Query};

use super::page;

#[test]
fn documented_queries_are_valid() {
    let text = page::read("docs/console.md");
    let rows = page::rows(page::section(&text, "## Query language"));
    let queries: Vec<_> = rows.iter().flat_map(|row| page::spans(&row[0])).collect();
    assert!(queries.len() > 12, "{queries:?}");
    for query in queries {
        let parsed = Query::parse(&query, Purpose::Filter);
        assert!(matches!(parsed, Ok(Some(_))), "{query}: {parsed:?}");
    }
}

#[test]
fn console_commands_in_the_pages_are_valid() {
    let mut checked = 0;
    for (page, text) in page::all() {
        for line in page::code(&text).iter().filter(|line| line.starts_with(':') && line.len() > 1)
        {
            let (name, argument) = commands::split(line);
            assert!(commands::find(name).is_some(), "{page}: {line}");
            // Names of arguments are in capitals.
            let is_example = argument.chars().any(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            let is_usage = argument.contains('|') || argument.contains(char::is_uppercase);
            if is_example && !is_usage {
                checked += 1;
                let parsed = commands::parse(line);
                assert!(parsed.is_ok(), "{page}: {line}: {parsed:?}");
            }
        }
    }
    assert!(checked > 5, "{checked}");
}

#[test]
fn keys_of_the_tour_are_bound() {
    let labels: Vec<_> = BINDINGS.iter().flat_map(|binding| binding.keys).collect();
    let labels: Vec<_> = labels.into_iter().map(|key| key.label()).collect();
    for (page, heading) in
        [("README.md", "## The first five minutes"), ("docs/bad-night.md", "## Keys")]
    {
        let text = page::read(page);
        let rows = page::rows(page::section(&text, heading));
        let keys: Vec<_> = rows.iter().flat_map(|row| page::spans(&row[0])).collect();
        assert!(keys.len() > 5, "{keys:?}");
        for key in keys {
            assert!(labels.contains(&key), "{page}: {key} does nothing");
        }
    }
}
