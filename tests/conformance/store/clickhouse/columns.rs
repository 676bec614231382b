//! Tables whose columns are not of the types that `migrate` creates.

use bklit_adapters::clickhouse::ClickHouseStore;
use bklit_pipeline::store::{Store, StoreError};
use bklit_wire::diagnostic::Severity;
use bklit_wire::event::{Payload, QueuedEvent};
use serde_json::json;

use super::{batch, row, rows, store, verify, verify_sessions};
use crate::support::events::{at, custom, end, full_view, view};
use crate::support::servers::{ClickHouse, Database};

/// Tables in which these definitions replace those of `migrate`.
async fn tables(columns: &[(&str, &str, &str)]) -> (Database, ClickHouseStore) {
    let database = ClickHouse::shared();
    let store = store(&database.url(), |options| options.database = database.name().to_owned());
    for statement in store.migrate(true).await.unwrap() {
        let mut statement = statement;
        for (table, column, kind) in columns {
            if statement.contains(&format!(".{table} (")) {
                let start = statement.find(&format!("    {column} ")).unwrap();
                let end = start + statement[start..].find('\n').unwrap();
                let comma = if statement[..end].ends_with(',') { "," } else { "" };
                statement.replace_range(start..end, &format!("    {column} {kind}{comma}"));
            }
        }
        database.query(&statement);
    }
    (database, store)
}

const OTHER: &[(&str, &str, &str)] = &[
    ("page_view_event", "id", "FixedString(40)"),
    ("page_view_event", "url", "LowCardinality(String)"),
    ("page_view_event", "timestamp", "DateTime64(3, 'Europe/Berlin')"),
    ("page_view_event", "created_at", "DateTime64(6) DEFAULT now()"),
    ("page_view_event", "country", "LowCardinality(Nullable(String))"),
    ("page_view_event", "country_code", "LowCardinality(FixedString(2))"),
    ("page_view_event", "ip", "Nullable(IPv6)"),
    ("page_view_event", "lat", "Float32"),
    ("page_view_event", "lon", "Nullable(Float32)"),
    ("page_view_event", "mobile", "Nullable(Int8)"),
    ("page_view_event", "region", "String"),
    ("page_view_event", "project_id", "LowCardinality(FixedString(10))"),
    ("page_view_event", "referrer_type", "Enum8('direct' = 1, 'search' = 2, 'it\\'s' = -3)"),
    ("page_view_event", "utm_source", "Nullable(Enum16('a' = 1, 'b' = 300))"),
    ("page_view_event", "utm_medium", "LowCardinality(String) DEFAULT 'unknown'"),
    ("page_view_event", "utm_term", "String DEFAULT upper(url)"),
    ("page_view_event", "referrer_hostname", "Nullable(String) MATERIALIZED domain(referrer)"),
    ("page_view_event", "referrer_path", "Nullable(String) ALIAS path(referrer)"),
    ("page_view_event", "is_new_visitor", "UInt8 DEFAULT 0"),
    ("tracked_event", "timestamp", "DateTime64(3)"),
    ("tracked_event", "session_id", "LowCardinality(String)"),
    ("tracked_session", "id", "FixedString(36)"),
    ("tracked_session", "started_at", "DateTime64(3, 'Europe/Berlin')"),
    ("tracked_session", "ended_at", "Nullable(DateTime64(3))"),
    ("tracked_session", "duration", "Nullable(UInt32)"),
    ("tracked_session", "did_bounce", "Int8 DEFAULT 0"),
    ("tracked_session", "country", "LowCardinality(String)"),
    ("tracked_session", "country_code", "Nullable(Enum8('NO' = 1))"),
    ("tracked_session", "city", "Nullable(String) MATERIALIZED 'Oslo'"),
    ("tracked_session", "updated_at", "DateTime64(0) DEFAULT now()"),
];

