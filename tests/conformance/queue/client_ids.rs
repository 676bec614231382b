//! Event ids that clients chose.

use bklit_pipeline::queue::spool::SpooledQueue;
use bklit_wire::event::CustomEvent;

use super::*;

pub async fn a_clients_retry_is_queued_once_and_ids_are_per_project(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    assert_eq!(queue.push(item_of("p1", "x", true)).await.unwrap(), Pushed::Queued);
    assert_eq!(queue.push(item_of("p1", "x", true)).await.unwrap(), Pushed::Duplicate);
    assert_eq!(queue.push(item_of("p2", "x", true)).await.unwrap(), Pushed::Queued);
    assert_eq!(drain(&*queue).await, ["x", "x"]);
    assert_eq!(queue.push(item_of("p1", "x", true)).await.unwrap(), Pushed::Duplicate);
    drop(queue);
    fixture.reopen();
    let queue = fixture.queue();
    assert_eq!(queue.push(item_of("p2", "x", true)).await.unwrap(), Pushed::Duplicate);
    assert_eq!(stats(&*queue).await, [0, 0, 0]);
}

/// An event of the client's with another kind, or another content, than that of [`item`].
pub fn other(id: &str, payload: impl FnOnce(&mut Payload)) -> NewItem {
    let mut item = item(id, true);
    payload(&mut Arc::make_mut(&mut item.event).payload);
    item
}

pub fn custom(payload: &mut Payload) {
    *payload = Payload::Event(CustomEvent {
        tracking_id: "t".to_owned(),
        event_type: "click".to_owned(),
        timestamp: None,
        session_id: None,
        metadata: None,
        definition_id: None,
    });
}

pub fn another_title(payload: &mut Payload) {
    if let Payload::Pageview(view) = payload {
        view.title = Some("another".to_owned());
    }
}

pub fn another_visit(payload: &mut Payload) {
    if let Payload::Pageview(view) = payload {
        view.timestamp = Some(UtcMillis::now());
        view.ip = Some("203.0.113.0".to_owned());
        view.user_agent = Some("another".to_owned());
    }
}

pub async fn an_id_is_for_one_content_of_one_kind(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    assert_eq!(queue.push(item("k", true)).await.unwrap(), Pushed::Queued);
    assert_eq!(queue.push(other("k", custom)).await.unwrap(), Pushed::Queued);
    assert_eq!(queue.push(other("k", custom)).await.unwrap(), Pushed::Duplicate);
    let taken = queue.push(other("k", another_title)).await;
    assert!(matches!(taken, Err(QueueError::IdTaken)), "{taken:?}");
    let retry = queue.push(other("k", another_visit)).await.unwrap();
    assert_eq!(retry, Pushed::Duplicate, "a retry later, from another address");
    let events = [item("new", true), other("k", another_title)];
    let events: Vec<_> = events.iter().map(|item| QueuedEvent::clone(&item.event)).collect();
    let taken = queue.push_in_order(&events).await;
    assert!(matches!(taken, Err(QueueError::IdTaken)), "{taken:?}");
    let _ = queue.push(item("new", true)).await.unwrap();
    assert_eq!(stats(&*queue).await, [3, 0, 0]);
}

pub async fn too_many_ids_are_forgotten_the_oldest_first(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    for n in 0..3 * MAX_CLIENT_IDS {
        let pushed = queue.push(item(&n.to_string(), true)).await.unwrap();
        assert_eq!(pushed, Pushed::Queued, "{n}");
        if n % 40 == 39 {
            let batch = claim(&*queue, 40, LEASE).await;
            queue.acknowledge(&batch.id, &[]).await.unwrap();
        }
    }
    for n in 3 * MAX_CLIENT_IDS - 100..3 * MAX_CLIENT_IDS {
        let again = queue.push(item(&n.to_string(), true)).await.unwrap();
        assert_eq!(again, Pushed::Duplicate, "{n}");
    }
    assert_eq!(queue.push(item("0", true)).await.unwrap(), Pushed::Queued);
}

/// An event that the spool has accepted, with an id that the queue has for a different event.
pub async fn an_accepted_event_whose_id_is_taken_fails_with_a_reason(fixture: &mut dyn Fixture) {
    let dir = tempfile::tempdir().unwrap();
    let spool = Arc::new(SqliteQueue::open(&dir.path().join("queue.db"), BOUNDS).unwrap());
    for id in ["a", "k", "b"] {
        spool.push(item(id, true)).await.unwrap();
    }
    let queue = fixture.queue();
    queue.push(other("k", another_title)).await.unwrap();
    let spooled = SpooledQueue::new(Arc::clone(&queue), spool.clone());
    let failed = async {
        loop {
            let failed = spooled.failed(None, 10).await.unwrap().items;
            match failed.is_empty() {
                true => tokio::time::sleep(Duration::from_millis(10)).await,
                false => return failed,
            }
        }
    };
    let failed = tokio::time::timeout(DEADLINE, failed).await.expect("it is moved");
    let [taken] = failed.as_slice() else { panic!("{failed:?}") };
    assert!(taken.body.contains(r#""id":"k""#) && taken.reason.contains("eventId"), "{taken:?}");
    assert_eq!(ids(&claim(&*queue, 10, LEASE).await), ["k", "a", "b"]);
    drop(spooled);
}
