//! Appearance: ASCII, themes.

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

/// NO_COLOR: what colours express is expressed by emphasis, in the cells of the log themselves.
#[test]
fn without_colours_a_row_shows_the_same() {
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

/// The row of the screen with a text, and the column at which the text starts.
fn place_of(console: &Console, text: &str) -> (u16, u16) {
    let screen = console.screen();
    let found = screen.lines().enumerate().find_map(|(y, row)| Some((row.find(text)?, y, row)));
    let (at, y, row) = found.unwrap_or_else(|| panic!("no {text:?} in\n{screen}"));
    (bklit_wire::text::width(&row[..at]) as u16, y as u16)
}

#[test]
fn the_reason_of_an_error_comes_first_and_is_the_brightest() {
    let theme = Theme::new(Palette::TrueColour);
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let mut console = busy_with(ModelOptions { theme, ..options((width, height)) });
        let error = "network error: client error (Connect): tcp connect error: connection refused";
        let data = json!({ "url": "https://shop.example/checkout", "error": error });
        let mut line = log(900, Stage::Clickhouse, Level::Error, "Batch not stored", &data);
        line.duration = Some(2_500.0);
        console.logs(vec![line]);
        let screen = console.screen();
        let row = screen.lines().rev().find(|row| row.contains("connection refused")).unwrap();
        // The last cause is the most specific, so earlier ones are left out.
        let shortened = ["…connection refused", "error: connection refused"];
        assert!(row.contains(error) || shortened.iter().any(|end| row.contains(end)), "{row}");
        assert!(width < 200 || row.contains("Batch not stored"), "{row}");
        let buffer = console.buffer();
        let style = |text: &str| {
            let (x, y) = place_of(&console, text);
            buffer[(x, y)].style()
        };
        let reason = style("connection refused");
        assert!(reason.add_modifier.contains(ratatui::style::Modifier::BOLD));
        assert_eq!(reason.bg, theme.row(Level::Error).bg, "the row is tinted");
        assert_eq!(style("2.5 s").fg, theme.duration(2.5e6).fg);
    }
}

#[test]
fn details_use_columns_that_are_empty() {
    let mut console = busy_with(options((200, 60)));
    let url = format!("https://shop.example/{}", "x".repeat(86));
    console.logs(vec![log(900, Stage::Ingestion, Level::Info, "Event", &json!({ "url": url }))]);
    assert!(console.screen().contains(&format!("url={url}")), "{}", console.screen());
}

#[test]
fn a_batch_is_last_and_short() {
    let mut console = busy_with(options((120, 40)));
    let id = "0123456789abcdef0123456789abcdef";
    let data = json!({ "batchId": id, "size": 12 });
    console.logs(vec![log(900, Stage::Worker, Level::Info, "Batch claimed", &data)]);
    assert!(console.screen().contains("size=12 batch=…89abcdef"), "{}", console.screen());
    // It is found nevertheless.
    console.keys(&format!("/{id}"));
    console.code(KeyCode::Enter);
    assert!(console.screen().contains("match 1 of 1"), "{}", console.screen());
}

#[test]
fn only_what_is_above_its_own_usual_latency_has_a_colour() {
    let theme = Theme::new(Palette::TrueColour);
    let mut console = Console::with(ModelOptions { theme, ..options((120, 40)) });
    let seconds = |console: &mut Console, count: usize, times: u64| {
        let mut figures = super::feed::gauges(3);
        for stage in &mut figures.stages {
            let mut slower = bklit_wire::gauges::Latencies::histogram();
            let mut usual = bklit_wire::gauges::Latencies::histogram();
            stage.latencies.add_to(&mut usual);
            usual.iter_recorded().for_each(|value| {
                slower.saturating_record_n(
                    value.value_iterated_to() * times,
                    value.count_since_last_iteration(),
                );
            });
            stage.latencies = bklit_wire::gauges::Latencies::of(&slower);
        }
        let figures = std::sync::Arc::new(figures);
        for _ in 0..count {
            console.feed(vec![DebugMessage::Gauges(figures.clone())]);
            console.tick(1);
        }
        let (x, y) = place_of(console, "4 ● ");
        let buffer = console.buffer();
        let row: String = (x..79).map(|x| buffer[(x, y)].symbol()).collect();
        // The second percentile.
        let p95 = row.split_whitespace().skip(8).take(2).collect::<Vec<_>>().join(" ");
        let at = bklit_wire::text::width(&row[..row.find(&p95).unwrap()]) as u16;
        buffer[(x + at, y)].style().fg
    };
    let normal = seconds(&mut console, 90, 1);
    assert_eq!(normal, theme.plain().fg.or(Some(ratatui::style::Color::Reset)));
    assert_eq!(seconds(&mut console, 12, 4), theme.warning().fg);
    assert_eq!(seconds(&mut console, 12, 40), theme.error().fg);
}

