//! Bugs that other consoles had, one test each, and the effects of keys.

use std::sync::Arc;

use bklit_console_core::keymap;
use bklit_console_core::keymap::{Action, BINDINGS, Context};
use bklit_console_core::model::{Focus, Screen};
use bklit_console_core::msg::{Effect, Msg};
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::gauges::Gauges;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::feed::{Console, busy, curl, log, traffic};
use super::properties::{lines, small};

#[test]
fn every_key_of_the_table_does_something() {
    for binding in BINDINGS {
        for context in binding.contexts.iter() {
            for key in binding.keys {
                let mut console = busy(80, 24);
                console.keys("/a");
                console.code(KeyCode::Enter);
                prepare(&mut console, context, binding.action);
                assert_eq!(console.model.context(), context);
                let before = (console.screen(), format!("{:?}", console.model.pane().position()));
                let effect = console.send(Msg::Key(key.event()));
                let after = (console.screen(), format!("{:?}", console.model.pane().position()));
                assert!(
                    effect.is_some() || before != after,
                    "{} does nothing in {context:?}",
                    key.label()
                );
            }
        }
    }
}

/// Lines of one event of another project.
fn long_event(lines: usize) -> Vec<DebugLog> {
    let line = |nth: usize| {
        let stage = Stage::ALL[nth % 6];
        let mut line = log(1_000 + nth, stage, Level::Info, "step", &json!({ "nth": nth }));
        (line.event_id, line.project_id) = (Some("evt_long".into()), Some("other".into()));
        line.duration = Some(50.0);
        line
    };
    (0..lines).map(line).collect()
}

