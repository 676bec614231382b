//! What `queue drain` works with: the adapters of a worker without a pipeline.

use std::sync::Arc;

use color_eyre::eyre::{Result, WrapErr};

use super::connect::{clickhouse, redis, redis_queue};
use super::{STORE_FILE, tokens, unpausable_queues, with_postgres};
use crate::app::data_dir::DataDir;
use crate::commands::queue::{Drain, Queues};
use crate::config::Settings;
use bklit_adapters::local::{LocalDebugBus, LocalLiveBus};
use bklit_adapters::redis::bus::RedisLiveBus;
use bklit_adapters::redis::presence::RedisPresence;
use bklit_adapters::sqlite::store::SqliteStore;
use bklit_pipeline::bus::LiveBus;
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::presence::Presence;
use bklit_pipeline::queue::Queue;
use bklit_pipeline::queue::spool::SpooledQueue;
use bklit_pipeline::store::Store;
use bklit_pipeline::telemetry::Telemetry;
use bklit_pipeline::worker::WorkerContext;
use bklit_wire::debug_bus::DebugBus;

/// Opens the queue, and what its worker needs.
pub(in crate::app) async fn drain(settings: &Settings) -> Result<Drain> {
    let mut queues = unpausable_queues(settings)?;
    let owned = own_spool(settings, &mut queues).await?;
    let server = redis(settings)?;
    let live_bus: Arc<dyn LiveBus> = match server.clone() {
        Some(server) => Arc::new(RedisLiveBus::new(server)),
        None => Arc::new(LocalLiveBus::default()),
    };
    let metrics = Arc::new(Metrics::new());
    let debug_bus: Arc<dyn DebugBus> = Arc::new(LocalDebugBus::new(Arc::clone(&metrics)));
    let lines = debug_bus.subscribe();
    let worker = WorkerContext {
        queue: Arc::clone(&queues.queue),
        store: store(settings).await?,
        live_bus,
        presence: server.map(|server| Arc::new(RedisPresence::new(server)) as Arc<dyn Presence>),
        definitions: with_postgres(settings, &tokens(settings)?)?.1,
        log: Arc::new(Telemetry::new(debug_bus, metrics, settings.debug_lines_per_second)),
        time_bounds: settings.intake.time_bounds(),
        privacy: settings.privacy.ip,
        settings: settings.worker.clone(),
    };
    Ok(Drain { queues, worker, lines, owned: owned.map(|dir| Box::new(dir) as Box<dyn Send>) })
}

/// Takes the data dir if its spool has events, so that they are moved to Redis. A running pipeline
/// owns the data dir and moves them itself.
async fn own_spool(settings: &Settings, queues: &mut Queues) -> Result<Option<DataDir>> {
    let Some(spool) = queues.spool.clone() else { return Ok(None) };
    if is_empty(&*spool).await? {
        return Ok(None);
    }
    let owned = DataDir::take(&settings.data_dir).ok();
    if owned.is_some()
        && let Some(server) = redis(settings)?
    {
        let queue = Arc::new(redis_queue(settings, server));
        queues.queue = Arc::new(SpooledQueue::new(queue, spool));
    }
    Ok(owned)
}

async fn is_empty(queue: &dyn Queue) -> Result<bool> {
    let stats = queue.stats().await?;
    Ok(stats.depth + stats.in_flight == 0)
}

async fn store(settings: &Settings) -> Result<Arc<dyn Store>> {
    Ok(match clickhouse(settings)? {
        Some(store) => {
            store.create_missing().await.wrap_err("cannot create ClickHouse's tables")?;
            Arc::new(store)
        }
        None => Arc::new(SqliteStore::open(&settings.data_dir.join(STORE_FILE))?),
    })
}
