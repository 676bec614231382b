//! The processes that share a Redis, and the log of one of them.

use std::sync::Arc;

use bklit_console_core::msg::Msg;
use bklit_console_core::requests::Answer;
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::gauges::{About, Failure, Gauges};
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
