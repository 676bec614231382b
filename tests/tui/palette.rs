//! The palette, alerts and a replay, tested by messages and screens.

use std::sync::Arc;

use bklit_alerts::AlertSettings;
use bklit_console_core::model::palette::commands::COMMANDS;
use bklit_console_core::model::{Focus, Model, ModelOptions, Shell};
use bklit_console_core::msg::{Effect, Job, Msg, Report};
use bklit_console_core::playback::{ReplayCommand, ReplayState, Replayed};
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::gauges::{Health, QueueGauges};
use bklit_wire::time::UtcMillis;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::feed::{Console, NOON, busy, gauges, log, options};

/// Types and runs a command.
fn command(console: &mut Console, line: &str) -> Option<Effect> {
    console.keys(":");
    console.keys(line);
    console.code(KeyCode::Enter)
}

fn problem(console: &Console) -> Option<&str> {
    match console.model.focus() {
        Focus::Palette(palette) => palette.problem.as_deref(),
        _ => None,
    }
}

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];

#[test]
fn typing_a_command() {
    for (width, height) in SIZES {
        let mut console = busy(width, height);
        console.keys(":");
        insta::assert_snapshot!(format!("palette_{width}x{height}"), console.screen());
        console.keys("filter stage:");
        console.code(KeyCode::Tab);
        insta::assert_snapshot!(format!("palette_completed_{width}x{height}"), console.screen());
    }
}

#[test]
fn an_error_is_shown_and_can_be_corrected() {
    let mut console = busy(80, 24);
    assert_eq!(command(&mut console, "level loud"), None);
    assert!(problem(&console).unwrap().contains("info, warn, error"));
    assert!(console.screen().contains("info, warn, error"));
    (0..4).for_each(|_| _ = console.code(KeyCode::Backspace));
    assert_eq!(problem(&console), None);
    console.keys("warn");
    console.code(KeyCode::Enter);
    assert!(matches!(console.model.focus(), Focus::Keys));
    assert_eq!(console.model.pane().filter().level, Level::Warn);
    console.keys(":");
    console.code(KeyCode::Up);
    assert!(
        console.screen().contains(": level warn") || console.screen().contains(":  level warn")
    );
    console.code(KeyCode::Esc);
    assert!(matches!(console.model.focus(), Focus::Keys));
}

#[test]
fn letters_in_the_palette_are_text() {
    let mut console = busy(80, 24);
    console.keys(":");
    let typed = "qQ?/&123 zZxX:fgG'm~";
    assert_eq!(console.keys(typed), None);
    let Focus::Palette(palette) = console.model.focus() else { panic!("it closed") };
    assert_eq!(palette.input.value(), typed);
    console.send(Msg::Paste("two\nlines\u{1b}".into()));
    let Focus::Palette(palette) = console.model.focus() else { panic!("it closed") };
    assert_eq!(palette.input.value(), format!("{typed}two lines "));
}

#[test]
fn commands_change_what_is_shown() {
    let mut console = busy(120, 40);
    command(&mut console, "filter \"Batch stored\"");
    assert!(console.log_rows().iter().all(|row| row.contains("Batch stored")));
    command(&mut console, "filter");
    command(&mut console, "since 30s");
    let since = console.model.pane().filter().since.unwrap();
    assert_eq!(since.epoch_seconds(), NOON + 66 - 30);
    assert!(console.screen().contains("since 12:00:36"));
    assert!(console.model.pane().index().len() < 453);
    command(&mut console, "since off");
    assert_eq!(console.model.pane().index().len(), console.model.ring().len());
    command(&mut console, "project nobody");
    assert!(console.model.pane().index().is_empty());
    command(&mut console, "project all");
    command(&mut console, "search checkout");
    assert!(!console.model.pane().found().is_empty());
    command(&mut console, "set fold on");
    assert!(console.model.pane().folds());
    command(&mut console, "set ascii on");
    assert!(console.screen().is_ascii());
    assert_eq!(command(&mut console, "q"), Some(Effect::Quit));
}

#[test]
fn filters_are_saved_and_come_back() {
    let mut console = busy(120, 40);
    command(&mut console, "save mine");
    assert!(problem(&console).unwrap().contains("no filter to save"));
    console.code(KeyCode::Esc);
    command(&mut console, "filter level:error");
    let saved = Job::SaveFilter { name: "mine".into(), query: "level:error".into() };
    assert_eq!(command(&mut console, "save mine"), Some(Effect::Job(saved)));
    command(&mut console, "filter");
    command(&mut console, "load mine");
    assert_eq!(console.model.pane().filter().query.as_ref().unwrap().source(), "level:error");
    command(&mut console, "load other");
    assert!(problem(&console).unwrap().contains("(mine)"));
}

