//! Reading the queue's content, and deleting and retrying items.

use std::collections::BTreeSet;

use bklit_adapters::local::LocalDebugBus;
use bklit_pipeline::event_lookup;
use bklit_pipeline::event_lookup::Sources;
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::queue::api::{self, QueueAges};
use bklit_pipeline::queue::{FailedItem, Order, Page, WaitingItem, owner_name};
use bklit_wire::event_lookup::QueuedPlace;
use bklit_wire::queue::{BatchInFlight, Edit, Edited};

use super::*;

async fn batches(queue: &dyn Queue) -> Vec<BatchInFlight> {
    queue.batches(10).await.unwrap()
}

pub async fn a_batch_in_flight_shows_its_owner_and_lease(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    assert_eq!(batches(&*queue).await, []);
    for id in ["a", "b", "c"] {
        push(&*queue, id).await;
    }
    let held = claim(&*queue, 2, LEASE).await;
    let dropped = claim(&*queue, 2, NO_LEASE).await;
    let now = UtcMillis::now().epoch_millis();
    let shown = batches(&*queue).await;
    let [expired, live] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!((&live.id, live.epoch), (&held.id.batch, held.id.epoch));
    assert_eq!((live.items, live.attempts), (2, 1));
    assert_eq!(live.owner, Some(owner_name()));
    assert!((590_000..=600_000).contains(&live.lease_left_ms), "{live:?}");
    let off = live.lease_until.epoch_millis() - live.lease_left_ms - now;
    assert!(off.abs() < 10_000, "{live:?}");
    assert!((now - live.claimed_at.unwrap().epoch_millis()).abs() < 10_000, "{live:?}");
    assert_eq!((&expired.id, expired.items), (&dropped.id.batch, 1));
    assert!(expired.lease_left_ms <= 0, "{expired:?}");
    assert_eq!(queue.batches(1).await.unwrap().len(), 1);
    // Claimed again, renewed, released, acknowledged.
    let again = claim(&*queue, 1, LEASE).await;
    let taken = batches(&*queue).await.into_iter().find(|b| b.id == again.id.batch).unwrap();
    assert_eq!((taken.attempts, taken.epoch), (2, again.id.epoch));
    assert!(taken.lease_left_ms > 0);
    queue.release(&held.id).await.unwrap();
    assert!(batches(&*queue).await[0].lease_left_ms <= 0);
    queue.renew(&held.id, LEASE).await.unwrap();
    assert!(batches(&*queue).await.iter().all(|batch| batch.lease_left_ms > 0));
    queue.acknowledge(&held.id, &[]).await.unwrap();
    queue.acknowledge(&again.id, &[]).await.unwrap();
    assert_eq!(batches(&*queue).await, []);
}

fn event_ids(items: &[WaitingItem]) -> Vec<String> {
    items.iter().map(|item| QueuedEvent::from_json(&item.body).unwrap().id).collect()
}

/// All waiting items, by pages of three.
async fn walk(queue: &dyn Queue, order: Order) -> Vec<WaitingItem> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let Page { items, next, .. } = queue.waiting(order, after.as_deref(), 3).await.unwrap();
        assert!(items.len() <= 3);
        found.extend(items);
        after = next;
        if after.is_none() {
            return found;
        }
    }
}

pub async fn waiting_items_are_listed_in_pages(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    assert_eq!(walk(&*queue, Order::OldestFirst).await, []);
    for n in 0..9 {
        push(&*queue, &n.to_string()).await;
    }
    let held = claim(&*queue, 2, LEASE).await;
    let oldest_first = event_ids(&walk(&*queue, Order::OldestFirst).await);
    assert_eq!(oldest_first, ["2", "3", "4", "5", "6", "7", "8"]);
    let mut newest_first = event_ids(&walk(&*queue, Order::NewestFirst).await);
    newest_first.reverse();
    assert_eq!(newest_first, oldest_first);
    assert_eq!(stats(&*queue).await, [7, 2, 0], "they still wait");
    queue.acknowledge(&held.id, &[]).await.unwrap();
    // From the newest on, nothing is skipped while others claim and push.
    let page = queue.waiting(Order::NewestFirst, None, 3).await.unwrap();
    assert_eq!(event_ids(&page.items), ["8", "7", "6"]);
    claim(&*queue, 2, LEASE).await;
    push(&*queue, "9").await;
    let page = queue.waiting(Order::NewestFirst, page.next.as_deref(), 500).await.unwrap();
    let shown = event_ids(&page.items);
    assert!(["5", "4"].iter().all(|id| shown.iter().any(|shown| shown == id)), "{shown:?}");
    assert_eq!(page.next, None);
}