/// Brings the console into a state in which an action has an effect.
fn prepare(console: &mut Console, context: Context, action: Action) {
    console.keys("gfkkkk");
    match action {
        Action::PageDown | Action::HalfDown | Action::Down | Action::NextError => {
            console.keys("g");
        }
        Action::NextWarning => {
            console.keys("g");
        }
        Action::AllStages => {
            console.keys("3");
        }
        Action::Figures => console.resize(80, 30),
        _ => {}
    }
    match context {
        Context::Log => {
            if matches!(action, Action::ScrollLeft | Action::ScrollRight) {
                super::wrapping::add_long(console);
                console.keys("f");
            }
            if action == Action::ScrollLeft {
                console.keys(".");
            }
        }
        Context::Timeline => {
            if matches!(action, Action::ScrollLeft | Action::ScrollRight) {
                super::wrapping::add_long(console);
                console.keys("f");
            }
            console.keys(if action == Action::ScrollLeft { ".I" } else { "I" });
            if matches!(action, Action::Later | Action::MuchLater) {
                console.keys("[");
            }
        }
        Context::Field => {
            console.keys("&a");
            console.code(KeyCode::Enter);
            console.keys(":filter");
            console.code(KeyCode::Enter);
            console.keys("/b");
            if action == Action::NewerCommand {
                console.code(KeyCode::Up);
            }
        }
        Context::Detail => {
            let big: Vec<_> = (0..200).collect();
            console.logs(vec![log(999, Stage::Queue, Level::Info, "big", &json!({ "big": big }))]);
            console.keys("fk");
            if action != Action::PreviousLine && action != Action::NextLine {
                console.keys("f");
            }
            console.code(KeyCode::Enter);
            console.keys("jj");
        }
        Context::Help => {
            console.keys("?jj");
        }
        Context::Trace => {
            console.logs(long_event(60));
            console.keys("ft");
            (0..20).for_each(|_| {
                console.keys("k");
            });
        }
        Context::Projects => {
            console.logs(long_event(3));
            console.keys("p");
            if action == Action::Up {
                console.code(KeyCode::Down);
            }
        }
        Context::Letter => {
            console.keys("m");
        }
        Context::Queue => {
            super::views::open_queue(console, Ok(super::views::snapshot(60)));
            (0..20).for_each(|_| {
                console.keys("j");
            });
        }
        Context::Failed => {
            let mut large = super::views::snapshot(1);
            large.failed[0].body = format!("{{\"big\":{:?}}}", (0..200).collect::<Vec<_>>());
            large.failed[0].event.event_id = Some("evt_1".into());
            super::views::open_queue(console, Ok(large));
            console.code(KeyCode::Enter);
            console.keys("jj");
        }
        Context::Edit => {
            super::edits::open_long(console);
            console.keys("jj");
        }
        Context::Batch => {
            super::lists::open_batch(console, 60);
            (0..20).for_each(|_| {
                console.keys("j");
            });
        }
        Context::Live => {
            super::lists::open_live(console, 40);
            (0..20).for_each(|_| {
                console.keys("j");
            });
        }
        Context::History => {
            super::history::open_page(console);
            if action != Action::ShowStage {
                console.keys("4");
            }
            if matches!(action, Action::Later | Action::MuchLater | Action::Present) {
                (0..20).for_each(|_| drop(console.code(KeyCode::Left)));
            }
            console.keys("jj");
        }
        Context::Processes => {
            super::processes::open_many(console);
            (0..20).for_each(|_| {
                console.keys("j");
            });
        }
        Context::Sql | Context::SqlRow => {
            super::sql::open_result(console, 60);
            (0..20).for_each(|_| drop(console.keys("j")));
            if matches!(action, Action::ColumnsLeft) {
                console.code(KeyCode::Right);
            }
            if context == Context::SqlRow {
                console.code(KeyCode::Enter);
                console.keys("jj");
            }
        }
        Context::SqlInput => {
            super::sql::open_result(console, 60);
            console.code(KeyCode::Tab);
            match action {
                Action::NextCandidate | Action::PreviousCandidate => {
                    console.keys(" W");
                }
                Action::OlderCommand => {
                    console.keys(" x");
                }
                Action::NewerCommand => {
                    console.keys(" x");
                    console.code(KeyCode::Up);
                }
                _ => {}
            }
        }
        Context::Who => {
            super::who::open(console);
            (0..20).for_each(|_| {
                console.keys("j");
            });
        }
        Context::Verify => {
            super::views::mismatches(console, 60);
            console.keys("V");
            (0..20).for_each(|_| {
                console.keys("j");
            });
        }
        Context::Problems => {
            super::problems::open(console);
            (0..4).for_each(|_| {
                console.keys("j");
            });
        }
        Context::Session => {
            super::sessions::open(console, 60);
            (0..20).for_each(|_| {
                console.keys("k");
            });
        }
        Context::Palette => {
            for command in [":level warn", ":level info"] {
                console.keys(command);
                console.code(KeyCode::Enter);
            }
            console.keys(":se");
            if action == Action::NewerCommand {
                console.code(KeyCode::Up);
            }
        }
    }
}

/// Regression: shortcuts eat letters in a text field; Esc or q in it ends the program.
#[test]
fn escape_goes_back_layer_by_layer_and_never_quits() {
    let mut console = busy(80, 24);
    console.keys("&batch");
    console.code(KeyCode::Enter);
    console.keys("/stored");
    console.code(KeyCode::Enter);
    console.code(KeyCode::Enter);
    console.keys("?");
    assert_eq!(console.model.context(), Context::Help);
    let mut layers = Vec::new();
    for _ in 0..8 {
        assert_eq!(console.code(KeyCode::Esc), None);
        let model = &console.model;
        let pane = model.pane();
        layers.push((model.context(), pane.search().is_some(), pane.filter().query.is_some()));
    }
    let wanted = [
        (Context::Detail, true, true),
        (Context::Log, true, true),
        (Context::Log, false, true),
        (Context::Log, false, false),
    ];
    assert_eq!(layers[..4], wanted);
    assert!(layers[4..].iter().all(|layer| *layer == wanted[3]));
    assert_eq!(console.keys("q"), Some(Effect::Quit));
}

