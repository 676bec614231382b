//! Which adapter stands behind each port: Redis where `redis_url` is set, ClickHouse where
//! `clickhouse_url` is, files in the data dir for the rest. With `database_url` Bklit's Postgres is
//! asked for tokens and event definitions too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::{Result, WrapErr, bail};

use super::data_dir::{self, DataDir};
use super::lifecycle::Supervisor;
use crate::commands::queue::{Drain, Queues};
use crate::config::Settings;
use bklit_adapters::clickhouse::{ClickHouseOptions, ClickHouseStore};
use bklit_adapters::local::TrackingIdIsDefinition;
use bklit_adapters::local::history::RememberingDebugBus;
use bklit_adapters::local::{LocalDebugBus, LocalLiveBus};
use bklit_adapters::postgres::definitions::PostgresDefinitions;
use bklit_adapters::postgres::tokens::PostgresTokenStore;
use bklit_adapters::postgres::{PostgresOptions, PostgresServer};
use bklit_adapters::redis::bus::{RedisDebugBus, RedisLiveBus};
use bklit_adapters::redis::connection::{RedisOptions, RedisServer};
use bklit_adapters::redis::presence::RedisPresence;
use bklit_adapters::redis::queue::{RedisQueue, RedisQueueOptions};
use bklit_adapters::redis::tokens::{DEFAULT_KEY, RedisTokenStore};
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_adapters::sqlite::store::SqliteStore;
use bklit_adapters::sqlite::tokens::SqliteTokenStore;
use bklit_net::backoff::Backoff;
use bklit_net::log_throttle::{LogThrottle, seconds};
use bklit_net::tls;
use bklit_pipeline::auth::TokenStore;
use bklit_pipeline::bus::LiveBus;
use bklit_pipeline::definitions::Definitions;
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::presence::Presence;
use bklit_pipeline::queue::spool::SpooledQueue;
use bklit_pipeline::queue::{Bounds, Queue};
use bklit_pipeline::roles::Role;
use bklit_pipeline::store::Store;
use bklit_pipeline::store::baseline::Baseline;
use bklit_pipeline::telemetry::Telemetry;
use bklit_pipeline::worker::WorkerContext;
use bklit_wire::debug_bus::DebugBus;
use bklit_wire::setting::Sensitive;

/// The files of the embedded adapters: queue and store apart, so that storing never holds up
/// accepting. Before Redis, the queue's file holds what was accepted while that is away.
pub(super) const QUEUE_FILE: &str = "queue.db";
pub(super) const STORE_FILE: &str = "store.db";
pub(super) const TOKEN_FILE: &str = "tokens.db";
/// Which tokens on servers were used lately.
pub(super) const KNOWN_TOKENS_FILE: &str = "tokens.cache";

/// How long Redis may take.
const REDIS_CONNECT: Duration = Duration::from_secs(2);
const REDIS_ANSWER: Duration = Duration::from_secs(4);

/// How long Postgres may take.
const POSTGRES_CONNECT: Duration = Duration::from_secs(2);
const POSTGRES_ANSWER: Duration = Duration::from_secs(4);

/// The longest pause between tries to make ClickHouse's tables.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the worker stores in, and what ingestion inserts into past the queue.
type Stores = (Option<Arc<dyn Store>>, Option<Arc<dyn Baseline>>);

/// What the pipeline works with.
pub(super) struct Adapters {
    pub(super) queue: Arc<dyn Queue>,
    /// Only where there is a worker: nothing else stores.
    pub(super) store: Option<Arc<dyn Store>>,
    /// Only where events are accepted and inserted past the queue.
    pub(super) baseline: Option<Arc<dyn Baseline>>,
    pub(super) definitions: Arc<dyn Definitions>,
    /// Those that are made and revoked here.
    pub(super) own_tokens: Arc<dyn TokenStore>,
    /// All that work.
    pub(super) tokens: Arc<dyn TokenStore>,
    pub(super) debug_bus: Arc<dyn DebugBus>,
    pub(super) live_bus: Arc<dyn LiveBus>,
    pub(super) presence: Option<Arc<dyn Presence>>,
    clickhouse: Option<Arc<ClickHouseStore>>,
}

