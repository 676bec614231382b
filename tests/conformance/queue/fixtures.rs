//! The queues that the suite runs on: a SQLite file, and a Redis or Valkey server.

use std::sync::Arc;

use bklit_adapters::redis::connection::RedisServer as Server;
use bklit_adapters::redis::queue::{Durability, RedisQueue, RedisQueueOptions};
use bklit_adapters::sqlite::queue::SqliteQueue;
use bklit_pipeline::queue::Queue;

use super::{BOUNDS, MAX_CLIENT_IDS, MAX_DEPTH, MAX_FAILED};
use crate::support::redis::{options, server_at};
use crate::support::redis_proxy::RedisProxy;
use crate::support::servers::{Kind, RedisServer};

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
}

impl Redis {
    pub fn new(kind: Kind, durability: Durability) -> Self {
        let server = RedisServer::start(kind, &[("appendfsync", "always")]);
        let mut fixture = Self { server, proxy: None, queue: None, durability };
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
        let of_queue = RedisQueueOptions {
            max_depth: MAX_DEPTH,
            max_failed: MAX_FAILED,
            max_client_ids: MAX_CLIENT_IDS,
            durability: self.durability,
            ..RedisQueueOptions::default()
        };
        let queue = RedisQueue::new(server, &of_queue);
        self.queue = Some(Arc::new(queue));
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