#[test]
fn an_export_goes_piece_by_piece_and_holds_nothing_up() {
    let mut console = busy(120, 40);
    let lines = console.model.ring().len();
    let effect = command(&mut console, "export out.jsonl");
    assert!(matches!(effect, Some(Effect::Job(Job::BeginExport(target))) if !target.overwrite));
    assert!(!console.model.has_work(), "before the file is there");
    command(&mut console, "export other.csv");
    assert!(problem(&console).unwrap().contains("in progress"));
    console.code(KeyCode::Esc);
    let mut out = String::new();
    loop {
        console.send(Msg::Report(Report::PieceWritten));
        assert!(console.model.has_work());
        assert!(console.screen().contains("exporting"));
        match console.send(Msg::Work) {
            Some(Effect::Job(Job::ExportPiece(piece))) => out.push_str(&piece),
            Some(Effect::Job(Job::EndExport)) => break,
            other => panic!("{other:?}"),
        }
        assert!(!console.model.has_work(), "one piece at a time");
    }
    assert_eq!(out.lines().count(), lines);
    console.send(Msg::Report(Report::Exported(Ok("out.jsonl".into()))));
    assert!(console.screen().contains(&format!("exported {lines} lines to out.jsonl")));
    assert!(!console.model.has_work());
}

#[test]
fn help_names_every_command() {
    let mut console = Console::new(80, 200);
    console.keys("?");
    let screen = console.screen();
    assert!(COMMANDS.iter().all(|spec| screen.contains(&format!(":{}", spec.name))), "{screen}");
}

fn alerting(size: (u16, u16)) -> Console {
    let alerts = AlertSettings { errors_per_minute: 10, bell: true, ..AlertSettings::default() };
    let shell = Shell { alerts, ..Shell::default() };
    let mut console = Console::with(ModelOptions { shell, ..options(size) });
    // Lines from now on are current.
    console.feed(vec![DebugMessage::Gauges(Arc::new(gauges(1)))]);
    console
}

fn fail(console: &mut Console) {
    let mut figures = gauges(3);
    figures.store_health = Health::Failing;
    figures.queue = Some(QueueGauges { depth: 2_345, ..QueueGauges::default() });
    console.feed(vec![DebugMessage::Gauges(Arc::new(figures))]);
}

#[test]
fn alerts_stay_until_they_are_acknowledged() {
    for (width, height) in SIZES {
        let mut console = alerting((width, height));
        (0..4).for_each(|_| {
            fail(&mut console);
            console.tick(1);
        });
        let effects = console.model.take_outbox();
        assert_eq!(effects.iter().filter(|effect| **effect == Effect::Bell).count(), 2);
        insta::assert_snapshot!(format!("alerts_{width}x{height}"), console.screen());
        console.tick(3_600);
        assert!(console.screen().contains("ALERT"));
        console.code(KeyCode::Esc);
        assert!(!console.screen().contains("ALERT"));
    }
    let mut console = alerting((120, 40));
    command(&mut console, "notify level:error lock");
    for nth in 0..3 {
        let line = log(nth, Stage::Worker, Level::Error, "database lock", &json!({}));
        console.logs(vec![line.clone(), line]);
        console.tick(1);
    }
    let jobs = console.model.take_outbox();
    let alerts: Vec<_> =
        jobs.iter().filter(|effect| matches!(effect, Effect::Job(Job::Alert(..)))).collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert!(console.screen().contains("6 lines match"), "{}", console.screen());
    console.keys("a");
    assert!(!console.screen().contains("ALERT"));
}

/// Full, or too large: the user did not stop it, so it stays on the screen until acknowledged.
#[test]
fn a_recording_that_stops_stays_visible() {
    let mut console = busy(120, 40);
    command(&mut console, "record /tmp/x.jsonl");
    console.send(Msg::Report(Report::RecordBegan("/tmp/x.jsonl".into())));
    console.send(Msg::Report(Report::Recorded { bytes: 1_234_567, lost: 12_345 }));
    let screen = console.screen();
    assert!(screen.contains("recording to /tmp/x.jsonl"), "{screen}");
    assert!(screen.contains("recording 1.2 MB · 12,345 not recorded"), "{screen}");
    console.send(Msg::Report(Report::RecordBroke("No space left on dev\u{1b}ice".into())));
    console.tick(3_600);
    let screen = console.screen();
    let said = r"recording stopped at 1.2 MB: No space left on dev\u{1b}ice · 12,345 not recorded";
    assert!(screen.contains(said), "{screen}");
    // Once acknowledged, it is gone; another one may begin before.
    assert_eq!(command(&mut console, "record off"), None);
    assert!(!console.screen().contains("recording stopped"), "{}", console.screen());
    console.send(Msg::Report(Report::RecordBegan("/tmp/x.jsonl".into())));
    console.send(Msg::Report(Report::RecordBroke("full".into())));
    let again = command(&mut console, "record /tmp/y.jsonl");
    assert!(matches!(again, Some(Effect::Job(Job::Record(Some(_))))), "{again:?}");
}

