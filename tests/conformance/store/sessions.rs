//! Sessions: what events make of them, and the sweep that ends idle ones.

use std::collections::HashMap;

use bklit_pipeline::store::session::key_of;
use bklit_pipeline::store::{Inserted, Store};
use bklit_wire::event::Payload;
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};

use super::{SESSIONS, count, insert, key, row, rows, session, write_sessions};
use crate::support::events::{at, custom, end, view};

pub async fn a_session_has_entry_exit_and_bounce(store: &dyn Store) {
    insert(store, "1", &[view("p", "1", "s", 0, "/in")]).await;
    let start = "2026-01-31 12:00:00";
    assert_eq!(session(store).await, json!(["/in", "/in", 1, start, null, null]));
    insert(store, "2", &[view("p", "2", "s", 9, "/out")]).await;
    assert_eq!(session(store).await, json!(["/in", "/out", 0, start, null, null]));
}

pub async fn a_session_end_gives_it_a_duration(store: &dyn Store) {
    insert(store, "1", &[view("p", "1", "s", 0, "/")]).await;
    assert_eq!(insert(store, "2", &[end("p", "2", "s", 90)]).await.rows, 0);
    let (start, stop) = ("2026-01-31 12:00:00", "2026-01-31 12:01:30");
    assert_eq!(session(store).await, json!(["/", "/", 1, start, stop, 90]));
    // A second end changes nothing.
    insert(store, "3", &[end("p", "2", "s", 90)]).await;
    assert_eq!(count(store, SESSIONS).await, 1);
}

/// As earlier versions accepted it.
pub async fn an_end_in_the_far_future_is_limited(store: &dyn Store) {
    insert(store, "1", &[view("p", "1", "s", 0, "/")]).await;
    let mut last = end("p", "2", "s", 90);
    *last.payload.timestamp_mut() = Some(UtcMillis::MAX);
    insert(store, "2", &[last]).await;
    let (start, stop) = ("2026-01-31 12:00:00", "2026-01-31 12:01:30");
    assert_eq!(session(store).await, json!(["/", "/", 1, start, stop, 90]), "when it arrived");
    // A start from a wrong clock.
    let mut first = view("q", "3", "t", 0, "/");
    *first.payload.timestamp_mut() = Some(UtcMillis::MIN);
    insert(store, "3", &[first, end("q", "4", "t", 90)]).await;
    let sql = format!("SELECT duration FROM {SESSIONS} WHERE session_id = 't'");
    assert_eq!(row(store, &sql).await, [json!(400 * 24 * 3600)]);
}

pub async fn details_are_from_the_first_view_that_has_them(store: &dyn Store) {
    let with = |id, seconds, agent: &str, city: Option<&str>| {
        let mut event = view("p", id, "s", seconds, "/");
        let Payload::Pageview(view) = &mut event.payload else { unreachable!() };
        view.user_agent = Some(agent.to_owned());
        view.city = city.map(str::to_owned);
        event
    };
    insert(store, "1", &[with("3", 3, "third", Some("Rome"))]).await;
    insert(store, "2", &[with("1", 1, "first", None), with("2", 2, "second", Some("Oslo"))]).await;
    let found =
        row(store, &format!("SELECT user_agent, city, country, visitor_id FROM {SESSIONS}")).await;
    assert_eq!(found, [json!("first"), json!("Oslo"), Value::Null, Value::Null]);
}

pub async fn events_out_of_order_make_the_same_session(store: &dyn Store) {
    let events = [
        end("p", "4", "s", 30),
        view("p", "3", "s", 20, "/last"),
        view("p", "1", "s", 0, "/first"),
        view("p", "2", "s", 10, "/middle"),
    ];
    for (n, event) in events.iter().enumerate() {
        insert(store, &format!("b{n}"), std::slice::from_ref(event)).await;
    }
    let (start, stop) = ("2026-01-31 12:00:00", "2026-01-31 12:00:30");
    assert_eq!(session(store).await, json!(["/first", "/last", 0, start, stop, 30]));
}

