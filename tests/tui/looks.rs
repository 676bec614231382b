//! Looks: ASCII alone, themes.

use bklit_console_core::appearance::Scheme;
use bklit_console_core::model::{ModelOptions, Shell};
use bklit_console_core::theme::{Palette, Theme};
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{Level, Stage};
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

/// NO_COLOR: what the colours tell is told by emphasis, in the cells of the log themselves.
#[test]
fn without_colours_a_row_tells_the_same() {
    let theme = Theme::new(Palette::NoColour);
    let mut console = busy_with(ModelOptions { theme, ..options((120, 40)) });
    let line = |nth, stage, level, message| log(900 + nth, stage, level, message, &json!({}));
    let mut lines: Vec<_> = Stage::ALL
        .into_iter()
        .enumerate()
        .map(|(nth, stage)| line(nth, stage, Level::Info, "plain words"))
        .collect();
    lines.push(line(6, Stage::Worker, Level::Warn, "a warning"));
    lines.push(line(7, Stage::Worker, Level::Error, "an error"));
    lines.push(line(8, Stage::Worker, Level::Info, "needle here"));
    lines.push(line(9, Stage::Worker, Level::Info, "marked"));
    lines.push(line(10, Stage::Worker, Level::Info, "the last"));
    console.logs(lines);
    console.keys("/needle");
    console.code(KeyCode::Enter);
    console.keys("Gkmxj");
    let buffer = console.buffer();
    let screen = console.screen();
    let row_of = |text: &str| {
        let row = screen.lines().position(|row| row.contains(text));
        u16::try_from(row.unwrap_or_else(|| panic!("{text} is not in\n{screen}"))).unwrap()
    };
    let cell = |x: u16, y: u16| buffer.cell((x, y)).unwrap();
    assert!(buffer.content().iter().all(|cell| {
        let reset = ratatui::style::Color::Reset;
        (cell.fg, cell.bg) == (reset, reset)
    }));
    // The frame, a mark, time, a blank, then the stage.
    let log = console.model.layout().unwrap().log;
    let names = Stage::ALL.map(|stage| {
        let rows = screen.lines().enumerate().skip(log.y.into());
        let row = rows.into_iter().find(|(_, row)| {
            row.contains("plain words") && row.contains(&format!(" {} ", stage.as_str()))
        });
        cell(log.x + 14, row.unwrap().0 as u16).modifier
    });
    for (nth, modifier) in names.iter().enumerate() {
        assert!(!names[..nth].contains(modifier), "{:?}: {modifier:?}", Stage::ALL[nth]);
    }
    let level = |text: &str| cell(log.x + 25, row_of(text)).modifier;
    let (info, warning, error) = (level("needle"), level("a warning"), level("an error"));
    assert!(info != warning && warning != error && info != error);
    let message = |text: &str| {
        let row = row_of(text);
        let at = screen.lines().nth(row.into()).unwrap().chars().collect::<String>();
        let at = at[..at.find(text).unwrap()].chars().count();
        cell(u16::try_from(at).unwrap(), row).modifier
    };
    let (found, selected) = (message("needle"), message("the last"));
    assert!(found != selected && found != message("marked") && selected != message("marked"));
    let sign = |text: &str| cell(log.x, row_of(text)).symbol();
    assert_eq!([sign("marked"), sign("needle"), sign("the last")], ["x", "•", "▌"]);
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
