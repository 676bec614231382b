//! Changes of failed events of spool and queue, of which one is unavailable.

use futures_util::FutureExt as _;

use super::*;

/// What was done in the spool is counted and moved although the queue is unavailable.
#[test]
fn what_was_retried_in_the_spool_is_moved_although_the_queue_fails() {
    let (_runtime, handle) = idle_runtime();
    let test = move || {
        let ids = ["spool:1", "spool:2", "7"].map(ToOwned::to_owned);
        let edits = ids.clone().map(|id| Edit { id, body: String::new() });
        for is_edited in [false, true] {
            let queue = Arc::new(Fake { is_down: true, ..Fake::default() });
            let spooled = spooled(&handle, queue, Arc::default());
            block_on(async {
                let done = match is_edited {
                    true => spooled.retry_edited(&edits).await.map(|edited| edited.changed),
                    false => spooled.retry_failed(&ids).await,
                };
                let Err(QueueError::Partly { done, .. }) = done else { panic!("{done:?}") };
                assert_eq!(done.changed, 2);
                let invalid: Vec<_> = done.invalid.iter().map(|invalid| &*invalid.id).collect();
                assert_eq!(invalid, if is_edited { vec!["spool:x"] } else { vec![] });
                let notified = spooled.shared.filled.notified().now_or_never();
                assert!(notified.is_some(), "the spool is checked");
                let deleted = spooled.delete_failed(&ids).await;
                assert!(matches!(deleted, Err(QueueError::Partly { .. })), "{deleted:?}");
            });
        }
    };
    shuttle::check_random(test, 1);
}