pub async fn only_the_chosen_waiting_items_are_deleted(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    for n in 0..8 {
        push(&*queue, &n.to_string()).await;
    }
    let shown = queue.waiting(Order::OldestFirst, None, 50).await.unwrap().items;
    let id = |n: usize| shown[n].id.clone();
    assert_eq!(queue.delete_waiting(&[id(6), id(3), id(6), "?".into()]).await.unwrap(), 2);
    assert_eq!(stats(&*queue).await, [6, 0, 0]);
    // Items claimed in the meantime are not deleted, and later items are still found.
    let held = claim(&*queue, 2, LEASE).await;
    assert_eq!(queue.delete_waiting(&[id(0), id(1), id(4), id(3)]).await.unwrap(), 1);
    assert_eq!(ids(&held), ["0", "1"]);
    queue.release(&held.id).await.unwrap();
    assert_eq!(claim(&*queue, 2, LEASE).await.items, held.items);
    assert_eq!(ids(&claim(&*queue, 50, LEASE).await), ["2", "5", "7"]);
    assert_eq!(queue.delete_waiting(&[]).await.unwrap(), 0);
    drop(queue);
    fixture.reopen();
    assert_eq!(stats(&*fixture.queue()).await, [0, 5, 0]);
}

pub async fn failed_items_are_listed_in_pages_and_deleted(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    let none = queue.failed(None, 10).await.unwrap();
    assert_eq!((none.items, none.next), (vec![], None));
    for n in 0..8 {
        push(&*queue, &n.to_string()).await;
    }
    let reject = |claim: &Claim| -> Vec<_> {
        let reject = |item: &ClaimedItem| Rejected { seq: item.seq, reason: id_of(item) };
        claim.items.iter().map(reject).collect()
    };
    let batch = claim(&*queue, 7, LEASE).await;
    queue.acknowledge(&batch.id, &reject(&batch)).await.unwrap();
    let reasons =
        |items: &[FailedItem]| -> Vec<_> { items.iter().map(|item| item.reason.clone()).collect() };
    let first = queue.failed(None, 3).await.unwrap();
    assert_eq!(reasons(&first.items), ["6", "5", "4"]);
    assert!(first.items.iter().all(|item| item.failed_at.is_some()));
    // The next page continues correctly although listed items were removed and others were added.
    let shown: Vec<_> = first.items.iter().map(|item| item.id.clone()).collect();
    assert_eq!(queue.delete_failed(&shown[..2]).await.unwrap(), 2);
    assert_eq!(queue.delete_failed(&shown[..2]).await.unwrap(), 0, "only once");
    assert_eq!(queue.retry_failed(&shown[2..]).await.unwrap(), 1);
    let more = claim(&*queue, 10, LEASE).await;
    queue.acknowledge(&more.id, &reject(&more)).await.unwrap();
    let second = queue.failed(first.next.as_deref(), 3).await.unwrap();
    assert_eq!(reasons(&second.items), ["3", "2", "1"]);
    let third = queue.failed(second.next.as_deref(), 3).await.unwrap();
    assert_eq!((reasons(&third.items), third.next), (vec!["0".to_owned()], None));
    assert_eq!(stats(&*queue).await, [0, 0, 6]);
    drop(queue);
    fixture.reopen();
    assert_eq!(stats(&*fixture.queue()).await, [0, 0, 6]);
}

