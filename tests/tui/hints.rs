//! Texts that mention keys name those in effect.

use std::collections::BTreeMap;

use bklit_console_core::keymap::Bindings;
use bklit_console_core::model::{ModelOptions, Shell};
use bklit_console_core::msg::{Effect, Msg};
use bklit_console_core::settings::KeyNames;
use crossterm::event::KeyCode;

use super::feed::{Console, assert_says, busy_with, options};
use super::properties::{lines, small};
use super::views;

const KEYS: [(&str, &str); 15] = [
    ("context", "ctrl-a"),
    ("split", "ctrl-b"),
    ("close-pane", "ctrl-e"),
    ("next-pane", "ctrl-f"),
    ("pause", "ctrl-g"),
    ("copy-id", "ctrl-k"),
    ("all-stages", "ctrl-n"),
    ("level", "ctrl-o"),
    ("filter", "ctrl-p"),
    ("search", "ctrl-q"),
    ("mark", "ctrl-r"),
    ("jump", "ctrl-s"),
    ("acknowledge", "ctrl-t"),
    ("mouse", "f5"),
    ("previous-error", "ctrl-y"),
];

fn own_keys(options: ModelOptions) -> ModelOptions {
    let keys = KEYS.map(|(name, key)| (name.to_owned(), KeyNames::One(key.to_owned())));
    let bindings = Bindings::read(&BTreeMap::from(keys)).unwrap();
    ModelOptions { shell: Shell { bindings, ..Shell::default() }, ..options }
}

fn console() -> Console {
    busy_with(own_keys(options((120, 40))))
}

#[test]
fn notices_name_the_keys_in_effect() {
    let mut console = console();
    console.keys("n");
    assert_says(&console, "no search yet: press Ctrl-Q and type");
    console.ctrl('s');
    assert_says(&console, "no marks yet; Ctrl-R and a letter marks a line");
    console.ctrl('r');
    console.keys("x");
    assert_says(&console, "marked x; Ctrl-Sx jumps back");
    console.ctrl('e');
    assert_says(&console, "this is the only pane; Ctrl-B splits it");
    console.ctrl('f');
    assert_says(&console, "there is one pane; Ctrl-B splits it");
    (0..4).for_each(|_| {
        console.ctrl('b');
    });
    assert_says(&console, "at most 4 panes; Ctrl-E closes one");
    console.resize(80, 20);
    console.ctrl('e');
    console.ctrl('b');
    assert_says(&console, "Ctrl-F shows the other panes");
    assert_eq!(console.code(KeyCode::F(2)), None);
    assert_eq!(console.code(KeyCode::F(5)), Some(Effect::Mouse(true)));
    assert_says(&console, "the mouse is on; F5 gives it back");
}

#[test]
fn the_context_and_marks_name_them() {
    let mut console = console();
    console.ctrl('p');
    console.keys("stored");
    console.code(KeyCode::Enter);
    console.ctrl('a');
    assert_says(&console, "Ctrl-A goes back to the filter");
    console.tick(5);
    assert_says(&console, "context (Ctrl-A goes back)");
    console.ctrl('a');
    console.ctrl('p');
    console.keys("nothing at all");
    console.code(KeyCode::Enter);
    assert_says(&console, "Ctrl-P edits it");
    console.keys(":filter");
    console.code(KeyCode::Enter);
    console.keys("^");
    console.ctrl('o');
    console.ctrl('o');
    assert_says(&console, "Ctrl-N shows all stages");
    assert_says(&console, "Ctrl-O shows other levels");
    console.ctrl('n');
    console.ctrl('o');
    console.keys(":filter");
    console.code(KeyCode::Enter);
    console.keys(":save a");
    console.code(KeyCode::Enter);
    assert_says(&console, "this pane has no filter to save; Ctrl-P or :filter sets one");
}

#[test]
fn the_empty_log_names_them() {
    let mut console = Console::with(own_keys(options((120, 40))));
    assert_says(&console, "(Ctrl-K copies the command)");
    console = Console::with(own_keys(small()));
    console.ctrl('g');
    lines(&mut console, 10, "held");
    assert_says(&console, "10 new lines are waiting; Ctrl-G shows them.");
}

#[test]
fn a_banner_names_the_key_only_where_it_works() {
    let mut console = console();
    console.keys(":notify level:error");
    console.code(KeyCode::Enter);
    lines(&mut console, 10, "bad");
    for _ in 0..4 {
        console.tick(1);
    }
    assert_says(&console, "Ctrl-T acknowledge");
    console.keys("v");
    assert_says(&console, "Ctrl-T acknowledge");
    console.code(KeyCode::Esc);
    console.keys("p");
    assert!(console.screen().contains("ALERT"), "{}", console.screen());
    assert!(!console.screen().contains("acknowledge"), "there it would be typed");
    console.code(KeyCode::Esc);
    console.ctrl('t');
    assert!(!console.screen().contains("ALERT"), "{}", console.screen());
}

#[test]
fn keys_that_cannot_be_changed_are_named_too() {
    let mut console = console();
    console.keys(":");
    assert_says(&console, "Tab complete  ↑ ↓ history  Enter run  Esc cancel");
    console.code(KeyCode::Esc);
    console.ctrl('r');
    assert_says(&console, "a letter; Esc cancels");
    console.code(KeyCode::Esc);
    views::open_queue(&mut console, Ok(views::snapshot(3)));
    console.keys("D");
    console.code(KeyCode::Enter);
    assert_says(&console, "type 43 or delete, or Esc to cancel.");
    console.code(KeyCode::Esc);
    console.code(KeyCode::Esc);
    console.send(Msg::Resize(120, 40));
    console.keys("?");
    for (_, key) in KEYS.into_iter().filter(|(_, key)| key.starts_with("ctrl-")) {
        (0..80).for_each(|_| {
            console.keys("k");
        });
        let label = format!("Ctrl-{}", key[5..].to_uppercase());
        let shown = (0..80).any(|_| {
            console.keys("j");
            console.screen().contains(&label)
        });
        assert!(shown, "the help does not show {label}");
    }
}
