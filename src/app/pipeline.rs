//! The pipeline's parts, wired: which adapters, started in order, stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::{Result, WrapErr};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::data_dir::DataDir;
use super::lifecycle::Supervisor;
use crate::config::Settings;
use crate::pipeline::auth::sqlite::SqliteTokenStore;
use crate::pipeline::auth::{self, Authenticator, TokenStore};
use crate::pipeline::bus::DebugBus;
use crate::pipeline::bus::local::{LocalDebugBus, LocalLiveBus};
use crate::pipeline::gauges::Health;
use crate::pipeline::http::{self, HttpContext};
use crate::pipeline::metrics::{Metrics, Part};
use crate::pipeline::queue::{Queue, sqlite::SqliteQueue};
use crate::pipeline::stage_log::StageLog;
use crate::pipeline::store::{Store, sqlite::SqliteStore};
use crate::pipeline::worker::{self, WorkerContext};

/// The files of the embedded adapters: queue and store apart, so that storing never holds up
/// accepting.
const QUEUE_FILE: &str = "queue.db";
pub(super) const STORE_FILE: &str = "store.db";
pub(super) const TOKEN_FILE: &str = "tokens.db";

/// How often figures are published.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// A running pipeline.
pub(super) struct Pipeline {
    address: SocketAddr,
    tokens: Arc<dyn TokenStore>,
    debug_bus: Arc<dyn DebugBus>,
}

impl Pipeline {
    /// Opens the adapters, listens, and starts the parts under `supervisor`.
    pub(super) async fn start(
        settings: &Settings,
        data_dir: &DataDir,
        supervisor: &mut Supervisor,
    ) -> Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let debug_bus: Arc<dyn DebugBus> = Arc::new(LocalDebugBus::new(Arc::clone(&metrics)));
        let log = Arc::new(StageLog::new(
            Arc::clone(&debug_bus),
            Arc::clone(&metrics),
            settings.debug_lines_per_second,
        ));
        let tokens: Arc<dyn TokenStore> =
            Arc::new(SqliteTokenStore::open(&data_dir.join(TOKEN_FILE))?);
        auth::bootstrap(&*tokens, data_dir.path()).await?;
        let max_depth = settings.queue.max_depth;
        let queue: Arc<dyn Queue> =
            Arc::new(SqliteQueue::open(&data_dir.join(QUEUE_FILE), max_depth)?);
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&data_dir.join(STORE_FILE))?);

        let listener = TcpListener::bind(settings.listen).await.wrap_err_with(|| {
            format!("cannot listen on {}; choose another address with --listen", settings.listen)
        })?;
        let address = listener.local_addr()?;
        data_dir.announce(address)?;
        tracing::info!(%address, data_dir = %data_dir.path().display(), "accepting events");

        let context = Arc::new(HttpContext::new(
            Arc::clone(&queue),
            Arc::new(Authenticator::new(Arc::clone(&tokens))),
            Arc::clone(&log),
            Arc::clone(&debug_bus),
            settings.http.clone(),
        ));
        // Started, and so stopped, in the direction of the events: accept nothing more, then
        // store or give back what is in hand, and tell about it until the end.
        supervisor.spawn("HTTP server", |stop| async move {
            http::serve(listener, context, stop).await.map_err(Into::into)
        });
        let context = WorkerContext {
            queue: Arc::clone(&queue),
            store: Arc::clone(&store),
            live_bus: Arc::new(LocalLiveBus::default()),
            log: Arc::clone(&log),
            settings: settings.worker.clone(),
        };
        supervisor.spawn("worker", |stop| async move {
            worker::run(context, stop).await;
            Ok(())
        });
        supervisor.spawn("gauges", |stop| publish_gauges(log, queue, stop));
        Ok(Self { address, tokens, debug_bus })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its tokens.
    pub(super) fn tokens(&self) -> &dyn TokenStore {
        &*self.tokens
    }

    /// Its lines and figures.
    pub(super) fn debug_bus(&self) -> &dyn DebugBus {
        &*self.debug_bus
    }
}

/// Looks at the queue and publishes the figures, once a second.
async fn publish_gauges(
    log: Arc<StageLog>,
    queue: Arc<dyn Queue>,
    stop: CancellationToken,
) -> Result<()> {
    let mut ticks = tokio::time::interval(GAUGES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let metrics = log.metrics();
        match queue.stats().await {
            Ok(stats) => {
                metrics.set_queue(stats);
                metrics.set_health(Part::Queue, Health::Ok);
            }
            Err(error) => {
                tracing::warn!(%error, "the queue's depth is not known");
                metrics.set_health(Part::Queue, Health::Failing);
            }
        }
        log.publish_gauges();
    }
    Ok(())
}