impl Adapters {
    /// Opens them. Servers are not waited for: they may come later.
    pub(super) fn open(
        settings: &Settings,
        data_dir: &Path,
        metrics: &Arc<Metrics>,
    ) -> Result<Self> {
        data_dir::report_lost_queue(data_dir);
        let file = Arc::new(SqliteQueue::open(&data_dir.join(QUEUE_FILE), bounds(settings))?);
        let stores = settings.roles.has(Role::Worker);
        let dual = settings.dual_write && settings.roles.accept_events();
        let clickhouse = clickhouse(settings)?.map(Arc::new);
        let (store, baseline): Stores = match &clickhouse {
            Some(server) => {
                (stores.then(|| Arc::clone(server) as _), dual.then(|| Arc::clone(server) as _))
            }
            None if stores => {
                let file = Arc::new(SqliteStore::open(&data_dir.join(STORE_FILE))?);
                (Some(Arc::clone(&file) as _), dual.then_some(file as _))
            }
            None => (None, None),
        };
        let clickhouse = clickhouse.filter(|_| stores);
        let own_tokens = tokens(settings)?;
        let (tokens, definitions) = beside_postgres(settings, &own_tokens)?;
        let Some(server) = redis(settings)? else {
            let local = Arc::new(LocalDebugBus::new(Arc::clone(metrics)));
            let debug_bus = Arc::new(RememberingDebugBus::new(local, settings.debug_history));
            let live_bus = Arc::new(LocalLiveBus::default());
            let (queue, presence) = (file as Arc<dyn Queue>, None);
            return Ok(Self {
                queue,
                store,
                baseline,
                definitions,
                own_tokens,
                tokens,
                debug_bus,
                live_bus,
                presence,
                clickhouse,
            });
        };
        let queue = Arc::new(redis_queue(settings, server.clone()));
        Ok(Self {
            queue: Arc::new(SpooledQueue::new(queue, file as Arc<dyn Queue>)),
            store,
            baseline,
            definitions,
            own_tokens,
            tokens,
            debug_bus: Arc::new(RedisDebugBus::new(
                server.clone(),
                Arc::clone(metrics),
                settings.debug_history,
            )),
            live_bus: Arc::new(RedisLiveBus::new(server.clone())),
            presence: Some(Arc::new(RedisPresence::new(server))),
            clickhouse,
        })
    }

    /// Starts what the adapters need beside them.
    pub(super) fn start(&self, supervisor: &mut Supervisor) {
        let queue = Arc::clone(&self.queue);
        supervisor.spawn("queue", |stop| async move {
            match stop.run_until_cancelled(queue.ended()).await {
                None => Ok(()),
                Some(()) => bail!("a part of it crashed; what it had accepted is kept"),
            }
        });
        if let Some(store) = &self.clickhouse {
            let store = Arc::clone(store);
            supervisor.spawn("making of ClickHouse's tables", |stop| async move {
                stop.run_until_cancelled(make_tables(&store)).await;
                stop.cancelled().await;
                Ok(())
            });
        }
    }
}

