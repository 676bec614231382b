//! Which adapter is behind each port: Redis where `redis_url` is set, ClickHouse where
//! `clickhouse_url` is, files in the data dir for the rest. With `database_url`, tokens and event
//! definitions are also read from Bklit's Postgres.
//!
//! - `connect`: connections to the servers in the settings
//! - `drain`: the adapters of `queue drain`

mod connect;
mod drain;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::{Result, bail};

use super::data_dir;
use super::lifecycle::Supervisor;
use crate::commands::queue::Queues;
use crate::config::Settings;
use bklit_adapters::clickhouse::ClickHouseStore;
use bklit_adapters::local::TrackingIdIsDefinition;
use bklit_adapters::local::history::RememberingDebugBus;
use bklit_adapters::local::pauses::FilePauses;
use bklit_adapters::local::{LocalDebugBus, LocalLiveBus};
use bklit_adapters::postgres::definitions::PostgresDefinitions;
use bklit_adapters::postgres::tokens::PostgresTokenStore;
use bklit_adapters::redis::bus::{RedisDebugBus, RedisLiveBus};
use bklit_adapters::redis::connection::RedisServer;
use bklit_adapters::redis::figures::RedisFigureStore;
use bklit_adapters::redis::presence::RedisPresence;
use bklit_adapters::redis::queue::pauses::RedisPauses;
use bklit_adapters::redis::tokens::{DEFAULT_KEY, RedisTokenStore};
use bklit_adapters::sqlite::figures::SqliteFigureStore;
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_adapters::sqlite::store::SqliteStore;
use bklit_adapters::sqlite::tokens::SqliteTokenStore;
use bklit_net::backoff::Backoff;
use bklit_net::log_throttle::LogThrottle;
use bklit_pipeline::auth::TokenStore;
use bklit_pipeline::bus::LiveBus;
use bklit_pipeline::definitions::Definitions;
use bklit_pipeline::history::FigureStore;
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::presence::Presence;
use bklit_pipeline::queue::spool::SpooledQueue;
use bklit_pipeline::queue::{PausableQueue, PauseStore, Queue};
use bklit_pipeline::roles::Role;
use bklit_pipeline::store::Store;
use bklit_pipeline::store::baseline::Baseline;
use bklit_wire::debug_bus::DebugBus;
use bklit_wire::duration::seconds;

pub(super) use connect::{
    RedisToFollow, clickhouse, describe, postgres, redis_and_queue, redis_to_follow,
    tokens_are_remote,
};
use connect::{bounds, pipeline_queue, redis, redis_queue};
pub(super) use drain::drain;

/// The files of the embedded adapters. Queue and store are separate, so that storing never blocks
/// accepting. With Redis, the queue's file is the spool for events accepted while it is unavailable.
pub(super) const QUEUE_FILE: &str = "queue.db";
pub(super) const STORE_FILE: &str = "store.db";
pub(super) const FIGURES_FILE: &str = "figures.db";
pub(super) const TOKEN_FILE: &str = "tokens.db";
/// Tokens on servers that were used recently.
pub(super) const KNOWN_TOKENS_FILE: &str = "tokens.cache";

/// The longest pause between attempts to create ClickHouse's tables.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Where the worker stores, where ingestion inserts past the queue, and the ClickHouse whose tables
/// this process creates.
type Stores = (Option<Arc<dyn Store>>, Option<Arc<dyn Baseline>>, Option<Arc<ClickHouseStore>>);

/// The adapters of a pipeline.
pub(super) struct Adapters {
    pub(super) queue: Arc<dyn Queue>,
    /// Set where there is a worker: nothing else stores.
    pub(super) store: Option<Arc<dyn Store>>,
    /// Set where events are accepted and, for dual write, inserted past the queue.
    pub(super) baseline: Option<Arc<dyn Baseline>>,
    pub(super) definitions: Arc<dyn Definitions>,
    /// Tokens created and revoked here.
    pub(super) own_tokens: Arc<dyn TokenStore>,
    /// All valid tokens, those in Postgres included.
    pub(super) tokens: Arc<dyn TokenStore>,
    pub(super) debug_bus: Arc<dyn DebugBus>,
    pub(super) live_bus: Arc<dyn LiveBus>,
    pub(super) presence: Option<Arc<dyn Presence>>,
    /// The history of this process's figures.
    pub(super) own_figures: Arc<dyn FigureStore>,
    /// That of all processes that share a Redis.
    pub(super) shared_figures: Option<Arc<dyn FigureStore>>,
    clickhouse: Option<Arc<ClickHouseStore>>,
}