fn changed(id: &str, change: impl FnOnce(&mut bklit_wire::event::PageView)) -> QueuedEvent {
    let mut event = view("p", id, &format!("s{id}"), 0, "/");
    let Payload::Pageview(view) = &mut event.payload else { unreachable!() };
    change(view);
    event
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn values_are_stored_in_columns_of_other_types() {
    let (_database, store) = tables(OTHER).await;
    let event = changed("1", |view| {
        view.timestamp =
            Some(bklit_wire::time::UtcMillis::from_epoch_millis(at(0).epoch_millis() + 123));
        view.country_code = some("NO");
        view.ip = some("203.0.113.0");
        (view.lat, view.lon, view.mobile) = (Some(59.5), None, Some(true));
        view.referrer = some("https://a.example/path");
        view.referrer_type = some("it's");
        view.utm_source = some("b");
        view.is_new_visitor = Some(true);
    });
    let absent = changed("2", |_| {});
    let inserted = store.insert(&batch("b", &[event.clone(), absent.clone()])).await.unwrap();
    assert_eq!((inserted.rows, inserted.notes.len()), (2, 0), "{inserted:?}");
    let columns = "toString(id), toUnixTimestamp64Milli(timestamp), country_code, toString(ip), lat, \
                   lon, mobile, region, toString(project_id), referrer_type, utm_source, utm_medium, \
                   utm_term, referrer_hostname, referrer_path, is_new_visitor";
    let found = rows(&store, &format!("SELECT {columns} FROM page_view_event ORDER BY id")).await;
    let millis = at(0).epoch_millis();
    let expected = json!([
        [
            "1",
            millis + 123,
            "NO",
            "::ffff:203.0.113.0",
            59.5,
            null,
            1,
            "",
            "p",
            "it's",
            "b",
            "unknown",
            "/",
            "a.example",
            "/path",
            1
        ],
        [
            "2", millis, "\0\0", null, 0, null, null, "", "p", "it's", null, "unknown", "/", null,
            null, 0
        ]
    ]);
    for (found, expected) in found.iter().zip(expected.as_array().unwrap()) {
        assert_eq!(&json!(found), expected);
    }
    assert_eq!(found.len(), 2);
    // Both are recognised in another batch, whatever the fraction of a second.
    let again = store.insert(&batch("c", &[event, absent])).await.unwrap();
    assert_eq!((again.rows, again.known), (0, vec![0, 1]));
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_left_out_if_it_is_optional() {
    let (_database, store) = tables(OTHER).await;
    let event = |id: &str| {
        changed(id, |view| {
            view.country_code = some("NOR");
            view.ip = some("localhost");
            view.referrer_type = some("other");
            view.utm_source = some("c");
        })
    };
    let inserted = store.insert(&batch("b", &[event("1"), event("2")])).await.unwrap();
    assert_eq!(inserted.rows, 2);
    let mut notes = inserted.notes;
    notes.retain(|note| note.starts_with("page_view_event: "));
    assert_eq!(notes.len(), 4, "{notes:?}");
    let note = "page_view_event: 2 values of utm_source were left out: unknown value \"c\"";
    assert!(notes.iter().any(|found| found == note), "{notes:?}");
    let columns = "country_code, ip, utm_source";
    let found = row(&store, &format!("SELECT DISTINCT {columns} FROM page_view_event")).await;
    assert_eq!(found, [json!("\0\0"), json!(null), json!(null)]);
}

/// Only that event: the others of its batch are stored.
#[tokio::test]
async fn a_required_value_that_does_not_fit_refuses_its_event() {
    let (_database, store) = tables(OTHER).await;
    let long = "x".repeat(50);
    let [good, long] = ["good", long.as_str()].map(|id| view("p", id, "s", 0, "/"));
    let both = batch("b", &[good.clone(), long.clone()]);
    let error = store.insert(&both).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    assert!(error.to_string().contains("id: \"xxx") && error.to_string().contains("40 bytes"));
    let refused = store.insert(&batch("b.1", &[long])).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    assert_eq!(store.insert(&batch("b.0", &[good])).await.unwrap().rows, 1);
    // The project is also what rows are looked up by.
    let project = view("a-longer-project", "1", "s", 0, "/");
    let refused = store.insert(&batch("c", &[project])).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
}

#[tokio::test]
async fn events_and_sessions_are_exact_in_other_columns() {
    let (_database, store) = tables(OTHER).await;
    let events: Vec<_> = (0..40)
        .map(|n| {
            let (id, session) = (format!("e{n}"), format!("s{}", n % 7));
            match n % 4 {
                0 => custom("p", &id, &session, n),
                _ => view("p", &id, &session, n, &format!("/{n}")),
            }
        })
        .collect();
    for some in events.chunks(9) {
        store.insert(&batch(&some[0].id, some)).await.unwrap();
    }
    let again = store.insert(&batch("again", &events)).await.unwrap();
    assert_eq!(again.rows, 0);
    store.insert(&batch("end", &[end("p", "end", "s1", 100)])).await.unwrap();
    let columns = "project_id, id, toUnixTimestamp(timestamp)";
    let found = rows(
        &store,
        &format!(
            "SELECT count(), uniqExact(*) FROM (SELECT {columns} FROM page_view_event UNION ALL \
             SELECT {columns} FROM tracked_event)"
        ),
    )
    .await;
    assert_eq!(found, [[json!(40), json!(40)]]);
    verify_sessions(&store).await;
    let ended =
        "SELECT toUnixTimestamp(max(ended_at)) FROM tracked_session WHERE session_id = 's1'";
    assert_eq!(row(&store, ended).await, [json!(at(100).epoch_seconds())]);
}

#[tokio::test]
async fn the_columns_are_accepted_by_the_check_and_by_migrate() {
    let (database, store) = tables(OTHER).await;
    assert_eq!(store.migrate(true).await.unwrap(), [""; 0]);
    let findings = store.check().await.unwrap();
    assert!(findings.iter().all(|found| found.severity == Severity::Good), "{findings:#?}");
    database.query("ALTER TABLE page_view_event MODIFY COLUMN title Nullable(UUID)");
    let findings = store.check().await.unwrap();
    let found = findings.iter().find(|found| found.severity == Severity::Problem).unwrap();
    assert_eq!(found.what, "page_view_event.title has the type Nullable(UUID)");
}

#[tokio::test]
async fn every_field_fits_a_table_without_nullable_columns() {
    let database = ClickHouse::shared();
    let store = store(&database.url(), |options| options.database = database.name().to_owned());
    for statement in store.migrate(true).await.unwrap() {
        let is_views = statement.contains(".page_view_event (");
        let kind = if is_views { "String" } else { "Nullable(String)" };
        database.query(&statement.replace("Nullable(String)", kind));
    }
    let events = [full_view("p", "1"), view("p", "2", "s", 0, "/")];
    store.insert(&batch("b", &events)).await.unwrap();
    verify(&store, &events).await.unwrap();
    let empty = "SELECT title, zip, lat FROM page_view_event WHERE id = '2'";
    assert_eq!(row(&store, empty).await, [json!(""), json!(""), json!(null)]);
}