pub async fn a_replayed_view_is_still_a_bounce(store: &dyn Store) {
    let only = view("p", "1", "s", 0, "/");
    for n in 0..3 {
        insert(store, &format!("b{n}"), std::slice::from_ref(&only)).await;
    }
    assert_eq!(session(store).await[2], json!(1));
}

pub async fn later_events_reopen_an_ended_session(store: &dyn Store) {
    insert(store, "1", &[view("p", "1", "s", 0, "/"), end("p", "2", "s", 10)]).await;
    // An event from before the end that arrives late.
    insert(store, "2", &[view("p", "3", "s", 5, "/late")]).await;
    assert_eq!(session(store).await[5], json!(10));
    insert(store, "3", &[view("p", "4", "s", 20, "/back")]).await;
    let found = session(store).await;
    assert_eq!((&found[1], &found[4], &found[5]), (&json!("/back"), &Value::Null, &Value::Null));
    insert(store, "4", &[end("p", "5", "s", 60)]).await;
    assert_eq!(session(store).await[5], json!(60));
}

pub async fn a_fast_clock_does_not_keep_a_session_open(store: &dyn Store) {
    let mut early = view("p", "1", "s", 0, "/");
    let Payload::Pageview(payload) = &mut early.payload else { unreachable!() };
    payload.timestamp = Some(at(3600));
    insert(store, "1", &[early, end("p", "2", "s", 10)]).await;
    let hour = "2026-01-31 13:00:00";
    assert_eq!(session(store).await, json!(["/", "/", 1, hour, hour, 0]));
}

pub async fn a_session_begins_with_a_page_view(store: &dyn Store) {
    let inserted = insert(store, "1", &[end("p", "1", "s", 5), custom("p", "2", "t", 5)]).await;
    assert_eq!(inserted, Inserted { rows: 1, ..Inserted::default() });
    assert_eq!(count(store, SESSIONS).await, 0);
    assert!(store.end_idle_sessions(at(9), 10).await.unwrap().is_empty());
    insert(store, "2", &[view("p", "3", "s", 5, "/")]).await;
    assert_eq!(count(store, SESSIONS).await, 1);
}

pub async fn the_sweep_ends_idle_sessions_as_of_their_last_event(store: &dyn Store) {
    let events = [
        view("p", "1", "idle", 0, "/"),
        custom("p", "2", "idle", 7),
        view("p", "3", "busy", 8, "/"),
    ];
    insert(store, "1", &events).await;
    assert!(store.end_idle_sessions(at(7), 10).await.unwrap().is_empty());
    assert_eq!(store.end_idle_sessions(at(8), 10).await.unwrap(), [key("p", "idle")]);
    assert!(store.end_idle_sessions(at(8), 10).await.unwrap().is_empty());
    let sql = &format!("SELECT session_id, ended_at, duration FROM {SESSIONS} ORDER BY 1");
    let idle = [json!("idle"), json!("2026-01-31 12:00:07"), json!(7)];
    assert_eq!(rows(store, sql).await, [[json!("busy"), Value::Null, Value::Null], idle]);
    // The visitor returns, and leaves again without an end event.
    insert(store, "2", &[view("p", "4", "idle", 50, "/")]).await;
    let mut ended = store.end_idle_sessions(at(51), 10).await.unwrap();
    ended.sort();
    assert_eq!(ended, [key("p", "busy"), key("p", "idle")]);
    assert_eq!(rows(store, sql).await[1][2], json!(50));
}

pub async fn the_sweep_ends_no_more_sessions_than_requested(store: &dyn Store) {
    let events: Vec<_> =
        (0..25).map(|n| view("p", &format!("{n}"), &format!("s{n:02}"), n, "/")).collect();
    insert(store, "1", &events).await;
    let mut swept = Vec::new();
    for expected in [10, 10, 5, 0] {
        let ended = store.end_idle_sessions(at(1000), 10).await.unwrap();
        assert_eq!(ended.len(), expected);
        swept.extend(ended);
    }
    swept.dedup();
    assert_eq!(swept.len(), 25);
    assert_eq!(count(store, &format!("{SESSIONS} WHERE ended_at IS NULL")).await, 0);
}

