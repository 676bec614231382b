//! Tables that are generated from tables in the code.

use bklit_console_core::keymap;
use bklit_console_core::model::palette::commands;

use super::page;

const PAGE: &str = "docs/console.md";

/// Set: pages are brought up to date.
const UPDATE: &str = "BKLIT_UPDATE_DOCS";

#[test]
fn keys_and_console_commands_match_the_program() {
    let old = page::read(PAGE);
    let new = with(&with(&old, "keys", &keymap::markdown()), "commands", &commands::markdown());
    if old == new {
        return;
    }
    assert!(std::env::var_os(UPDATE).is_some(), "{PAGE} is out of date: run with {UPDATE}=1");
    std::fs::write(page::path(PAGE), new).unwrap();
}

/// The page with this table between its markers.
fn with(page: &str, name: &str, table: &str) -> String {
    let begin = page.find(&format!("<!-- {name}: generated from ")).expect("the first marker");
    let begin = begin + page[begin..].find("-->\n").expect("the marker's end") + "-->\n".len();
    let end = page[begin..].find(&format!("<!-- end of {name} -->")).expect("the last marker");
    format!("{}\n{}\n\n{}", &page[..begin], table.trim(), &page[begin + end..])
}
