//! A visitor's session: all its events in order, also refused ones.

use bklit_console_core::model::Screen;
use bklit_console_core::model::session::Fate;
use bklit_console_core::msg::{Effect, Msg};
use bklit_console_core::requests::{Answer, Request};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::session_lookup::{SessionEvent, SessionTrace};
use bklit_wire::time::UtcMillis;
use crossterm::event::KeyCode;
use serde_json::json;

use super::feed::{Console, NOON, busy, log, options};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];
const SESSION: &str = "1769860740_x8";

fn of_shop(mut line: DebugLog) -> DebugLog {
    line.project_id = Some("shop".into());
    line
}

/// The lines of a visit: two page views, one of them stored, and a refused event between them.
fn visit() -> Vec<DebugLog> {
    let received = |nth: usize, url: &str, event: &str| {
        let data = json!({ "type": "pageview", "url": url, "sessionId": SESSION });
        let mut line = log(nth, Stage::Ingestion, Level::Info, "Event received", &data);
        line.event_id = Some(event.into());
        of_shop(line)
    };
    let refused = json!({
        "error": "title: longer than 8,192 bytes", "status": 400, "path": "/track",
        "url": "https://shop.example/cart", "sessionId": SESSION, "token": "tok_1",
    });
    let mut queued = log(511, Stage::Queue, Level::Info, "Event queued", &json!({}));
    queued.event_id = Some("evt_2".into());
    let stored = json!({ "sessionId": SESSION, "batchId": "b_1" });
    let mut stored = log(505, Stage::Clickhouse, Level::Info, "Page view stored", &stored);
    stored.event_id = Some("evt_1".into());
    vec![
        received(500, "https://shop.example/", "evt_1"),
        of_shop(stored),
        of_shop(log(507, Stage::Ingestion, Level::Warn, "Request refused", &refused)),
        received(510, "https://shop.example/thanks", "evt_2"),
        of_shop(queued),
    ]
}

fn answer() -> SessionTrace {
    let event = |id: &str, what: &str, failed: Option<&str>| SessionEvent {
        event_id: id.into(),
        project_id: "shop".into(),
        r#type: "pageview".into(),
        what: what.into(),
        at: None,
        accepted_at: Some(UtcMillis::from_epoch_millis((NOON - 600) * 1000)),
        failed: failed.map(str::to_owned),
    };
    let mut early = event("evt_0", "https://shop.example/landing", None);
    early.accepted_at = Some(UtcMillis::from_epoch_millis((NOON - 900) * 1000));
    SessionTrace {
        events: vec![
            early,
            event("evt_x", "https://shop.example/bad", Some("payload.url: too long")),
            event("evt_1", "https://shop.example/", None),
        ],
        lines: visit(),
        gaps: vec!["only the newest 10,000 failed events were searched".into()],
    }
}

fn opened(width: u16, height: u16) -> Console {
    let mut console = busy(width, height);
    console.logs(visit());
    let asked = console.keys("b");
    let id = SESSION.to_owned();
    let project = Some("shop".to_owned());
    assert_eq!(asked, Some(Effect::Ask(Request::Session { id, project })));
    console.send(Msg::Answer(Answer::Session(SESSION.into(), Ok(answer()))));
    console
}

/// Opens a session with at least this many events.
pub(super) fn open(console: &mut Console, events: usize) {
    console.logs((0..events).flat_map(|_| visit()).collect());
    console.logs(
        (0..events)
            .map(|nth| {
                let data = json!({ "error": format!("error {nth}"), "sessionId": SESSION });
                of_shop(log(520 + nth, Stage::Ingestion, Level::Warn, "Request refused", &data))
            })
            .collect(),
    );
    console.keys("fb");
}

#[test]
fn at_all_sizes() {
    for (width, height) in SIZES {
        insta::assert_snapshot!(
            format!("session_{width}x{height}"),
            opened(width, height).screen()
        );
    }
}

/// The selected line was about an event, not about its session.
#[test]
fn the_session_is_found_from_any_line_of_its_event() {
    let mut console = opened(120, 40);
    let Screen::Session(session) = console.model.screen() else { panic!("no session") };
    let fates: Vec<_> = session.rows().iter().map(|row| row.fate).collect();
    assert_eq!(fates, [Fate::Stored, Fate::Failed, Fate::Stored, Fate::Refused, Fate::Received]);
    assert!(session.selected_row().unwrap().event_id.as_deref() == Some("evt_2"));
    console.keys("k");
    console.code(KeyCode::Enter);
    assert!(console.screen().contains("\"token\": \"tok_1\""), "{}", console.screen());
    console.code(KeyCode::Esc);
    console.keys("kkkt");
    assert!(console.screen().contains("trace of evt_0") || console.screen().contains("evt_0"));
    console.code(KeyCode::Esc);
    console.keys("ggj");
    let asked = console.code(KeyCode::Enter);
    assert_eq!(asked, Some(Effect::Ask(Request::Event("evt_x".into()))), "it has no line");
}

#[test]
fn new_events_are_added_and_the_pipeline_is_queried_again() {
    let mut console = opened(120, 40);
    let data =
        json!({ "type": "pageview", "url": "https://shop.example/new", "sessionId": SESSION });
    let mut line = log(600, Stage::Ingestion, Level::Info, "Event received", &data);
    line.event_id = Some("evt_3".into());
    console.logs(vec![of_shop(line)]);
    while console.model.has_work() {
        console.send(Msg::Work);
    }
    assert!(console.screen().contains("https://shop.example/new"), "{}", console.screen());
    assert_eq!(console.tick(1), None);
    assert!(matches!(console.tick(5), Some(Effect::Ask(Request::Session { .. }))));
    console.send(Msg::Answer(Answer::Session(SESSION.into(), Err("no answer".into()))));
    assert!(console.screen().contains("not searched: no answer"), "{}", console.screen());
    console.send(Msg::Answer(Answer::Session("another".into(), Ok(answer()))));
    assert!(console.screen().contains("not searched: no answer"));
}

#[test]
fn a_session_is_shown_by_its_id() {
    let mut console = Console::with(options((120, 40)));
    console.keys(":session \"s_9\"");
    let asked = console.code(KeyCode::Enter);
    assert_eq!(asked, Some(Effect::Ask(Request::Session { id: "s_9".into(), project: None })));
    assert!(console.screen().contains("searching…"));
    let nothing = SessionTrace::default();
    console.send(Msg::Answer(Answer::Session("s_9".into(), Ok(nothing))));
    assert!(console.screen().contains("No event of this session"), "{}", console.screen());
    console.code(KeyCode::Esc);
    console.logs(vec![log(0, Stage::Queue, Level::Info, "no session", &json!({}))]);
    console.keys("b");
    assert!(console.screen().contains("this line has no session"), "{}", console.screen());
}
