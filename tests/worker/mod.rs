//! The worker between a queue in memory and the embedded store with faults, on tokio's clock.

mod faults;
mod finish;
mod foreign;
mod idle;
mod live;
mod prefetch;
mod presence;
pub mod queue;
mod store;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bklit_adapters::local::TrackingIdIsDefinition;
use bklit_adapters::local::{LocalDebugBus, LocalLiveBus};
use bklit_pipeline::bus::LiveBus;
use bklit_pipeline::intake::visitor::IpPrivacy;
use bklit_pipeline::metrics::{Metrics, Part};
use bklit_pipeline::telemetry::Telemetry;
use bklit_pipeline::worker;
use bklit_pipeline::worker::WorkerContext;
use bklit_pipeline::worker::WorkerSettings;
use bklit_tui::config::Settings;
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::event::QueuedEvent;
use bklit_wire::gauges::Health;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::queue::MemoryQueue;
use self::store::FaultyStore;
use crate::support::events::{lenient_about_times, view};

/// The longest a test waits, on tokio's clock.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A worker and its environment.
struct Bench {
    queue: Arc<MemoryQueue>,
    store: Arc<FaultyStore>,
    live: Arc<LocalLiveBus>,
    metrics: Arc<Metrics>,
    lines: Box<dyn DebugStream>,
    shutdown: CancellationToken,
    worker: Option<JoinHandle<()>>,
}

impl Bench {
    /// Everything is set up, but the worker is not started.
    fn new() -> (Self, WorkerContext) {
        Self::with(Settings::default().worker)
    }

    fn with(settings: WorkerSettings) -> (Self, WorkerContext) {
        let queue = Arc::new(MemoryQueue::new());
        let store = Arc::new(FaultyStore::new());
        let live = Arc::new(LocalLiveBus::default());
        let metrics = Arc::new(Metrics::new());
        let bus = Arc::new(LocalDebugBus::new(Arc::clone(&metrics)));
        let lines = bus.subscribe();
        let log = Arc::new(Telemetry::new(bus, Arc::clone(&metrics), 1_000_000));
        let context = WorkerContext {
            queue: queue.clone(),
            store: store.clone(),
            definitions: Arc::new(TrackingIdIsDefinition),
            live_bus: live.clone(),
            presence: None,
            log,
            time_bounds: lenient_about_times().time_bounds(),
            privacy: IpPrivacy::default(),
            settings,
        };
        let shutdown = CancellationToken::new();
        (Self { queue, store, live, metrics, lines, shutdown, worker: None }, context)
    }

    fn start(&mut self, context: WorkerContext) {
        self.worker = Some(tokio::spawn(worker::run(context, self.shutdown.clone())));
    }

    async fn drained(&self) {
        tokio::time::timeout(PATIENCE, self.queue.drained()).await.expect("the queue is drained");
    }

    async fn stop(&mut self) {
        self.shutdown.cancel();
        let worker = self.worker.take().unwrap();
        tokio::time::timeout(PATIENCE, worker).await.expect("the worker stops").unwrap();
    }

