//! The servers that the settings name: how to connect to each, and how to describe them.

use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::{Result, WrapErr};
use url::Url;

use crate::config::Settings;
use bklit_adapters::clickhouse::{ClickHouseOptions, ClickHouseStore};
use bklit_adapters::postgres::{PostgresOptions, PostgresServer};
use bklit_adapters::redis::bus::RedisDebugBus;
use bklit_adapters::redis::connection::{RedisOptions, RedisServer};
use bklit_adapters::redis::figures::RedisFigureStore;
use bklit_adapters::redis::presence::RedisPresence;
use bklit_adapters::redis::queue::pauses::RedisPauses;
use bklit_adapters::redis::queue::{RedisQueue, RedisQueueOptions};
use bklit_net::tls;
use bklit_pipeline::history::FigureStore;
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::presence::Presence;
use bklit_pipeline::queue::{Bounds, PausableQueue, Queue};
use bklit_pipeline::roles::Role;
use bklit_wire::debug_bus::DebugBus;
use bklit_wire::setting::Sensitive;

const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const REDIS_RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);
const POSTGRES_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const POSTGRES_RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);

/// The number of lines kept by a bus that only follows other processes.
const NO_HISTORY: usize = 0;

/// The Redis of `redis_url`, where it is set.
pub(super) fn redis(settings: &Settings) -> Result<Option<RedisServer>> {
    let Some(url) = &settings.redis_url else { return Ok(None) };
    redis_at(settings, url.expose()).wrap_err("redis_url cannot be used").map(Some)
}

fn redis_at(settings: &Settings, url: &str) -> Result<RedisServer> {
    let options = RedisOptions {
        url: url.to_owned(),
        root_certificates: root_certificates(settings)?,
        connect_timeout: REDIS_CONNECT_TIMEOUT,
        response_timeout: REDIS_RESPONSE_TIMEOUT,
    };
    Ok(RedisServer::new(&options)?)
}

/// The queue in a Redis, with the number of shards that the pipelines on it use.
pub(super) fn redis_queue(settings: &Settings, server: RedisServer) -> RedisQueue {
    RedisQueue::new(server, &RedisQueueOptions { shards: None, ..queue_options(settings) })
}

/// The same for a pipeline. One that accepts events decides about the number of shards.
pub(super) fn pipeline_queue(settings: &Settings, server: RedisServer) -> RedisQueue {
    if settings.roles.accept_events() {
        return RedisQueue::new(server, &queue_options(settings));
    }
    redis_queue(settings, server)
}

/// The Redis of `redis_url` and the options of the queue in it, where it is set.
pub(in crate::app) fn redis_and_queue(
    settings: &Settings,
) -> Option<(RedisServer, RedisQueueOptions)> {
    Some((redis(settings).ok()??, queue_options(settings)))
}

fn queue_options(settings: &Settings) -> RedisQueueOptions {
    RedisQueueOptions {
        prefix: settings.queue.redis_prefix.clone(),
        shards: Some(settings.queue.shards),
        max_depth: settings.queue.max_depth,
        max_failed: settings.queue.max_failed,
        max_client_ids: settings.queue.max_client_ids,
        durability: settings.queue.durability,
        // Both stores recognise repeated events by their ids, so a claim need not wait for the
        // disk.
        durable_claims: false,
    }
}

/// The bounds of the queue in a file.
pub(super) fn bounds(settings: &Settings) -> Bounds {
    let queue = &settings.queue;
    Bounds { depth: queue.max_depth, failed: queue.max_failed, client_ids: queue.max_client_ids }
}

/// What can be followed in a Redis.
pub(in crate::app) struct RedisToFollow {
    pub(in crate::app) address: String,
    pub(in crate::app) bus: Arc<dyn DebugBus>,
    pub(in crate::app) queue: Arc<dyn Queue>,
    pub(in crate::app) presence: Arc<dyn Presence>,
    pub(in crate::app) figures: Arc<dyn FigureStore>,
}

/// The Redis at `url`, to follow. Its bus reconnects until it is dropped.
pub(in crate::app) fn redis_to_follow(settings: &Settings, url: &str) -> Result<RedisToFollow> {
    let server = redis_at(settings, url).wrap_err("cannot follow this Redis")?;
    let bus = RedisDebugBus::new(server.clone(), Arc::new(Metrics::new()), NO_HISTORY);
    let pauses = RedisPauses::new(&server, &settings.queue.redis_prefix);
    let queue =
        PausableQueue::new(Arc::new(redis_queue(settings, server.clone())), Arc::new(pauses));
    Ok(RedisToFollow {
        address: server.address().to_string(),
        bus: Arc::new(bus),
        queue: Arc::new(queue),
        presence: Arc::new(RedisPresence::new(server.clone())),
        figures: Arc::new(RedisFigureStore::new(server)),
    })
}

/// The Postgres of `database_url`, where it is set.
pub(in crate::app) fn postgres(settings: &Settings) -> Result<Option<PostgresServer>> {
    let Some(url) = &settings.database_url else { return Ok(None) };
    let options = PostgresOptions {
        url: url.expose().to_owned(),
        root_certificates: root_certificates(settings)?,
        connect_timeout: POSTGRES_CONNECT_TIMEOUT,
        response_timeout: POSTGRES_RESPONSE_TIMEOUT,
    };
    Ok(Some(PostgresServer::new(&options).wrap_err("database_url cannot be used")?))
}

/// The ClickHouse of `clickhouse_url`, where it is set.
pub(in crate::app) fn clickhouse(settings: &Settings) -> Result<Option<ClickHouseStore>> {
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

fn root_certificates(settings: &Settings) -> Result<Option<Vec<u8>>> {
    let file = settings.tls_ca_file.as_deref();
    file.map(tls::read_roots).transpose().wrap_err("tls_ca_file cannot be used")
}

/// Whether tokens are on servers, which may be unavailable.
pub(in crate::app) fn tokens_are_remote(settings: &Settings) -> bool {
    settings.redis_url.is_some() || settings.database_url.is_some()
}

/// What is on which server, without passwords, for the program's own log.
pub(in crate::app) fn describe(settings: &Settings) -> Result<String> {
    let queue = redis(settings)?.map_or("SQLite".to_owned(), |r| format!("Redis {}", r.address()));
    let clickhouse = |url: &Sensitive| {
        let url = Url::parse(url.expose()).ok()?;
        let port = url.port_or_known_default()?;
        Some(format!("ClickHouse {}:{port}", url.host_str()?))
    };
    let store = settings.clickhouse_url.as_ref().and_then(clickhouse);
    let store = store.unwrap_or_else(|| "SQLite".to_owned());
    let postgres = postgres(settings)?.map_or_else(String::new, |server| {
        format!(", tokens and event definitions: Postgres {}", server.address())
    });
    if !settings.roles.has(Role::Worker) {
        return Ok(format!("queue: {queue}{postgres}"));
    }
    Ok(format!("queue: {queue}, store: {store}{postgres}"))
}