impl Adapters {
    /// Opens them without waiting for servers, which may become available later.
    pub(super) fn open(
        settings: &Settings,
        data_dir: &Path,
        metrics: &Arc<Metrics>,
    ) -> Result<Self> {
        data_dir::report_lost_queue(data_dir);
        let file: Arc<dyn Queue> =
            Arc::new(SqliteQueue::open(&data_dir.join(QUEUE_FILE), bounds(settings))?);
        let (store, baseline, clickhouse) = stores(settings, data_dir)?;
        let own_tokens = tokens(settings)?;
        let (tokens, definitions) = with_postgres(settings, &own_tokens)?;
        let own_figures = figures(data_dir)?;
        let Wiring { queue, debug_bus, live_bus, presence, shared_figures } = match redis(settings)?
        {
            Some(server) => Wiring::over_redis(settings, server, file, metrics),
            None => Wiring::in_process(settings, file, metrics),
        };
        Ok(Self {
            queue: Arc::new(PausableQueue::new(queue, pauses(settings)?)),
            store,
            baseline,
            definitions,
            own_tokens,
            tokens,
            debug_bus,
            live_bus,
            presence,
            own_figures,
            shared_figures,
            clickhouse,
        })
    }

    /// Starts the background tasks of the adapters.
    pub(super) fn start(&self, supervisor: &mut Supervisor) {
        let queue = Arc::clone(&self.queue);
        supervisor.spawn("queue", |stop| async move {
            match stop.run_until_cancelled(queue.ended()).await {
                None => Ok(()),
                Some(()) => bail!("part of it crashed; accepted events are kept"),
            }
        });
        if let Some(store) = &self.clickhouse {
            let store = Arc::clone(store);
            supervisor.spawn("creation of ClickHouse's tables", |stop| async move {
                stop.run_until_cancelled(create_tables(&store)).await;
                stop.cancelled().await;
                Ok(())
            });
        }
    }
}

/// The ports that are in Redis or in this process.
struct Wiring {
    queue: Arc<dyn Queue>,
    debug_bus: Arc<dyn DebugBus>,
    live_bus: Arc<dyn LiveBus>,
    presence: Option<Arc<dyn Presence>>,
    shared_figures: Option<Arc<dyn FigureStore>>,
}

impl Wiring {
    fn in_process(settings: &Settings, file: Arc<dyn Queue>, metrics: &Arc<Metrics>) -> Self {
        let local = Arc::new(LocalDebugBus::new(Arc::clone(metrics)));
        Self {
            queue: file,
            debug_bus: Arc::new(RememberingDebugBus::new(local, settings.debug_history)),
            live_bus: Arc::new(LocalLiveBus::default()),
            presence: None,
            shared_figures: None,
        }
    }

    fn over_redis(
        settings: &Settings,
        server: RedisServer,
        file: Arc<dyn Queue>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let queue = Arc::new(pipeline_queue(settings, server.clone()));
        let (bus, history) = (server.clone(), settings.debug_history);
        Self {
            queue: Arc::new(SpooledQueue::new(queue, file)),
            debug_bus: Arc::new(RedisDebugBus::new(bus, Arc::clone(metrics), history)),
            live_bus: Arc::new(RedisLiveBus::new(server.clone())),
            presence: Some(Arc::new(RedisPresence::new(server.clone()))),
            shared_figures: Some(Arc::new(RedisFigureStore::new(server))),
        }
    }
}

/// The file with the history of figures. If it cannot be used, the process starts anyway, and the
/// history is kept in memory.
fn figures(data_dir: &Path) -> Result<Arc<dyn FigureStore>> {
    let file = match SqliteFigureStore::open(&data_dir.join(FIGURES_FILE)) {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(
                %error,
                "the history of figures is kept in memory only; move {FIGURES_FILE} out of the data dir"
            );
            SqliteFigureStore::open(Path::new(":memory:"))?
        }
    };
    Ok(Arc::new(file))
}

fn stores(settings: &Settings, data_dir: &Path) -> Result<Stores> {
    let stores = settings.roles.has(Role::Worker);
    let dual = settings.dual_write && settings.roles.accept_events();
    if let Some(server) = clickhouse(settings)?.map(Arc::new) {
        let store = stores.then(|| Arc::clone(&server) as _);
        let baseline = dual.then(|| Arc::clone(&server) as _);
        return Ok((store, baseline, stores.then_some(server)));
    }
    if !stores {
        return Ok((None, None, None));
    }
    let file = Arc::new(SqliteStore::open(&data_dir.join(STORE_FILE))?);
    Ok((Some(Arc::clone(&file) as _), dual.then_some(file as _), None))
}

/// The queue alone, to inspect and repair it while a pipeline may be running on it.
pub(super) fn queues(settings: &Settings) -> Result<Queues> {
    let Queues { queue, spool } = unpausable_queues(settings)?;
    Ok(Queues { queue: Arc::new(PausableQueue::new(queue, pauses(settings)?)), spool })
}

/// The same, for commands that work on it even while it is paused.
fn unpausable_queues(settings: &Settings) -> Result<Queues> {
    let bounds = bounds(settings);
    let Some(server) = redis(settings)? else {
        let file = data_dir::existing(&settings.data_dir, QUEUE_FILE)?;
        return Ok(Queues { queue: Arc::new(SqliteQueue::open(&file, bounds)?), spool: None });
    };
    let file = settings.data_dir.join(QUEUE_FILE);
    let queue = Arc::new(redis_queue(settings, server));
    if !file.exists() {
        return Ok(Queues { queue, spool: None });
    }
    let spool: Arc<dyn Queue> = Arc::new(SqliteQueue::open(&file, bounds)?);
    let queue = Arc::new(SpooledQueue::for_repair(queue, Arc::clone(&spool)));
    Ok(Queues { queue, spool: Some(spool) })
}