#[test]
fn q_closes_views_first_and_ctrl_c_quits_from_anywhere() {
    let mut console = busy(80, 24);
    console.keys("?");
    assert_eq!(console.keys("q"), None);
    assert!(matches!(console.model.screen(), Screen::Log(_)));
    for open in ["", "?", "/", "&x"] {
        let mut console = busy(80, 24);
        console.keys(open);
        assert_eq!(console.ctrl('l'), Some(Effect::Redraw));
        assert_eq!(console.ctrl('z'), Some(Effect::Suspend));
        assert_eq!(console.ctrl('c'), Some(Effect::Quit));
    }
}

/// Regression: log text taken for markup, and tabs that vanish.
#[test]
fn log_text_is_text() {
    let mut console = Console::new(80, 24);
    let text = "[red]x[/red]\t<b> %s {0} \\e[1m";
    console.logs(vec![log(0, Stage::Queue, Level::Info, text, &json!({}))]);
    assert!(console.screen().contains("[red]x[/red]\\t<b> %s {0} \\e[1m"), "{}", console.screen());
}

/// Regression: modals larger than the frame panic.
#[test]
fn views_survive_any_resize() {
    for open in ["?", "fk"] {
        let mut console = busy(200, 60);
        console.keys(open);
        console.code(if open == "?" { KeyCode::End } else { KeyCode::Enter });
        for (width, height) in [(1, 1), (60, 15), (3, 80), (250, 2), (61, 16), (200, 60)] {
            console.resize(width, height);
            console.screen();
        }
        assert!(!matches!(console.model.screen(), Screen::Log(_)));
    }
}

/// Regression: help and real keys drift apart.
#[test]
fn the_help_shows_every_binding() {
    let mut console = Console::new(111, 300);
    console.keys("?");
    let screen = console.screen();
    for binding in BINDINGS {
        assert!(
            screen.contains(binding.help) && screen.contains(&keymap::label(binding.keys)),
            "{}",
            binding.help
        );
    }
}

#[test]
fn a_pause_holds_the_display_and_counts() {
    let mut console = Console::with(small());
    lines(&mut console, 100, "before");
    console.keys(" ");
    let before = console.log_rows();
    lines(&mut console, 40, "held");
    assert_eq!(console.log_rows(), before);
    assert!(console.screen().contains("PAUSED · 40 new"), "{}", console.screen());
    lines(&mut console, 59, "held");
    let gone = console.model.ring().first();
    assert!(gone > 0);
    assert!(console.screen().contains(&format!("99 new · {gone} dropped")), "{}", console.screen());
    console.keys(" ");
    assert!(console.screen().contains("LIVE") && console.screen().contains("held"));
    assert_eq!(console.model.pane().index().back(), Some(&198));
}

#[test]
fn copying_gives_id_line_or_the_curl_command() {
    let mut console = Console::new(80, 24);
    assert_eq!(console.keys("y"), Some(Effect::Copy(curl())));
    console.logs(traffic(1));
    console.keys("g");
    let Some(Effect::Copy(id)) = console.keys("y") else { panic!("no id") };
    assert!(id.starts_with("evt_019c"));
    let Some(Effect::Copy(json)) = console.keys("Y") else { panic!("no line") };
    let read: DebugLog = serde_json::from_str(&json).unwrap();
    assert_eq!((read.event_id.as_deref(), &*read.message), (Some(id.as_str()), "Event accepted"));
    console.code(KeyCode::Enter);
    assert_eq!(console.keys("y"), Some(Effect::Copy(id)));
}

#[test]
fn cancelling_a_filter_brings_back_the_one_before() {
    let mut console = busy(80, 24);
    console.keys("&stored");
    console.code(KeyCode::Enter);
    let before = console.screen();
    console.keys("&xyz");
    assert_ne!(console.screen(), before);
    console.code(KeyCode::Esc);
    assert_eq!(console.screen(), before);
    console.send(Msg::Paste("ignored outside a field".into()));
    assert_eq!(console.screen(), before);
}

