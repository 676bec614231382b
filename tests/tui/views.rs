//! The views beside the log: queue, live, verify.

use std::path::PathBuf;
use std::sync::Arc;

use bklit_console_core::model::{Focus, ModelOptions, Screen};
use bklit_console_core::msg::{Effect, Msg};
use bklit_console_core::requests::{Answer, QueueSnapshot, Request};
use bklit_wire::backend::Change;
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::gauges::VerifyGauges;
use bklit_wire::live_view::{LastEvent, LiveProject, LiveView, MINUTES, TopPage};
use bklit_wire::queue::BatchInFlight;
use bklit_wire::queue::{EventView, FailedView, QueueView};
use bklit_wire::text;
use bklit_wire::time::UtcMillis;
use crossterm::event::KeyCode;
use serde_json::json;

use super::feed::{Console, NOON, busy, busy_with, gauges, log, options};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];
/// The time on the clock of a console that has been watching for a minute.
const NOW: i64 = (NOON + 66) * 1000;

fn at_all_sizes(name: &str, console: impl Fn(u16, u16) -> Console) {
    for (width, height) in SIZES {
        let screen = console(width, height).screen();
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

fn ago(millis: i64) -> UtcMillis {
    UtcMillis::from_epoch_millis(NOW - millis)
}

pub(super) fn failed(nth: usize) -> FailedView {
    let event_id = format!("evt_019c13f0a7b87000{nth:016x}");
    let (reason, body) = match nth % 3 {
        0 => (
            "payload.url is not a URL: relative URL without a base".to_owned(),
            json!({
                "id": event_id, "type": "pageview", "projectId": "shop",
                "queuedAt": "2026-01-31T11:58:00.000Z", "payload": { "url": "checkout" },
            })
            .to_string(),
        ),
        1 => (
            "Event cannot be stored: timestamp: before 1970".to_owned(),
            json!({
                "id": event_id, "type": "event", "projectId": "a-project-with-a-long-name",
            })
            .to_string(),
        ),
        _ => (
            "not an event: expected value at line 1 column 1".to_owned(),
            "\u{1b}[31mgarbage\u{202e}\n\tmore".to_owned(),
        ),
    };
    let event = EventView::of(&body);
    let failed_at = (nth != 5).then(|| ago(1_500 + 61_000 * (nth as i64).pow(3)));
    FailedView { id: format!("{}", 1000 - nth), event, failed_at, reason, body }
}

pub(super) fn snapshot(failed_events: usize) -> QueueSnapshot {
    let batch = |nth: i64| BatchInFlight {
        id: format!("b_{:016x}", 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(nth as u64 + 1)),
        owner: (nth != 2).then(|| format!("worker-{nth}.example:{}", 4000 + nth)),
        epoch: 1,
        items: 500 * (nth as u64 + 1),
        attempts: nth as u64 + 1,
        claimed_at: Some(ago(3_000)),
        lease_until: ago(-27_000 + 30_000 * nth),
        lease_left_ms: 27_000 - 30_000 * nth,
    };
    let view = QueueView {
        waiting: 1_234,
        in_flight: 3_000,
        failed: failed_events as u64 + 40,
        spooled: 0,
        paused: Box::default(),
        oldest_waiting: Some(ago(3_400)),
        batches: (0..3).map(batch).collect(),
        lapsed: 2,
        more_batches: false,
        shards: Vec::new(),
    };
    QueueSnapshot { view, failed: (0..failed_events).map(failed).collect(), has_more: true }
}

fn empty_snapshot() -> QueueSnapshot {
    let (waiting, in_flight, failed, spooled) = (0, 0, 0, 0);
    let (oldest_waiting, batches) = (None, Vec::new());
    let (lapsed, more_batches) = (0, false);
    let view = QueueView {
        waiting,
        in_flight,
        failed,
        spooled,
        paused: Box::default(),
        oldest_waiting,
        batches,
        lapsed,
        more_batches,
        shards: Vec::new(),
    };
    QueueSnapshot { view, failed: Vec::new(), has_more: false }
}

/// Opens the queue, and answers.
pub(super) fn open_queue(console: &mut Console, answer: Result<QueueSnapshot, String>) {
    assert_eq!(console.keys("d"), Some(Effect::Ask(Request::Queue { failed: 100 })));
    console.send(Msg::Answer(Answer::Queue(answer)));
}

fn queue(width: u16, height: u16) -> Console {
    let mut console = busy(width, height);
    open_queue(&mut console, Ok(snapshot(25)));
    console
}

fn read_only(width: u16, height: u16) -> Console {
    let options = ModelOptions { read_only: true, ..options((width, height)) };
    let mut console = busy_with(options);
    open_queue(&mut console, Ok(snapshot(25)));
    console
}

fn id(nth: usize) -> String {
    failed(nth).id
}

#[test]
fn the_queue() {
    at_all_sizes("queue", |width, height| {
        let mut console = queue(width, height);
        console.keys("jj");
        console
    });
}

#[test]
fn an_empty_queue() {
    at_all_sizes("queue_empty", |width, height| {
        let mut console = Console::new(width, height);
        open_queue(&mut console, Ok(empty_snapshot()));
        console
    });
}

#[test]
fn a_queue_that_does_not_answer() {
    at_all_sizes("queue_error", |width, height| {
        let mut console = queue(width, height);
        console.tick(12);
        let reason = "the queue is unavailable: no answer within 5s".to_owned();
        console.send(Msg::Answer(Answer::Queue(Err(reason))));
        console
    });
}

#[test]
fn a_queue_that_never_answered() {
    let mut console = Console::new(80, 24);
    console.keys("d");
    assert!(console.screen().contains("loading…"), "{}", console.screen());
    console.send(Msg::Answer(Answer::Queue(Err("connection \u{1b}refused".into()))));
    let screen = console.screen();
    assert!(screen.contains(r"Unavailable: connection \u{1b}refused"), "{screen}");
}

#[test]
fn a_read_only_console() {
    at_all_sizes("queue_read_only", |width, height| {
        let mut console = read_only(width, height);
        assert_eq!(console.keys("D"), None);
        console
    });
    let mut console = read_only(80, 24);
    for keys in ["r", "R", "d", "D"] {
        assert_eq!(console.keys(keys), None, "{keys}");
        assert!(matches!(console.model.focus(), Focus::Keys), "{keys}");
        assert!(console.screen().contains("read-only: start without"), "{}", console.screen());
    }
    // What changes nothing goes on.
    console.keys("X");
    let exported = console.code(KeyCode::Enter);
    assert!(matches!(exported, Some(Effect::Ask(Request::Export { .. }))), "{exported:?}");
}

#[test]
fn deleting_asks_for_the_number() {
    at_all_sizes("queue_confirm", |width, height| {
        let mut console = queue(width, height);
        console.keys("D24");
        console.code(KeyCode::Enter);
        console
    });
    let all: Vec<_> = (0..25).map(id).collect();
    for answer in ["25", "delete"] {
        let mut console = queue(80, 24);
        console.keys("D");
        for wrong in ["", "y", "yes", "24", "Delete"] {
            console.ctrl('u');
            console.keys(wrong);
            assert_eq!(console.code(KeyCode::Enter), None, "{wrong}");
        }
        console.ctrl('u');
        console.keys(answer);
        let effect = console.code(KeyCode::Enter);
        let wanted = Request::Change(Change::Delete, all.clone());
        assert_eq!(effect, Some(Effect::Ask(wanted)));
        // One change at a time.
        assert_eq!(console.keys("r"), None);
        let effect = console.send(Msg::Answer(Answer::Changed(Change::Delete, Ok(25))));
        assert_eq!(effect, Some(Effect::Ask(Request::Queue { failed: 100 })));
        assert!(console.screen().contains("25 events deleted"), "{}", console.screen());
    }
}

#[test]
fn cancelled_is_not_done() {
    for open in ["R", "D", "d"] {
        let mut console = queue(80, 24);
        console.keys(open);
        assert!(matches!(console.model.focus(), Focus::Prompt(_)), "{open}");
        console.keys("1");
        assert_eq!(console.code(KeyCode::Esc), None);
        assert!(matches!(console.model.focus(), Focus::Keys));
        assert!(matches!(console.model.screen(), Screen::Queue(_)));
    }
}

#[test]
fn one_event_is_retried_at_once_and_all_after_a_question() {
    let mut console = queue(80, 24);
    console.keys("j");
    let retry = |ids: Vec<String>| Some(Effect::Ask(Request::Change(Change::Retry, ids)));
    assert_eq!(console.keys("r"), retry(vec![id(1)]));
    console.send(Msg::Answer(Answer::Changed(Change::Retry, Err("refused: not an admin".into()))));
    assert!(console.screen().contains("cannot retry: refused: not an admin"));
    console.keys("R");
    assert_eq!(console.keys("delete"), None);
    assert_eq!(console.code(KeyCode::Enter), None, "that word is for deleting");
    console.ctrl('u');
    console.keys("25");
    assert_eq!(console.code(KeyCode::Enter), retry((0..25).map(id).collect()));
}

#[test]
fn what_is_filtered_out_is_left_alone() {
    let mut console = queue(120, 40);
    console.keys("/BEFORE 1970");
    let screen = console.screen();
    assert!(screen.contains("8 shown"), "{screen}");
    console.code(KeyCode::Enter);
    console.keys("D8");
    let wanted: Vec<_> = (0..25).filter(|nth| nth % 3 == 1).map(id).collect();
    let effect = console.code(KeyCode::Enter);
    assert_eq!(effect, Some(Effect::Ask(Request::Change(Change::Delete, wanted))));
    console.code(KeyCode::Esc);
    assert!(console.model.panels().queue.filter().is_empty(), "Esc ends the filter first");
    assert!(matches!(console.model.screen(), Screen::Queue(_)));
    console.keys("/x");
    console.code(KeyCode::Esc);
    assert!(console.model.panels().queue.filter().is_empty(), "a cancelled one is forgotten");
    console.code(KeyCode::Esc);
    assert!(matches!(console.model.screen(), Screen::Log(_)));
}

#[test]
fn a_failed_event_in_full() {
    at_all_sizes("queue_failed", |width, height| {
        let mut console = queue(width, height);
        console.code(KeyCode::Enter);
        console
    });
    at_all_sizes("queue_failed_hostile", |width, height| {
        let mut console = queue(width, height);
        console.keys("jj");
        console.code(KeyCode::Enter);
        console
    });
    let mut console = queue(80, 24);
    console.code(KeyCode::Enter);
    let retried = console.keys("r");
    assert_eq!(retried, Some(Effect::Ask(Request::Change(Change::Retry, vec![id(0)]))));
    let event_id = failed(0).event.event_id.unwrap();
    assert_eq!(console.keys("y"), Some(Effect::Copy(event_id.clone())));
    let Some(Effect::Copy(json)) = console.keys("Y") else { panic!("nothing was copied") };
    assert_eq!(serde_json::from_str::<FailedView>(&json).unwrap(), failed(0));
    // It is seen going through.
    console.keys("t");
    assert!(console.screen().contains("trace of evt_"), "{}", console.screen());
    let mut line = log(900, Stage::Worker, Level::Info, "Batch claimed", &json!({}));
    line.event_id = Some(event_id);
    console.logs(vec![line]);
    while console.model.has_work() {
        console.send(Msg::Work);
    }
    assert!(console.screen().contains("worker"), "{}", console.screen());
}

#[test]
fn the_reader_stays_at_an_event_while_others_come_and_go() {
    let mut console = queue(80, 24);
    console.keys("jjjjj");
    let selected = |console: &Console| {
        console.model.panels().queue.selected_item().map(|item| item.id.clone())
    };
    assert_eq!(selected(&console), Some(id(5)));
    let mut next = snapshot(25);
    next.failed.remove(2);
    next.failed.insert(0, FailedView { id: "new".into(), ..failed(0) });
    next.failed.insert(0, FailedView { id: "newer".into(), ..failed(0) });
    console.tick(2);
    console.send(Msg::Answer(Answer::Queue(Ok(next))));
    assert_eq!(selected(&console), Some(id(5)));
    console.send(Msg::Answer(Answer::Queue(Ok(snapshot(3)))));
    assert_eq!(selected(&console), Some(id(2)), "the last one, as there are no more");
    console.send(Msg::Answer(Answer::Queue(Ok(empty_snapshot()))));
    assert_eq!(selected(&console), None);
    for keys in ["r", "R", "d", "D", "X", "t"] {
        assert_eq!(console.keys(keys), None, "{keys}");
    }
}

#[test]
fn asks_only_while_it_is_looked_at_and_once_at_a_time() {
    let mut console = busy(80, 24);
    let ask = Some(Effect::Ask(Request::Queue { failed: 100 }));
    let tick = |console: &mut Console, seconds: i64| {
        let at = UtcMillis::from_epoch_millis(NOW + seconds * 1000);
        console.send(Msg::Tick(at))
    };
    assert_eq!(tick(&mut console, 1), None);
    assert_eq!(console.keys("d"), ask);
    assert_eq!(tick(&mut console, 10), None, "the first answer is awaited");
    console.send(Msg::Answer(Answer::Queue(Ok(snapshot(3)))));
    assert_eq!(tick(&mut console, 11), ask);
    console.send(Msg::Answer(Answer::Queue(Ok(snapshot(3)))));
    assert_eq!(tick(&mut console, 12), None, "not every second");
    assert_eq!(tick(&mut console, 13), ask);
    console.send(Msg::Answer(Answer::Queue(Err("away".into()))));
    console.keys("v");
    console.code(KeyCode::Esc);
    assert_eq!(tick(&mut console, 30), None, "nobody looks");
    // A clock that is set back does not stop it.
    console.keys("d");
    console.send(Msg::Answer(Answer::Queue(Ok(snapshot(3)))));
    assert_eq!(tick(&mut console, -500), ask);
}

#[test]
fn the_end_of_the_list_asks_for_more() {
    let mut console = Console::new(80, 24);
    let mut all = snapshot(0);
    all.failed = (0..100).map(|nth| FailedView { id: nth.to_string(), ..failed(0) }).collect();
    open_queue(&mut console, Ok(all));
    console.keys("G");
    let at = UtcMillis::from_epoch_millis((NOON + 5) * 1000);
    let asked = console.send(Msg::Tick(at));
    assert_eq!(asked, Some(Effect::Ask(Request::Queue { failed: 500 })));
}

#[test]
fn exports_into_a_new_file() {
    let mut console = queue(80, 24);
    console.keys("X");
    let Focus::Prompt(prompt) = console.model.focus() else { panic!("no question") };
    assert_eq!(prompt.input.value(), "failed-20260131-120106.jsonl");
    console.ctrl('u');
    console.keys("/tmp/x");
    let Some(Effect::Ask(Request::Export { path, items })) = console.code(KeyCode::Enter) else {
        panic!("nothing was written")
    };
    assert_eq!((path, items.len()), (PathBuf::from("/tmp/x"), 25));
    let there = "/tmp/x already exists".to_owned();
    console.send(Msg::Answer(Answer::Exported(Err(there))));
    assert!(console.screen().contains("/tmp/x already exists"), "{}", console.screen());
    console.keys("2");
    console.code(KeyCode::Enter);
    console.send(Msg::Answer(Answer::Exported(Ok((25, PathBuf::from("/tmp/x2"))))));
    let screen = console.screen();
    assert!(screen.contains("25 events written to /tmp/x2"), "{screen}");
    assert!(matches!(console.model.focus(), Focus::Keys));
}

pub(super) fn live_view(projects: usize) -> LiveView {
    let project = |nth: usize| LiveProject {
        project_id: if nth == 1 { "bl\u{1b}og".into() } else { format!("shop-{nth}") },
        visitors: 1_280 / (nth as u64 + 1),
        page_views: (0..MINUTES as u64).map(|m| m * 7 % 23 / (nth as u64 + 1)).collect(),
        events: vec![nth as u64; MINUTES],
    };
    let page = |nth: usize| TopPage {
        project_id: "shop".into(),
        url: format!("https://shop.example/products/{nth}?utm_source=newsletter&ref=日本語"),
        views: 5_000 / (nth as u64 + 1),
    };
    let event = |nth: usize| LastEvent {
        event_id: format!("evt_{nth}"),
        at: Some(ago(1_000 * nth as i64)),
        project_id: "shop".into(),
        r#type: if nth.is_multiple_of(4) { "event" } else { "pageview" }.into(),
        what: format!("https://shop.example/p/{nth}"),
    };
    LiveView {
        projects: (0..projects).map(project).collect(),
        top_pages: (0..30).map(page).collect(),
        last_events: (0..30).map(event).collect(),
        truncated: false,
    }
}

fn live(width: u16, height: u16, answer: Result<LiveView, String>) -> Console {
    let mut console = busy(width, height);
    assert_eq!(console.keys("v"), Some(Effect::Ask(Request::Live)));
    console.send(Msg::Answer(Answer::Live(answer)));
    console
}

#[test]
fn who_is_there_now() {
    at_all_sizes("visitors", |width, height| live(width, height, Ok(live_view(12))));
    at_all_sizes("visitors_none", |width, height| live(width, height, Ok(LiveView::default())));
    at_all_sizes("visitors_error", |width, height| {
        let mut console = live(width, height, Ok(live_view(2)));
        console.tick(20);
        console.send(Msg::Answer(Answer::Live(Err("the store is unavailable: timeout".into()))));
        console
    });
}

/// Lines by which the verifier tells of events that do not match.
pub(super) fn mismatches(console: &mut Console, count: usize) {
    let finding = |nth: usize| {
        let data = json!({ "problem": "url differs", "differences": [{ "field": "url" }] });
        let message = "Event does not match between systems";
        let mut line = log(800 + nth, Stage::Clickhouse, Level::Warn, message, &data);
        line.event_id = Some(format!("evt_019c13f0a7b87000{nth:016x}"));
        line
    };
    console.logs((0..count).map(finding).collect());
}

fn verify(width: u16, height: u16, mismatches: usize) -> Console {
    let mut console = busy(width, height);
    let found = VerifyGauges {
        since: Some(ago(3_600_000)),
        matched: 123_440,
        different: mismatches as u64,
        not_written: 17,
        waiting: 230,
        ..Default::default()
    };
    let mut figures = gauges(3);
    figures.verify = Some(found);
    console.feed(vec![DebugMessage::Gauges(Arc::new(figures))]);
    self::mismatches(&mut console, mismatches);
    console.tick(1);
    console.keys("V");
    console
}

#[test]
fn what_verification_found() {
    at_all_sizes("verify", |width, height| {
        let mut console = verify(width, height, 12);
        console.keys("jj");
        console
    });
    at_all_sizes("verify_all_match", |width, height| verify(width, height, 0));
    at_all_sizes("verify_off", |width, height| {
        let mut console = Console::new(width, height);
        console.keys("V");
        console
    });
    let mut console = verify(80, 24, 12);
    console.keys("j");
    let (_, line) = console.model.panels().verify.selected_line().unwrap();
    let before = line.as_ref().event_id().map(str::to_owned);
    // New ones do not move the reader.
    let mut line =
        log(999, Stage::Clickhouse, Level::Warn, "Cannot compare the systems now", &json!({}));
    line.event_id = Some("evt_other".into());
    console.logs(vec![line]);
    let (_, line) = console.model.panels().verify.selected_line().unwrap();
    assert_eq!(line.as_ref().event_id().map(str::to_owned), before);
    console.code(KeyCode::Enter);
    assert!(console.screen().contains("differences"), "{}", console.screen());
    console.code(KeyCode::Left);
    console.code(KeyCode::Esc);
    assert!(matches!(console.model.screen(), Screen::Verify(_)));
    console.keys("t");
    assert!(console.screen().contains("trace of evt_"), "{}", console.screen());
}

#[test]
fn views_replace_each_other_and_esc_goes_back_to_the_log() {
    let mut console = queue(80, 24);
    console.keys("v");
    assert!(matches!(console.model.screen(), Screen::Visitors(_)));
    console.keys("V");
    assert!(matches!(console.model.screen(), Screen::Verify(_)));
    console.keys("d");
    assert!(matches!(console.model.screen(), Screen::Queue(_)));
    console.keys("q");
    assert!(matches!(console.model.screen(), Screen::Log(_)));
}

#[test]
fn any_size_can_be_drawn() {
    let consoles: [fn() -> Console; 5] = [
        || queue(80, 24),
        || {
            let mut console = queue(80, 24);
            console.keys("D");
            console
        },
        || {
            let mut console = queue(80, 24);
            console.code(KeyCode::Enter);
            console
        },
        || live(80, 24, Ok(live_view(40))),
        || verify(80, 24, 40),
    ];
    for console in consoles {
        let mut console = console();
        let sizes = (1..=250_u16).step_by(7).zip((1..=80_u16).cycle().step_by(3));
        let tight = [(60, 15), (59, 80), (250, 14), (250, 80), (61, 23), (109, 24), (110, 24)];
        for (width, height) in sizes.chain(tight) {
            console.resize(width, height);
            let screen = console.screen();
            assert!(screen.lines().all(|row| text::width(row) <= usize::from(width)), "{screen}");
        }
    }
}