    /// The next line with this message.
    async fn line(&mut self, message: &str) -> Arc<DebugLog> {
        let found = async {
            loop {
                let line = self.next_line().await;
                if line.message == message {
                    return line;
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("no line {message}"))
    }

    async fn next_line(&mut self) -> Arc<DebugLog> {
        loop {
            match self.lines.next().await {
                Some(DebugMessage::Log(line)) => return line,
                Some(_) => {}
                None => panic!("the bus has closed"),
            }
        }
    }
}

/// `n` page views of as many sessions.
fn views(n: usize) -> Vec<QueuedEvent> {
    (0..n).map(|n| view("p", &format!("evt_{n:05}"), &format!("s{n}"), 0, "/")).collect()
}

fn small(batch_size: usize, batch_wait: Duration) -> WorkerSettings {
    WorkerSettings { batch_size, batch_wait, workers: 1, ..Settings::default().worker }
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_is_claimed_at_once() {
    let (mut bench, context) = Bench::with(small(10, Duration::from_secs(60)));
    bench.queue.push_all(&views(20));
    let began = Instant::now();
    bench.start(context);
    bench.drained().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let sizes: Vec<_> = bench.queue.claims.lock().unwrap().iter().map(|claim| claim.0).collect();
    assert_eq!(sizes, [10, 10]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn further_workers_store_full_batches_beside_the_first() {
    let mut took = Vec::new();
    for workers in [1, 3] {
        let settings = WorkerSettings { workers, ..small(10, Duration::from_millis(50)) };
        let (mut bench, context) = Bench::with(settings);
        bench.store.slowness.store(1_000, SeqCst);
        bench.queue.push_all(&views(125));
        let began = Instant::now();
        bench.start(context);
        bench.drained().await;
        took.push(began.elapsed());
        // What does not fill a batch is for the first worker only.
        bench.queue.push_all(&views(144)[125..]);
        bench.drained().await;
        let claims = bench.queue.claims.lock().unwrap().clone();
        let sizes: Vec<_> = claims.iter().map(|claim| claim.0).collect();
        assert_eq!(sizes, [[10; 12].as_slice(), &[5, 10, 9]].concat());
        assert_eq!(bench.store.count("page_view_event").await, 144);
        bench.stop().await;
    }
    assert!(took[1] * 3 / 2 < took[0], "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fills_up_stops_waiting() {
    let (mut bench, context) = Bench::with(small(10, Duration::from_secs(60)));
    let events = views(10);
    bench.queue.push_all(&events[..1]);
    bench.start(context);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(bench.queue.claims.lock().unwrap().is_empty());
    let full = Instant::now();
    bench.queue.push_all(&events[1..]);
    bench.drained().await;
    assert!(full.elapsed() < Duration::from_secs(1), "{:?}", full.elapsed());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_to_fill_up_from_its_first_event() {
    let wait = Duration::from_millis(50);
    let (mut bench, context) = Bench::with(small(1000, wait));
    bench.start(context);
    // However long nothing happened before.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let events = views(3);
    let first = Instant::now();
    bench.queue.push_all(&events[..1]);
    tokio::time::sleep(wait / 2).await;
    bench.queue.push_all(&events[1..]);
    bench.drained().await;
    let claims = bench.queue.claims.lock().unwrap().clone();
    assert_eq!(claims.len(), 1);
    let (size, claimed) = claims[0];
    let waited = claimed - first;
    assert_eq!(size, 3);
    assert!((wait..wait * 2).contains(&waited), "{waited:?}");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_work_nothing_is_requested() {
    let (mut bench, context) = Bench::new();
    bench.start(context);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(bench.queue.claims.lock().unwrap().is_empty());
    assert!(bench.store.batches().is_empty());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_logged_stage_by_stage() {
    let (mut bench, context) = Bench::new();
    let _dashboard = bench.live.subscribe();
    bench.queue.push_all(&views(2));
    bench.queue.push_raw("garbage");
    bench.start(context);
    for (stage, message) in [
        (Stage::Worker, "Processing page view"),
        (Stage::Clickhouse, "Page view stored"),
        (Stage::Worker, "Batch stored"),
        (Stage::Pubsub, "Live event published"),
    ] {
        let line = bench.line(message).await;
        assert_eq!((line.stage, line.level), (stage, Level::Info), "{message}");
        assert!(line.duration.is_some(), "{message}");
        if message == "Batch stored" {
            let field = |name: &str| line.data[name].as_u64();
            assert_eq!(
                (field("size"), field("rows"), field("rejected")),
                (Some(3), Some(2), Some(1))
            );
            assert_eq!(line.data["batchId"], "batch-1");
        } else {
            assert_eq!(line.event_id.as_deref(), Some("evt_00000"), "{message}");
            assert_eq!(line.project_id.as_deref(), Some("p"), "{message}");
        }
    }
    bench.stop().await;
    let gauges = bench.metrics.take_gauges();
    let counts = gauges.stages.map(|stage| (stage.count, stage.errors));
    assert_eq!(counts, [(0, 0), (0, 0), (3, 1), (2, 0), (2, 0), (0, 0)]);
    assert_eq!((gauges.store_health, gauges.worker_health), (Health::Ok, Health::Ok));
    assert!(bench.metrics.to_prometheus().contains("bklit_accept_to_stored_seconds_count 2"));
}

#[tokio::test(start_paused = true)]
async fn two_workers_share_a_queue() {
    let (mut bench, context) = Bench::with(small(7, Duration::from_millis(1)));
    let second = WorkerContext {
        queue: context.queue.clone(),
        store: context.store.clone(),
        definitions: context.definitions.clone(),
        live_bus: context.live_bus.clone(),
        presence: None,
        log: context.log.clone(),
        time_bounds: context.time_bounds,
        privacy: context.privacy,
        settings: context.settings.clone(),
    };
    bench.store.slowness.store(20, SeqCst);
    bench.queue.push_all(&views(200));
    let other = tokio::spawn(worker::run(second, bench.shutdown.clone()));
    bench.start(context);
    bench.drained().await;
    assert_eq!(bench.store.count("page_view_event").await, 200);
    assert_eq!(bench.store.batches().len(), 29);
    bench.stop().await;
    other.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn health_follows_the_store() {
    let (mut bench, context) = Bench::new();
    bench.store.inserts_to_fail.store(3, SeqCst);
    bench.queue.push_all(&views(1));
    bench.start(context);
    let line = bench.line("Cannot store a batch, retrying").await;
    assert_eq!((line.stage, line.level), (Stage::Clickhouse, Level::Error));
    assert_eq!(line.data["reason"], "the store is away");
    assert_eq!(bench.metrics.health(Part::Store), Health::Failing);
    bench.drained().await;
    assert_eq!(bench.metrics.health(Part::Store), Health::Ok);
    bench.stop().await;
}