#[test]
fn a_pasted_text_is_one_line_and_bounded() {
    let mut console = busy(80, 24);
    console.keys("/");
    console.send(Msg::Paste("two\r\nlines\u{1b}[31m\u{202e}\n".into()));
    let Focus::Field(field) = console.model.focus() else { panic!("no field") };
    assert_eq!(field.input.value(), "two lines [31m");
    console.send(Msg::Paste("x".repeat(100_000)));
    let Focus::Field(field) = console.model.focus() else { panic!("no field") };
    assert_eq!(field.input.value().len(), 500);
}

#[test]
fn the_detail_keeps_its_line_after_eviction() {
    let mut console = Console::with(small());
    lines(&mut console, 10, "kept");
    console.code(KeyCode::Enter);
    let before = console.screen();
    lines(&mut console, 300, "x");
    assert!(console.screen().contains("no longer in the log"));
    assert!(console.screen().contains("kept") && before.contains("kept"));
    console.code(KeyCode::Right);
    assert!(console.model.pane().cursor_line().is_some_and(|line| line > 9));
}

#[test]
fn it_draws_only_when_something_changed() {
    let mut console = Console::new(80, 24);
    assert!(console.model.needs_redraw(), "the first frame");
    console.model.drawn();
    console.tick(1);
    console.tick(1);
    assert!(!console.model.needs_redraw(), "nothing happened");
    let idle = Gauges { accepted: 0, sampling: 1, ..Gauges::default() };
    console.feed(vec![DebugMessage::Gauges(Arc::new(idle.clone()))]);
    console.tick(1);
    console.model.drawn();
    console.feed(vec![DebugMessage::Gauges(Arc::new(idle))]);
    console.tick(1);
    assert!(!console.model.needs_redraw(), "an idle pipeline shows nothing new");
    console.logs(traffic(1));
    assert!(console.model.needs_redraw());
    console.model.drawn();
    console.tick(1);
    assert!(console.model.needs_redraw(), "rates have changed");
}

#[test]
fn clearing_drops_lines_but_not_figures() {
    let mut console = busy(80, 24);
    console.keys("C");
    assert!(console.model.ring().is_empty() && console.model.pane().index().is_empty());
    let screen = console.screen();
    assert!(screen.contains("cleared 453 lines") && screen.contains("Waiting for"), "{screen}");
    assert!(screen.contains("100/s"));
    console.tick(10);
    assert!(!console.screen().contains("cleared"), "a notice goes by itself");
}

/// Over a slow connection, Esc and the key after it arrive together, which looks like Alt and that
/// key.
#[test]
fn escape_and_a_key_that_arrive_together_both_count() {
    let mut console = busy(80, 24);
    console.keys("/pric");
    let event = KeyEvent::new(KeyCode::Char('?'), KeyModifiers::ALT);
    assert_eq!(console.send(Msg::Key(event)), None);
    assert!(matches!(console.model.focus(), Focus::Keys), "Esc left the field");
    assert!(matches!(console.model.screen(), Screen::Help { .. }), "? opened the help");
    console.keys("?");
    assert!(matches!(console.model.screen(), Screen::Log(_)), "and ? closes it");
}

/// Held lines that were evicted are not counted as held.
#[test]
fn held_lines_are_only_those_still_kept() {
    let mut console = Console::with(small());
    console.keys(" ");
    lines(&mut console, 1_000, "later");
    let kept = console.model.ring().len();
    let screen = console.screen();
    assert!(kept < 1_000 && screen.contains(&format!("{kept} new")), "{screen}");
}