#[test]
fn a_worker_that_does_nothing_while_events_wait_is_stalled() {
    let mut console = busy_with(options((120, 40)));
    let mut figures = super::feed::gauges(3);
    figures.stages[Stage::Worker.index()] = Default::default();
    let stored = std::mem::take(&mut figures.accept_to_stored);
    for _ in 0..12 {
        console.feed(vec![DebugMessage::Gauges(std::sync::Arc::new(figures.clone()))]);
        console.tick(1);
    }
    let screen = console.screen();
    assert!(screen.contains("0/s ✗") && screen.contains("stalled 1"), "{screen}");
    // It continues.
    figures.accept_to_stored = stored;
    console.feed(vec![DebugMessage::Gauges(std::sync::Arc::new(figures))]);
    console.tick(1);
    assert!(!console.screen().contains("stalled"), "{}", console.screen());
}

#[test]
fn a_skin_of_the_config_is_used_and_can_be_left() {
    use bklit_console_core::theme::Skin;
    let colors = [("base", "light"), ("accent", "#ff8700")];
    let colors = colors.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let skin = Skin::read(&colors.into_iter().collect()).unwrap();
    let shell = Shell {
        skins: [("production".to_owned(), skin)].into_iter().collect(),
        ..Shell::default()
    };
    let theme = Theme::new(Palette::TrueColour);
    let mut console = busy_with(ModelOptions { shell, theme, ..options((120, 40)) });
    let accent = |console: &Console| {
        let (x, y) = place_of(console, "▶log");
        console.buffer()[(x, y)].style().fg
    };
    let before = accent(&console);
    console.keys(":theme production");
    console.code(KeyCode::Enter);
    assert_eq!(accent(&console), Some(ratatui::style::Color::Rgb(255, 135, 0)));
    console.keys(":theme dark");
    console.code(KeyCode::Enter);
    assert_eq!(accent(&console), before);
    console.keys(":theme pink");
    console.code(KeyCode::Enter);
    let wrong = "unknown theme pink (dark, light, mono, production)";
    assert!(console.screen().contains(wrong), "{}", console.screen());
}

#[test]
fn the_command_of_an_empty_log_can_be_selected_row_by_row_at_any_size() {
    for (width, height) in [(60, 15), (80, 20), (80, 24), (120, 40), (200, 60)] {
        let console = Console::new(width, height);
        let screen = console.screen();
        let from = screen.lines().position(|row| row.starts_with("curl")).unwrap();
        let rows: Vec<_> = screen.lines().skip(from).collect();
        let end = rows.iter().position(|row| !row.ends_with('\\')).unwrap();
        assert!(rows[..=end].iter().all(|row| !row.contains('│')), "{screen}");
        assert!(rows[end].contains("projectId"), "{screen}");
    }
}

/// Text over a frame does not take its colour.
#[test]
fn text_over_a_frame_has_a_colour_of_its_own() {
    let theme = Theme::new(Palette::TrueColour);
    let reset = ratatui::style::Color::Reset;
    let colour = |console: &Console, text: &str| {
        let (x, y) = place_of(console, text);
        console.buffer()[(x, y)].style().fg
    };
    let console = Console::with(ModelOptions { theme, ..options((80, 24)) });
    assert_eq!(colour(&console, "curl"), Some(reset));
    let mut console = busy_with(ModelOptions { theme, ..options((80, 24)) });
    assert_eq!(colour(&console, "136 of"), Some(reset));
    for open in ["/typed", ":typed"] {
        console.keys(open);
        assert_eq!(colour(&console, "typed"), Some(reset), "{open}");
        console.code(KeyCode::Esc);
        console.code(KeyCode::Esc);
    }
}
