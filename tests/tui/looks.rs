//! Looks: ASCII alone, themes.

use bklit_tui::config::Scheme;
use bklit_tui::pipeline::bus::DebugMessage;
use bklit_tui::pipeline::debug_log::{Level, Stage};
use bklit_tui::tui::model::{ModelOptions, Shell};
use bklit_tui::tui::theme::{Palette, Theme};
use crossterm::event::KeyCode;
use serde_json::json;

use super::feed::{Console, busy_with, log, options};

const SIZES: [(u16, u16); 6] = [(20, 5), (60, 15), (80, 24), (120, 40), (161, 50), (200, 60)];

fn ascii(size: (u16, u16)) -> ModelOptions {
    let shell = Shell { ascii: true, ..Shell::default() };
    ModelOptions { source: "embedded «ü» 東京".to_owned(), shell, ..options(size) }
}

#[track_caller]
fn assert_ascii(console: &Console, what: &str) {
    for cell in console.buffer().content() {
        assert!(cell.symbol().is_ascii(), "{what}: {:?}\n{}", cell.symbol(), console.screen());
    }
}

/// A busy console whose newest lines have text of all kinds.
fn strange(size: (u16, u16)) -> Console {
    let mut console = busy_with(ascii(size));
    let data = json!({ "städte": ["東京", "Zürich"], "error": "▁▂▃ │ … 🚀", "é": "e\u{301}" });
    let mut line = log(900, Stage::Worker, Level::Error, "Größe: 東京都 🚀 → «µ»", &data);
    line.event_id = Some("evt_ü_東京_0123456789".into());
    line.project_id = Some("größe".into());
    line.duration = Some(0.42);
    console.logs(vec![line.clone(), line]);
    console.feed(vec![DebugMessage::Unparsed("nicht lesbar: ÄÖÜ \u{1b}[31m".into())]);
    console.tick(1);
    console
}

#[test]
fn nothing_but_ascii_is_on_any_screen() {
    let ways: &[(&str, &str)] = &[
        ("log", ""),
        ("selected", "kk"),
        ("paused", " k"),
        ("search", "/größe"),
        ("filter with a mistake", "&level:größe"),
        ("figures", "i"),
        ("split", "ss"),
        ("four panes", "sss"),
        ("folded", "z"),
        ("help", "?"),
        ("projects", "p"),
        ("mark", "km"),
        ("jump", "kmak'"),
        ("trace", "kkt"),
        ("filtered", "23l"),
    ];
    for size in SIZES {
        assert_ascii(&Console::with(ascii(size)), "empty");
        for (what, keys) in ways {
            let mut console = strange(size);
            console.keys(keys);
            assert_ascii(&console, what);
        }
        let mut console = strange(size);
        console.keys("k");
        console.code(KeyCode::Enter);
        assert_ascii(&console, "detail");
        console.keys("?");
        assert_ascii(&console, "help of the detail");
        console.feed(vec![DebugMessage::Disconnected("Größe → ✗".into())]);
        assert_ascii(&console, "cut off");
    }
}

#[test]
fn ascii_keeps_every_column_where_it_was() {
    let plain = super::feed::busy(120, 40);
    let rows = |console: &Console| -> Vec<String> {
        console.screen().lines().map(str::to_owned).collect()
    };
    let mut simple = busy_with(ModelOptions { source: "embedded".into(), ..ascii((120, 40)) });
    simple.tick(0);
    for (row, other) in rows(&plain).iter().zip(rows(&simple)) {
        assert_eq!(row.chars().count(), other.chars().count(), "{row}\n{other}");
        for (a, b) in row.chars().zip(other.chars()) {
            assert!(!a.is_ascii() || a == b, "{row}\n{other}");
        }
    }
    insta::assert_snapshot!("ascii_120x40", simple.screen());
}

#[test]
fn a_theme_changes_colours_and_nothing_else() {
    let of = |scheme| {
        let theme = Theme::of(scheme, Palette::TrueColour);
        busy_with(ModelOptions { theme, ..options((120, 40)) })
    };
    let (dark, light, mono) = (of(Scheme::Dark), of(Scheme::Light), of(Scheme::Mono));
    assert_eq!(dark.screen(), light.screen());
    assert_eq!(dark.screen(), mono.screen());
    let colours = |console: &Console| {
        let buffer = console.buffer();
        buffer
            .content()
            .iter()
            .map(|cell| (cell.fg, cell.bg))
            .collect::<std::collections::HashSet<_>>()
    };
    assert!(colours(&dark).len() > 8);
    let shared: Vec<_> = colours(&dark).intersection(&colours(&light)).copied().collect();
    assert_eq!(shared, [(ratatui::style::Color::Reset, ratatui::style::Color::Reset)]);
    assert_eq!(colours(&mono).len(), 1);
}