#[test]
fn panes_have_their_own_filters_searches_and_positions() {
    let mut console = busy(200, 60);
    console.keys("s&level:error");
    console.code(KeyCode::Enter);
    console.keys("/locked");
    console.code(KeyCode::Enter);
    console.keys("3k");
    let right = (console.model.pane().index().len(), console.model.pane().position());
    assert!(right.0 < 20 && !console.model.pane().found().is_empty());
    console.code(KeyCode::Tab);
    let left = console.model.pane();
    assert!(left.follows() && left.search().is_none() && left.filter().shows_all());
    console.logs(traffic(20));
    console.code(KeyCode::BackTab);
    assert_eq!(console.model.pane().position(), right.1, "the reader of the other stays");
    console.keys("x");
    assert!(!["▶1", "▶2"].iter().any(|title| console.screen().contains(title)));
    console.keys("xS");
    assert_eq!(console.model.panes().count(), 1);
    console.keys("S");
    assert!(console.screen().contains("the only pane"));
    console.keys("sssss");
    assert_eq!(console.model.panes().count(), 4);
    console.resize(60, 15);
    assert!(console.screen().contains("pane 4 of 4"), "{}", console.screen());
}

/// An error is shown with its position, and the last valid query stays.
#[test]
fn an_error_in_a_query_is_shown_and_changes_nothing() {
    let mut console = busy(80, 24);
    console.keys("&level:error");
    let shown = console.model.pane().index().len();
    console.keys(" stage:wrker");
    console.code(KeyCode::Enter);
    assert_eq!(console.model.pane().index().len(), shown);
    let screen = console.screen();
    assert!(screen.contains("at 19: unknown stage `wrker`"), "{screen}");
    assert_eq!(console.model.context(), Context::Field, "it stays open to be put right");
    (0..5).for_each(|_| {
        console.code(KeyCode::Backspace);
    });
    console.keys("queue");
    console.code(KeyCode::Enter);
    assert_eq!(console.model.context(), Context::Log);
    assert!(console.model.pane().index().is_empty());
}

/// A paused screen stays unchanged even when its lines are evicted; held lines that are evicted are
/// counted.
#[test]
fn a_paused_screen_keeps_what_it_shows() {
    let mut console = Console::with(small());
    lines(&mut console, 100, "before");
    console.keys(" ");
    let before = console.log_rows();
    lines(&mut console, 400, "held");
    assert_eq!(console.log_rows(), before);
    let kept = console.model.ring().len();
    let lost = 400 - kept;
    let screen = console.screen();
    assert!(screen.contains(&format!("{kept} new · {lost} new dropped")), "{screen}");
    console.keys(" ");
    assert_ne!(console.log_rows(), before);
}

#[test]
fn a_line_leads_to_those_of_its_event_and_to_its_context() {
    let mut console = busy(80, 24);
    console.keys("g");
    let event = |console: &Console| {
        let model = &console.model;
        let line = model.ring().get(model.pane().cursor_line().unwrap()).unwrap();
        (line.event_id().unwrap().to_owned(), line.stage().unwrap())
    };
    let first = event(&console);
    console.keys("oo");
    assert_eq!(event(&console), (first.0.clone(), Stage::Worker));
    console.keys("O");
    assert_eq!(event(&console), (first.0, Stage::Queue));
    console.keys("ggOOO");
    assert!(console.screen().contains("no other line of this event above"));

    console.keys("&level:error");
    console.code(KeyCode::Enter);
    console.keys("fkkk");
    let (line, rows) = (console.model.pane().cursor_line(), console.log_rows());
    console.keys("c");
    assert_eq!(console.model.pane().cursor_line(), line);
    assert!(console.model.pane().filter().shows_all() && console.log_rows() != rows);
    console.keys("kkkc");
    assert_eq!((console.model.pane().cursor_line(), console.log_rows()), (line, rows.clone()));
    console.keys("c");
    console.code(KeyCode::Esc);
    assert_eq!(console.log_rows(), rows, "Esc leaves the context too");
}

#[test]
fn marks_are_named_by_letters_and_come_back() {
    let mut console = busy(80, 24);
    console.keys("'");
    assert!(console.screen().contains("no marks yet"));
    console.keys("gjjma");
    let line = console.model.pane().cursor_line();
    console.keys("fmq'");
    let screen = console.screen();
    assert!(screen.contains("Go to mark:") && screen.contains("a Batch claimed"), "{screen}");
    console.keys("a");
    assert_eq!(console.model.pane().cursor_line(), line);
    console.keys("'z");
    assert!(console.screen().contains("mark z is not set"));
    console.keys("C'a");
    assert!(console.screen().contains("no longer kept"));
}

