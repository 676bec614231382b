//! The processes that share a Redis, and the log of one of them.

use std::sync::Arc;

use bklit_console_core::msg::Msg;
use bklit_console_core::requests::Answer;
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::gauges::{About, Failure, Gauges, Health};
use bklit_wire::history::{History, ProcessSeen};
use bklit_wire::time::UtcMillis;
use crossterm::event::KeyCode;
use serde_json::json;

use super::feed::{Console, NOON, gauges, log};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];

fn about(host: &str, roles: &str, hours: i64) -> About {
    About {
        host: host.to_owned(),
        version: "1.4.0".to_owned(),
        roles: roles.to_owned(),
        since: Some(UtcMillis::from_epoch_millis((NOON - hours * 3_600) * 1_000)),
    }
}

fn seen(process: &str, about: About, minutes: i64) -> ProcessSeen {
    ProcessSeen {
        process: process.to_owned(),
        about,
        last: Some(UtcMillis::from_epoch_millis((NOON - minutes * 60) * 1_000)),
        accepted: 100,
        refused: 1,
        errors: 7,
    }
}

/// Processes that ran in the last hour, as the history has them.
fn ran(console: &mut Console, processes: Vec<ProcessSeen>) {
    let history = History {
        from: UtcMillis::MIN,
        to: UtcMillis::MAX,
        step_ms: 60_000,
        points: Vec::new(),
        processes,
        incomplete: None,
    };
    console.send(Msg::Answer(Answer::Bars(Ok(history))));
}

/// Two processes that run, one of them with a store that fails, and one that ran in the last hour.
fn three(width: u16, height: u16) -> Console {
    let mut console = Console::new(width, height);
    let web = about("web-1.example", "ingestion,websocket", 30);
    let worker = about("worker-1.example", "worker", 2);
    for second in 0..12 {
        console.tick(1);
        let one = Gauges {
            process: "101-aaaaaaaa".into(),
            about: Some(web.clone()),
            accept_to_stored: Default::default(),
            ..gauges(second)
        };
        let failure = Failure {
            part: "store".to_owned(),
            message: "Insert failed".to_owned(),
            reason: "connection refused".to_owned(),
            since: None,
        };
        let mut two = Gauges {
            process: "102-bbbbbbbb".into(),
            about: Some(worker.clone()),
            accepted: 0,
            failures: vec![failure],
            ..gauges(second)
        };
        two.stages[3].errors = 2;
        let messages = [one, two].map(|gauges| DebugMessage::Gauges(Arc::new(gauges)));
        console.feed(messages.to_vec());
    }
    let gone = seen("99-cccccccc", about("worker-2.example", "worker", 9), 25);
    ran(&mut console, vec![seen("101-aaaaaaaa", web, 0), gone]);
    for (nth, process) in ["101-aaaaaaaa", "102-bbbbbbbb", "101-aaaaaaaa"].into_iter().enumerate() {
        let mut line = log(nth, Stage::Worker, Level::Info, &format!("by {process}"), &json!({}));
        line.process = Some(process.to_owned());
        console.logs(vec![line]);
    }
    console.tick(1);
    console.keys("M");
    console
}

/// Many that ran in the last hour.
pub(super) fn open_many(console: &mut Console) {
    let processes = (0..60).map(|n| seen(&format!("{n}-x"), about("web", "worker", 5), 30));
    ran(console, processes.collect());
    console.keys("M");
}

#[test]
fn processes() {
    for (width, height) in SIZES {
        let screen = three(width, height).screen();
        insta::assert_snapshot!(format!("processes_{width}x{height}"), screen);
    }
}

