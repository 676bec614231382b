use super::*;
use bklit_wire::debug_log::{DebugLog, Level};
use bklit_wire::time::UtcMillis;

fn line(ring: &mut LineRing, at: i64, took: f64, event: Option<&str>, batch: Option<&str>) {
    let mut log = DebugLog::new(Stage::ALL[ring.next() as usize % 6], Level::Info, "step");
    log.timestamp = UtcMillis::from_epoch_millis(at);
    log.duration = Some(took);
    log.event_id = event.map(str::to_owned);
    log.data.extend(batch.map(|id| (BATCH.to_owned(), id.into())));
    ring.push_log(&log);
}

#[test]
fn an_events_lines_and_its_batchs_in_the_order_of_time() {
    let mut ring = LineRing::new(10_000, usize::MAX);
    line(&mut ring, 1_000, 1.0, Some("evt_1"), None);
    line(&mut ring, 1_001, 1.0, Some("evt_11"), None);
    line(&mut ring, 1_010, 2.0, Some("evt_1"), Some("b_1"));
    line(&mut ring, 1_010, 2.0, Some("evt_11"), Some("b_1"));
    line(&mut ring, 1_040, 5.0, None, Some("b_1"));
    line(&mut ring, 1_040, 5.0, None, Some("b_12"));
    let subject = Subject::of(ring.get(0).unwrap()).unwrap();
    let mut trace = Trace::new(subject, 0, &ring).unwrap();
    while trace.has_work(&ring) {
        trace.work(&ring);
    }
    let numbers = |trace: &Trace| trace.rows().iter().map(|row| row.number).collect::<Vec<_>>();
    assert_eq!(numbers(&trace), [0, 2, 4]);
    assert_eq!(trace.batches().collect::<Vec<_>>(), ["b_1"]);
    let waited: Vec<_> = trace.rows().iter().map(|row| row.waited).collect();
    assert_eq!(waited, [0, 8_000, 25_000]);
    assert_eq!(trace.span(), (999_000, 1_040_000));
    // It continues while the event moves on, and keeps what the ring drops.
    line(&mut ring, 1_050, 1.0, Some("evt_1"), None);
    ring.clear();
    line(&mut ring, 1_060, 1.0, Some("evt_1"), None);
    trace.work(&ring);
    assert_eq!(numbers(&trace), [0, 2, 4, 7]);
}

#[test]
fn earlier_lines_are_requested_and_none_is_shown_twice() {
    let log = |at: i64, message: &'static str, event: Option<&str>| {
        let mut log = DebugLog::new(Stage::Worker, Level::Info, message);
        log.timestamp = UtcMillis::from_epoch_millis(at);
        log.event_id = event.map(str::to_owned);
        log.data.insert(BATCH.to_owned(), "b_1".into());
        log
    };
    let before = [
        log(1_000, "accepted\u{1b}", Some("evt_1")),
        log(1_010, "claimed", Some("evt_1")),
        log(1_020, "of another", Some("evt_2")),
        log(1_030, "batch stored", None),
    ];
    let mut ring = LineRing::new(1_000, usize::MAX);
    ring.push_log(&before[1]);
    let mut trace = Trace::new(Subject::Event("evt_1".into()), 0, &ring).unwrap();
    let now = UtcMillis::from_epoch_millis(2_000);
    assert_eq!(trace.question(now).as_deref(), Some("evt_1"));
    assert_eq!(trace.question(now), None, "one at a time");
    let answer = EventTrace { lines: before.to_vec(), ..EventTrace::default() };
    trace.take("evt_other", Ok(answer.clone()), now, &ring);
    assert_eq!(trace.rows().len(), 1);
    trace.take("evt_1", Ok(answer), now, &ring);
    ring.push_log(&before[3]);
    while trace.has_work(&ring) {
        trace.work(&ring);
    }
    let rows = trace.rows().iter().map(|row| row.line.as_ref().message().to_owned());
    assert_eq!(rows.collect::<Vec<_>>(), ["accepted\\u{1b}", "claimed", "batch stored"]);
    assert_eq!(trace.rows()[1].waited, 10_000);
}
