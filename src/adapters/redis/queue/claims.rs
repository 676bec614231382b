//! Claims batches, on separate connections that each serve one caller at a time, because waiting
//! for the server's disk blocks all other commands on a connection.

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

/// Maximum connections for claims; further callers wait.
const MAX_CONNECTIONS: usize = 16;
/// Attempts to claim if batches disappear between being claimed and being read.
const TRIES: usize = 8;

/// Batches that one claim may find to be empty, or to have an implausible lease. The next claim
/// continues after them.
const MAX_KNOWN: usize = 64;
/// The epoch in the result of `claim.lua` if it must be called again with the keys of this batch.
const UNKNOWN: u64 = 0;

/// The result of `claim.lua`: id, epoch, number of items.
type Claimed = (String, u64, usize);

pub(super) struct Claims {
    server: RedisServer,
    keys: Arc<Keys>,
    scripts: Arc<Scripts>,
    idle: Mutex<Vec<Claimer>>,
    slots: Semaphore,
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
        let slots = Semaphore::new(MAX_CONNECTIONS);
        Self { server, keys, scripts, idle: Mutex::default(), slots, durable, owner: owner_name() }
    }

    pub(super) async fn claim(
        &self,
        most: usize,
        lease: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        let closed = |_| QueueError::Unavailable("it has been closed".to_owned());
        let _slot = self.slots.acquire().await.map_err(closed)?;
        let claimer = self.take();
        let claim = self.claim_on(&claimer, most, lease).await;
        self.put_back(claimer);
        claim
    }

    /// Releases a batch whose caller was cancelled.
    pub(super) async fn release(&self, id: &ClaimId) {
        let claimer = self.take();
        if let Ok(connection) = claimer.link.connection().await {
            self.end_lease(&connection, id).await;
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
            let command = cmd("LRANGE").arg(self.keys.batch(&id.batch)).arg(0).arg(-1).take();
            let found: Vec<Vec<u8>> = connection.query(&command).await.map_err(unavailable)?;
            if found.len() != count {
                // The lease was so short that another worker has completed the batch in the
                // meantime.
                continue;
            }
            if waits && let Err(failure) = disk_sync::wait(&connection).await {
                self.end_lease(&connection, &id).await;
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
        let mut known: Vec<String> = Vec::new();
        // Batches whose lease has ended are rare, so their keys are not known in advance.
        while known.len() < MAX_KNOWN {
            let new = keys.id(uuid::Uuid::now_v7());
            let mut call = self.scripts.claim.key(&keys.queue);
            call.key(&keys.inflight).key(keys.batch(&new)).key(keys.meta(&new));
            call.arg(&new).arg(most.max(1)).arg(lease_millis(lease)).arg(MAX_BATCH_BYTES);
            call.arg(&self.owner);
            for id in &known {
                call.key(keys.batch(id)).key(keys.meta(id)).arg(id);
            }
            match connection.script::<Option<Claimed>>(&call).await? {
                Some((id, UNKNOWN, _)) => known.push(id),
                claimed => return Ok(claimed),
            }
        }
        Ok(None)
    }

    /// Ends the lease of a batch that was not processed.
    async fn end_lease(&self, connection: &Connection<'_>, id: &ClaimId) {
        let mut call = self.scripts.renew.key(&self.keys.inflight);
        call.key(self.keys.meta(&id.batch)).arg(&id.batch).arg(id.epoch).arg(0);
        // If this fails too, the lease expires.
        let _ = connection.script::<bool>(&call).await;
    }
}

/// Converts a batch's list, in which the oldest item is the last.
fn items(found: Vec<Vec<u8>>) -> Vec<ClaimedItem> {
    let oldest_first = found.into_iter().rev().enumerate();
    let item = |(seq, body)| match String::from_utf8(body) {
        Ok(body) => ClaimedItem { seq: seq as i64, body, invalid_utf8: None },
        Err(error) => {
            let invalid_utf8 = Some(error.utf8_error().valid_up_to());
            ClaimedItem { seq: seq as i64, body: text(error.into_bytes()), invalid_utf8 }
        }
    };
    oldest_first.map(item).collect()
}

/// Other programs may push any bytes; invalid UTF-8 is replaced, as JavaScript consumers do.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
