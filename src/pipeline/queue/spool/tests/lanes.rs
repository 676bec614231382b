//! A queue of which one lane is unavailable.

use super::*;

/// Events of a lane that works do not go into the spool, those of the other one stay in order.
#[test]
fn only_events_of_an_unavailable_lane_are_spooled() {
    let (_runtime, handle) = idle_runtime();
    let test = move || {
        let (queue, spool) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
        let spooled = spooled(&handle, Arc::clone(&queue), Arc::clone(&spool));
        block_on(async {
            assert!(move_all(&spooled.shared).await && !spooled.is_spooling());
            queue.state().refused = Some("a");
            for together in [["a1", "b1"], ["b2", "a2"], ["a3", "b3"]] {
                let pushed = spooled.push_many(together.map(item).to_vec()).await;
                assert!(pushed.iter().all(|pushed| matches!(pushed, Ok(Pushed::Queued))));
                spooled.push(item(&format!("{}+", together[0]))).await.unwrap();
            }
            let ids = |fake: &Fake| -> Vec<_> {
                let items = fake.state().items.clone();
                items.iter().map(|json| QueuedEvent::from_json(json).unwrap().id).collect()
            };
            assert_eq!(ids(&queue), ["b1", "b2", "b2+", "b3"]);
            assert_eq!(ids(&spool), ["a1", "a1+", "a2", "a3", "a3+"]);
            assert!(!move_all(&spooled.shared).await);
            queue.state().refused = None;
            assert!(move_all(&spooled.shared).await && !spooled.is_spooling());
            assert_eq!(ids(&queue)[4..], ["a1", "a1+", "a2", "a3", "a3+"]);
        });
    };
    shuttle::check_random(test, 1);
}
