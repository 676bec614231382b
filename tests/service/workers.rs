//! Several workers on one queue: each event is stored once, and sessions are right.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bklit_adapters::clickhouse::{ClickHouseOptions, ClickHouseStore};
use bklit_adapters::local::TrackingIdIsDefinition;
use bklit_adapters::local::{LocalDebugBus, LocalLiveBus};
use bklit_adapters::redis::connection::{RedisOptions, RedisServer as Server};
use bklit_adapters::redis::queue::{RedisQueue, RedisQueueOptions};
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_adapters::sqlite::store::SqliteStore;
use bklit_pipeline::intake::visitor::IpPrivacy;
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::queue::{NewItem, Queue};
use bklit_pipeline::store::{
    Batch, Dialect, Inserted, QueryLimits, QueryResult, Store, StoreError,
};
use bklit_pipeline::telemetry::Telemetry;
use bklit_pipeline::worker;
use bklit_pipeline::worker::WorkerContext;
use bklit_pipeline::worker::WorkerSettings;
use bklit_tui::config::Settings;
use bklit_wire::debug_bus::DebugBus;
use bklit_wire::event::QueuedEvent;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::events::{end, lenient_about_times, view};
use crate::support::servers::{ClickHouse, Kind, RedisServer};

const SESSIONS: usize = 12;
const VIEWS: usize = 20;

/// Sessions of [`VIEWS`] page views each, which small batches split. Their order in the queue is not
/// their order in time. Every third session ends.
fn events() -> Vec<QueuedEvent> {
    let mut events = Vec::new();
    for n in 0..VIEWS {
        for s in 0..SESSIONS {
            // Another order for each session; 7 and VIEWS have no common factor.
            let at = (n * 7 + s) % VIEWS;
            let id = format!("evt_{s}_{at}");
            events.push(view("p", &id, &format!("s{s}"), at as i64 * 10, &format!("/{at}")));
        }
    }
    for s in (0..SESSIONS).step_by(3) {
        let at = VIEWS as i64 * 10;
        events.insert(s * 11, end("p", &format!("end_{s}"), &format!("s{s}"), at));
    }
    events
}

fn context(queue: &Arc<dyn Queue>, store: &Arc<dyn Store>, workers: usize) -> WorkerContext {
    let metrics = Arc::new(Metrics::new());
    let bus: Arc<dyn DebugBus> = Arc::new(LocalDebugBus::new(Arc::clone(&metrics)));
    WorkerContext {
        queue: Arc::clone(queue),
        store: Arc::clone(store),
        definitions: Arc::new(TrackingIdIsDefinition),
        live_bus: Arc::new(LocalLiveBus::default()),
        presence: None,
        log: Arc::new(Telemetry::new(bus, metrics, 1_000_000)),
        time_bounds: lenient_about_times().time_bounds(),
        privacy: IpPrivacy::default(),
        settings: WorkerSettings {
            workers,
            batch_size: 5,
            batch_wait: Duration::ZERO,
            ..Settings::default().worker
        },
    }
}

async fn rows(store: &dyn Store, sql: &str) -> Vec<Vec<Value>> {
    let limits = QueryLimits::new(10_000, DEADLINE);
    store.query(sql, limits).await.unwrap().rows
}

