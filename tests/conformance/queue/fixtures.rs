//! The queues that the suite runs on: a SQLite file, a Redis or Valkey server with one or several
//! lists, and a cluster.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bklit_adapters::redis::connection::RedisServer as Server;
use bklit_adapters::redis::queue::{DEFAULT_PREFIX, Durability, RedisQueue, RedisQueueOptions};
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_pipeline::queue::Queue;

use super::{BOUNDS, LEASE, MAX_CLIENT_IDS, MAX_DEPTH, MAX_FAILED, ids};
use crate::support::redis::{options, server_at};
use crate::support::redis_proxy::RedisProxy;
use crate::support::servers::{Kind, RedisCluster, RedisServer};

/// The number of shards of a queue that has several. The suite's events are in the third.
const SHARDS: u32 = 4;

/// A queue for up to `MAX_DEPTH` events that can be closed and reopened.
pub trait Fixture: Send {
    fn queue(&self) -> Arc<dyn Queue>;
    fn reopen(&mut self);
    /// Whether claims are still held after reopening.
    fn leases_survive(&self) -> bool;
}

pub struct Sqlite {
    queue: Option<Arc<SqliteQueue>>,
    dir: tempfile::TempDir,
}

impl Sqlite {
    pub fn new() -> Self {
        let mut fixture = Self { queue: None, dir: tempfile::tempdir().unwrap() };
        fixture.reopen();
        fixture
    }
}

impl Fixture for Sqlite {
    fn queue(&self) -> Arc<dyn Queue> {
        self.queue.clone().unwrap()
    }

    fn reopen(&mut self) {
        if let Some(queue) = self.queue.take() {
            Arc::try_unwrap(queue).map_err(|_| "still in use").unwrap();
        }
        let path = self.dir.path().join("queue.db");
        self.queue = Some(Arc::new(SqliteQueue::open(&path, BOUNDS).unwrap()));
    }

    fn leases_survive(&self) -> bool {
        false
    }
}

/// A separate server, which crashes when the queue is reopened.
pub struct Redis {
    server: RedisServer,
    proxy: Option<RedisProxy>,
    queue: Option<Arc<RedisQueue>>,
    durability: Durability,
    shards: u32,
}

impl Redis {
    pub fn new(kind: Kind, durability: Durability) -> Self {
        let server = RedisServer::start(kind, &[("appendfsync", "always")]);
        let mut fixture = Self { server, proxy: None, queue: None, durability, shards: 1 };
        fixture.open();
        fixture
    }

    /// The same with several shards.
    pub fn sharded(kind: Kind, durability: Durability) -> Self {
        let mut fixture = Self { shards: SHARDS, ..Self::new(kind, durability) };
        fixture.open();
        fixture
    }

    /// The same behind a proxy.
    pub fn behind(kind: Kind, proxy: fn(u16) -> RedisProxy) -> Self {
        let mut fixture = Self::new(kind, Durability::Everysec);
        fixture.proxy = Some(proxy(fixture.server.port()));
        fixture.open();
        fixture
    }

    fn open(&mut self) {
        let server = match &self.proxy {
            Some(proxy) => Server::new(&options(&proxy.url())).unwrap(),
            None => server_at(&self.server),
        };
        let of_queue = of_queue(DEFAULT_PREFIX, self.shards, self.durability);
        let queue = RedisQueue::new(server, &of_queue);
        self.queue = Some(Arc::new(queue));
    }
}

fn of_queue(prefix: &str, shards: u32, durability: Durability) -> RedisQueueOptions {
    RedisQueueOptions {
        prefix: prefix.to_owned(),
        shards: Some(shards),
        max_depth: MAX_DEPTH,
        max_failed: MAX_FAILED,
        max_client_ids: MAX_CLIENT_IDS,
        durability,
        ..RedisQueueOptions::default()
    }
}

impl Fixture for Redis {
    fn queue(&self) -> Arc<dyn Queue> {
        self.queue.clone().unwrap()
    }

    fn reopen(&mut self) {
        self.server.restart();
        self.open();
    }

    fn leases_survive(&self) -> bool {
        true
    }
}

/// Claims and acknowledges everything; events of different projects may be in different batches.
pub async fn drain(queue: &dyn Queue) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(claim) = queue.claim(100, LEASE).await.unwrap() {
        found.extend(ids(&claim));
        queue.acknowledge(&claim.id, &[]).await.unwrap();
    }
    found
}

thread_local! {
    /// Of this test, which may use several queues one after the other.
    static CLUSTER: RefCell<Option<Arc<RedisCluster>>> = const { RefCell::new(None) };
}

/// A queue of its own in a cluster of three nodes, with several shards.
pub struct Cluster {
    nodes: Arc<RedisCluster>,
    prefix: String,
    queue: Option<Arc<RedisQueue>>,
}

impl Cluster {
    pub fn new() -> Self {
        static QUEUES: AtomicU32 = AtomicU32::new(0);
        let nodes = CLUSTER.with_borrow_mut(|cluster| {
            let start = || Arc::new(RedisCluster::start(&[("appendfsync", "always")]));
            Arc::clone(cluster.get_or_insert_with(start))
        });
        let prefix = format!("queue-{}", QUEUES.fetch_add(1, Relaxed));
        let mut fixture = Self { nodes, prefix, queue: None };
        fixture.reopen();
        fixture
    }
}

impl Fixture for Cluster {
    fn queue(&self) -> Arc<dyn Queue> {
        self.queue.clone().unwrap()
    }

    fn reopen(&mut self) {
        let server = Server::new(&options(&self.nodes.url())).unwrap();
        let of_queue = of_queue(&self.prefix, SHARDS, Durability::Everysec);
        self.queue = Some(Arc::new(RedisQueue::new(server, &of_queue)));
    }

    fn leases_survive(&self) -> bool {
        true
    }
}
