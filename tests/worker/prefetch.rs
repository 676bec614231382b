//! What happens while a batch is stored: claiming the next one, and publishing the previous one.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use async_trait::async_trait;
use bklit_pipeline::bus::{LiveBus, LiveMessage, LiveStream};
use bklit_pipeline::queue::QueueStats;
use bklit_pipeline::worker::WorkerContext;
use bklit_pipeline::worker::WorkerSettings;
use bklit_wire::event::LiveEvent;
use tokio::time::Instant;

use super::{Bench, PATIENCE, small, views};

const WAIT: Duration = Duration::from_millis(50);

impl Bench {
    /// Waits until this many batches have been claimed.
    async fn claimed(&self, batches: usize) {
        while self.queue.claims.lock().unwrap().len() < batches {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn claims(&self) -> Vec<usize> {
        self.queue.claims.lock().unwrap().iter().map(|claim| claim.0).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_is_prefetched_and_keeps_its_lease() {
    let (mut bench, context) = Bench::with(small(10, WAIT));
    let lease = context.settings.lease;
    bench.store.slowness.store(3 * lease.as_millis() as u64, SeqCst);
    bench.queue.push_all(&views(25));
    bench.start(context);
    bench.claimed(2).await;
    tokio::time::sleep(2 * lease).await;
    assert_eq!(bench.store.batches(), [("batch-1".to_owned(), 10)], "one at a time");
    assert_eq!(bench.claims(), [10, 10], "five wait for company");
    bench.drained().await;
    let sent = [("batch-1", 10), ("batch-11", 10), ("batch-21", 5)];
    assert_eq!(bench.store.batches(), sent.map(|(id, size)| (id.to_owned(), size)));
    assert_eq!(bench.store.count("page_view_event").await, 25);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_prefetched_batch_that_was_taken_over_is_dropped() {
    let (mut bench, context) = Bench::with(small(10, WAIT));
    bench.store.slowness.store(25_000, SeqCst);
    bench.queue.push_all(&views(20));
    bench.start(context);
    bench.claimed(2).await;
    bench.queue.take_over_batch("batch-11");
    let line = bench.line("Batch taken over by another worker").await;
    assert_eq!((&line.data["batchId"], &line.data["size"]), (&"batch-11".into(), &10.into()));
    bench.line("Batch stored").await;
    // The worker continues with the next batch.
    bench.queue.push_all(&views(21)[20..]);
    bench.line("Batch stored").await;
    let sent = [("batch-1", 10), ("batch-21", 1)];
    assert_eq!(bench.store.batches(), sent.map(|(id, size)| (id.to_owned(), size)));
    assert_eq!(bench.queue.figures().in_flight, 10, "it is the other's to acknowledge");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_finishes_the_current_batch_and_releases_the_prefetched_one() {
    let (mut bench, context) = Bench::with(small(10, WAIT));
    bench.store.slowness.store(3_000, SeqCst);
    bench.queue.push_all(&views(25));
    bench.start(context);
    bench.claimed(2).await;
    bench.stop().await;
    assert_eq!(bench.store.count("page_view_event").await, 10);
    let left = QueueStats { depth: 5, in_flight: 10, ..QueueStats::default() };
    assert_eq!(bench.queue.figures(), left);
    assert!(bench.queue.is_released());
    bench.line("Stopped before a batch was stored").await;
}

/// The announcer waits for a bus that hangs, and so does the batch claimed ahead.
#[tokio::test(start_paused = true)]
async fn a_batch_claimed_ahead_keeps_its_lease_while_the_announcer_waits() {
    let lease = Duration::from_millis(600);
    let (mut bench, context) = Bench::with(WorkerSettings { lease, ..small(10, WAIT) });
    bench.queue.push_all(&views(60));
    bench.start(WorkerContext { live_bus: Arc::new(HangingBus), ..context });
    while bench.queue.figures().depth + bench.queue.figures().in_flight > 0 {
        assert!(!bench.queue.has_lapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bench.store.batches().len(), 6, "nobody took one over");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_releases_a_batch_that_waits_for_the_announcer() {
    let (mut bench, context) = Bench::with(small(10, WAIT));
    bench.queue.push_all(&views(60));
    bench.start(WorkerContext { live_bus: Arc::new(HangingBus), ..context });
    // Three are stored; the bus hangs with the first, so the second waits to be published, the third
    // to be acknowledged, and with it the fourth.
    bench.claimed(4).await;
    tokio::time::sleep(WAIT).await;
    assert_eq!(bench.store.batches().len(), 3);
    bench.shutdown.cancel();
    let began = Instant::now();
    let line = bench.line("Stopped before a batch was stored").await;
    assert_eq!(line.data["batchId"], "batch-31");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    bench.stop().await;
    assert!(began.elapsed() <= Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(bench.queue.is_released());
    let left = QueueStats { depth: 20, in_flight: 10, ..QueueStats::default() };
    assert_eq!(bench.queue.figures(), left);
}

#[tokio::test(start_paused = true)]
async fn a_claim_in_progress_is_released_once_answered() {
    let (mut bench, context) = Bench::with(small(10, WAIT));
    bench.store.slowness.store(1_000, SeqCst);
    bench.queue.push_all(&views(30));
    bench.start(context);
    bench.claimed(1).await;
    bench.queue.claim_delay.store(4_000, SeqCst);
    bench.claimed(2).await;
    let began = Instant::now();
    bench.stop().await;
    // Neither the claim's own timeout nor that of releasing is added to the batch's time.
    assert!(began.elapsed() < Duration::from_millis(4_500), "{:?}", began.elapsed());
    assert_eq!(bench.store.count("page_view_event").await, 10);
    assert!(bench.queue.is_released());
    assert_eq!(bench.queue.figures().in_flight, 10);
}

/// Everything that can hang does: the prefetch, the store, and then the queue when its depth is
/// queried.
#[tokio::test(start_paused = true)]
async fn a_shutdown_has_one_deadline_whatever_hangs() {
    for hangs_in_claim in [true, false] {
        let (mut bench, context) = Bench::with(small(10, WAIT));
        bench.store.slowness.store(u32::MAX.into(), SeqCst);
        bench.queue.push_all(&views(30));
        bench.start(context);
        bench.claimed(1).await;
        if hangs_in_claim {
            bench.queue.claim_delay.store(u32::MAX.into(), SeqCst);
        } else {
            bench.queue.stats_hang.store(true, SeqCst);
        }
        while bench.store.batches().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let began = Instant::now();
        bench.stop().await;
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn live_events_keep_their_order_from_batch_to_batch() {
    let (mut bench, context) = Bench::with(small(10, WAIT));
    let mut stream = bench.live.subscribe();
    bench.queue.push_all(&views(45));
    bench.start(context);
    for n in 0..45 {
        match tokio::time::timeout(PATIENCE, stream.next()).await.unwrap() {
            Some(LiveMessage::Event(event)) => {
                assert!(event.data.as_str().contains(&format!("\"sessionId\":\"s{n}\"")));
            }
            other => panic!("{other:?}"),
        }
    }
    bench.stop().await;
}

/// A bus that never answers.
struct HangingBus;

#[async_trait]
impl LiveBus for HangingBus {
    async fn publish(&self, _event: LiveEvent) -> Result<u64, String> {
        std::future::pending().await
    }

    fn has_subscribers(&self) -> bool {
        true
    }

    fn subscribe(&self) -> Box<dyn LiveStream> {
        unreachable!()
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_batch_is_stored_while_a_bus_hangs() {
    let (mut bench, context) = Bench::with(small(10, WAIT));
    bench.queue.push_all(&views(20));
    let began = Instant::now();
    bench.start(WorkerContext { live_bus: Arc::new(HangingBus), ..context });
    bench.drained().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    bench.stop().await;
}
