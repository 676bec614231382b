//! The lists of the queue, and what is in them.

use redis::{Cmd, cmd};

use super::super::RedisQueueOptions;
use super::super::keys::Keys;
use super::super::shards::layout::Record;
use super::optional;
use crate::redis::connection::{Connection, RedisFailure};
use bklit_pipeline::queue::DEFAULT_MAX_CLIENT_IDS;
use bklit_wire::diagnostic::Diagnostic;
use bklit_wire::time::UtcMillis;

/// A lease that expired this long ago without being claimed again: no worker is running.
const ABANDONED_MILLIS: i64 = 60_000;

/// The shards that may have events.
pub(super) struct Shards {
    pub keys: Vec<Keys>,
    pub findings: Vec<Diagnostic>,
}

/// Which lists may exist, and problems with their number.
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

/// The contents of a shard.
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

/// Reads the length of a list, and which of the other commands its user may not run on it. As a
/// script, like all operations of the queue. Servers before Redis 7.0 cannot find that out.
const READ: &str = "
    if redis.acl_check_cmd then
        for _, command in ipairs(ARGV) do
            if not redis.acl_check_cmd(command, KEYS[1], 0, 0) then
                return {0, command}
            end
        end
    end
    return {redis.call('LLEN', KEYS[1]), ''}";

/// What the queue's scripts run on its list.
const COMMANDS: [&str; 2] = ["LPUSH", "LRANGE"];

/// The counts of a shard, or why it cannot be used.
pub(super) async fn counts(
    connection: &Connection<'_>,
    keys: &Keys,
) -> Result<Result<Counts, Diagnostic>, RedisFailure> {
    for (key, expected) in [(&keys.queue, "list"), (&keys.failed, "list"), (&keys.inflight, "zset")]
    {
        if let Some(problem) = of_another_type(connection, key, expected).await? {
            return Ok(Err(problem));
        }
    }
    let queue = &keys.queue;
    let cannot_be_used = |reason: String| {
        let what = format!("the queue {queue} cannot be used: {reason}");
        let advice = "allow its user scripts and all commands on keys with this prefix: `ACL \
                      SETUSER … ~* &* +@all`";
        Ok(Err(Diagnostic::problem(what, advice)))
    };
    let script = cmd("EVAL").arg(READ).arg(1).arg(queue).arg(&COMMANDS).take();
    let depth = match optional::<(u64, String)>(connection, &script).await? {
        Ok((depth, command)) if command.is_empty() => depth,
        Ok((_, command)) => {
            return cannot_be_used(format!("NOPERM: the user may not run {command} on it"));
        }
        Err(reason) => return cannot_be_used(reason),
    };
    let read = async |command: &Cmd| optional::<u64>(connection, command).await;
    let failed = match read(cmd("LLEN").arg(&keys.failed)).await? {
        Ok(failed) => failed,
        Err(reason) => return cannot_be_used(reason),
    };
    let end = UtcMillis::now().epoch_millis() - ABANDONED_MILLIS;
    let abandoned = read(cmd("ZCOUNT").arg(&keys.inflight).arg("-inf").arg(end)).await?;
    let Ok(abandoned) = abandoned else {
        return cannot_be_used(abandoned.err().unwrap_or_default());
    };
    Ok(Ok(Counts { depth, failed, most_failed: failed, abandoned }))
}

/// A key that another program uses for something else.
async fn of_another_type(
    connection: &Connection<'_>,
    key: &str,
    expected: &str,
) -> Result<Option<Diagnostic>, RedisFailure> {
    let found = optional::<String>(connection, cmd("TYPE").arg(key)).await?;
    Ok(found.ok().filter(|found| found != expected && found != "none").map(|found| {
        let what = format!(
            "the key {key} has the type {found}, not {expected}, so the queue cannot be used"
        );
        let advice = format!("rename it (`RENAME {key} OTHER`) or delete it (`DEL {key}`)");
        Diagnostic::problem(what, advice)
    }))
}