#[test]
fn several_queries_raise_alerts_that_end_one_by_one() {
    let mut console = alerting((200, 60));
    command(&mut console, "notify");
    assert!(console.screen().contains("no line alerts; :notify QUERY sets one"));
    for query in ["level:error lock", "stage:queue", "level:error lock"] {
        command(&mut console, &format!("notify {query}"));
    }
    command(&mut console, "notify");
    let listed = "line alerts: 1 level:error lock · 2 stage:queue";
    assert!(console.screen().contains(listed), "{}", console.screen());
    let queue = log(1, Stage::Queue, Level::Info, "Event queued", &json!({}));
    let worker = log(2, Stage::Worker, Level::Error, "database lock", &json!({}));
    console.logs([vec![queue; 1_500], vec![worker]].concat());
    console.tick(1);
    let screen = console.screen();
    assert!(screen.contains("1 line matches “level:error lock”"), "{screen}");
    assert!(screen.contains("1,500 lines match “stage:queue”"), "{screen}");
    // One ends with its banner; the other continues.
    command(&mut console, "notify off 1");
    let screen = console.screen();
    assert!(!screen.contains("lock” since") && screen.contains("“stage:queue”"), "{screen}");
    command(&mut console, "notify off 2");
    assert!(console.screen().contains("no alert 2"), "{}", console.screen());
    console.code(KeyCode::Esc);
    for nth in 0..7 {
        command(&mut console, &format!("notify word{nth}"));
    }
    command(&mut console, "notify one-too-many");
    assert!(console.screen().contains("at most 8 line alerts"), "{}", console.screen());
    console.ctrl('u');
    console.keys("notify off ");
    assert!(console.screen().contains("word6"), "{}", console.screen());
    console.keys("all");
    console.code(KeyCode::Enter);
    assert_eq!(console.model.alerts().watched().count(), 0);
    assert!(console.model.alerts().banners().is_empty());
}

fn state(seconds: i64) -> ReplayState {
    let time = |second: i64| UtcMillis::from_epoch_millis((NOON + second) * 1000);
    ReplayState {
        start: time(0),
        end: time(754),
        at: time(seconds),
        speed: 5,
        paused: false,
        seeking: false,
        ended: false,
        unreadable: 2,
        first_unreadable: Some((17, "cut".into())),
    }
}

#[test]
fn a_replay_has_its_own_clock_and_keys() {
    for (width, height) in SIZES {
        let mut console = busy(width, height);
        console.send(Msg::Replay(vec![Replayed::State(state(197))]));
        insta::assert_snapshot!(format!("replay_{width}x{height}"), console.screen());
    }
    let mut console = busy(120, 40);
    console.keys("<");
    assert!(console.model.notice().unwrap().contains("replay"));
    console.send(Msg::Replay(vec![Replayed::State(state(0))]));
    let pressed = [' ', '<', ']'].map(|c| console.code(KeyCode::Char(c)));
    let wanted = [ReplayCommand::Toggle, ReplayCommand::Slower, ReplayCommand::Faster];
    assert_eq!(pressed, wanted.map(|command| Some(Effect::Replay(command))));
    let back = console.code(KeyCode::Left);
    assert_eq!(back, Some(Effect::Replay(ReplayCommand::Seek(-10_000))));
    console.send(Msg::Replay(vec![Replayed::Reset]));
    assert!(console.model.ring().is_empty() && console.model.pane().index().is_empty());
    let line = log(0, Stage::Worker, Level::Info, "again", &json!({}));
    let time = UtcMillis::from_epoch_millis(NOON * 1000);
    let feed = Replayed::Feed(vec![DebugMessage::Log(Arc::new(line))]);
    console.send(Msg::Replay(vec![Replayed::Clock(time), feed]));
    assert!(console.log_rows()[0].contains("again"));
}

/// The model is not only changed by keys: no message that arrives while the palette is open breaks
/// it.
#[test]
fn incoming_messages_do_not_close_the_palette() {
    let mut model = Model::new(options((80, 24)));
    let key = |c| Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
    for message in [
        key(':'),
        key('e'),
        Msg::Resize(10, 3),
        Msg::Report(Report::Files { dir: "x/".into(), names: vec!["\u{1b}[2J".into()] }),
        Msg::Report(Report::Exported(Err("no".into()))),
        Msg::Resize(80, 24),
    ] {
        bklit_console_core::update::update(&mut model, message);
    }
    assert!(matches!(model.focus(), Focus::Palette(_)));
}
