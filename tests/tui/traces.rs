//! Where a traced event is: stored, waiting, in flight, failed, or unknown; and its earlier lines.

use bklit_console_core::model::Screen;
use bklit_console_core::msg::{Effect, Msg};
use bklit_console_core::requests::{Answer, Request};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::event_lookup::{EventTrace, QueuedPlace, StoredEvent};
use bklit_wire::time::UtcMillis;
use crossterm::event::KeyCode;
use serde_json::json;

use super::feed::{Console, NOON, busy, log};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];
const NOW: i64 = (NOON + 66) * 1000;
const ID: &str = "evt_019c13f0a7b870000123456789abcdef";

fn at(millis: i64) -> UtcMillis {
    UtcMillis::from_epoch_millis(NOW + millis)
}

fn command(console: &mut Console, line: &str) -> Option<Effect> {
    console.keys(":");
    console.keys(line);
    console.code(KeyCode::Enter)
}

/// Traces an event that is not on the screen.
fn traced(width: u16, height: u16, answer: Result<EventTrace, String>) -> Console {
    let mut console = busy(width, height);
    let asked = command(&mut console, &format!("trace  \"{ID}\","));
    assert_eq!(asked, Some(Effect::Ask(Request::Event(ID.into()))));
    work(&mut console);
    console.send(Msg::Answer(Answer::Event(ID.into(), answer)));
    work(&mut console);
    console
}

fn work(console: &mut Console) {
    while console.model.has_work() {
        console.send(Msg::Work);
    }
}

fn before() -> Vec<DebugLog> {
    let steps = [
        (Stage::Ingestion, "Event accepted", 0.4),
        (Stage::Queue, "Event queued", 1.9),
        (Stage::Worker, "Processing page view", 3.0),
        (Stage::Clickhouse, "Inserted page views", 120.0),
    ];
    let line = |(nth, (stage, message, took)): (usize, (Stage, &str, f64))| {
        let mut line = log(0, stage, Level::Info, message, &json!({ "url": "/checkout" }));
        line.timestamp = at(-86_400_000 + 400 * nth as i64);
        line.event_id = Some(ID.into());
        line.duration = Some(took);
        line
    };
    steps.into_iter().enumerate().map(line).collect()
}

fn stored() -> EventTrace {
    let row = StoredEvent {
        table: "page_view_event".into(),
        project_id: "sh\u{1b}op".into(),
        at: Some(at(-86_401_000)),
        accepted_at: Some(at(-86_400_000)),
    };
    EventTrace { stored: vec![row], lines: before(), ..EventTrace::default() }
}

fn queued(place: QueuedPlace) -> EventTrace {
    EventTrace { queued: vec![place], ..EventTrace::default() }
}

#[test]
fn an_event_of_yesterday() {
    at_all_sizes("trace_stored", |width, height| traced(width, height, Ok(stored())));
}

fn at_all_sizes(name: &str, console: impl Fn(u16, u16) -> Console) {
    for (width, height) in SIZES {
        let screen = console(width, height).screen();
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

#[test]
fn an_unknown_event() {
    let gaps = vec!["only the newest 10,000 waiting events were searched".to_owned()];
    let nowhere = EventTrace { gaps, ..EventTrace::default() };
    at_all_sizes("trace_unknown", |width, height| traced(width, height, Ok(nowhere.clone())));
}

#[test]
fn each_event_state_is_shown() {
    let in_flight = |lapsed| {
        let (batch, owner) = ("0123456789abcdef".to_owned(), Some("host:7".to_owned()));
        queued(QueuedPlace::InFlight { batch, owner, since: Some(at(-9_000)), lapsed })
    };
    let since = Some(at(-90_000));
    let reason = "payload.url is not a URL".to_owned();
    let failed = queued(QueuedPlace::Failed { id: "1".into(), reason, since });
    let waiting = queued(QueuedPlace::Waiting { since, project_id: None });
    for (answer, said) in [
        (Ok(waiting), "waiting in the queue since 11:59:36 (1m 30s)"),
        (Ok(in_flight(false)), "in flight since 12:00:57 (9.0 s), batch …56789abcdef of host:7"),
        (Ok(in_flight(true)), "of host:7, lease expired"),
        (Ok(failed), "failed since 11:59:36 (1m 30s): payload.url is not a URL"),
        (Ok(stored()), "stored in page_view_event, accepted 2026-01-30 12:01:06"),
        (Ok(EventTrace::default()), "not found: neither stored nor in the queue"),
        (Err("aw\u{1b}ay".to_owned()), r"location unknown: aw\u{1b}ay"),
    ] {
        let console = traced(120, 40, answer);
        assert!(console.screen().contains(said), "{said} is not in\n{}", console.screen());
    }
}

#[test]
fn an_event_is_polled_until_it_is_stored() {
    let waiting = queued(QueuedPlace::Waiting { since: None, project_id: None });
    let mut console = traced(80, 24, Ok(waiting));
    let ask = Some(Effect::Ask(Request::Event(ID.into())));
    let tick = |console: &mut Console, seconds: i64| console.send(Msg::Tick(at(seconds * 1_000)));
    assert_eq!(tick(&mut console, 1), None);
    assert_eq!(tick(&mut console, 3), ask);
    assert_eq!(tick(&mut console, 10), None, "the answer is awaited");
    console.send(Msg::Answer(Answer::Event("evt_other".into(), Ok(stored()))));
    assert!(console.screen().contains("waiting in the queue"), "an answer about another one");
    // Even while another screen is on top of it.
    console.keys("?");
    console.send(Msg::Answer(Answer::Event(ID.into(), Ok(stored()))));
    console.code(KeyCode::Esc);
    assert!(console.screen().contains("stored in page_view_event"), "{}", console.screen());
    assert_eq!(tick(&mut console, 60), None, "it goes nowhere now");
    // Its earlier lines can be inspected.
    console.keys("j");
    console.code(KeyCode::Enter);
    assert!(console.screen().contains("Event queued"), "{}", console.screen());
    assert!(console.screen().contains("/checkout"), "{}", console.screen());
}

#[test]
fn a_line_received_twice_is_shown_once() {
    let mut console = traced(80, 24, Ok(stored()));
    let rows = |console: &Console| match console.model.screen() {
        Screen::Trace(trace) => trace.rows().len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(rows(&console), 4);
    console.logs(before());
    work(&mut console);
    assert_eq!(rows(&console), 4, "{}", console.screen());
    let mut next = before()[3].clone();
    (next.stage, next.message) = (Stage::Pubsub, "Live event published".into());
    console.logs(vec![next]);
    work(&mut console);
    assert_eq!(rows(&console), 5);
}

#[test]
fn a_trace_without_an_id_is_an_error() {
    let mut console = busy(80, 24);
    assert_eq!(command(&mut console, "trace"), None);
    assert!(console.screen().contains("usage: trace ID"), "{}", console.screen());
}
