//! Checks for conditions on the server that could lose accepted events.

mod lists;

use std::collections::HashMap;
use std::sync::Arc;

use redis::{Cmd, cmd};

use super::disk_sync::{DiskSync, DiskSyncProbe};
use super::{Durability, RedisQueueOptions};
use crate::redis::connection::{Connection, Links, RedisFailure, RedisServer};
use bklit_wire::diagnostic::{Diagnostic, Severity};
use bklit_wire::time::UtcMillis;
use lists::{Counts, counts, shards};

/// Memory usage, in percent of the maximum, above which a warning is reported.
const NEARLY_FULL_PERCENT: u64 = 90;

/// The fields of the `INFO` response.
type Info = HashMap<String, String>;

/// Checks the server and the queue in it. Changes nothing.
///
/// # Errors
/// If the server cannot be reached, or rejects a command that the checks need.
pub async fn check(
    server: RedisServer,
    options: &RedisQueueOptions,
    alarm_depth: u64,
) -> Result<Vec<Diagnostic>, RedisFailure> {
    let links = Links::new(server.clone());
    let mut nodes = vec![links.of(&options.prefix).await?];
    let connection = nodes[0].connection().await?;
    let mut findings = of_server(&connection, options.durability).await?;
    let shards = shards(&connection, options).await?;
    findings.extend(shards.findings);
    drop(connection);
    let mut queue = Counts::default();
    for keys in &shards.keys {
        let link = links.of(&keys.queue).await?;
        let connection = link.connection().await?;
        if !nodes.iter().any(|known| Arc::ptr_eq(known, &link)) {
            findings.extend(of_further_server(&connection, options.durability).await?);
            nodes.push(Arc::clone(&link));
        }
        match counts(&connection, keys).await? {
            Ok(counts) => queue.add(&counts),
            Err(problem) => {
                findings.push(problem);
                return Ok(findings);
            }
        }
    }
    let Counts { depth, failed, most_failed, abandoned } = queue;
    // The bound holds for each list.
    let (failed, bound) = match most_failed >= options.max_failed {
        true => (most_failed, options.max_failed),
        false => (failed, u64::MAX),
    };
    findings.extend(Diagnostic::of_queue(depth, alarm_depth, failed, bound));
    if abandoned > 0 {
        findings.push(Diagnostic::warning(
            format!("batches claimed by workers that have stopped: {abandoned}"),
            "start a worker, which claims them again",
        ));
    }
    Ok(findings)
}

/// Findings about a server itself.
async fn of_server(
    connection: &Connection<'_>,
    durability: Durability,
) -> Result<Vec<Diagnostic>, RedisFailure> {
    let text: Result<String, String> = optional(connection, &cmd("INFO")).await?;
    let mut findings = Vec::new();
    let info: Info = match &text {
        Ok(text) => (text.lines().filter_map(|line| line.split_once(':')))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        Err(reason) => {
            findings.push(Diagnostic::warning(
                format!("its version, memory and replication are unknown: {reason}"),
                "allow the user `+info`",
            ));
            Info::default()
        }
    };
    findings.extend(version(&info));
    findings.extend(role(&info));
    findings.extend(cluster(connection, &info).await?);
    if text.is_ok() {
        findings.extend(replicas(&info, connection.server(), durability));
    }
    findings.extend(disk(connection, &info, durability).await?);
    findings.extend(snapshot(&info));
    findings.extend(memory(&info));
    findings.extend(reports(connection).await?);
    let before = UtcMillis::now().epoch_millis();
    let time: Result<(i64, i64), _> = optional(connection, &cmd("TIME")).await?;
    findings.extend(time.ok().map(|(seconds, micros)| {
        let now = seconds * 1000 + micros / 1000;
        Diagnostic::of_clock(now, before, UtcMillis::now().epoch_millis())
    }));
    Ok(findings)
}

/// Problems of a further node that has shards.
async fn of_further_server(
    connection: &Connection<'_>,
    durability: Durability,
) -> Result<Vec<Diagnostic>, RedisFailure> {
    let mut findings = of_server(connection, durability).await?;
    findings.retain(|finding| finding.severity > Severity::Good);
    let address = connection.server().address();
    findings.iter_mut().for_each(|finding| finding.what.insert_str(0, &format!("{address}: ")));
    Ok(findings)
}

