//! Pushing several events at once.

use super::*;

pub async fn events_pushed_together_have_a_result_each(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    let pushed = async |items: Vec<NewItem>| -> Vec<Pushed> {
        queue.push_many(items).await.into_iter().map(Result::unwrap).collect()
    };
    assert_eq!(pushed(Vec::new()).await, []);
    queue.push(item("known", true)).await.unwrap();
    let together = vec![
        item("a", false),
        item("known", true),
        item("b", true),
        item("b", true),
        item_of("p2", "b", true),
        item("c", false),
    ];
    let (new, known) = (Pushed::Queued, Pushed::Duplicate);
    assert_eq!(pushed(together.clone()).await, [new, known, new, known, new, new]);
    // Everything with a chosen id may be sent again.
    let chosen = together.into_iter().filter(|item| item.client_id).collect();
    assert_eq!(pushed(chosen).await, [known; 4]);
    let mut found = drain(&*queue).await;
    found.sort();
    assert_eq!(found, ["a", "b", "b", "c", "known"]);

    for client_id in [true, false] {
        let id = |n: u64| format!("{client_id}-{n}");
        let items: Vec<_> = (0..MAX_DEPTH + 10).map(|n| item(&id(n), client_id)).collect();
        let results = queue.push_many(items.clone()).await;
        let (room, beyond) = results.split_at(MAX_DEPTH as usize);
        assert!(room.iter().all(|result| matches!(result, Ok(Pushed::Queued))), "{results:?}");
        let full = |result: &_| matches!(result, Err(QueueError::Full { bound: MAX_DEPTH, .. }));
        assert!(beyond.len() == 10 && beyond.iter().all(full), "{results:?}");
        let expected: Vec<_> = (0..MAX_DEPTH).map(id).collect();
        assert_eq!(ids(&claim(&*queue, 1_000, LEASE).await), expected, "in order");
        let last = items[MAX_DEPTH as usize..].to_vec();
        assert_eq!(pushed(last).await, [new; 10], "refused events were not remembered");
        claim(&*queue, 1_000, LEASE).await;
    }
}

pub async fn a_full_failed_list_refuses_events_pushed_together(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    for n in 0..MAX_FAILED {
        push(&*queue, &n.to_string()).await;
    }
    let batch = claim(&*queue, 100, LEASE).await;
    let reject = |item: &ClaimedItem| Rejected { seq: item.seq, reason: "bad".into() };
    let rejected: Vec<_> = batch.items.iter().map(reject).collect();
    queue.acknowledge(&batch.id, &rejected).await.unwrap();
    let results = queue.push_many(vec![item("a", false), item("b", true)]).await;
    let refused = |result: &_| matches!(result, Err(QueueError::FailedFull { .. }));
    assert!(results.len() == 2 && results.iter().all(refused), "{results:?}");
    assert_eq!(stats(&*queue).await, [0, 0, MAX_FAILED]);
}

pub async fn events_pushed_in_order_are_pushed_once(fixture: &mut dyn Fixture) {
    let queue = fixture.queue();
    let events = (0..60).map(|n| Arc::unwrap_or_clone(item(&n.to_string(), true).event));
    let events: Vec<_> = events.collect();
    assert_eq!(queue.push_in_order(&[]).await.unwrap(), 0);
    assert_eq!(queue.push_in_order(&events[..20]).await.unwrap(), 20);
    assert_eq!(queue.push_in_order(&events).await.unwrap(), MAX_DEPTH as usize, "then it is full");
    let first = claim(&*queue, 30, LEASE).await;
    assert_eq!(queue.push_in_order(&events[20..]).await.unwrap(), 40);
    let rest = claim(&*queue, 60, LEASE).await;
    let found: Vec<_> = ids(&first).into_iter().chain(ids(&rest)).collect();
    let sent: Vec<_> = events.into_iter().map(|event| event.id).collect();
    assert_eq!(found, sent);
}
