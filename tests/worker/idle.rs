//! A worker without work does not query its store.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bklit_wire::debug_bus::Recalled;

use super::{Bench, views};

const HOUR: Duration = Duration::from_secs(3_600);

/// Until all sessions have ended, and again once there is another one.
#[tokio::test(start_paused = true)]
async fn idle_sessions_are_looked_for_only_while_there_may_be_some() {
    let (mut bench, context) = Bench::new();
    bench.start(context);
    tokio::time::sleep(HOUR).await;
    let sweeps = || bench.store.sweeps.load(SeqCst);
    assert!((48..=60).contains(&sweeps()), "{}", sweeps());
    bench.store.is_quiet.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(80)).await;
    let before = sweeps();
    tokio::time::sleep(HOUR * 24).await;
    assert_eq!(sweeps(), before);

    bench.queue.push_all(&views(1));
    bench.drained().await;
    tokio::time::sleep(Duration::from_secs(2 * 80)).await;
    // A store may write what a session needs to end a moment after the batch.
    assert!(sweeps() >= before + 2);
    let before = sweeps();
    tokio::time::sleep(HOUR).await;
    assert_eq!(sweeps(), before, "all have ended");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_store_is_checked_only_on_demand() {
    let (mut bench, context) = Bench::new();
    // The test bench subscribes like a console.
    bench.start(context);
    tokio::time::sleep(HOUR).await;
    let pings = || bench.store.pings.load(SeqCst);
    assert!((700..=722).contains(&pings()), "{}", pings());
    let log = std::mem::replace(&mut bench.lines, Box::new(Recalled::new(Vec::new())));
    drop(log);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = pings();
    tokio::time::sleep(HOUR).await;
    assert_eq!(pings(), before);
    // Like a request to `/health`; repeated ones share a check.
    for _ in 0..10 {
        bench.metrics.refresh().await;
    }
    assert_eq!(pings(), before + 1);
    bench.stop().await;
}
