//! The views other than the log: queue, live, verify.

use std::sync::Arc;

use bklit_console_core::bulk::{BulkReport, End, Known, Operation, Plan, Progress, Which};
use bklit_console_core::model::{Focus, ModelOptions, Screen};
use bklit_console_core::msg::{Effect, Msg, Report};
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
        at: Some(ago(500)),
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
        at: None,
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
    // Actions that change nothing keep working.
    console.keys("X");
    let exported = console.code(KeyCode::Enter);
    assert_eq!(
        planned(exported).operation,
        Operation::Export("failed-20260131-120106.jsonl".into())
    );
}

#[test]
fn deleting_asks_for_the_number() {
    at_all_sizes("queue_confirm", |width, height| {
        let mut console = queue(width, height);
        console.keys("D64");
        console.code(KeyCode::Enter);
        console
    });
    for answer in ["65", "delete"] {
        let mut console = queue(80, 24);
        console.keys("D");
        for wrong in ["", "y", "yes", "25", "Delete"] {
            console.ctrl('u');
            console.keys(wrong);
            assert_eq!(console.code(KeyCode::Enter), None, "{wrong}");
        }
        console.ctrl('u');
        console.keys(answer);
        let plan = planned(console.code(KeyCode::Enter));
        let known = Known { count: 65, is_exact: true };
        assert_eq!((plan.operation, plan.which), (Operation::Delete, Which::With(String::new())));
        assert_eq!((plan.known, plan.total, plan.until), (known, 65, Some(ago(500))));
        // One change at a time.
        for keys in ["r", "R", "d"] {
            assert_eq!(console.keys(keys), None);
            let says = "deleting failed events is still in progress; K stops it";
            assert!(console.screen().contains(says), "{}", console.screen());
        }
        let effect = console.send(ended(65, End::Done(None)));
        assert_eq!(effect, Some(Effect::Ask(Request::Queue { failed: 100 })));
        assert!(console.screen().contains("65 events deleted"), "{}", console.screen());
    }
}

/// Those that are not loaded may have failed later than those that are: a spool comes first.
#[test]
fn all_means_those_that_had_failed_when_they_were_counted() {
    let until = |snapshot: QueueSnapshot| {
        let mut console = busy(80, 24);
        open_queue(&mut console, Ok(snapshot));
        console.keys("R65");
        planned(console.code(KeyCode::Enter)).until
    };
    let at = |at| {
        let mut counted = snapshot(25);
        counted.view.at = at;
        counted
    };
    assert_eq!(until(at(Some(ago(7)))), Some(ago(7)));
    // Clocks may differ.
    assert_eq!(until(at(Some(ago(90_000)))), Some(ago(1_500)), "what is shown is included");
    let of_console = until(at(None)).unwrap();
    assert!(of_console > ago(1_500), "{of_console}");
}

#[test]
fn a_cancelled_change_does_nothing() {
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
    assert_eq!(console.keys("r"), retry(1));
    console.send(Msg::Answer(Answer::Changed(Change::Retry, Err("refused: not an admin".into()))));
    assert!(console.screen().contains("cannot retry: refused: not an admin"));
    console.keys("R");
    assert_eq!(console.keys("delete"), None);
    assert_eq!(console.code(KeyCode::Enter), None, "that word is for deleting");
    console.ctrl('u');
    console.keys("65");
    assert_eq!(planned(console.code(KeyCode::Enter)).operation, Operation::Retry);
}

#[test]
fn filtered_out_events_are_left_alone() {
    let mut console = queue(120, 40);
    console.keys("/BEFORE 1970");
    let screen = console.screen();
    assert!(screen.contains("8 shown"), "{screen}");
    console.code(KeyCode::Enter);
    console.keys("D8");
    assert_eq!(console.code(KeyCode::Enter), None, "there may be more than those eight");
    let screen = console.screen();
    assert!(screen.contains("Delete at least 8 events permanently? Type delete:"), "{screen}");
    console.ctrl('u');
    console.keys("delete");
    let plan = planned(console.code(KeyCode::Enter));
    assert_eq!(plan.which, Which::With("before 1970".into()));
    assert_eq!(plan.known, Known { count: 8, is_exact: false });
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
    assert_eq!(retried, retry(0));
    let event_id = failed(0).event.event_id.unwrap();
    assert_eq!(console.keys("y"), Some(Effect::Copy(event_id.clone())));
    let Some(Effect::Copy(json)) = console.keys("Y") else { panic!("nothing was copied") };
    assert_eq!(serde_json::from_str::<FailedView>(&json).unwrap(), failed(0));
    // Its progress is visible.
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
    for keys in ["r", "R", "d", "D", "X", "t", " ", "K"] {
        assert_eq!(console.keys(keys), None, "{keys}");
    }
}