/// Runs these workers until everything is stored, then checks all events and sessions.
async fn check(queue: Arc<dyn Queue>, store: Arc<dyn Store>, contexts: Vec<WorkerContext>) {
    let events = events();
    for event in &events {
        queue.push(NewItem { event: event.clone().into(), client_id: true }).await.unwrap();
    }
    let shutdown = CancellationToken::new();
    let logs: Vec<_> = contexts.iter().map(|context| Arc::clone(&context.log)).collect();
    let workers: Vec<_> = contexts
        .into_iter()
        .map(|context| tokio::spawn(worker::run(context, shutdown.clone())))
        .collect();
    let deadline = tokio::time::Instant::now() + 2 * DEADLINE;
    loop {
        let stats = queue.stats().await.unwrap();
        if stats.depth + stats.in_flight == 0 {
            assert_eq!(stats.failed, 0);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{stats:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shutdown.cancel();
    for worker in workers {
        tokio::time::timeout(DEADLINE, worker).await.unwrap().unwrap();
    }
    for log in logs {
        let text = log.metrics().to_prometheus();
        let busy = text.lines().any(|line| {
            line.strip_prefix("bklit_batch_events_count ").is_some_and(|count| count != "0")
        });
        assert!(busy, "a process had nothing to do");
    }
    let ids = rows(&*store, "SELECT id FROM page_view_event").await;
    let unique: HashSet<_> = ids.iter().map(|row| row[0].to_string()).collect();
    assert_eq!((ids.len(), unique.len()), (SESSIONS * VIEWS, SESSIONS * VIEWS));
    assert_sessions(&rows(&*store, LATEST).await);
}

/// The latest version of each session: in SQLite there is only one.
const LATEST: &str = "SELECT session_id, entry_page, exit_page, did_bounce, ended_at IS NOT NULL, \
                      updated_at FROM tracked_session ORDER BY session_id, updated_at";

fn assert_sessions(found: &[Vec<Value>]) {
    let truth = |value: &Value| value == &json!(true) || value == &json!(1);
    let last = format!("/{}", VIEWS - 1);
    for s in 0..SESSIONS {
        let name = json!(format!("s{s}"));
        let latest = found.iter().rfind(|row| row[0] == name);
        let latest = latest.unwrap_or_else(|| panic!("no session {name} in {found:#?}"));
        assert_eq!((&latest[1], &latest[2]), (&json!("/0"), &json!(last)), "{latest:?}");
        assert!(!truth(&latest[3]), "{latest:?}");
        assert_eq!(truth(&latest[4]), s % 3 == 0, "{latest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_in_one_process_share_sessions_on_files() {
    let dir = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> =
        Arc::new(SqliteQueue::open(&dir.path().join("queue.db"), 10_000).unwrap());
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.path().join("store.db")).unwrap());
    let contexts = vec![context(&queue, &store, 4)];
    check(queue, store, contexts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_in_two_processes_share_sessions_on_servers() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let database = ClickHouse::shared();
    let options = RedisOptions {
        url: redis.url(),
        root_certificates: None,
        connect_timeout: DEADLINE,
        response_timeout: DEADLINE,
    };
    let queue = || -> Arc<dyn Queue> {
        let server = Server::new(&options).unwrap();
        Arc::new(RedisQueue::new(server, &RedisQueueOptions::default()))
    };
    // Separate stores: one process does not know the other's work in progress.
    let store = || {
        ClickHouseStore::new(ClickHouseOptions {
            url: database.url(),
            database: database.name().to_owned(),
            ..ClickHouseOptions::default()
        })
        .unwrap()
    };
    let first = store();
    first.create_missing().await.unwrap();
    let (first, second): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(first), Arc::new(store()));
    let (one, other) = (queue(), queue());
    let contexts = vec![context(&one, &first, 2), context(&other, &second, 2)];
    check(one, first, contexts).await;
}

/// One event for each of 1,600 months, as earlier versions accepted them, and then normal ones: each
/// month would be a partition, and so a block, in each table.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_all_months_do_not_hold_up_others() {
    const MONTHS: i64 = 1_600;
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let server = ClickHouse::own();
    let store = ClickHouseStore::new(ClickHouseOptions {
        url: server.url(),
        ..ClickHouseOptions::default()
    });
    let store = store.unwrap();
    store.create_missing().await.unwrap();
    let now = UtcMillis::now();
    let queued = |n: i64, timestamp: i64| {
        json!({
            "id": format!("evt_{n}"), "type": "pageview", "projectId": "p", "queuedAt": now,
            "payload": {
                "url": "/", "sessionId": format!("s{n}"), "projectId": "p",
                "timestamp": UtcMillis::from_epoch_millis(timestamp),
            },
        })
        .to_string()
    };
    let old = (0..MONTHS).map(|n| queued(n, n * 30 * 24 * 3600 * 1000));
    let normal = (MONTHS..MONTHS + 10).map(|n| queued(n, now.epoch_millis()));
    let items: Vec<_> = old.chain(normal).collect();
    for some in items.chunks(200) {
        let push = ["LPUSH", "analytics:queue"].into_iter().chain(some.iter().map(String::as_str));
        redis.cli(&push.collect::<Vec<_>>());
    }
    let options = RedisOptions {
        url: redis.url(),
        root_certificates: None,
        connect_timeout: DEADLINE,
        response_timeout: DEADLINE,
    };
    let connection = Server::new(&options).unwrap();
    let queue: Arc<dyn Queue> =
        Arc::new(RedisQueue::new(connection, &RedisQueueOptions::default()));
    let store: Arc<dyn Store> = Arc::new(store);
    let mut context = context(&queue, &store, 1);
    context.time_bounds = Settings::default().intake.time_bounds();
    context.settings.batch_size = 5_000;
    let metrics = Arc::clone(context.log.metrics());
    let shutdown = CancellationToken::new();
    let began = tokio::time::Instant::now();
    let worker = tokio::spawn(worker::run(context, shutdown.clone()));
    let all = MONTHS + 10;
    loop {
        let stored = rows(&*store, "SELECT count() FROM page_view_event").await;
        if stored[0][0] == json!(all) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{stored:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shutdown.cancel();
    tokio::time::timeout(DEADLINE, worker).await.unwrap().unwrap();
    let partitions = "SELECT uniqExact(toYYYYMM(timestamp)), uniqExact(id) FROM page_view_event";
    let found = rows(&*store, partitions).await;
    let months = found[0][0].as_u64().unwrap();
    assert!(months <= 15, "{months} partitions");
    assert_eq!(found[0][1], json!(all));
    let sessions = "SELECT uniqExact(toYYYYMM(started_at)) FROM tracked_session";
    assert!(rows(&*store, sessions).await[0][0].as_u64().unwrap() <= 15);
    let text = metrics.to_prometheus();
    let line = "bklit_values_changed_total{field=\"timestamp\",change=\"replaced\"} ";
    let replaced = text.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    assert!(replaced.parse::<i64>().unwrap() >= MONTHS - 15, "{replaced}");
}

/// A store with a bug.
struct Crashing;

#[async_trait]
impl Store for Crashing {
    async fn insert(&self, _: &Batch) -> Result<Inserted, StoreError> {
        panic!("on purpose")
    }

    async fn first_views(
        &self,
        _: &[SessionKey],
    ) -> Result<HashMap<SessionKey, String>, StoreError> {
        unreachable!("not called")
    }

    async fn end_idle_sessions(
        &self,
        _: UtcMillis,
        _: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        Ok(Vec::new())
    }

    async fn query(&self, _: &str, _: QueryLimits) -> Result<QueryResult, StoreError> {
        unreachable!("not called")
    }

    fn dialect(&self) -> &'static Dialect {
        unreachable!("not called")
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_one_worker_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> =
        Arc::new(SqliteQueue::open(&dir.path().join("queue.db"), 10).unwrap());
    let store: Arc<dyn Store> = Arc::new(Crashing);
    let context = context(&queue, &store, 4);
    let worker = tokio::spawn(worker::run(context, CancellationToken::new()));
    let event = view("p", "evt_1", "s", 0, "/");
    queue.push(NewItem { event: event.into(), client_id: true }).await.unwrap();
    let ended = tokio::time::timeout(DEADLINE, worker).await.expect("it ends").unwrap_err();
    assert!(ended.is_panic(), "{ended}");
}
