//! Claiming: on connections of its own, each for one caller at a time, because waiting for the
//! server's disk holds up whatever else is asked on a connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::cmd;
use tokio::sync::Semaphore;

use super::disk_sync::{self, DiskSync, DiskSyncProbe};
use super::keys::Keys;
use super::scripts::Scripts;
use super::{lease_millis, unavailable};
use crate::redis::connection::{Connection, Link, RedisFailure, RedisServer};
use bklit_pipeline::queue::{Claim, ClaimId, ClaimedItem, MAX_BATCH_BYTES, QueueError, owner_name};

/// Connections for claims at most; more callers wait.
const MAX_CONNECTIONS: usize = 16;
/// Claims that are tried when batches vanish between being claimed and being read.
const TRIES: usize = 8;

/// The answer of `claim.lua`: id, epoch, items.
type Claimed = (String, u64, usize);

pub(super) struct Claims {
    server: RedisServer,
    keys: Arc<Keys>,
    scripts: Arc<Scripts>,
    idle: Mutex<Vec<Claimer>>,
    places: Semaphore,
    durable: bool,
    owner: String,
}

struct Claimer {
    link: Link,
    probe: DiskSyncProbe,
}

impl Claims {
    pub(super) fn new(
        server: RedisServer,
        keys: Arc<Keys>,
        scripts: Arc<Scripts>,
        durable: bool,
    ) -> Self {
        let places = Semaphore::new(MAX_CONNECTIONS);
        Self { server, keys, scripts, idle: Mutex::default(), places, durable, owner: owner_name() }
    }

    pub(super) async fn claim(
        &self,
        most: usize,
        lease: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        let closed = |_| QueueError::Unavailable("it is closed".to_owned());
        let _place = self.places.acquire().await.map_err(closed)?;
        let claimer = self.take();
        let claim = self.claim_on(&claimer, most, lease).await;
        self.put_back(claimer);
        claim
    }

    /// Gives back a batch whose claimer has gone.
    pub(super) async fn release(&self, id: &ClaimId) {
        let claimer = self.take();
        if let Ok(connection) = claimer.link.connection().await {
            self.give_back(&connection, id).await;
        }
        self.put_back(claimer);
    }

    fn take(&self) -> Claimer {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Claimer {
            link: Link::new(self.server.clone()),
            probe: DiskSyncProbe::default(),
        })
    }

    fn put_back(&self, claimer: Claimer) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(claimer);
    }

    async fn claim_on(
        &self,
        claimer: &Claimer,
        most: usize,
        lease: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        let connection = claimer.link.connection().await.map_err(unavailable)?;
        let waits = self.durable
            && claimer.probe.disk(&connection).await.map_err(unavailable)? == DiskSync::Waits;
        for _ in 0..TRIES {
            let claimed = self.claim_once(&connection, most, lease).await.map_err(unavailable)?;
            let Some((batch, epoch, count)) = claimed else { return Ok(None) };
            let id = ClaimId { batch, epoch };
            let asked = cmd("LRANGE").arg(self.keys.batch(&id.batch)).arg(0).arg(-1).take();
            let found: Vec<Vec<u8>> = connection.query(&asked).await.map_err(unavailable)?;
            if found.len() != count {
                // Its lease was so short that another has finished the batch meanwhile.
                continue;
            }
            if waits && let Err(failure) = disk_sync::wait(&connection).await {
                self.give_back(&connection, &id).await;
                return Err(unavailable(failure));
            }
            return Ok(Some(Claim { id, items: items(found) }));
        }
        Ok(None)
    }

    async fn claim_once(
        &self,
        connection: &Connection<'_>,
        most: usize,
        lease: Duration,
    ) -> Result<Option<Claimed>, RedisFailure> {
        let keys = &self.keys;
        let mut call = self.scripts.claim.key(&keys.queue);
        call.key(&keys.inflight);
        call.arg(&keys.batches).arg(uuid::Uuid::now_v7().simple().to_string());
        call.arg(most.max(1)).arg(lease_millis(lease)).arg(MAX_BATCH_BYTES);
        call.arg(&self.owner);
        connection.script(&call).await
    }

    /// Ends the lease of a batch with which nothing was done.
    async fn give_back(&self, connection: &Connection<'_>, id: &ClaimId) {
        let mut call = self.scripts.renew.key(&self.keys.inflight);
        call.key(self.keys.meta(&id.batch)).arg(&id.batch).arg(id.epoch).arg(0);
        // If this fails too, the lease ends by itself.
        let _ = connection.script::<bool>(&call).await;
    }
}

/// The list has the oldest last.
fn items(found: Vec<Vec<u8>>) -> Vec<ClaimedItem> {
    let oldest_first = found.into_iter().rev().enumerate();
    let item = |(seq, body)| ClaimedItem { seq: seq as i64, body: text(body) };
    oldest_first.map(item).collect()
}

/// What others pushed may be anything; a consumer in JavaScript would read it like this.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