/// The queue alone, to look into and to repair beside whatever runs on it.
pub(super) fn queues(settings: &Settings) -> Result<Queues> {
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

/// What a worker without a pipeline works with.
pub(super) async fn drain(settings: &Settings) -> Result<Drain> {
    let mut queues = queues(settings)?;
    // Only its owner may empty the spool; while a pipeline runs, that is the owner.
    let owned = match &queues.spool {
        Some(spool) if !is_empty(&**spool).await? => DataDir::take(&settings.data_dir).ok(),
        _ => None,
    };
    if owned.is_some()
        && let (Some(spool), Some(server)) = (queues.spool.clone(), redis(settings)?)
    {
        let queue = Arc::new(redis_queue(settings, server));
        queues.queue = Arc::new(SpooledQueue::new(queue, spool));
    }
    let store: Arc<dyn Store> = match clickhouse(settings)? {
        Some(store) => {
            store.create_missing().await.wrap_err("ClickHouse's tables cannot be made")?;
            Arc::new(store)
        }
        None => Arc::new(SqliteStore::open(&settings.data_dir.join(STORE_FILE))?),
    };
    let server = redis(settings)?;
    let live_bus: Arc<dyn LiveBus> = match server.clone() {
        Some(server) => Arc::new(RedisLiveBus::new(server)),
        None => Arc::new(LocalLiveBus::default()),
    };
    let metrics = Arc::new(Metrics::new());
    let debug_bus: Arc<dyn DebugBus> = Arc::new(LocalDebugBus::new(Arc::clone(&metrics)));
    let lines = debug_bus.subscribe();
    let log = Arc::new(Telemetry::new(debug_bus, metrics, settings.debug_lines_per_second));
    let worker = WorkerContext {
        queue: Arc::clone(&queues.queue),
        store,
        live_bus,
        presence: server.map(|server| Arc::new(RedisPresence::new(server)) as Arc<dyn Presence>),
        definitions: beside_postgres(settings, &tokens(settings)?)?.1,
        log,
        settings: settings.worker.clone(),
    };
    Ok(Drain { queues, worker, lines, owned: owned.map(|dir| Box::new(dir) as Box<dyn Send>) })
}

async fn is_empty(queue: &dyn Queue) -> Result<bool> {
    let stats = queue.stats().await?;
    Ok(stats.depth + stats.in_flight == 0)
}

/// The tokens and definitions that count: with Postgres also those that Bklit has there.
fn beside_postgres(
    settings: &Settings,
    own: &Arc<dyn TokenStore>,
) -> Result<(Arc<dyn TokenStore>, Arc<dyn Definitions>)> {
    let Some(server) = postgres(settings)? else {
        return Ok((Arc::clone(own), Arc::new(TrackingIdIsDefinition)));
    };
    let tokens = PostgresTokenStore::new(server.clone(), Arc::clone(own));
    Ok((Arc::new(tokens), Arc::new(PostgresDefinitions::new(server))))
}

/// The server and the queue in it, where one is set.
pub(super) fn redis_and_queue(settings: &Settings) -> Option<(RedisServer, RedisQueueOptions)> {
    Some((redis(settings).ok()??, queue_options(settings)))
}

fn bounds(settings: &Settings) -> Bounds {
    Bounds { depth: settings.queue.max_depth, failed: settings.queue.max_failed }
}

fn queue_options(settings: &Settings) -> RedisQueueOptions {
    RedisQueueOptions {
        prefix: settings.queue.redis_prefix.clone(),
        max_depth: settings.queue.max_depth,
        max_failed: settings.queue.max_failed,
        durability: settings.queue.durability,
        // Both stores tell repeated events by their ids, so no batch need wait for a disk.
        durable_claims: false,
    }
}

/// Whether tokens are on servers that may be away.
pub(super) fn tokens_are_elsewhere(settings: &Settings) -> bool {
    settings.redis_url.is_some() || settings.database_url.is_some()
}

/// The store of our own tokens alone.
pub(super) fn tokens(settings: &Settings) -> Result<Arc<dyn TokenStore>> {
    if let Some(server) = redis(settings)? {
        return Ok(Arc::new(RedisTokenStore::new(server, DEFAULT_KEY)));
    }
    data_dir::create(&settings.data_dir)?;
    Ok(Arc::new(SqliteTokenStore::open(&settings.data_dir.join(TOKEN_FILE))?))
}

/// The store alone, to ask.
pub(super) fn store(settings: &Settings) -> Result<Box<dyn Store>> {
    if let Some(store) = clickhouse(settings)? {
        return Ok(Box::new(store));
    }
    let file = data_dir::existing(&settings.data_dir, STORE_FILE)?;
    Ok(Box::new(SqliteStore::open(&file)?))
}

/// The store alone, to read both ways into it.
pub(super) fn baseline(settings: &Settings) -> Result<Box<dyn Baseline>> {
    if let Some(store) = clickhouse(settings)? {
        return Ok(Box::new(store));
    }
    let file = data_dir::existing(&settings.data_dir, STORE_FILE)?;
    Ok(Box::new(SqliteStore::open(&file)?))
}

/// Brings the store's tables up to date, or says how; returns the statements.
pub(super) async fn migrate(settings: &Settings, dry_run: bool) -> Result<Vec<String>> {
    let Some(store) = clickhouse(settings)? else {
        bail!(
            "there is no ClickHouse to migrate; name it with --clickhouse-url or CLICKHOUSE_HOST \
             (files in the data dir are migrated when they are opened)"
        );
    };
    Ok(store.migrate(dry_run).await?)
}

/// What serves where, without passwords, for the program's own log.
pub(super) fn describe(settings: &Settings) -> Result<String> {
    let queue = redis(settings)?.map_or("SQLite".to_owned(), |r| format!("Redis {}", r.address()));
    let place = |url: &Sensitive| {
        let url = url::Url::parse(url.expose()).ok()?;
        let port = url.port_or_known_default()?;
        Some(format!("ClickHouse {}:{port}", url.host_str()?))
    };
    let store = settings.clickhouse_url.as_ref().and_then(place);
    let store = store.unwrap_or_else(|| "SQLite".to_owned());
    let postgres = postgres(settings)?.map_or_else(String::new, |server| {
        format!(", tokens and event definitions: Postgres {}", server.address())
    });
    if !settings.roles.has(Role::Worker) {
        return Ok(format!("queue: {queue}{postgres}"));
    }
    Ok(format!("queue: {queue}, store: {store}{postgres}"))
}

fn redis_queue(settings: &Settings, server: RedisServer) -> RedisQueue {
    RedisQueue::new(server, &queue_options(settings))
}

fn root_certificates(settings: &Settings) -> Result<Option<Vec<u8>>> {
    let file = settings.tls_ca_file.as_deref();
    file.map(tls::read_roots).transpose().wrap_err("tls_ca_file cannot be used")
}

fn redis(settings: &Settings) -> Result<Option<RedisServer>> {
    let Some(url) = &settings.redis_url else { return Ok(None) };
    redis_at(settings, url.expose()).wrap_err("redis_url cannot be used").map(Some)
}

fn redis_at(settings: &Settings, url: &str) -> Result<RedisServer> {
    let options = RedisOptions {
        url: url.to_owned(),
        root_certificates: root_certificates(settings)?,
        connect_timeout: REDIS_CONNECT,
        response_timeout: REDIS_ANSWER,
    };
    Ok(RedisServer::new(&options)?)
}

/// The debug bus at a Redis, to be listened to, and the server's address. Connects by itself, again
/// and again.
pub(super) fn debug_bus_at(settings: &Settings, url: &str) -> Result<(Arc<dyn DebugBus>, String)> {
    let server = redis_at(settings, url).wrap_err("this Redis cannot be watched")?;
    let address = server.address().to_string();
    // What it hears is not its own to keep.
    let bus = RedisDebugBus::new(server, Arc::new(Metrics::new()), 0);
    Ok((Arc::new(bus), address))
}

/// Bklit's Postgres, where one is set.
pub(super) fn postgres(settings: &Settings) -> Result<Option<PostgresServer>> {
    let Some(url) = &settings.database_url else { return Ok(None) };
    let options = PostgresOptions {
        url: url.expose().to_owned(),
        root_certificates: root_certificates(settings)?,
        connect_timeout: POSTGRES_CONNECT,
        response_timeout: POSTGRES_ANSWER,
    };
    Ok(Some(PostgresServer::new(&options).wrap_err("database_url cannot be used")?))
}

/// ClickHouse, where one is set.
pub(super) fn clickhouse(settings: &Settings) -> Result<Option<ClickHouseStore>> {
    let Some(url) = &settings.clickhouse_url else { return Ok(None) };
    let options = ClickHouseOptions {
        url: url.expose().to_owned(),
        user: settings.clickhouse_username.clone(),
        password: settings.clickhouse_password.as_ref().map(|text| text.expose().to_owned()),
        root_certificates: root_certificates(settings)?,
        database: settings.clickhouse_database.clone(),
        baseline: settings.dual_write,
        ..ClickHouseOptions::default()
    };
    Ok(Some(ClickHouseStore::new(options).wrap_err("clickhouse_url cannot be used")?))
}

/// The engine of the store that these settings name.
pub(super) fn store_name(settings: &Settings) -> &'static str {
    if settings.clickhouse_url.is_some() { "clickhouse" } else { "sqlite" }
}

/// Until it worked. Events wait in the queue meanwhile.
async fn make_tables(store: &ClickHouseStore) {
    let mut backoff = Backoff::new(LONGEST_PAUSE);
    let outage = LogThrottle::default();
    loop {
        match store.create_missing().await {
            Ok(behind) if behind.is_empty() => return,
            Ok(behind) => {
                let count = behind.len();
                tracing::warn!(count, "ClickHouse's tables are older; run `bklit-tui migrate`");
                return;
            }
            Err(error) => {
                if let Some(lasting) = outage.failure().map(seconds) {
                    tracing::warn!(%error, lasting, "cannot make ClickHouse's tables, trying again");
                }
            }
        }
        backoff.pause().await;
    }
}
