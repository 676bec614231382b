//! Sessions do not depend on the order of their events, on how these are divided into batches, or
//! on repeats.

use bklit_pipeline::store::{Batch, Store};
use bklit_wire::event::{Payload, QueuedEvent};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{SESSIONS, rows};
use crate::support::events::{at, custom, end, view};

/// An event: kind, session, time, and how much later it was queued.
type Plan = (u8, bool, i64, i64);

/// A set of events, and the batches in which they are sent: each event at least once.
#[derive(Clone, Debug)]
struct Case {
    events: Vec<Plan>,
    order: Vec<usize>,
    repeats: Vec<Index>,
    cuts: Vec<usize>,
}

fn cases() -> impl Strategy<Value = Case> {
    let plan = (0..3_u8, any::<bool>(), 0..6_i64, -2..3_i64);
    proptest::collection::vec(plan, 1..12).prop_flat_map(|events| {
        let order = Just((0..events.len()).collect::<Vec<_>>()).prop_shuffle();
        let repeats = proptest::collection::vec(any::<Index>(), 0..5);
        let cuts = proptest::collection::vec(1..5_usize, 20);
        (Just(events), order, repeats, cuts).prop_map(|(events, order, repeats, cuts)| Case {
            events,
            order,
            repeats,
            cuts,
        })
    })
}

fn event(project: &str, n: usize, &(kind, first, seconds, late): &Plan) -> QueuedEvent {
    let session = if first { "s1" } else { "s2" };
    let id = format!("evt_{n:02}");
    let mut event = match kind {
        0 => view(project, &id, session, seconds, &format!("/{n}")),
        1 => custom(project, &id, session, seconds),
        _ => end(project, &id, session, seconds),
    };
    event.queued_at = at(seconds + late);
    let timestamp = Some(at(seconds));
    match &mut event.payload {
        Payload::Pageview(view) => {
            view.timestamp = timestamp;
            view.user_agent = n.is_multiple_of(3).then(|| format!("agent {n}"));
            view.city = n.is_multiple_of(2).then(|| format!("city {n}"));
        }
        Payload::Event(custom) => custom.timestamp = timestamp,
        Payload::SessionEnd(end) => end.timestamp = timestamp,
    }
    event
}

async fn sessions(store: &dyn Store, project: &str) -> Vec<Vec<Value>> {
    let sql = "SELECT session_id, started_at, ended_at, duration, did_bounce, entry_page, \
               exit_page, user_agent, country, city FROM";
    rows(store, &format!("{sql} {SESSIONS} WHERE project_id = '{project}' ORDER BY 1")).await
}

async fn insert(store: &dyn Store, id: String, events: Vec<QueuedEvent>) {
    store.insert(&Batch { id, events: events.into(), is_first_attempt: false }).await.unwrap();
}

async fn check(store: &dyn Store, n: usize, case: &Case) -> Result<(), TestCaseError> {
    let (plain, mixed) = (format!("plain{n}"), format!("mixed{n}"));
    let all = |project: &str| -> Vec<QueuedEvent> {
        case.events.iter().enumerate().map(|(n, plan)| event(project, n, plan)).collect()
    };
    insert(store, plain.clone(), all(&plain)).await;

    let events = all(&mixed);
    let repeats = case.repeats.iter().map(|index| index.index(events.len()));
    let sent: Vec<_> = case.order.iter().copied().chain(repeats).collect();
    let mut sent = sent.into_iter().map(|index| events[index].clone());
    for (batch, &size) in case.cuts.iter().enumerate() {
        let events: Vec<_> = sent.by_ref().take(size).collect();
        insert(store, format!("{mixed}.{batch}"), events).await;
    }
    prop_assert_eq!(sent.next(), None);
    prop_assert_eq!(sessions(store, &mixed).await, sessions(store, &plain).await);
    Ok(())
}

pub fn run(runtime: &Runtime, store: &dyn Store, cases_to_run: u32) {
    let mut runner = TestRunner::new(Config {
        cases: cases_to_run,
        failure_persistence: None,
        ..Config::default()
    });
    let number = std::cell::Cell::new(0);
    let result = runner.run(&cases(), |case| {
        number.set(number.get() + 1);
        runtime.block_on(check(store, number.get(), &case))
    });
    result.unwrap();
}