pub async fn edited_items_are_queued_instead_of_failed_ones(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    for n in 0..4 {
        push(&*queue, &n.to_string()).await;
    }
    let batch = claim(&*queue, 10, LEASE).await;
    let reject = |item: &ClaimedItem| Rejected { seq: item.seq, reason: "bad".into() };
    let rejected: Vec<_> = batch.items.iter().map(reject).collect();
    queue.acknowledge(&batch.id, &rejected).await.unwrap();
    let failed = queue.failed(None, 10).await.unwrap().items;
    let titled = |n: usize, title: &str| {
        let mut event = QueuedEvent::from_json(&failed[n].body).unwrap();
        let Payload::Pageview(view) = &mut event.payload else { panic!("{event:?}") };
        view.title = Some(title.to_owned());
        Edit { id: failed[n].id.clone(), body: event.to_json() }
    };
    let wrong = Edit { body: titled(2, "x").body.replace("pageview", "pagevue"), ..titled(2, "x") };
    let other = Edit { id: titled(3, "x").id, body: titled(0, "of another").body };
    let none = Edit { id: "999999".into(), ..titled(0, "gone") };
    let odd = Edit { id: "?".into(), ..titled(0, "gone") };
    let edits = [titled(1, "first"), wrong, other, none, odd, titled(0, "second")];
    let edited = queue.retry_edited(&edits).await.unwrap();
    assert_eq!(edited.changed, 2);
    let invalid: Vec<_> = edited.invalid.iter().map(|invalid| &invalid.id).collect();
    assert_eq!(invalid, [&failed[2].id, &failed[3].id]);
    assert!(edited.invalid[0].error.contains("type"), "{:?}", edited.invalid);
    assert!(edited.invalid[1].error.contains("stored twice"), "{:?}", edited.invalid);
    assert_eq!(stats(&*queue).await, [2, 0, 2]);
    let again = queue.retry_edited(&[titled(0, "third")]).await.unwrap();
    assert_eq!(again, Edited::default(), "only once");
    let left = queue.failed(None, 10).await.unwrap().items;
    assert_eq!(left, failed[2..], "unchanged");
    drop(queue);
    fixture.reopen();
    let queue = fixture.queue();
    let retried = claim(&*queue, 10, LEASE).await;
    let bodies: BTreeSet<_> = retried.items.iter().map(|item| &item.body).collect();
    assert_eq!(bodies, [&titled(0, "second").body, &titled(1, "first").body].into());
}

