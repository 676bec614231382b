//! Waits until writes have reached the server's disk, where the server supports this.

use std::collections::HashMap;
use std::time::Duration;

use redis::cmd;
use tokio::sync::Mutex;

use super::unavailable;
use crate::redis::connection::{Connection, RedisFailure};
use bklit_pipeline::queue::QueueError;

/// Maximum time for the server to sync; `appendfsync everysec` alone takes up to a second.
const LONGEST: Duration = Duration::from_secs(3);

const IS_MOVING: &str = "the slot of its keys is being moved";

/// How a server syncs its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskSync {
    /// It supports `WAITAOF` (Redis 7.2 or later, Valkey).
    Waits,
    /// It has no `WAITAOF`, but syncs before each response (`appendfsync always`).
    Always,
    /// It has an append-only file, but does not report when it is synced.
    Unknown,
    /// It has no append-only file: a crash loses everything.
    Off,
}

/// How the server of a link syncs; determined once per connection.
#[derive(Default)]
pub(super) struct DiskSyncProbe {
    known: Mutex<Option<(u64, DiskSync)>>,
}

impl DiskSyncProbe {
    /// How the server syncs.
    pub(super) async fn disk(&self, connection: &Connection<'_>) -> Result<DiskSync, RedisFailure> {
        let mut known = self.known.lock().await;
        if let Some((generation, disk)) = *known
            && generation == connection.generation()
        {
            return Ok(disk);
        }
        let disk = probe(connection).await?;
        *known = Some((connection.generation(), disk));
        Ok(disk)
    }

    /// How the server confirms that a write is on its disk, and on that of a replica if one may be
    /// promoted.
    ///
    /// # Errors
    /// If it cannot.
    pub(super) async fn confirming(
        &self,
        connection: &Connection<'_>,
    ) -> Result<DiskSync, QueueError> {
        let disk = self.disk(connection).await.map_err(unavailable)?;
        match disk {
            DiskSync::Waits => Ok(disk),
            DiskSync::Always if !connection.has_replicas().await.map_err(unavailable)? => Ok(disk),
            DiskSync::Always => Err(unavailable(
                "durability `always` needs WAITAOF (Redis 7.2, Valkey) where a replica takes over: \
                 otherwise the replica's disk cannot confirm a write",
            )),
            DiskSync::Unknown | DiskSync::Off => Err(unavailable(
                "durability `always` needs a server with `appendonly yes` that has WAITAOF \
                 (Redis 7.2, Valkey) or uses `appendfsync always`",
            )),
        }
    }

    /// Waits until the writes of this connection are confirmed. In a cluster, another server may
    /// have executed them than the one that was there before.
    ///
    /// # Errors
    /// If they are not, or cannot be.
    pub(super) async fn confirmed(&self, connection: &Connection<'_>) -> Result<(), QueueError> {
        match self.confirming(connection).await? {
            DiskSync::Waits => wait(connection).await.map_err(unavailable),
            _ if connection.was_elsewhere() => Err(unavailable(IS_MOVING)),
            _ => Ok(()),
        }
    }
}

async fn probe(connection: &Connection<'_>) -> Result<DiskSync, RedisFailure> {
    // Nothing was written on this connection yet, so this does not wait.
    let command = cmd("WAITAOF").arg(1).arg(0).arg(1).take();
    match connection.query::<(i64, i64)>(&command).await {
        Ok(_) => return Ok(DiskSync::Waits),
        Err(RedisFailure::Command(error)) if error.code() == Some("ERR") => {
            if error.to_string().contains("appendonly") {
                return Ok(DiskSync::Off);
            }
        }
        // The user lacks the permission, so the response says nothing.
        Err(RedisFailure::Command(error)) if error.code() == Some("NOPERM") => {}
        Err(failure) => return Err(failure),
    }
    let command = cmd("CONFIG").arg("GET").arg("append*").take();
    // Most hosted servers forbid `CONFIG`.
    let config: HashMap<String, String> = connection.query(&command).await.unwrap_or_default();
    let value = |name| config.get(name).map(String::as_str);
    Ok(match (value("appendonly"), value("appendfsync")) {
        (Some("no"), _) => DiskSync::Off,
        (_, Some("always")) => DiskSync::Always,
        _ => DiskSync::Unknown,
    })
}

/// Waits until all writes of this connection are on the server's disk, and on that of a replica if
/// one may be promoted: otherwise a failover could lose them.
///
/// With `appendfsync everysec` this takes up to a second. Some releases (Redis 7.4, Valkey 9.1)
/// then respond too early, so that only `appendfsync always` is a guarantee.
pub(super) async fn wait(connection: &Connection<'_>) -> Result<(), RedisFailure> {
    let millis = LONGEST.as_millis() as u64;
    let replicas = i64::from(connection.has_replicas().await?);
    let command = cmd("WAITAOF").arg(1).arg(replicas).arg(millis).take();
    let (local, remote): (i64, i64) = connection.query_slow(&command, LONGEST).await?;
    let reason = if connection.was_elsewhere() {
        // `WAITAOF` covers only what was written on the same connection.
        IS_MOVING.to_owned()
    } else if local < 1 {
        format!("its disk did not confirm the write within {LONGEST:?}")
    } else if remote < replicas {
        format!(
            "no replica's disk confirmed the write within {LONGEST:?}; a replica needs \
             `appendonly yes`"
        )
    } else {
        return Ok(());
    };
    // Then the replica may be gone for good.
    connection.abandon().await;
    let error = std::io::Error::new(std::io::ErrorKind::TimedOut, reason);
    Err(RedisFailure::Command(error.into()))
}