fn text<'a>(info: &'a Info, name: &str) -> &'a str {
    info.get(name).map_or("", String::as_str)
}

fn number(info: &Info, name: &str) -> u64 {
    text(info, name).parse().unwrap_or(0)
}

fn version(info: &Info) -> Option<Diagnostic> {
    let version = |name: &str, field: &str| Some(format!("{name} {}", info.get(field)?));
    let version =
        version("Valkey", "valkey_version").or_else(|| version("Redis", "redis_version"))?;
    Some(Diagnostic::good(version))
}

fn role(info: &Info) -> Option<Diagnostic> {
    (text(info, "role") == "slave").then(|| {
        Diagnostic::problem(
            "it is a replica, which accepts no events",
            "set redis_url to the primary, or promote this server",
        )
    })
}

async fn cluster(
    connection: &Connection<'_>,
    info: &Info,
) -> Result<Option<Diagnostic>, RedisFailure> {
    if text(info, "cluster_enabled") != "1" {
        return Ok(None);
    }
    if !connection.server().is_cluster() {
        return Ok(Some(Diagnostic::problem(
            "it belongs to a cluster, which redis_url does not say",
            "write redis+cluster:// instead of redis:// in redis_url",
        )));
    }
    let command = cmd("CLUSTER").arg("INFO").take();
    let state: Result<String, String> = optional(connection, &command).await?;
    let is_ok = state.as_ref().is_ok_and(|state| state.contains("cluster_state:ok"));
    Ok(Some(match state {
        Err(_) => return Ok(None),
        Ok(_) if is_ok => Diagnostic::good("the cluster has all its slots"),
        Ok(_) => Diagnostic::problem(
            "the cluster lacks nodes or slots, so it may refuse all commands",
            "check its nodes with `redis-cli --cluster check`",
        ),
    }))
}

async fn disk(
    connection: &Connection<'_>,
    info: &Info,
    durability: Durability,
) -> Result<Vec<Diagnostic>, RedisFailure> {
    const TURN_ON: &str = "set `appendonly yes`";
    let mut findings = Vec::new();
    let command = cmd("CONFIG").arg("GET").arg("append*").take();
    let config: Result<Info, _> = optional(connection, &command).await?;
    let setting = |name| config.as_ref().ok().map(|config| text(config, name));
    let fsync = setting("appendfsync");
    if text(info, "aof_enabled") == "0" || setting("appendonly") == Some("no") {
        let what = "it has no append-only file: a crash loses accepted events";
        findings.push(Diagnostic::problem(what, TURN_ON));
        return Ok(findings);
    }
    if text(info, "aof_last_write_status") == "err" {
        let what = "it cannot write its append-only file";
        findings.push(Diagnostic::problem(what, "check its log, and free disk space"));
    }
    findings.push(match fsync {
        Some("no") => Diagnostic::warning(
            "appendfsync is no: a power failure may lose half a minute of events",
            "set `appendfsync everysec`, or `always`",
        ),
        Some(value) => Diagnostic::good(format!("it has an append-only file, appendfsync {value}")),
        None => Diagnostic::warning(
            "whether it has an append-only file and syncs it is unknown: CONFIG is forbidden",
            "ask its operator for `appendonly yes` and `appendfsync everysec` or `always`",
        ),
    });
    if durability == Durability::Always {
        findings.push(match (DiskSyncProbe::default().disk(connection).await?, fsync) {
            (DiskSync::Always, _) if connection.server().fails_over() => Diagnostic::problem(
                "durability is always, which needs WAITAOF where a replica takes over",
                "use Redis 7.2 or later, or Valkey; until then events stay in the data dir while \
                 there is a replica",
            ),
            (DiskSync::Waits | DiskSync::Always, Some("always")) => {
                Diagnostic::good("it syncs before it responds, as durability always requires")
            }
            (DiskSync::Waits, _) => Diagnostic::warning(
                "durability is always, but some releases confirm too early without appendfsync always",
                "set `appendfsync always`",
            ),
            _ => Diagnostic::problem(
                "durability is always, but it cannot confirm when an event is on disk",
                "use Redis 7.2 or later, or Valkey, and set `appendfsync always`; until then \
                 events stay in the data dir",
            ),
        });
    }
    Ok(findings)
}