#[test]
fn the_log_shows_only_the_selected_process() {
    let mut console = three(120, 40);
    console.code(KeyCode::Down);
    console.code(KeyCode::Enter);
    let shown = |console: &Console| console.log_rows().concat();
    let rows = shown(&console);
    assert!(rows.contains("by 102-bbbbbbbb") && !rows.contains("by 101"), "{rows}");
    assert!(console.screen().contains("process 102-bbbbbbbb"), "{}", console.screen());
    // Also its new lines.
    for process in ["102-bbbbbbbb", "101-aaaaaaaa"] {
        let mut line = log(9, Stage::Worker, Level::Info, &format!("new by {process}"), &json!({}));
        line.process = Some(process.to_owned());
        console.logs(vec![line]);
    }
    let rows = shown(&console);
    assert!(rows.contains("new by 102") && !rows.contains("new by 101"), "{rows}");
    console.keys(":process all");
    console.code(KeyCode::Enter);
    assert!(shown(&console).contains("new by 101"));
    // A process without lines yet.
    console.keys(":process 77-dddddddd");
    console.code(KeyCode::Enter);
    assert!(!shown(&console).contains("by 10"));
}

#[test]
fn without_processes_the_view_says_so() {
    let mut console = Console::new(80, 24);
    console.keys("M");
    assert!(console.screen().contains("No process has published figures yet"));
    console.code(KeyCode::Enter);
    assert!(console.screen().contains("no line is selected"));
}

/// Figures of an ingestion process, and of a worker.
fn pair(second: u64) -> [Gauges; 2] {
    let one = Gauges {
        process: "101-aaaaaaaa".into(),
        about: Some(about("web-1.example", "ingestion", 30)),
        store_health: Health::Absent,
        worker_health: Health::Absent,
        ..gauges(second)
    };
    let mut one = one;
    for stage in &mut one.stages[2..] {
        *stage = Default::default();
    }
    let two = Gauges {
        process: "102-bbbbbbbb".into(),
        about: Some(about("worker-1.example", "worker", 2)),
        accepted: 0,
        store: Some("sqlite".to_owned()),
        ..gauges(second)
    };
    [one, two]
}

/// Lets seconds pass in which these processes publish figures.
fn pass(console: &mut Console, seconds: u64, change: impl Fn([Gauges; 2]) -> Vec<Gauges>) {
    for second in 0..seconds {
        console.tick(1);
        let published = change(pair(second)).into_iter();
        console.feed(published.map(|one| DebugMessage::Gauges(Arc::new(one))).collect());
    }
}

fn row_of(console: &Console, process: &str) -> String {
    let screen = console.screen();
    let row = screen.lines().find(|row| row.contains(process));
    row.unwrap_or_else(|| panic!("{process} is not in:\n{screen}")).to_owned()
}

#[test]
fn a_process_that_dies_is_shown_as_lost_within_five_seconds() {
    for (width, height) in SIZES {
        let mut console = Console::new(width, height);
        pass(&mut console, 20, |both| both.to_vec());
        console.keys("M");
        assert!(console.screen().contains("2 running"), "{}", console.screen());
        pass(&mut console, 5, |[one, _]| vec![one]);
        let row = row_of(&console, "102-bbbbbbbb");
        assert!(row.contains('✗') && row.contains("lost · "), "{row}");
        assert!(console.screen().contains("1 running · 1 lost"), "{}", console.screen());
        pass(&mut console, 7, |[one, _]| vec![one]);
        let row = row_of(&console, "102-bbbbbbbb");
        let wanted = if width >= 120 { "last seen 12:00:20 (12 s ago)" } else { "12 s ago" };
        assert!(row.contains(wanted), "{row}");
        // Figures again: it was only slow.
        pass(&mut console, 2, |both| both.to_vec());
        assert!(!console.screen().contains("lost"), "{}", console.screen());
    }
}

#[test]
fn events_without_a_worker_raise_an_alert() {
    let mut console = Console::new(140, 40);
    pass(&mut console, 20, |both| both.to_vec());
    assert!(!console.screen().contains("no worker"), "{}", console.screen());
    pass(&mut console, 8, |[one, _]| vec![one]);
    let screen = console.screen();
    let alert = screen.lines().find(|row| row.contains("ALERT")).expect(&screen);
    assert!(alert.contains("✗ no worker; ") && alert.contains(" since 12:00:20"), "{alert}");
    let flow = screen.lines().take(6).collect::<String>();
    assert!(flow.contains("no worker since 12:00:20"), "{screen}");
    assert!(screen.lines().next().unwrap().contains("worker ✗"), "{screen}");
    console.resize(80, 24);
    assert!(console.screen().contains("no worker since 12:00:20"), "{}", console.screen());
    // Another one takes over.
    pass(&mut console, 14, |[one, two]| vec![one, Gauges { process: "103-c".into(), ..two }]);
    let screen = console.screen();
    assert!(screen.contains("✓ no worker") && screen.contains("ended"), "{screen}");
    assert!(screen.lines().next().unwrap().contains("worker ✓"), "{screen}");
}

