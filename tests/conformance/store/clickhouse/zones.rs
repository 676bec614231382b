//! Servers in another time zone than UTC.

use bklit_adapters::clickhouse::ClickHouseStore;
use bklit_pipeline::store::Store;
use bklit_wire::diagnostic::Severity;
use bklit_wire::event::QueuedEvent;
use serde_json::json;

use super::{batch, row, rows, store, verify, verify_sessions};
use crate::support::events::{at, end, view};
use crate::support::servers::ClickHouse;

/// The end of January in UTC, which is February in Berlin; the hour that Berlin's clocks show twice
/// (25 October 2026, 00:30 and 01:30 UTC), and the one that they skip (29 March, 01:00 UTC).
const SECONDS: [i64; 6] = [42_300, 43_200, 4_971_600, 4_975_200, 23_027_400, 23_031_000];

fn events() -> Vec<QueuedEvent> {
    let event = |(n, seconds): (usize, &i64)| {
        let (id, session) = (format!("e{n}"), format!("s{}", n / 2));
        view("p", &id, &session, *seconds, &format!("/{n}"))
    };
    SECONDS.iter().enumerate().map(event).collect()
}

async fn stays_exact(store: &ClickHouseStore) {
    let events = events();
    assert_eq!(store.insert(&batch("1", &events)).await.unwrap().rows, 6);
    // In other batches: one by one, and together.
    for (n, event) in events.iter().enumerate() {
        let one = batch(&format!("2{n}"), std::slice::from_ref(event));
        assert_eq!(store.insert(&one).await.unwrap().rows, 0, "{n}");
    }
    assert_eq!(store.insert(&batch("3", &events)).await.unwrap().rows, 0);
    verify(store, &events).await.unwrap();
    store.insert(&batch("4", &[end("p", "end", "s2", SECONDS[5] + 60)])).await.unwrap();
    verify_sessions(store).await;
    let times = "SELECT toUnixTimestamp(started_at), toUnixTimestamp(ended_at), duration \
                 FROM tracked_session WHERE session_id = 's2' ORDER BY updated_at DESC LIMIT 1";
    let [start, end] = [SECONDS[4], SECONDS[5] + 60].map(|seconds| at(seconds).epoch_seconds());
    assert_eq!(row(store, times).await, [json!(start), json!(end), json!(3660)]);
    let swept = store.end_idle_sessions(at(SECONDS[5] + 7200), 10).await.unwrap();
    assert_eq!(swept.len(), 2, "{swept:?}");
}

#[tokio::test]
async fn a_server_in_another_time_zone_stays_exact() {
    let server = ClickHouse::in_zone("Europe/Berlin");
    let store = store(&server.url(), |_| {});
    store.migrate(false).await.unwrap();
    assert_eq!(server.query("SELECT timezone()"), "Europe/Berlin");
    stays_exact(&store).await;
    let findings = store.check().await.unwrap();
    let found = findings.iter().find(|found| found.severity > Severity::Good).unwrap();
    assert!(found.what.contains("time zone is Europe/Berlin"), "{found:?}");
    assert!(found.advice.contains("UTC"), "{found:?}");
}

#[tokio::test]
async fn columns_in_another_time_zone_stay_exact() {
    let database = ClickHouse::shared();
    let store = store(&database.url(), |options| options.database = database.name().to_owned());
    for statement in store.migrate(true).await.unwrap() {
        let zoned = statement
            .replace(" DateTime", " DateTime('Europe/Berlin')")
            .replace("Nullable(DateTime)", "Nullable(DateTime('Europe/Berlin'))");
        database.query(&zoned);
    }
    stays_exact(&store).await;
    let local = "SELECT toString(timestamp) FROM page_view_event WHERE id IN ('e4', 'e5')";
    let shown = rows(&store, local).await;
    assert_eq!(shown, [[json!("2026-10-25 02:30:00")], [json!("2026-10-25 02:30:00")]]);
}
