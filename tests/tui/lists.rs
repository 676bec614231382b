//! Lists in the views other than the log: batches in flight, one batch in full, and current
//! visitors.

use bklit_console_core::model::Screen;
use bklit_console_core::model::panels::{QueueList, VisitorsItem, VisitorsList};
use bklit_console_core::msg::{Effect, Msg};
use bklit_console_core::requests::{Answer, QueueSnapshot, Request};
use bklit_wire::event::EventKind;
use bklit_wire::queue::BatchInFlight;
use bklit_wire::queue::{BatchView, EventView};
use bklit_wire::time::UtcMillis;
use crossterm::event::KeyCode;

use super::feed::{Console, NOON, busy};
use super::views::{live_view, open_queue, snapshot};

const SIZES: [(u16, u16); 4] = [(60, 15), (80, 24), (120, 40), (200, 60)];
const NOW: i64 = (NOON + 66) * 1000;

fn at_all_sizes(name: &str, console: impl Fn(u16, u16) -> Console) {
    for (width, height) in SIZES {
        let screen = console(width, height).screen();
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

fn at(millis: i64) -> UtcMillis {
    UtcMillis::from_epoch_millis(NOW + millis)
}

fn batch(nth: usize) -> BatchInFlight {
    let left = -40_000 + 15_000 * nth as i64;
    BatchInFlight {
        id: format!("{:032x}", 0x9e37_79b9_7f4a_7c15_u128.wrapping_mul(nth as u128 + 1)),
        owner: (nth != 2).then(|| format!("worker-{nth}.example\u{1b}:{}", 4000 + nth)),
        epoch: nth as u64 + 1,
        items: [1, 500, 1_000_000][nth % 3],
        attempts: [1, 2, 12_345][nth % 3],
        claimed_at: (nth != 3).then(|| at(-3_000 * (nth as i64 + 1))),
        lease_until: if nth == 0 { UtcMillis::from_epoch_millis(0) } else { at(left) },
        lease_left_ms: if nth == 0 { -NOW } else { left },
    }
}

fn with_batches(count: usize) -> QueueSnapshot {
    let mut found = snapshot(25);
    found.view.batches = (0..count).map(batch).collect();
    found.view.lapsed = count.min(3) as u64;
    found
}

/// Opens the queue with batches in it, and selects those.
fn batches(width: u16, height: u16, count: usize) -> Console {
    let mut console = busy(width, height);
    open_queue(&mut console, Ok(with_batches(count)));
    console.code(KeyCode::Tab);
    console
}

fn event(nth: usize) -> EventView {
    EventView {
        event_id: (nth % 7 != 5).then(|| format!("evt_019c13f0a7b87000{nth:016x}")),
        r#type: (nth % 7 != 5).then_some(EventKind::Pageview),
        project_id: (nth % 7 != 5).then(|| "sh\u{202e}op".to_owned()),
        queued_at: (nth % 7 != 5).then(|| at(-1_000 * nth as i64)),
    }
}

/// Opens the queue's second batch, and answers with this many events.
pub(super) fn open_batch(console: &mut Console, events: usize) {
    open_queue(console, Ok(with_batches(3)));
    console.code(KeyCode::Tab);
    console.keys("j");
    let id = batch(1).id;
    let asked = console.code(KeyCode::Enter);
    assert_eq!(asked, Some(Effect::Ask(Request::Batch(id.clone()))));
    let events = (0..events).map(event).collect();
    let view = BatchView { id: id.clone(), events };
    console.send(Msg::Answer(Answer::Batch(id, Ok(Some(view)))));
}

/// Opens the live view with this many projects.
pub(super) fn open_live(console: &mut Console, projects: usize) {
    assert_eq!(console.keys("v"), Some(Effect::Ask(Request::Live)));
    console.send(Msg::Answer(Answer::Live(Ok(live_view(projects)))));
}

#[test]
fn batches_in_flight() {
    at_all_sizes("batches", |width, height| {
        let mut console = batches(width, height, 12);
        console.keys("jj");
        console
    });
}

#[test]
fn all_batches_can_be_reached_and_are_counted() {
    let mut console = batches(80, 24, 57);
    let mut seen = std::collections::HashSet::new();
    for nth in 0..57 {
        let selected = console.model.panels().queue.selected_batch().unwrap().id.clone();
        let screen = console.screen();
        let shown = screen.lines().find(|row| row.contains('▌')).unwrap().to_owned();
        assert!(shown.contains(&selected[selected.len() - 8..]), "{nth}: {shown}");
        assert!(screen.contains(&format!("{} of 57", nth + 1)), "{screen}");
        seen.insert(selected);
        console.keys("j");
    }
    assert_eq!(seen.len(), 57);
    // Beyond the last one are the failed events, and back.
    assert_eq!(console.model.panels().queue.list(), QueueList::Failed);
    console.keys("k");
    assert_eq!(console.model.panels().queue.selected_batch().unwrap().id, batch(56).id);
    console.code(KeyCode::BackTab);
    assert_eq!(console.model.panels().queue.list(), QueueList::Failed);
    assert!(console.screen().contains("52 more"), "{}", console.screen());
}

#[test]
fn a_batch_stays_selected_while_others_come_and_go() {
    let mut console = batches(80, 24, 12);
    console.keys("jjjj");
    let mut next = with_batches(12);
    next.view.batches.remove(0);
    next.view.batches.rotate_left(2);
    console.send(Msg::Answer(Answer::Queue(Ok(next))));
    assert_eq!(console.model.panels().queue.selected_batch().unwrap().id, batch(4).id);
    let mut none = with_batches(0);
    none.view.lapsed = 0;
    console.send(Msg::Answer(Answer::Queue(Ok(none))));
    assert_eq!(console.model.panels().queue.list(), QueueList::Failed);
    assert!(console.model.panels().queue.selected_item().is_some());
    console.code(KeyCode::Tab);
    assert_eq!(console.model.panels().queue.list(), QueueList::Failed, "there is no other list");
}

#[test]
fn a_batch_is_not_repaired() {
    let mut console = batches(80, 24, 3);
    for keys in ["r", "d", "R", "D"] {
        assert_eq!(console.keys(keys), None, "{keys}");
        assert!(console.screen().contains("belongs to its worker"), "{}", console.screen());
    }
    assert_eq!(console.keys("y"), Some(Effect::Copy(batch(0).id)));
    let Some(Effect::Copy(json)) = console.keys("Y") else { panic!("nothing was copied") };
    assert_eq!(serde_json::from_str::<BatchInFlight>(&json).unwrap(), batch(0));
    console.keys("t");
    assert!(console.screen().contains("trace of batch "), "{}", console.screen());
}

#[test]
fn a_batch_in_full() {
    at_all_sizes("batch", |width, height| {
        let mut console = busy(width, height);
        open_batch(&mut console, 40);
        console.keys("jj");
        console
    });
    let mut console = busy(80, 24);
    open_batch(&mut console, 40);
    console.keys("G");
    let id = event(39).event_id.unwrap();
    assert_eq!(console.keys("y"), Some(Effect::Copy(id.clone())));
    let traced = console.code(KeyCode::Enter);
    assert_eq!(traced, Some(Effect::Ask(Request::Event(id.clone()))));
    assert!(console.screen().contains(&format!("trace of {id}")), "{}", console.screen());
    console.code(KeyCode::Esc);
    // Once it is done, its content stays.
    console.send(Msg::Answer(Answer::Batch(batch(1).id, Ok(None))));
    let screen = console.screen();
    assert!(screen.contains("done: its events") && screen.contains("40 of 40"), "{screen}");
    console.tick(10);
    console.code(KeyCode::Esc);
    assert!(matches!(console.model.screen(), Screen::Queue(_)));
}

#[test]
fn a_batch_that_cannot_be_read_says_why() {
    let mut console = busy(80, 24);
    open_batch(&mut console, 0);
    let id = batch(1).id;
    console.send(Msg::Answer(Answer::Batch(id.clone(), Err("aw\u{1b}ay".into()))));
    assert!(console.screen().contains(r"Unavailable: aw\u{1b}ay"), "{}", console.screen());
    console.send(Msg::Answer(Answer::Batch("other".into(), Ok(None))));
    assert!(!console.screen().contains("done"), "an answer about another one");
    console.send(Msg::Answer(Answer::Batch(id, Ok(None))));
    assert!(console.screen().contains("before they could be read"), "{}", console.screen());
}

#[test]
fn selected_in_the_live_view() {
    at_all_sizes("visitors_selected", |width, height| {
        let mut console = busy(width, height);
        open_live(&mut console, 12);
        console.code(KeyCode::Tab);
        (0..20).for_each(|_| {
            console.keys("j");
        });
        console
    });
}

/// The text of the selected row.
fn selected_row(console: &Console) -> String {
    let screen = console.screen();
    let marked = screen.lines().find(|row| row.contains('▌'));
    marked.unwrap_or_else(|| panic!("nothing is selected\n{screen}")).to_owned()
}

#[test]
fn every_row_of_the_live_view_can_be_reached() {
    let mut console = busy(80, 24);
    open_live(&mut console, 12);
    for nth in 0..12 {
        let name = if nth == 1 { r"bl\u{1b}og".to_owned() } else { format!("shop-{nth} ") };
        assert!(selected_row(&console).contains(&name), "{}", console.screen());
        console.keys("j");
    }
    for nth in 0..30 {
        let url = format!("/products/{nth}?");
        assert!(selected_row(&console).contains(&url), "{}", console.screen());
        console.keys("j");
    }
    for nth in 0..30 {
        let row = selected_row(&console);
        let row = row.trim_end_matches(['│', ' ']);
        assert!(row.ends_with(&format!("/p/{nth}")), "{}", console.screen());
        console.keys("j");
    }
    assert!(console.screen().contains("30 of 30"), "{}", console.screen());
    console.code(KeyCode::Tab);
    assert_eq!(console.model.panels().visitors.list(), VisitorsList::Projects);
    console.code(KeyCode::BackTab);
    let row = selected_row(&console);
    assert!(row.trim_end_matches(['│', ' ']).ends_with("/p/29"), "each list keeps its place");
}

#[test]
fn a_row_of_the_live_view_opens_what_it_is_about() {
    let mut console = busy(80, 24);
    open_live(&mut console, 12);
    console.keys("jj");
    assert_eq!(console.code(KeyCode::Enter), None);
    assert!(matches!(console.model.screen(), Screen::Log(_)));
    assert_eq!(console.model.pane().filter().project.as_deref(), Some("shop-2"));
    assert!(console.screen().contains("only lines of project shop-2"), "{}", console.screen());

    console.tick(10);
    open_live(&mut console, 12);
    console.code(KeyCode::Tab);
    console.keys("jjjj");
    console.code(KeyCode::Enter);
    let filter = console.model.pane().filter();
    assert_eq!(filter.project.as_deref(), Some("shop"));
    let query = filter.query.as_ref().unwrap().source().to_owned();
    assert!(query.starts_with("data.url:") && query.contains("/products/4?"), "{query}");

    let mut console = busy(80, 24);
    open_live(&mut console, 12);
    console.code(KeyCode::BackTab);
    console.keys("jjj");
    let asked = console.code(KeyCode::Enter);
    assert_eq!(asked, Some(Effect::Ask(Request::Event("evt_3".into()))));
    assert!(console.screen().contains("trace of evt_3"), "{}", console.screen());
    console.code(KeyCode::Esc);
    assert!(matches!(console.model.screen(), Screen::Visitors(_)));
    assert_eq!(console.keys("y"), Some(Effect::Copy("evt_3".into())));
}

#[test]
fn the_reader_of_the_live_view_stays_with_a_row_while_others_come() {
    let mut console = busy(80, 24);
    open_live(&mut console, 12);
    console.code(KeyCode::BackTab);
    console.keys("jjj");
    let mut next = live_view(12);
    next.last_events.rotate_right(5);
    console.send(Msg::Answer(Answer::Live(Ok(next))));
    let Some(VisitorsItem::Event(event)) = console.model.panels().visitors.selected() else {
        panic!("no event is selected")
    };
    assert_eq!(event.event_id, "evt_3");
    // A selection of the newest one stays there.
    console.keys("g");
    let mut next = live_view(12);
    next.last_events.rotate_right(2);
    console.send(Msg::Answer(Answer::Live(Ok(next))));
    let Some(VisitorsItem::Event(event)) = console.model.panels().visitors.selected() else {
        panic!("no event is selected")
    };
    assert_eq!(event.event_id, "evt_28");
    let none = bklit_wire::live_view::LiveView::default();
    console.send(Msg::Answer(Answer::Live(Ok(none))));
    assert!(console.model.panels().visitors.selected().is_none());
    for keys in ["j", "k", "G", "t", "y", "Y"] {
        assert_eq!(console.keys(keys), None, "{keys}");
    }
    assert_eq!(console.code(KeyCode::Enter), None);
    assert_eq!(console.code(KeyCode::Tab), None);
}

#[test]
fn any_size_can_be_drawn() {
    let consoles: [fn() -> Console; 3] = [
        || batches(80, 24, 57),
        || {
            let mut console = busy(80, 24);
            open_batch(&mut console, 300);
            console.keys("G");
            console
        },
        || {
            let mut console = busy(80, 24);
            open_live(&mut console, 100);
            console.code(KeyCode::BackTab);
            console.keys("G");
            console
        },
    ];
    for console in consoles {
        let mut console = console();
        let sizes = (1..=250_u16).step_by(7).zip((1..=80_u16).cycle().step_by(3));
        let tight = [(60, 15), (59, 80), (250, 15), (250, 80), (61, 23), (109, 24), (110, 24)];
        for (width, height) in sizes.chain(tight) {
            console.resize(width, height);
            let screen = console.screen();
            if console.model.layout().is_some() {
                assert!(screen.contains('▌'), "the selected row is out of sight\n{screen}");
            }
        }
    }
}