#[test]
fn repeats_fold_and_enter_unfolds_them() {
    let mut console = Console::new(80, 24);
    lines(&mut console, 600, "same");
    let mut repeats = long_event(40);
    repeats.iter_mut().for_each(|line| line.stage = Stage::Queue);
    console.logs(repeats);
    console.keys("z");
    assert!(console.screen().contains("×40    50 ms │"), "{}", console.screen());
    console.code(KeyCode::Enter);
    assert!(!console.model.pane().folds() && !console.screen().contains('×'));
    assert_eq!(console.model.pane().index().len(), 640);
}

#[test]
fn a_project_is_chosen_from_those_seen() {
    let mut console = busy(80, 24);
    console.logs(long_event(7));
    console.keys("p");
    let screen = console.screen();
    assert!(screen.contains("other") && screen.contains("7 lines"), "{screen}");
    console.keys("oth");
    console.code(KeyCode::Enter);
    assert_eq!(console.model.pane().index().len(), 7);
    assert!(console.screen().contains("project other"));
    console.keys("p");
    console.code(KeyCode::Enter);
    assert!(console.model.pane().filter().shows_all());
}

#[test]
fn a_trace_shows_the_whole_path_and_continues() {
    let mut console = busy(80, 24);
    console.keys("&level:error");
    console.code(KeyCode::Enter);
    console.keys("ft");
    assert_eq!(console.model.context(), Context::Trace);
    let screen = console.screen();
    for stage in ["ingestion", "queue", "clickhouse"] {
        assert!(screen.contains(stage), "it ignores the filter: {screen}");
    }
    let mut more = long_event(1);
    more[0].event_id = console.model.ring().get(452).unwrap().event_id().map(str::to_owned);
    console.logs(more);
    while console.model.has_work() {
        console.send(Msg::Work);
    }
    let Screen::Trace(trace) = console.model.screen() else { panic!("no trace") };
    assert_eq!(trace.rows().len(), 4);
    console.code(KeyCode::Enter);
    assert_eq!(console.model.context(), Context::Detail);
    // The step that took longest began first.
    console.code(KeyCode::Right);
    assert!(console.screen().contains("Event accepted"), "{}", console.screen());
    console.code(KeyCode::Esc);
    console.code(KeyCode::Esc);
    assert_eq!(console.model.context(), Context::Log);
}

/// The address is complete at 80 columns, and nothing moves when the rate changes.
#[test]
fn the_header_keeps_its_columns() {
    let options = bklit_console_core::model::ModelOptions {
        source: "http://127.0.0.1:53017".into(),
        ..super::feed::options((80, 24))
    };
    let mut console = Console::with(options);
    let mut columns = Vec::new();
    for accepted in [0, 3, 120, 4_500, 99_000] {
        for _ in 0..6 {
            let figures =
                Gauges { process: "1".into(), accepted, sampling: 1, ..Gauges::default() };
            console.feed(vec![DebugMessage::Gauges(Arc::new(figures))]);
            console.tick(1);
        }
        let screen = console.screen();
        let header = screen.lines().next().unwrap().to_owned();
        assert!(header.contains("127.0.0.1:53017"), "{header}");
        columns.push((header.find("queue"), header.find("● LIVE")));
    }
    assert!(columns.windows(2).all(|pair| pair[0] == pair[1]), "{columns:?}");
}

/// On another process's pipeline, that process's alarm depth counts, not this one's setting.
#[test]
fn the_alarm_depth_is_that_of_the_watched_process() {
    let mut console = busy(80, 24);
    assert!(console.screen().contains("of 1,000"));
    let figures = Gauges { alarm_depth: Some(50), ..super::feed::gauges(1) };
    console.feed(vec![DebugMessage::Gauges(Arc::new(figures))]);
    console.tick(1);
    assert!(console.screen().contains("above 50"), "{}", console.screen());
}