pub async fn sessions_are_separate_for_each_project(store: &dyn Store) {
    let events =
        [view("p1", "1", "s", 0, "/a"), view("p2", "2", "s", 0, "/b"), end("p2", "3", "s", 1)];
    insert(store, "1", &events).await;
    assert_eq!(count(store, &format!("{SESSIONS} WHERE ended_at IS NULL")).await, 1);
    assert_eq!(count(store, &format!("{SESSIONS} WHERE did_bounce = 1")).await, 2);
    assert_eq!(row(store, &format!("SELECT count(DISTINCT id) FROM {SESSIONS}")).await, [json!(2)]);
}

pub async fn updated_at_follows_what_a_row_shows(store: &dyn Store) {
    let sql = &format!("SELECT id, updated_at FROM {SESSIONS}");
    let versions = "tracked_session";
    let mut last: Vec<Value> = vec![];
    for n in 0..4 {
        insert(store, &format!("{n}"), &[view("p", &format!("{n}"), "s", n, &format!("/{n}"))])
            .await;
        let now = row(store, sql).await;
        if !last.is_empty() {
            assert_eq!(now[0], last[0]);
            assert!(now[1].as_str() >= last[1].as_str(), "{now:?} after {last:?}");
        }
        last = now;
    }
    let before = count(store, versions).await;
    insert(store, "custom", &[custom("p", "custom", "s", 10)]).await;
    insert(store, "late", &[view("p", "late", "s", 2, "/late")]).await;
    assert_eq!(row(store, sql).await, last, "nothing visible has changed");
    assert_eq!(count(store, versions).await, before);
    // What was not visible is part of the session.
    assert_eq!(store.end_idle_sessions(at(11), 10).await.unwrap(), [key("p", "s")]);
    assert_eq!(session(store).await[5], json!(10));
}

pub async fn late_events_do_not_open_an_ended_session(store: &dyn Store) {
    let open = format!("{SESSIONS} WHERE ended_at IS NULL");
    insert(store, "1", &[view("p", "1", "s", 0, "/"), end("p", "2", "s", 10)]).await;
    assert_eq!(count(store, &open).await, 0);
    insert(store, "2", &[view("p", "3", "s", 5, "/late")]).await;
    assert_eq!(count(store, &open).await, 0);
    insert(store, "3", &[view("p", "4", "s", 20, "/back")]).await;
    assert_eq!(count(store, &open).await, 1);
}

pub async fn the_first_page_view_of_a_session_is_known(store: &dyn Store) {
    let [first, second] = [view("p", "1", "s", 0, "/in"), view("p", "2", "s", 9, "/out")];
    let sessions = [key("p", "s"), key("p", "without a view"), key("q", "s")];
    let known = async || store.first_views(&sessions).await.unwrap();
    assert_eq!(known().await, HashMap::new());
    insert(store, "1", &[second.clone(), custom("p", "3", "without a view", 0)]).await;
    assert_eq!(known().await, HashMap::from([(key("p", "s"), key_of(&second))]));
    // One that arrives late.
    insert(store, "2", std::slice::from_ref(&first)).await;
    assert_eq!(known().await, HashMap::from([(key("p", "s"), key_of(&first))]));
    write_sessions(store).await.unwrap();
    assert_eq!(known().await, HashMap::from([(key("p", "s"), key_of(&first))]));
}

pub async fn a_wrong_clock_does_not_stretch_a_session(store: &dyn Store) {
    let mut stop = end("p", "2", "s", 10);
    let Payload::SessionEnd(payload) = &mut stop.payload else { unreachable!() };
    payload.timestamp = Some("2099-01-01T00:00:00Z".parse().unwrap());
    let mut next = view("p", "3", "s", 7, "/next");
    let Payload::Pageview(payload) = &mut next.payload else { unreachable!() };
    payload.timestamp = Some("2099-01-01T00:00:00Z".parse().unwrap());
    insert(store, "1", &[view("p", "1", "s", 0, "/"), next, stop]).await;
    let (start, stop) = ("2026-01-31 12:00:00", "2026-01-31 12:00:10");
    assert_eq!(session(store).await, json!(["/", "/next", 0, start, stop, 10]));
}
