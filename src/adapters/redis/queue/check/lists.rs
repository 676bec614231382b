//! The lists of the queue, and what is in them.

use redis::cmd;

use super::super::RedisQueueOptions;
use super::super::keys::Keys;
use super::super::shards::layout::Record;
use super::optional;
use crate::redis::connection::{Connection, RedisFailure};
use bklit_pipeline::queue::DEFAULT_MAX_CLIENT_IDS;
use bklit_wire::diagnostic::Diagnostic;

/// A lease that expired this long ago without being claimed again: no worker is running.
const ABANDONED_MILLIS: i64 = 60_000;

/// The shards that may have events.
pub(super) struct Shards {
    pub keys: Vec<Keys>,
    pub findings: Vec<Diagnostic>,
}

/// Which lists there may be, and what is wrong with their number.
pub(super) async fn shards(
    connection: &Connection<'_>,
    options: &RedisQueueOptions,
) -> Result<Shards, RedisFailure> {
    let prefix = &options.prefix;
    let in_cluster = connection.server().is_cluster();
    let keys = |shard| Keys::new(prefix, shard, DEFAULT_MAX_CLIENT_IDS, in_cluster);
    let command = cmd("GET").arg(&keys(0).layout).take();
    let stored: Result<Option<String>, String> = optional(connection, &command).await?;
    let record = stored.and_then(|stored| Record::parse(stored.as_deref().unwrap_or_default()));
    let mut findings = Vec::new();
    let record = record.unwrap_or_else(|reason| {
        let what = format!("the layout of the shards, {}, is invalid: {reason}", keys(0).layout);
        findings
            .push(Diagnostic::problem(what, "use the latest version, and allow the user `GET`"));
        Record::default()
    });
    let served = record.served().max(options.shards.unwrap_or(1));
    if served > 1 {
        findings.push(Diagnostic::good(format!(
            "the queue has {served} lists, {} in use; Bklit's TypeScript worker takes only from \
             {prefix}, so a worker of this program has to run",
            record.shards
        )));
    }
    if let Some(shards) = options.shards.filter(|shards| *shards != record.shards)
        && record.epoch > 0
    {
        findings.push(Diagnostic::warning(
            format!("queue.shards is {shards}, but the pipelines use {}", record.shards),
            "set the same number for all processes; the one that starts to accept events last \
             decides for all",
        ));
    }
    Ok(Shards { keys: (0..served).map(keys).collect(), findings })
}

/// What is in a shard.
#[derive(Default)]
pub(super) struct Counts {
    pub depth: u64,
    pub failed: u64,
    /// Those of the list with the most.
    pub most_failed: u64,
    /// Batches whose worker has stopped.
    pub abandoned: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.depth += other.depth;
        self.failed += other.failed;
        self.most_failed = self.most_failed.max(other.most_failed);
        self.abandoned += other.abandoned;
    }
}

/// The counts of a shard, or why it cannot be used.
pub(super) async fn counts(
    connection: &Connection<'_>,
    keys: &Keys,
) -> Result<Result<Counts, String>, RedisFailure> {
    // As a script, like all operations of the queue.
    let script =
        cmd("EVAL").arg("return redis.call('LLEN', KEYS[1])").arg(1).arg(&keys.queue).take();
    let depth = match optional::<u64>(connection, &script).await? {
        Ok(depth) => depth,
        Err(reason) => return Ok(Err(reason)),
    };
    let failed: u64 = connection.query(cmd("LLEN").arg(&keys.failed)).await?;
    let (seconds, _): (i64, i64) = connection.query(&cmd("TIME")).await?;
    let end = seconds * 1000 - ABANDONED_MILLIS;
    let abandoned: u64 =
        connection.query(cmd("ZCOUNT").arg(&keys.inflight).arg("-inf").arg(end)).await?;
    Ok(Ok(Counts { depth, failed, most_failed: failed, abandoned }))
}
