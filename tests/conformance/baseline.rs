//! The port `Baseline`, and comparing the store with it.

use bklit_adapters::clickhouse::{ClickHouseOptions, ClickHouseStore};
use bklit_adapters::sqlite::store::SqliteStore;
use bklit_pipeline::store::baseline::{Baseline, EventKey, Gap, Kind, Pick, Side, Span};
use bklit_pipeline::store::{Batch, Store};
use bklit_pipeline::verify::{Mismatch, Plan, Report, VerifyError, reconcile};
use bklit_wire::event::{Payload, QueuedEvent};
use bklit_wire::object::Object;
use serde_json::json;

use crate::support::events::{NOON, at, custom, end, full_view, view};
use crate::support::servers::ClickHouse;

/// An empty store, and what must outlive it.
struct Fixture {
    store: Box<dyn Store>,
    baseline: Box<dyn Baseline>,
    _keep: Box<dyn std::any::Any>,
}

async fn on_sqlite() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let open = || SqliteStore::open(&dir.path().join("store.db")).unwrap();
    let (store, baseline) = (Box::new(open()), Box::new(open()));
    Fixture { store, baseline, _keep: Box::new(dir) }
}

async fn on_clickhouse() -> Fixture {
    let database = ClickHouse::shared();
    let open = |baseline| {
        let (url, database) = (database.url(), database.name().to_owned());
        let options = ClickHouseOptions { url, database, baseline, ..Default::default() };
        Box::new(ClickHouseStore::new(options).unwrap())
    };
    let store = open(false);
    store.migrate(false).await.unwrap();
    Fixture { store, baseline: open(true), _keep: Box::new(database) }
}

macro_rules! baseline_suite {
    ($($test:ident)+) => {
        baseline_suite! { on_sqlite, $($test)+ }
        baseline_suite! { on_clickhouse, $($test)+ }
    };
    ($adapter:ident, $($test:ident)+) => {
        mod $adapter {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(super::$adapter().await).await;
                }
            )+
        }
    };
}

baseline_suite! {
    without_tables_nothing_is_verified
    both_paths_write_the_same_rows
    a_repeat_is_written_once
    each_page_size_finds_the_same
    rows_just_outside_the_span_are_found
    a_different_timestamp_is_one_mismatch
    events_that_cannot_be_compared_are_skipped_and_counted
    unwritten_events_are_distinguished_from_missing_ones
    a_single_project_can_be_compared
    unusual_ids_are_found
}

fn plan(page: usize) -> Plan {
    let noon = NOON / 1000;
    let span = Span { since: noon - 3_600, until: noon + 3_600, project: None };
    Plan { span, settled_until: noon + 3_600, page }
}

async fn verify(fixture: &Fixture, plan: &Plan) -> (Report, Vec<Mismatch>) {
    let mut found = Vec::new();
    let report = reconcile(&*fixture.baseline, plan, &mut |mismatch| found.push(mismatch)).await;
    (report.unwrap(), found)
}

async fn store(fixture: &Fixture, batch: &str, events: &[QueuedEvent]) {
    let batch =
        Batch { id: batch.to_owned(), events: events.to_vec().into(), is_first_attempt: false };
    fixture.store.insert(&batch).await.unwrap();
}

async fn write(fixture: &Fixture, events: &[QueuedEvent]) {
    fixture.baseline.prepare().await.unwrap();
    fixture.baseline.write(&events.to_vec().into()).await.unwrap();
}

