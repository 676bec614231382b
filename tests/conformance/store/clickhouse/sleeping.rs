//! A service that sleeps when idle: it accepts connections, and answers when it has woken up.

use std::sync::Arc;
use std::time::Duration;

use bklit_pipeline::store::{Store, StoreError};

use super::{batch, hasty, mixed, own, verify, verify_sessions};

/// What arrived during the sleep is carried out afterwards, when nobody waits for it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_sent_to_a_sleeping_service_is_stored_once() {
    let (server, store) = own(hasty).await;
    let store = Arc::new(store);
    // One batch finds the service asleep, the other one in between two statements.
    let (asleep, between) = (mixed("a", 20), mixed("b", 20));
    server.freeze();
    let worker = tokio::spawn({
        let (store, batch) = (Arc::clone(&store), batch("asleep", &asleep));
        async move {
            let mut attempts = 0;
            loop {
                attempts += 1;
                match store.insert(&batch).await {
                    Ok(_) => return attempts,
                    Err(StoreError::Unavailable(_)) => {}
                    Err(refused) => panic!("{refused}"),
                }
            }
        }
    });
    // Three times as long as a request may take.
    tokio::time::sleep(Duration::from_secs(7)).await;
    server.thaw();
    let attempts = worker.await.unwrap();
    assert!((3..=8).contains(&attempts), "{attempts} attempts in 7 s with a limit of 2 s");
    let batch = batch("between", &between);
    let inserting = tokio::spawn({
        let (store, batch) = (Arc::clone(&store), batch.clone());
        async move { store.insert(&batch).await.map(|_| ()) }
    });
    tokio::time::sleep(Duration::from_millis(15)).await;
    server.freeze();
    let _ = inserting.await.unwrap();
    let _ = store.insert(&batch).await;
    server.thaw();
    while store.insert(&batch).await.is_err() {}
    let sent = [asleep, between].concat();
    verify(&*store, &sent).await.unwrap();
    verify_sessions(&*store).await;
}
