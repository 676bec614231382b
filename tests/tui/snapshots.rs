//! Screens at the named sizes, and the styles that a plain screen does not show.

use std::sync::Arc;

use bklit_console_core::theme::{Palette, Theme};
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::gauges::{Health, QueueGauges, VerifyGauges};
use crossterm::event::KeyCode;
use ratatui::style::{Modifier, Style};
use serde_json::json;

use super::feed::{Console, busy, busy_with, gauges, log, options, traffic};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];

/// One snapshot for each of the named sizes.
fn at_all_sizes(name: &str, console: impl Fn(u16, u16) -> Console) {
    for (width, height) in SIZES {
        let screen = console(width, height).screen();
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

#[test]
fn empty() {
    at_all_sizes("empty", Console::new);
}

#[test]
fn live() {
    at_all_sizes("live", busy);
}

#[test]
fn paused_with_lines_held() {
    at_all_sizes("paused", |width, height| {
        let mut console = busy(width, height);
        console.keys(" ");
        console.logs(traffic(300));
        console
    });
}

#[test]
fn searching() {
    at_all_sizes("search", |width, height| {
        let mut console = busy(width, height);
        console.keys("/checkout");
        console.code(KeyCode::Enter);
        console.keys("N");
        console
    });
}

#[test]
fn typing_a_filter() {
    at_all_sizes("filter_typed", |width, height| {
        let mut console = busy(width, height);
        console.keys("&stored|lock(");
        console
    });
}

#[test]
fn filtered() {
    at_all_sizes("filtered", |width, height| {
        let mut console = busy(width, height);
        console.keys("&!batch");
        console.code(KeyCode::Enter);
        console.keys("5lk");
        console
    });
}

#[test]
fn detail() {
    at_all_sizes("detail", |width, height| {
        let mut console = busy(width, height);
        let data = json!({
            "error": "database is locked",
            "attempt": 3,
            "batch": { "id": "b_17", "rows": [1, 2], "tables": ["page_view_event"] },
            "statement": "INSERT INTO page_view_event (id, url, timestamp, created_at, city, country, country_code, ip, isp) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        });
        let mut line =
            log(500, Stage::Clickhouse, Level::Error, "Batch could not be stored", &data);
        line.event_id = Some("evt_019c13f0a7b870009e3779b97f4a7c15".into());
        line.project_id = Some("shop".into());
        line.duration = Some(5021.25);
        console.logs(vec![line]);
        console.code(KeyCode::Enter);
        console
    });
}

#[test]
fn help() {
    at_all_sizes("help", |width, height| {
        let mut console = busy(width, height);
        console.keys("?");
        console
    });
}

#[test]
fn many_errors_and_failures() {
    at_all_sizes("errors", |width, height| {
        let mut console = busy(width, height);
        let lines = (0..4_000).map(|i| {
            let stage = if i % 3 == 0 { Stage::Worker } else { Stage::Clickhouse };
            let data = json!({ "error": "connection refused (os error 111)", "attempt": i });
            log(600 + i, stage, Level::Error, "Store is unavailable", &data)
        });
        console.logs(lines.collect());
        let mut figures = gauges(3);
        figures.store_health = Health::Failing;
        figures.queue = Some(QueueGauges {
            depth: 123_456,
            in_flight: 5_000,
            failed: 17,
            spooled: 1_200,
            ..QueueGauges::default()
        });
        figures.sampling = 8;
        console.feed(vec![DebugMessage::Gauges(Arc::new(figures)), DebugMessage::Lost(1_234)]);
        console.tick(1);
        console
    });
}

/// A busy screen with two verifying processes, one of which has found mismatches.
fn verifying(width: u16, height: u16, different: u64) -> Console {
    let mut console = busy(width, height);
    for (process, not_written) in [("one", 0), ("two", 17)] {
        let verify = VerifyGauges { matched: 61_720, different, not_written, ..Default::default() };
        let mut figures = gauges(3);
        figures.process = process.into();
        figures.verify = Some(verify);
        console.feed(vec![DebugMessage::Gauges(Arc::new(figures))]);
    }
    console.tick(1);
    console
}

#[test]
fn the_match_rate_while_both_paths_are_compared() {
    at_all_sizes("verifying", |width, height| verifying(width, height, 1));
    for (different, rate) in [(0, "100 %"), (1, "99.99 %")] {
        let console = verifying(120, 40, different);
        let screen = console.screen();
        assert!(screen.contains(rate) && screen.contains("17 unknown"), "{screen}");
        let error = Theme::new(Palette::Ansi256).error().fg;
        assert_eq!(style_of(&console, rate).fg == error, different > 0);
    }
}

#[test]
fn without_a_connection_nothing_is_shown_as_known() {
    at_all_sizes("disconnected", |width, height| {
        let mut console = busy(width, height);
        console.feed(vec![DebugMessage::Disconnected("connection refused".into())]);
        console
    });
}

#[test]
fn hostile_text_is_shown_escaped_and_breaks_no_column() {
    at_all_sizes("hostile", |width, height| {
        let mut console = Console::new(width, height);
        let hostile = [
            "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}",
            "tab\there\nnew line\r",
            "right to left \u{202e}gnp.exe\u{202c} zero\u{200b}width",
            "[bold]markup[/bold] {{x}} %s <b>html</b>",
            "東京 🚀🚀🚀 emoji and 漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字",
            "e\u{301}a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301} combining",
            "",
        ];
        let lines = hostile.iter().enumerate().map(|(nth, text)| {
            let mut line = log(nth, Stage::ALL[nth % 6], Level::Info, text, &json!({ "v": text }));
            line.event_id = Some(format!("evt_{text}"));
            line.duration = Some(1e12);
            line
        });
        console.logs(lines.collect());
        console.feed(vec![
            DebugMessage::Unparsed("{\"stage\":\"moon\",\"message\":\"\u{1b}[2Jhi\"}".into()),
            DebugMessage::Unparsed("not JSON at all \u{0}".into()),
        ]);
        console
    });
}

#[test]
fn hidden_lines_say_what_hides_them() {
    let mut console = busy(80, 24);
    console.keys("&nowhere");
    console.code(KeyCode::Enter);
    console.keys("^");
    insta::assert_snapshot!("hidden_80x24", console.screen());
}

#[test]
fn sizes_in_between_and_too_small() {
    for (width, height) in [(1, 1), (8, 3), (40, 10), (59, 20), (60, 40), (109, 24), (110, 24)] {
        let screen = busy(width, height).screen();
        insta::assert_snapshot!(format!("live_{width}x{height}"), screen);
    }
}

/// The style of the first cell of `what` on the screen.
fn style_of(console: &Console, what: &str) -> Style {
    let (x, y) = place_of(console, what);
    console.buffer()[(x, y)].style()
}

fn place_of(console: &Console, what: &str) -> (u16, u16) {
    let screen = console.screen();
    let found = screen.lines().enumerate().find_map(|(y, row)| Some((row.find(what)?, y, row)));
    let (at, y, row) = found.unwrap_or_else(|| panic!("no {what:?} in\n{screen}"));
    (bklit_wire::text::width(&row[..at]) as u16, y as u16)
}

#[test]
fn stages_have_their_colours_in_chips_and_log() {
    let console = busy(120, 40);
    let theme = Theme::new(Palette::Ansi256);
    for stage in Stage::ALL {
        let wanted = theme.stage(stage).fg;
        let chip = format!("{} ● {stage}", stage.index() + 1);
        let (x, y) = place_of(&console, &chip);
        assert_eq!(console.buffer()[(x + 4, y)].style().fg, wanted, "{stage}");
        let row = format!("{stage:<10} INFO");
        assert_eq!(style_of(&console, &row).fg, wanted, "{stage}");
    }
    assert_eq!(style_of(&console, "ERROR").fg, theme.error().fg);
    assert_eq!(style_of(&console, "WARN").fg, theme.warning().fg);
}

#[test]
fn the_selected_line_and_matches_stand_out() {
    for palette in [Palette::Ansi16, Palette::Ansi256, Palette::NoColour] {
        let theme = Theme::new(palette);
        let mut console =
            busy_with(bklit_console_core::model::ModelOptions { theme, ..options((120, 40)) });
        console.keys("/rows=12");
        console.code(KeyCode::Enter);
        console.keys("N");
        let (x, y) = place_of(&console, "▌");
        let buffer = console.buffer();
        let selected = theme.selected();
        let right = console.model.layout().unwrap().log.right();
        for x in x..right {
            let style = buffer[(x, y)].style();
            assert!(style.add_modifier.contains(selected.add_modifier), "{palette:?} {x}");
        }
        assert_eq!(
            buffer[(right - 1, y)].style().bg,
            selected.bg.or(Some(ratatui::style::Color::Reset))
        );
        let found = style_of(&console, "rows=12");
        assert!(found.add_modifier.contains(theme.found().add_modifier));
        assert_ne!(found, style_of(&console, "table="));
    }
}

#[test]
fn without_colour_no_cell_has_one() {
    let no_colour = || Theme::new(Palette::NoColour);
    let mut console = busy_with(bklit_console_core::model::ModelOptions {
        theme: no_colour(),
        ..options((120, 40))
    });
    console.keys("/checkout");
    console.code(KeyCode::Enter);
    console.keys("N2");
    for screen in ["", "?"] {
        console.keys(screen);
        for cell in console.buffer().content() {
            let reset = ratatui::style::Color::Reset;
            assert_eq!((cell.fg, cell.bg), (reset, reset));
        }
    }
    console.code(KeyCode::Esc);
    assert!(console.screen().contains("2 ○ queue"), "a hidden stage has another sign");
    console.keys(" ");
    assert!(style_of(&console, "PAUSED").add_modifier.contains(Modifier::REVERSED));
}

fn split(width: u16, height: u16) -> Console {
    let mut console = busy(width, height);
    console.keys("s&level:>=warn");
    console.code(KeyCode::Enter);
    console.keys("s&");
    console.ctrl('u');
    console.keys("stage:queue");
    console.code(KeyCode::Enter);
    console.keys("0kk");
    console
}

#[test]
fn split_panes() {
    at_all_sizes("split", split);
}

#[test]
fn the_focused_pane_is_marked_without_colour_too() {
    let theme = Theme::new(Palette::NoColour);
    let mut console =
        busy_with(bklit_console_core::model::ModelOptions { theme, ..options((120, 40)) });
    console.keys("s");
    assert!(style_of(&console, "▶2").add_modifier.contains(Modifier::REVERSED));
    console.code(KeyCode::Tab);
    assert!(style_of(&console, "▶1").add_modifier.contains(Modifier::REVERSED));
    assert!(!console.screen().contains("▶2"));
}

/// An event that waits in the queue for its batch, and is stored with it.
fn way() -> Vec<bklit_wire::debug_log::DebugLog> {
    let steps = [
        (0, Stage::Ingestion, "Event accepted", Some(0.6), true),
        (1, Stage::Queue, "Event queued", Some(2.0), true),
        (11, Stage::Worker, "Processing page view", Some(3.5), true),
        (13, Stage::Clickhouse, "Inserted page views", Some(210.0), false),
        (13, Stage::Worker, "Batch stored", Some(240.0), false),
        (14, Stage::Pubsub, "Live event published", None, true),
    ];
    let line = |(at, stage, message, took, of_event): (usize, Stage, &str, Option<f64>, bool)| {
        let data = if at > 1 { json!({ "batchId": "b_17", "size": 3 }) } else { json!({}) };
        let mut line = log(600 + at, stage, Level::Info, message, &data);
        line.event_id = of_event.then(|| "evt_019c13f1c0de700042d1f0a9e5b37c68".into());
        line.duration = took;
        line
    };
    steps.into_iter().map(line).collect()
}

#[test]
fn trace() {
    at_all_sizes("trace", |width, height| {
        let mut console = busy(width, height);
        console.logs(way());
        console.keys("ft");
        while console.model.has_work() {
            console.send(bklit_console_core::msg::Msg::Work);
        }
        console.keys("k");
        console
    });
}

#[test]
fn projects() {
    at_all_sizes("projects", |width, height| {
        let mut console = busy(width, height);
        let mut other = way();
        other[0].project_id = Some("another-shop".into());
        console.logs(other);
        console.keys("p");
        console.code(KeyCode::Down);
        console
    });
}

#[test]
fn folded_repeats_and_letter_prompts() {
    let mut console = busy(80, 24);
    let line = |nth: usize| {
        log(600 + nth, Stage::Worker, Level::Error, "Store is unavailable", &json!({ "try": nth }))
    };
    console.logs((0..1_234).map(line).collect());
    console.keys("zma'");
    insta::assert_snapshot!("folded_80x24", console.screen());
}

#[test]
fn an_error_stands_out_in_the_field() {
    let theme = Theme::new(Palette::Ansi256);
    let mut console = busy(80, 24);
    console.keys("&batch stage:wrker");
    insta::assert_snapshot!("mistake_80x24", console.screen());
    assert_eq!(style_of(&console, "wrker").fg, theme.error().fg);
    assert!(style_of(&console, "wrker").add_modifier.contains(Modifier::UNDERLINED));
    assert_ne!(style_of(&console, "batch stage").fg, theme.error().fg);
}