/// Stores what is paused.
fn pauses(settings: &Settings) -> Result<Arc<dyn PauseStore>> {
    Ok(match redis(settings)? {
        Some(server) => Arc::new(RedisPauses::new(&server, &settings.queue.redis_prefix)),
        None => Arc::new(FilePauses::new(&settings.data_dir)),
    })
}

/// All tokens and definitions: with Postgres, also those that Bklit has there.
fn with_postgres(
    settings: &Settings,
    own: &Arc<dyn TokenStore>,
) -> Result<(Arc<dyn TokenStore>, Arc<dyn Definitions>)> {
    let Some(server) = postgres(settings)? else {
        return Ok((Arc::clone(own), Arc::new(TrackingIdIsDefinition)));
    };
    let tokens = PostgresTokenStore::new(server.clone(), Arc::clone(own));
    Ok((Arc::new(tokens), Arc::new(PostgresDefinitions::new(server))))
}

/// The store of the tokens created here.
pub(super) fn tokens(settings: &Settings) -> Result<Arc<dyn TokenStore>> {
    if let Some(server) = redis(settings)? {
        return Ok(Arc::new(RedisTokenStore::new(server, DEFAULT_KEY)));
    }
    data_dir::create(&settings.data_dir)?;
    Ok(Arc::new(SqliteTokenStore::open(&settings.data_dir.join(TOKEN_FILE))?))
}

/// Checks that there are tokens to list or revoke: a mistyped data dir must not be created.
///
/// # Errors
/// When the data dir has none.
pub(super) fn require_tokens(settings: &Settings) -> Result<()> {
    if settings.redis_url.is_none() {
        data_dir::existing(&settings.data_dir, TOKEN_FILE)?;
    }
    Ok(())
}

/// All tokens, if any store has them already: nothing is created.
pub(super) fn existing_tokens(settings: &Settings) -> Result<Option<Arc<dyn TokenStore>>> {
    let file = settings.data_dir.join(TOKEN_FILE);
    let own: Arc<dyn TokenStore> = match redis(settings)? {
        Some(server) => Arc::new(RedisTokenStore::new(server, DEFAULT_KEY)),
        None if file.exists() => Arc::new(SqliteTokenStore::open(&file)?),
        None if settings.database_url.is_none() => return Ok(None),
        None => Arc::new(SqliteTokenStore::open(Path::new(":memory:"))?),
    };
    Ok(Some(with_postgres(settings, &own)?.0))
}

/// The store alone, to query it.
pub(super) fn store(settings: &Settings) -> Result<Box<dyn Store>> {
    if let Some(store) = clickhouse(settings)? {
        return Ok(Box::new(store));
    }
    let file = data_dir::existing(&settings.data_dir, STORE_FILE)?;
    Ok(Box::new(SqliteStore::open(&file)?))
}

/// The store alone, to compare both paths into it.
pub(super) fn baseline(settings: &Settings) -> Result<Box<dyn Baseline>> {
    if let Some(store) = clickhouse(settings)? {
        return Ok(Box::new(store));
    }
    let file = data_dir::existing(&settings.data_dir, STORE_FILE)?;
    Ok(Box::new(SqliteStore::open(&file)?))
}

/// Brings ClickHouse's tables up to date, unless `dry_run`; returns the statements.
pub(super) async fn migrate(
    settings: &Settings,
    cluster: Option<&str>,
    dry_run: bool,
) -> Result<Vec<String>> {
    let Some(store) = clickhouse(settings)? else {
        bail!(
            "no ClickHouse to migrate: set --clickhouse-url or CLICKHOUSE_HOST (files in the data \
             dir are migrated when they are opened)"
        );
    };
    Ok(match cluster {
        Some(cluster) => store.migrate_cluster(cluster, dry_run).await?,
        None => store.migrate(dry_run).await?,
    })
}

/// Retries until it succeeds. Events wait in the queue meanwhile.
async fn create_tables(store: &ClickHouseStore) {
    let mut backoff = Backoff::new(LONGEST_PAUSE);
    let outage = LogThrottle::default();
    loop {
        match store.create_missing().await {
            Ok(behind) if behind.is_empty() => return,
            Ok(behind) => {
                let count = behind.len();
                tracing::warn!(count, "ClickHouse's tables are outdated; run `bklit-tui migrate`");
                return;
            }
            Err(error) => {
                if let Some(lasting) = outage.failure().map(seconds) {
                    tracing::warn!(%error, lasting, "cannot create ClickHouse's tables, retrying");
                }
            }
        }
        backoff.pause().await;
    }
}

/// The engine of the store that these settings name.
pub(super) fn store_name(settings: &Settings) -> &'static str {
    if settings.clickhouse_url.is_some() { "clickhouse" } else { "sqlite" }
}