/// Nothing waits and nothing arrives, or Bklit's own worker, which publishes no figures, stores the
/// events.
#[test]
fn no_alert_where_no_worker_is_needed() {
    let mut console = Console::new(140, 40);
    pass(&mut console, 20, |both| both.to_vec());
    pass(&mut console, 12, |[one, _]| {
        let queue = Some(Default::default());
        vec![Gauges { accepted: 0, queue, stages: Default::default(), ..one }]
    });
    assert!(!console.screen().contains("no worker"), "{}", console.screen());
    let mut console = Console::new(140, 40);
    for second in 0..30 {
        pass(&mut console, 1, |[one, _]| vec![one]);
        let mut line = log(second, Stage::Worker, Level::Info, "Batch claimed", &json!({}));
        line.process = None;
        console.logs(vec![line]);
    }
    assert!(!console.screen().contains("no worker"), "{}", console.screen());
}

#[test]
fn a_process_that_stops_says_so() {
    let mut console = Console::new(120, 40);
    pass(&mut console, 20, |both| both.to_vec());
    console.keys("M");
    pass(&mut console, 1, |[one, two]| vec![one, Gauges { stopping: true, ..two }]);
    console.tick(1);
    let row = row_of(&console, "102-bbbbbbbb");
    assert!(row.contains('○') && row.contains("stopped · 12:00:21 (1.0 s ago)"), "{row}");
    pass(&mut console, 9, |[one, _]| vec![one]);
    assert!(console.screen().contains("1 running ─"), "{}", console.screen());
    assert!(!console.screen().contains("lost"), "{}", console.screen());
}

/// Figures of other processes arrive through Redis.
#[test]
fn without_redis_other_processes_are_unknown() {
    let mut console = Console::new(120, 40);
    pass(&mut console, 20, |both| both.to_vec());
    console.keys("M");
    pass(&mut console, 8, |[one, _]| vec![Gauges { queue_health: Health::Failing, ..one }]);
    let row = row_of(&console, "102-bbbbbbbb");
    assert!(row.contains('?') && row.contains("unknown · last seen 12:00:20"), "{row}");
    assert!(console.screen().contains("1 running · others unknown"), "{}", console.screen());
    assert!(!console.screen().contains("no worker"), "{}", console.screen());
    // It is available again: processes get a moment to publish.
    pass(&mut console, 3, |[one, _]| vec![one]);
    assert!(row_of(&console, "102-bbbbbbbb").contains("unknown"), "{}", console.screen());
    pass(&mut console, 4, |[one, _]| vec![one]);
    assert!(row_of(&console, "102-bbbbbbbb").contains("lost"), "{}", console.screen());
    // The connection to the watched process is lost: nothing is known.
    console.feed(vec![DebugMessage::Disconnected("refused".into())]);
    console.tick(8);
    let screen = console.screen();
    assert!(screen.contains("running processes unknown: no connection"), "{screen}");
    assert!(!screen.contains("1 running") && !screen.contains("lost"), "{screen}");
}

/// The history knows only the minute, and that one ended before it was over.
#[test]
fn a_process_of_the_history_ends_with_its_last_minute() {
    let mut console = Console::new(120, 40);
    pass(&mut console, 8, |both| both.to_vec());
    let since = UtcMillis::from_epoch_millis((NOON - 130) * 1_000);
    let about = About { since: Some(since), ..about("worker-2.example", "worker", 0) };
    ran(&mut console, vec![seen("99-cccccccc", about, 3)]);
    console.keys("M");
    let row = row_of(&console, "99-cccccccc");
    assert!(row.contains("gone · figures until 11:58") && !row.contains("µs"), "{row}");
}