fn ids(found: &[Mismatch]) -> Vec<&str> {
    let mut ids: Vec<_> = found.iter().map(|mismatch| mismatch.key.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

fn fields(mismatch: &Mismatch) -> Vec<&'static str> {
    mismatch.found.fields.iter().map(|difference| difference.field).collect()
}

/// Changes a page view's url.
fn renamed(mut event: QueuedEvent) -> QueuedEvent {
    if let Payload::Pageview(view) = &mut event.payload {
        view.url.push_str("#other");
    }
    event
}

async fn without_tables_nothing_is_verified(fixture: Fixture) {
    let verified = reconcile(&*fixture.baseline, &plan(10), &mut |_| {}).await;
    assert!(matches!(verified, Err(VerifyError::NoBaseline)), "{verified:?}");
    for _ in 0..2 {
        fixture.baseline.prepare().await.unwrap();
    }
    assert_eq!(verify(&fixture, &plan(10)).await, (Report::default(), vec![]));
}

async fn both_paths_write_the_same_rows(fixture: Fixture) {
    let mut named = custom("p", "evt_2", "s", 2);
    if let Payload::Event(custom) = &mut named.payload {
        let metadata = json!({"z": 1.5, "eventType": 1, "a": {"ø": [null, "\u{0}'\\"]}});
        custom.metadata = Some(Object::of(&metadata));
        // In a different month.
        custom.timestamp = Some(at(-40 * 24 * 3600));
    }
    let bare = view("p", "evt_4", "s", 4, "/");
    let events = [full_view("p", "evt_1"), named, custom("q", "evt_2", "s", 3), bare];
    store(&fixture, "b", &events).await;
    store(&fixture, "c", &[end("p", "evt_9", "s", 9)]).await;
    write(&fixture, &events).await;
    // A session end has no row on either side.
    write(&fixture, &[end("p", "evt_9", "s", 9)]).await;
    let (report, found) = verify(&fixture, &plan(10)).await;
    assert_eq!((report.matched, report.compared(), found), (4, 4, vec![]));
    assert_eq!(report.baseline_begins, Some(NOON / 1000 + 1));
}

async fn a_repeat_is_written_once(fixture: Fixture) {
    let events: Vec<_> = (0..5).map(|n| view("p", &format!("evt_{n}"), "s", n, "/")).collect();
    write(&fixture, &events).await;
    write(&fixture, &events[2..]).await;
    write(&fixture, &[renamed(events[0].clone()), events[1].clone(), events[1].clone()]).await;
    let span = plan(1).span;
    let count = fixture.baseline.count(Side::Baseline, Kind::PageViews, &span).await.unwrap();
    assert_eq!(count, 5);
    store(&fixture, "b", &events).await;
    assert_eq!(verify(&fixture, &plan(10)).await.0.matched, 5);
}

async fn each_page_size_finds_the_same(fixture: Fixture) {
    // Many events in the same second, so that pages end among them.
    let event = |n: i64| match n % 3 {
        0 => custom(["p", "q"][n as usize % 2], &format!("evt_{n:03}"), "s", n / 20),
        _ => view(["p", "q"][n as usize % 2], &format!("evt_{n:03}"), "s", n / 20, "/"),
    };
    let all: Vec<_> = (0..120).map(event).collect();
    let without = |missing: &[i64]| {
        let kept = (0..).zip(&all).filter(|(n, _)| !missing.contains(n));
        kept.map(|(n, event)| (n, event.clone())).collect::<Vec<_>>()
    };
    let queued: Vec<_> = without(&[0, 7, 61, 119]).into_iter().map(|(_, event)| event).collect();
    let direct = without(&[3, 8, 62, 118]).into_iter();
    let direct = direct.map(|(n, event)| if n == 100 { renamed(event) } else { event });
    store(&fixture, "b", &queued).await;
    write(&fixture, &direct.collect::<Vec<_>>()).await;
    for page in [1, 2, 7, 40, 1000] {
        let (report, found) = verify(&fixture, &plan(page)).await;
        let expected = Report {
            matched: 111,
            missing_in_queue_path: 4,
            missing_in_baseline: 4,
            different: 1,
            baseline_begins: Some(NOON / 1000),
            ..Report::default()
        };
        assert_eq!(report, expected, "with pages of {page}");
        let numbers = [0, 3, 7, 8, 61, 62, 100, 118, 119].map(|n| format!("evt_{n:03}"));
        assert_eq!(ids(&found), numbers, "with pages of {page}");
    }
}

/// An event at the edge of the span may be accepted in one second and written in the next.
async fn rows_just_outside_the_span_are_found(fixture: Fixture) {
    let inside = view("p", "evt_1", "s", 10, "/");
    let outside = QueuedEvent { queued_at: at(9), ..inside.clone() };
    let moment = |event: &QueuedEvent| {
        let mut event = event.clone();
        if let Payload::Pageview(view) = &mut event.payload {
            view.timestamp = Some(at(5));
        }
        event
    };
    store(&fixture, "b", &[moment(&inside), view("p", "evt_0", "s", 2, "/")]).await;
    write(&fixture, &[moment(&outside), view("p", "evt_0", "s", 2, "/")]).await;
    let noon = NOON / 1000;
    for (since, until) in [(10, 20), (0, 10)] {
        let span = Span { since: noon + since, until: noon + until, project: None };
        let (report, found) = verify(&fixture, &Plan { span, ..plan(10) }).await;
        assert_eq!((report.different, report.mismatched()), (1, 1), "{found:?}");
        assert_eq!(fields(&found[0]), ["created_at"]);
    }
}

async fn a_different_timestamp_is_one_mismatch(fixture: Fixture) {
    let events: Vec<_> = (0..6).map(|n| view("p", &format!("evt_{n}"), "s", n, "/")).collect();
    let mut moved = events.clone();
    if let Payload::Pageview(view) = &mut moved[2].payload {
        view.timestamp = Some(at(-1000));
    }
    store(&fixture, "b", &events).await;
    write(&fixture, &moved).await;
    for page in [1, 3, 100] {
        let (report, found) = verify(&fixture, &plan(page)).await;
        assert_eq!((report.matched, report.different, report.mismatched()), (5, 1, 1), "{found:?}");
        assert_eq!((ids(&found), fields(&found[0])), (vec!["evt_2"], vec!["timestamp"]));
    }
}

async fn events_that_cannot_be_compared_are_skipped_and_counted(fixture: Fixture) {
    let events: Vec<_> = (0..9).map(|n| view("p", &format!("evt_{n}"), "s", n, "/")).collect();
    store(&fixture, "b", &events[..7]).await;
    // Two are older than the baseline, and the last three are too recent.
    write(&fixture, &events[2..]).await;
    let young = Plan { settled_until: NOON / 1000 + 6, ..plan(10) };
    let (report, found) = verify(&fixture, &young).await;
    let expected = Report {
        matched: 4,
        before_baseline: 2,
        not_settled: 3,
        baseline_begins: Some(NOON / 1000 + 2),
        ..Report::default()
    };
    assert_eq!((report, found), (expected, vec![]));
}

async fn unwritten_events_are_distinguished_from_missing_ones(fixture: Fixture) {
    let noon = NOON / 1000;
    let events: Vec<_> = (0..9).map(|n| view("p", &format!("evt_{n}"), "s", n, "/")).collect();
    store(&fixture, "b", &events[1..]).await;
    let written = [&events[..2], &events[7..8]].concat();
    write(&fixture, &written).await;
    let gap = |since, until| Gap { since: noon + since, until: noon + until, events: 2 };
    for gap in [gap(2, 3), gap(5, 5), gap(5, 5), gap(-9_000, -8_000)] {
        fixture.baseline.record_gap(gap).await.unwrap();
    }
    let mut gaps = fixture.baseline.gaps(&plan(1).span).await.unwrap();
    gaps.dedup();
    assert_eq!(gaps, [gap(2, 3), gap(5, 5)]);
    let (report, found) = verify(&fixture, &plan(10)).await;
    assert_eq!((report.matched, report.not_written), (2, 3), "{found:?}");
    assert_eq!((report.missing_in_baseline, report.missing_in_queue_path), (3, 1));
    assert_eq!(ids(&found), ["evt_0", "evt_4", "evt_6", "evt_8"]);
}

async fn a_single_project_can_be_compared(fixture: Fixture) {
    store(&fixture, "b", &[view("p", "1", "s", 1, "/"), view("it's", "1", "s", 1, "/")]).await;
    write(&fixture, &[view("it's", "1", "s", 1, "/"), custom("q", "2", "s", 1)]).await;
    let of = |project: &str| {
        let span = Span { project: Some(project.to_owned()), ..plan(10).span };
        Plan { span, ..plan(10) }
    };
    let of_it = verify(&fixture, &of("it's")).await.0;
    assert_eq!((of_it.matched, of_it.mismatched()), (1, 0));
    assert_eq!(verify(&fixture, &of("p")).await.0.missing_in_baseline, 1);
    assert_eq!(verify(&fixture, &of("q")).await.0.missing_in_queue_path, 1);
    assert_eq!(verify(&fixture, &of("none")).await.0.compared(), 0);
}

async fn unusual_ids_are_found(fixture: Fixture) {
    let odd = ["it's", "back\\slash", "new\nline", "ø\u{1f980}", "' OR 1=1 --", "`\"%_"];
    let events: Vec<_> = (0..).zip(odd).map(|(n, id)| view(id, id, "s", n / 3, "/")).collect();
    store(&fixture, "b", &events).await;
    write(&fixture, &events[..4]).await;
    for page in [1, 100] {
        let (report, found) = verify(&fixture, &plan(page)).await;
        assert_eq!((report.matched, report.missing_in_baseline), (4, 2), "{found:?}");
    }
    let keys: Vec<_> = odd.map(|id| EventKey { project_id: id.into(), id: id.into() }).into();
    for seconds in [vec![], vec![NOON / 1000, NOON / 1000 + 1]] {
        let pick = Pick::Events { keys: &keys, seconds: &seconds };
        let rows = fixture.baseline.read(Side::Queue, Kind::PageViews, pick).await.unwrap().rows;
        assert_eq!(rows.len(), odd.len());
    }
}