#[test]
fn polls_only_while_visible_and_once_at_a_time() {
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
fn the_end_of_the_list_loads_more() {
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
    let plan = planned(console.code(KeyCode::Enter));
    assert_eq!((plan.operation, plan.known.count), (Operation::Export("/tmp/x".into()), 65));
    console.send(ended(0, End::Failed("/tmp/x already exists".into())));
    assert!(console.screen().contains("/tmp/x already exists"), "{}", console.screen());
    console.keys("2");
    console.code(KeyCode::Enter);
    assert!(matches!(console.model.focus(), Focus::Prompt(_)), "until the file is created");
    console.send(progress(0));
    assert!(matches!(console.model.focus(), Focus::Keys));
    console.send(ended(65, End::Done(Some("/tmp/x2".into()))));
    let screen = console.screen();
    assert!(screen.contains("65 events written to /tmp/x2"), "{screen}");
}

#[track_caller]
pub(super) fn planned(effect: Option<Effect>) -> Plan {
    let Some(Effect::Bulk(plan)) = effect else { panic!("no plan: {effect:?}") };
    plan
}

fn retry(nth: usize) -> Option<Effect> {
    Some(Effect::Ask(Request::Change(Change::Retry, id(nth))))
}

fn progress(done: u64) -> Msg {
    let progress = Progress { seen: done, chosen: done, done, invalid: 0 };
    Msg::Report(Report::Bulk(BulkReport { progress, end: None }))
}

fn ended(done: u64, end: End) -> Msg {
    let progress = Progress { seen: done, chosen: done, done, invalid: 0 };
    Msg::Report(Report::Bulk(BulkReport { progress, end: Some(end) }))
}

/// A console that retries 100,000 failed events, and is at 41,200 after five seconds.
fn retrying(width: u16, height: u16) -> Console {
    let mut console = queue(width, height);
    let mut many = snapshot(25);
    many.view.failed = 100_000;
    console.tick(2);
    console.send(Msg::Answer(Answer::Queue(Ok(many))));
    console.keys("R100,000");
    planned(console.code(KeyCode::Enter));
    console.send(progress(0));
    console.tick(5);
    console.send(progress(41_200));
    console
}

#[test]
fn the_progress_is_shown_with_the_key_that_stops_it() {
    at_all_sizes("queue_retrying", retrying);
    let mut console = retrying(80, 24);
    console.code(KeyCode::Esc);
    let screen = console.screen();
    let says = "retrying failed events: 41,200 of 100,000 · 8.2 k/s";
    assert!(screen.contains(says) && screen.contains(" K stops"), "on each screen\n{screen}");
    assert_eq!(console.keys("q"), None);
    let says = "retrying failed events, quitting stops that; q again quits";
    assert!(console.screen().contains(says), "{}", console.screen());
    assert_eq!(console.keys("K"), Some(Effect::StopBulk));
    assert!(console.screen().contains(" STOPPING "), "{}", console.screen());
    assert_eq!(console.send(ended(41_700, End::Stopped)), None, "nobody looks at the queue");
    let says = "41,700 of 100,000 events put back into the queue, stopped";
    console.tick(10);
    let screen = console.screen();
    assert!(screen.contains(says) && screen.contains(" K hides this"), "it stays\n{screen}");
    console.keys("K");
    assert!(!console.screen().contains(says), "{}", console.screen());
    // Reports that come late change nothing.
    assert_eq!(console.send(progress(41_800)), None);
    assert!(console.model.bulk().is_none());
}

#[test]
fn marks_take_precedence_over_the_list() {
    let mut console = queue(120, 40);
    console.keys("  j ");
    assert!(console.screen().contains("3 marked"), "{}", console.screen());
    let marks = console.model.panels().queue.marks();
    let marked: Vec<_> = (0..25).filter(|&nth| marks.has(&failed(nth))).collect();
    assert_eq!(marked, [0, 1, 3]);
    insta::assert_snapshot!("queue_marked_120x40", console.screen());
    // Others come and go, and ids change.
    let mut next = snapshot(25);
    next.failed.iter_mut().for_each(|item| item.id.push('x'));
    next.failed.insert(0, FailedView { id: "new".into(), ..failed(24) });
    console.tick(2);
    console.send(Msg::Answer(Answer::Queue(Ok(next))));
    console.keys("D3");
    let plan = planned(console.code(KeyCode::Enter));
    let marks = console.model.panels().queue.marks().clone();
    assert_eq!(plan.which, Which::Marked(marks));
    assert_eq!(plan.known, Known { count: 3, is_exact: true });
    // An event marked in the meantime stays marked, and so do the others, although not all are
    // loaded.
    console.keys("G ");
    console.send(ended(3, End::Done(None)));
    assert_eq!(console.model.panels().queue.marks().count(), 1);
    console.code(KeyCode::Esc);
    assert_eq!(console.model.panels().queue.marks().count(), 0, "Esc removes the marks first");
    assert!(matches!(console.model.screen(), Screen::Queue(_)));
    // Exported events can then be deleted.
    console.keys("g X");
    planned(console.code(KeyCode::Enter));
    console.send(ended(1, End::Done(Some("/tmp/x".into()))));
    assert_eq!(console.model.panels().queue.marks().count(), 1);
    console.code(KeyCode::Esc);
    // Events that are gone are no longer marked, once all are known.
    console.keys("g ");
    console.tick(2);
    console.send(Msg::Answer(Answer::Queue(Ok(empty_snapshot()))));
    assert_eq!(console.model.panels().queue.marks().count(), 0);
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
fn current_visitors() {
    at_all_sizes("visitors", |width, height| live(width, height, Ok(live_view(12))));
    at_all_sizes("visitors_none", |width, height| live(width, height, Ok(LiveView::default())));
    at_all_sizes("visitors_error", |width, height| {
        let mut console = live(width, height, Ok(live_view(2)));
        console.tick(20);
        console.send(Msg::Answer(Answer::Live(Err("the store is unavailable: timeout".into()))));
        console
    });
}

/// Lines in which the verifier reports events that do not match.
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
fn results_of_verification() {
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
