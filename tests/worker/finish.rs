//! What is done with stored batches: their sessions are completed, and only then are they acknowledged.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bklit_pipeline::bus::LiveBus;
use bklit_pipeline::metrics::Part;
use bklit_pipeline::queue::QueueStats;
use bklit_pipeline::worker::WorkerContext;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::gauges::Health;
use tokio::time::Instant;

use super::{Bench, small, views};

const FAILURE: &str = "Cannot store the sessions of a batch, retrying";

/// With batches of ten, and a store that completes sessions afterwards.
fn bench() -> (Bench, WorkerContext) {
    let (bench, context) = Bench::with(small(10, Duration::from_millis(50)));
    bench.store.settles.store(true, SeqCst);
    (bench, context)
}

#[tokio::test(start_paused = true)]
async fn sessions_of_batches_that_follow_each_other_are_completed_together() {
    let (mut bench, context) = bench();
    bench.queue.push_all(&views(65));
    bench.start(context);
    bench.drained().await;
    assert_eq!(bench.store.batches().len(), 7);
    let settled = bench.store.settled.lock().unwrap().clone();
    assert_eq!(settled.iter().sum::<usize>(), 65);
    assert_eq!(settled.len(), 3, "four batches, two, and one that waited for company");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_dashboard_does_not_wait_for_further_batches() {
    let (mut bench, context) = bench();
    let _dashboard = bench.live.subscribe();
    bench.queue.push_all(&views(30));
    bench.start(context);
    bench.drained().await;
    assert_eq!(*bench.store.settled.lock().unwrap(), [10, 10, 10]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_before_its_sessions_are_complete() {
    let (mut bench, context) = bench();
    bench.store.settles_to_fail.store(5, SeqCst);
    bench.queue.push_all(&views(20));
    bench.start(context);
    for _ in 0..5 {
        let line = bench.line(FAILURE).await;
        assert_eq!((line.stage, line.level), (Stage::Clickhouse, Level::Error));
        assert_eq!(line.data["reason"], "the sessions cannot be stored");
        assert_eq!(bench.metrics.health(Part::Store), Health::Failing);
        let QueueStats { depth, in_flight, .. } = bench.queue.figures();
        assert_eq!(depth + in_flight, 20);
    }
    bench.drained().await;
    assert_eq!(bench.store.settled.lock().unwrap().iter().sum::<usize>(), 20);
    assert_eq!(bench.store.count("page_view_event").await, 20);
    assert_eq!(bench.metrics.health(Part::Store), Health::Ok);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_gives_back_batches_whose_sessions_cannot_be_completed() {
    let (mut bench, context) = bench();
    bench.store.settles_to_fail.store(u32::MAX, SeqCst);
    bench.queue.push_all(&views(20));
    bench.start(context);
    bench.line(FAILURE).await;
    let began = Instant::now();
    bench.stop().await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(bench.queue.figures().in_flight, 20);
    assert!(bench.queue.is_released());
}