/// Whether it reports changes to a worker that waits; otherwise it is polled.
async fn reports(connection: &Connection<'_>) -> Result<Option<Diagnostic>, RedisFailure> {
    const EFFECT: &str = "while workers poll, events that other processes push are noticed up to 5 s \
                          later, and an idle pipeline costs more commands";
    if connection.server().speaks_resp2() {
        return Ok(Some(Diagnostic::warning(
            "it lacks RESP3 (HELLO), so RESP2 is used, with which workers poll it",
            format!("use Redis 6 or later, or a proxy that passes HELLO on; {EFFECT}"),
        )));
    }
    let tracking = |on: &str| cmd("CLIENT").arg("TRACKING").arg(on).take();
    let Err(reason) = optional::<()>(connection, &tracking("ON")).await? else {
        connection.query::<()>(&tracking("OFF")).await?;
        return Ok(None);
    };
    Ok(Some(Diagnostic::warning(
        format!("it refuses CLIENT TRACKING, so workers poll it: {reason}"),
        format!("use Redis 6 or later, and allow the user `+client|tracking`; {EFFECT}"),
    )))
}

/// By default, a server that cannot save its snapshot rejects all writes (`MISCONF`).
fn snapshot(info: &Info) -> Option<Diagnostic> {
    (text(info, "rdb_last_bgsave_status") == "err").then(|| {
        Diagnostic::problem(
            "it cannot save its snapshot (dump.rdb), so it rejects writes with MISCONF unless \
             stop-writes-on-bgsave-error is no",
            "check its log, and the free space and permissions of its directory",
        )
    })
}

fn memory(info: &Info) -> Vec<Diagnostic> {
    let policy = text(info, "maxmemory_policy");
    let (most, used) = (number(info, "maxmemory"), number(info, "used_memory"));
    let mut findings = Vec::new();
    if policy.starts_with("allkeys") {
        let what =
            format!("maxmemory-policy is {policy}: when memory is full, it may evict the queue");
        findings.push(match most {
            0 => Diagnostic::warning(
                format!("{what}; no maxmemory is set yet"),
                "set `maxmemory-policy noeviction`",
            ),
            _ => Diagnostic::problem(what, "set `maxmemory-policy noeviction`"),
        });
    } else if policy.starts_with("volatile") {
        findings.push(Diagnostic::warning(
            format!(
                "maxmemory-policy is {policy}: it may evict the ids that detect clients' retries"
            ),
            "set `maxmemory-policy noeviction`",
        ));
    } else if !policy.is_empty() {
        findings.push(Diagnostic::good(format!("maxmemory-policy is {policy}")));
    }
    if most > 0 && used.saturating_mul(100) > most.saturating_mul(NEARLY_FULL_PERCENT) {
        findings.push(Diagnostic::warning(
            format!("it uses {used} of {most} bytes of memory"),
            "raise maxmemory; when it is full, events go to the data dir",
        ));
    }
    findings
}

/// What a failover can lose.
fn replicas(info: &Info, server: &RedisServer, durability: Durability) -> Option<Diagnostic> {
    let connected = number(info, "connected_slaves");
    if !server.fails_over() {
        return None;
    }
    Some(match (connected, durability) {
        (0, _) => Diagnostic::warning(
            "no replica is connected, so nothing takes over when it fails",
            "start a replica with `appendonly yes`, or check its log",
        ),
        (_, Durability::Always) => Diagnostic::good(format!(
            "connected replicas: {connected}; one has an event on disk before it is accepted"
        )),
        (_, Durability::Everysec) => Diagnostic::good(format!(
            "connected replicas: {connected}; a failover can lose the last events, unless \
             durability is always"
        )),
    })
}

/// The response, or the server's error; only a lost connection is an error of this function.
async fn optional<T: redis::FromRedisValue>(
    connection: &Connection<'_>,
    command: &Cmd,
) -> Result<Result<T, String>, RedisFailure> {
    match connection.query(command).await {
        Ok(response) => Ok(Ok(response)),
        Err(RedisFailure::Command(error)) if error.code().is_some() => Ok(Err(error.to_string())),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_cannot_save_its_snapshot_is_reported() {
        let info = |status: &str| Info::from([("rdb_last_bgsave_status".into(), status.into())]);
        assert!(snapshot(&info("err")).unwrap().what.contains("MISCONF"));
        assert_eq!(snapshot(&info("ok")), None);
    }
}
