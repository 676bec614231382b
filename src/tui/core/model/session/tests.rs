use bklit_wire::debug_log::DebugLog;
use serde_json::json;

use super::*;

fn line(at: i64, message: &'static str, stage: Stage, event: Option<&str>) -> DebugLog {
    let level = if event.is_some() { Level::Info } else { Level::Warn };
    let mut log = DebugLog::new(stage, level, message);
    log.timestamp = UtcMillis::from_epoch_millis(at);
    log.event_id = event.map(str::to_owned);
    log.project_id = Some("p".into());
    log.data.insert("sessionId".into(), json!("s_1"));
    log
}

fn searched(ring: &LineRing, project: Option<&str>) -> Session {
    let mut session = Session::new("s_1".into(), project.map(str::to_owned), 0, ring).unwrap();
    while session.has_work(ring) {
        session.work(ring);
    }
    session
}

#[test]
fn an_event_is_one_row_and_a_refusal_too() {
    let mut ring = LineRing::new(1_000, usize::MAX);
    let mut received = line(1, "Event received", Stage::Ingestion, Some("a"));
    received.data.insert("url".into(), json!("/cart"));
    received.data.insert("type".into(), json!("pageview"));
    ring.push_log(&received);
    let mut refused = line(2, "Request refused", Stage::Ingestion, None);
    refused.data.insert("error".into(), json!("url: missing"));
    ring.push_log(&refused);
    ring.push_log(&line(3, "Page view stored", Stage::Clickhouse, Some("a")));
    let mut other = line(4, "Event received", Stage::Ingestion, Some("b"));
    other.data.insert("sessionId".into(), json!("s_12"));
    ring.push_log(&other);
    let mut queued = line(5, "Event queued", Stage::Queue, Some("a"));
    queued.data.clear();
    ring.push_log(&queued);
    let mut session = searched(&ring, None);
    let rows = |session: &Session| {
        let rows = session.rows().iter();
        rows.map(|row| (row.fate, row.what.clone(), row.at.epoch_millis())).collect::<Vec<_>>()
    };
    assert_eq!(
        rows(&session),
        [(Fate::Stored, "/cart".into(), 1), (Fate::Refused, String::new(), 2)]
    );
    assert_eq!(session.rows()[1].reason.as_deref(), Some("url: missing"));
    let event = |id: &str, failed: Option<&str>| SessionEvent {
        event_id: id.into(),
        project_id: "p".into(),
        r#type: "pageview".into(),
        what: format!("/{id}"),
        at: None,
        accepted_at: Some(UtcMillis::from_epoch_millis(0)),
        failed: failed.map(str::to_owned),
    };
    let answer = || SessionTrace {
        events: vec![event("old", None), event("a", None), event("bad", Some("too long"))],
        lines: vec![refused.clone()],
        gaps: vec!["the store is unavailable".into()],
    };
    for _ in 0..2 {
        session.take("s_1", Ok(answer()), UtcMillis::MIN);
        session.take("another", Ok(answer()), UtcMillis::MIN);
        let fates: Vec<_> = session.rows().iter().map(|row| row.fate).collect();
        assert_eq!(fates, [Fate::Stored, Fate::Failed, Fate::Stored, Fate::Refused]);
    }
    assert_eq!(session.rows()[2].what, "/cart", "the line says more");
    assert_eq!(session.polled().data().unwrap().len(), 1);
    let (number, queued) = ring.lines(4..5).next().unwrap();
    assert_eq!(session_of(queued, number, &ring).as_deref(), Some("s_1"));
    assert!(searched(&ring, Some("q")).rows().is_empty(), "of another project");
}

#[test]
fn rows_are_bounded_and_old_refusals_are_found() {
    let mut ring = LineRing::new(10, usize::MAX).with_problems(5_000, usize::MAX);
    for at in 0..2_000 {
        ring.push_log(&line(at, "Request refused", Stage::Ingestion, None));
    }
    let session = searched(&ring, Some("p"));
    assert_eq!((session.rows().len(), session.is_cut()), (MAX_ROWS, true));
    // The newest are kept, in order.
    let at = |row: &SessionRow| row.at.epoch_millis();
    assert_eq!(
        session.rows().iter().map(at).collect::<Vec<_>>(),
        (1_000..2_000).collect::<Vec<_>>()
    );
}

#[test]
fn a_dropped_event_does_not_come_back_and_a_kept_one_has_one_row() {
    let mut ring = LineRing::new(10_000, usize::MAX);
    let events = MAX_ROWS as i64 + 500;
    for nth in 0..events {
        let id = format!("e{nth}");
        ring.push_log(&line(nth, "Event received", Stage::Ingestion, Some(&id)));
    }
    let mut session = searched(&ring, Some("p"));
    assert_eq!((session.rows().len(), session.is_cut()), (MAX_ROWS, true));
    for nth in [0, events - 1] {
        let id = format!("e{nth}");
        ring.push_log(&line(nth, "Page view stored", Stage::Clickhouse, Some(&id)));
    }
    while session.has_work(&ring) {
        session.work(&ring);
    }
    let ids = session.rows().iter().map(|row| row.event_id.clone().unwrap());
    assert_eq!(ids.collect::<Vec<_>>(), (500..events).map(|n| format!("e{n}")).collect::<Vec<_>>());
    assert_eq!(session.rows().last().map(|row| row.fate), Some(Fate::Stored));
}