pub(super) async fn the_events_of_a_batch_can_be_read(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    for id in ["a", "b", "c", "d"] {
        push(&*queue, id).await;
    }
    let held = claim(&*queue, 3, LEASE).await;
    let bodies: Vec<_> = held.items.iter().map(|item| item.body.clone()).collect();
    let read = |most| queue.batch_items(&held.id.batch, most);
    assert_eq!(read(10).await.unwrap().unwrap(), bodies);
    assert_eq!(read(2).await.unwrap().unwrap(), bodies[..2], "the oldest");
    assert_eq!(queue.batch_items("another", 10).await.unwrap(), None);
    assert_eq!(stats(&*queue).await, [1, 3, 0], "reading changes nothing");
    let view = api::batch(&*queue, &held.id.batch).await.unwrap().unwrap();
    let ids: Vec<_> = view.events.iter().map(|event| event.event_id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    // Ages: one of four events is waiting, and one of two batches has an expired lease.
    let stats = queue.stats().await.unwrap();
    let ages = QueueAges::of(&*queue, stats).await.unwrap();
    assert_eq!((ages.lapsed, ages.oldest_waiting.is_some()), (0, true));
    let view = api::overview(&*queue).await.unwrap();
    assert_eq!((view.oldest_waiting, view.lapsed), (ages.oldest_waiting, 0));
    claim(&*queue, 3, NO_LEASE).await;
    let stats = queue.stats().await.unwrap();
    let ages = QueueAges::of(&*queue, stats).await.unwrap();
    assert_eq!((ages.lapsed, ages.oldest_waiting), (1, None), "nothing waits");
    assert_eq!(api::overview(&*queue).await.unwrap().lapsed, 1);
    queue.acknowledge(&held.id, &[]).await.unwrap();
    assert_eq!(read(10).await.unwrap(), None, "it was acknowledged");
}

pub(super) async fn an_event_is_found_wherever_it_is(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    let bus = LocalDebugBus::new(Arc::new(Metrics::new()));
    let place = async |id: &str| {
        let sources = Sources { queue: &*queue, store: None, bus: &bus };
        let found = event_lookup::find(sources, id).await;
        assert!(found.stored.is_empty() && found.lines.is_empty());
        // The missing store is reported as a gap.
        assert_eq!(found.gaps.len(), 1, "{:?}", found.gaps);
        found.queued
    };
    for id in ["failed \u{fc}/\"", "held", "held_too", "waits"] {
        push(&*queue, id).await;
    }
    let first = claim(&*queue, 1, LEASE).await;
    let rejected = [Rejected { seq: first.items[0].seq, reason: "no".into() }];
    queue.acknowledge(&first.id, &rejected).await.unwrap();
    let held = claim(&*queue, 2, LEASE).await;
    let found = place("failed \u{fc}/\"").await;
    assert!(
        matches!(found.as_slice(), [QueuedPlace::Failed { reason, since: Some(_), .. }] if reason == "no"),
        "{found:?}"
    );
    for id in ["held", "held_too"] {
        let found = place(id).await;
        let [QueuedPlace::InFlight { batch, owner: Some(_), lapsed: false, .. }] = found.as_slice()
        else {
            panic!("{found:?}")
        };
        assert_eq!(*batch, held.id.batch);
    }
    let found = place("waits").await;
    assert!(matches!(found.as_slice(), [QueuedPlace::Waiting { since: Some(_), .. }]), "{found:?}");
    assert_eq!(place("wait").await, [], "a part of an id does not match");
    queue.acknowledge(&held.id, &[]).await.unwrap();
    assert_eq!(place("held").await, []);
}

fn reject_all(claim: &Claim) -> Vec<Rejected> {
    let reject = |item: &ClaimedItem| Rejected { seq: item.seq, reason: "bad".into() };
    claim.items.iter().map(reject).collect()
}

pub(super) async fn a_full_failed_list_refuses_new_events_and_finishes_accepted_ones(
    fixture: &mut dyn Fixture,
) {
    let queue = fixture.queue();
    queue.push(item("known", true)).await.unwrap();
    for n in 1..MAX_FAILED {
        push(&*queue, &n.to_string()).await;
    }
    let bad = claim(&*queue, MAX_FAILED as usize, LEASE).await;
    for n in 0..5 {
        push(&*queue, &format!("under way {n}")).await;
    }
    queue.acknowledge(&bad.id, &reject_all(&bad)).await.unwrap();
    let new = item("new", true);
    for refused in [
        queue.accepts().await,
        queue.push(item("other", false)).await.map(|_| ()),
        queue.push(new.clone()).await.map(|_| ()),
        queue.push_in_order(std::slice::from_ref(&new.event)).await.map(|_| ()),
    ] {
        let Err(error @ QueueError::FailedFull { failed: MAX_FAILED, bound: MAX_FAILED }) = refused
        else {
            panic!("{refused:?}")
        };
        assert!(error.to_string().contains("bklit-tui queue retry|export|delete"), "{error}");
    }
    assert_eq!(queue.push(item("known", true)).await.unwrap(), Pushed::Duplicate);
    assert_eq!(stats(&*queue).await, [5, 0, MAX_FAILED]);
    // Events accepted earlier are stored or fail as well: nothing is lost.
    let rest = claim(&*queue, 10, LEASE).await;
    queue.acknowledge(&rest.id, &reject_all(&rest)[..4]).await.unwrap();
    assert_eq!(stats(&*queue).await, [0, 0, MAX_FAILED + 4]);
    let failed = queue.failed(None, 10).await.unwrap().items;
    let ids: Vec<_> = failed.into_iter().map(|failed| failed.id).collect();
    assert_eq!(queue.delete_failed(&ids[..4]).await.unwrap(), 4);
    assert!(matches!(queue.push(new.clone()).await, Err(QueueError::FailedFull { .. })));
    assert_eq!(queue.retry_failed(&ids[4..5]).await.unwrap(), 1);
    queue.accepts().await.unwrap();
    assert_eq!(queue.push(new).await.unwrap(), Pushed::Queued, "it was not remembered");
    drop(queue);
    fixture.reopen();
    assert_eq!(stats(&*fixture.queue()).await, [2, 0, MAX_FAILED - 1]);
}
