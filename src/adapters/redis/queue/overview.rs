//! Counts, and the batches in flight.

use std::sync::{MutexGuard, PoisonError};

use super::claims::text;
use super::shard::Shard;
use crate::redis::connection::RedisFailure;
use bklit_pipeline::queue::QueueStats;
use bklit_wire::queue::BatchInFlight;
use bklit_wire::time::UtcMillis;

/// Attempts to count the items of all batches, some of which may be claimed in between.
const COUNT_TRIES: usize = 4;

impl Shard {
    pub(super) async fn try_stats(&self) -> Result<QueueStats, RedisFailure> {
        let connection = self.link.connection().await?;
        let keys = &self.keys;
        let mut declared = self.counted().clone();
        let mut tries = 1;
        loop {
            let mut call = self.scripts.stats.key(&keys.queue);
            call.key(&keys.inflight).key(&keys.failed);
            for id in &declared {
                call.key(keys.batch(id)).arg(id);
            }
            let found = connection.script::<(u64, u64, u64, Vec<String>)>(&call).await?;
            let (depth, in_flight, failed, batches) = found;
            // A batch that was claimed in the meantime could not be counted.
            let complete = batches.iter().all(|id| declared.contains(id));
            self.counted().clone_from(&batches);
            if complete || tries >= COUNT_TRIES {
                return Ok(QueueStats { depth, in_flight, failed, spooled: 0 });
            }
            declared = batches;
            tries += 1;
        }
    }

    fn counted(&self) -> MutexGuard<'_, Vec<String>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn try_batches(
        &self,
        most: usize,
    ) -> Result<Vec<BatchInFlight>, RedisFailure> {
        let connection = self.link.connection().await?;
        let most = isize::try_from(most).unwrap_or(isize::MAX).max(1);
        let mut commands = redis::pipe();
        commands.cmd("TIME");
        commands.cmd("ZRANGE").arg(&self.keys.inflight).arg(0).arg(most - 1).arg("WITHSCORES");
        type Found = ((i64, i64), Vec<(String, f64)>);
        let ((seconds, micros), ids): Found = connection.pipeline(&commands).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = redis::pipe();
        for (id, _) in &ids {
            commands.cmd("LLEN").arg(self.keys.batch(id));
            commands.cmd("HMGET").arg(self.keys.meta(id));
            commands.arg("epoch").arg("owner").arg("attempts").arg("claimed");
        }
        let details: Vec<redis::Value> = connection.pipeline(&commands).await?;
        let now = seconds * 1000 + micros / 1000;
        Ok(ids
            .into_iter()
            .zip(details.chunks(2))
            .filter_map(|(batch, fields)| in_flight(batch, fields, now))
            .collect())
    }

    pub(super) async fn try_batch_items(
        &self,
        batch: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, RedisFailure> {
        let connection = self.link.connection().await?;
        // The oldest item is the last of the list; the size of a batch is limited by the claim.
        let first = -i64::try_from(most.max(1)).unwrap_or(i64::MAX);
        let command = redis::cmd("LRANGE").arg(self.keys.batch(batch)).arg(first).arg(-1).take();
        let found: Vec<Vec<u8>> = connection.query(&command).await?;
        // Redis has no empty lists: the batch no longer exists.
        Ok((!found.is_empty()).then(|| found.into_iter().rev().map(text).collect()))
    }
}

/// A batch, with its number of items and the fields of its hash.
fn in_flight(
    (id, lease_end): (String, f64),
    fields: &[redis::Value],
    now: i64,
) -> Option<BatchInFlight> {
    type Details = (u64, (Option<String>, Option<String>, Option<String>, Option<String>));
    let fields = redis::Value::Array(fields.to_vec());
    let (items, (epoch, owner, attempts, claimed)) =
        redis::from_redis_value::<Details>(fields).ok()?;
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
    // Milliseconds are far below what a float represents exactly.
    let lease_end = lease_end as i64;
    Some(BatchInFlight {
        id,
        owner: owner.filter(|owner| !owner.is_empty()),
        epoch: number(epoch).unwrap_or(0),
        items,
        attempts: number(attempts).unwrap_or(1),
        claimed_at: claimed.and_then(|at| at.parse().ok()).map(UtcMillis::from_epoch_millis),
        lease_until: UtcMillis::from_epoch_millis(lease_end),
        lease_left_ms: lease_end - now,
    })
}
