//! Materialized views that fail: events are stored all the same, never both stored and refused.

use bklit_pipeline::store::{Store, StoreError};
use bklit_wire::event::{Payload, QueuedEvent};

use super::{batch, process_until_done, shared, verify, verify_sessions};
use crate::support::events::view;
use crate::support::servers::Database;

/// A page view with that title.
fn titled(id: &str, title: &str) -> QueuedEvent {
    let mut event = view("p", id, &format!("s{id}"), 0, "/");
    let Payload::Pageview(view) = &mut event.payload else { unreachable!() };
    view.title = Some(title.to_owned());
    event
}

/// A materialized view on page views, with a target that remembers tokens.
fn create_view(database: &Database, name: &str, column: &str, from: &str) {
    database.query(&format!(
        "CREATE TABLE target_{name} (value {column}) ENGINE = MergeTree ORDER BY value \
         SETTINGS non_replicated_deduplication_window = 1000"
    ));
    database.query(&format!("CREATE MATERIALIZED VIEW {name} TO target_{name} AS {from}"));
}

/// Views that work, which the server writes before and after one named `m`.
fn create_others(database: &Database) {
    for name in ["a", "z"] {
        create_view(database, name, "String", "SELECT id AS value FROM page_view_event");
    }
}

fn values(database: &Database, name: &str) -> String {
    database.query(&format!(
        "SELECT arrayStringConcat(arraySort(groupArray(value::String)), ' ') FROM target_{name}"
    ))
}

#[tokio::test]
async fn a_view_that_fails_on_a_row_does_not_stop_events() {
    let (database, store) = shared().await;
    create_others(&database);
    create_view(&database, "m", "UInt8", "SELECT toUInt8(title) AS value FROM page_view_event");
    let mut sent = Vec::new();
    let name = database.name();
    for (id, titles) in [("1", &["7", "abc", "9"][..]), ("2", &["abc"]), ("3", &["1", "2"])] {
        let ids = (0..titles.len()).map(|n| format!("{id}{n}"));
        let events: Vec<_> = ids.zip(titles).map(|(id, title)| titled(&id, title)).collect();
        let inserted = store.insert(&batch(id, &events)).await.unwrap();
        assert_eq!(inserted.rows as usize, titles.len(), "{id}");
        let lacks = titles.contains(&"abc");
        assert_eq!(inserted.notes.len(), usize::from(lacks), "{:?}", inserted.notes);
        for note in inserted.notes {
            let expected = format!("{} rows of page_view_event are stored, but", titles.len());
            assert!(note.starts_with(&expected), "{note}");
            assert!(note.contains(&format!("view {name}.m:")), "{note}");
        }
        sent.extend(events);
    }
    verify(&store, &sent).await.unwrap();
    verify_sessions(&store).await;
    for name in ["a", "z"] {
        assert_eq!(values(&database, name), "10 11 12 20 30 31", "{name}");
    }
    assert_eq!(values(&database, "m"), "1 2");
}

/// Without tokens, only the table itself shows what a failed insert has stored.
#[tokio::test]
async fn a_failing_view_causes_no_duplicates_without_a_window() {
    let (database, store) = shared().await;
    let window = "non_replicated_deduplication_window = 0";
    database.query(&format!("ALTER TABLE page_view_event MODIFY SETTING {window}"));
    create_view(&database, "m", "UInt8", "SELECT toUInt8(title) AS value FROM page_view_event");
    let mut sent = Vec::new();
    // Whether the server has stored the rows by the time the view fails varies.
    for n in 0..20 {
        let events = [titled(&format!("{n}a"), "7"), titled(&format!("{n}b"), "abc")];
        let inserted = store.insert(&batch(&n.to_string(), &events)).await.unwrap();
        assert_eq!((inserted.rows, inserted.notes.len()), (2, 1), "{inserted:?}");
        sent.extend(events);
    }
    verify(&store, &sent).await.unwrap();
}

#[tokio::test]
async fn a_view_that_fails_for_a_while_gets_the_rows_later() {
    let (database, store) = shared().await;
    create_others(&database);
    database.query("CREATE TABLE names (id String) ENGINE = MergeTree ORDER BY id");
    let joined =
        "SELECT e.id AS value FROM page_view_event AS e LEFT JOIN names ON e.id = names.id";
    create_view(&database, "m", "String", joined);
    let mut sent = Vec::new();
    for n in 0..10 {
        database.query("RENAME TABLE names TO names_before");
        let events = [titled(&format!("{n}0"), "x"), titled(&format!("{n}1"), "y")];
        let batch = batch(&n.to_string(), &events);
        for _ in 0..2 {
            let error = store.insert(&batch).await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
            assert!(error.to_string().contains(&format!("view {}.m", database.name())), "{error}");
        }
        database.query("RENAME TABLE names_before TO names");
        assert_eq!(process_until_done(&store, &batch).await, 1);
        sent.extend(events);
    }
    verify(&store, &sent).await.unwrap();
    verify_sessions(&store).await;
    let expected = values(&database, "a");
    assert_eq!(expected.split(' ').count(), sent.len(), "{expected}");
    assert_eq!(values(&database, "z"), expected);
    assert_eq!(values(&database, "m"), expected);
}

/// Rows of sessions are derived from events, so nothing about them may stop the batch.
#[tokio::test]
async fn a_failing_view_on_sessions_does_not_stop_events() {
    let (database, store) = shared().await;
    let failing = "SELECT toUInt8(entry_page) AS value FROM tracked_session";
    create_view(&database, "m", "UInt8", failing);
    let events = [titled("1", "x")];
    assert_eq!(store.insert(&batch("b", &events)).await.unwrap().rows, 1);
    store.settle().await.unwrap();
    let notes = store.write_sessions().await.unwrap().notes;
    assert!(notes[0].contains("rows of tracked_session"), "{notes:?}");
    verify(&store, &events).await.unwrap();
    verify_sessions(&store).await;
}
