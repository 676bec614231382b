//! Checks of Redis, ClickHouse and Postgres.

use super::{assert_found, assert_no_problems, cli, examined};
use crate::postgres::{SCHEMA, insert_token, stray_hash};
use crate::support::Cli;
use crate::support::redis_proxy::RedisProxy;
use crate::support::servers::{ClickHouse, Kind, Postgres, RedisCluster, RedisServer, Sentinels};

fn redis(server: &RedisServer) -> Cli {
    cli().env("REDIS_URL", &server.url())
}

#[test]
fn a_well_configured_redis_has_no_problems() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        assert_no_problems(&redis(&server), "redis");
        let name = if kind == Kind::Valkey { "Valkey 9" } else { "Redis 7.0" };
        assert_found(&redis(&server), "redis", "ok", name);
        let always = [("appendfsync", "always")];
        let server = RedisServer::start(kind, &always);
        assert_no_problems(&redis(&server).env("BKLIT_DURABILITY", "always"), "redis");
    }
}

#[test]
fn each_bad_setting_of_redis_is_reported() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let cli = redis(&server);
    let always = redis(&server).env("BKLIT_DURABILITY", "always");
    assert_found(&always, "redis", "warning", "confirm too early");
    for (setting, bad, good, severity, what) in [
        ("appendfsync", "no", "everysec", "warning", "appendfsync is no"),
        ("maxmemory-policy", "allkeys-lru", "noeviction", "warning", "evict the queue"),
        ("maxmemory-policy", "volatile-ttl", "noeviction", "warning", "may evict the ids"),
        ("appendonly", "no", "yes", "problem", "no append-only file"),
    ] {
        server.cli(&["CONFIG", "SET", setting, bad]);
        assert_found(&cli, "redis", severity, what);
        server.cli(&["CONFIG", "SET", setting, good]);
    }
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    server.cli(&["CONFIG", "SET", "maxmemory", "100mb"]);
    assert_found(&cli, "redis", "problem", "evict the queue");
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    server.cli(&["SET", "ballast", &"x".repeat(1 << 10)]);
    let used: u64 = server
        .cli(&["INFO", "memory"])
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok())
        .unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", &(used + used / 100).to_string()]);
    assert_found(&cli, "redis", "warning", "bytes of memory");
    let without = RedisServer::start(Kind::Redis, &[]);
    let cli = redis(&without).env("BKLIT_DURABILITY", "always");
    assert_found(&cli, "redis", "problem", "cannot confirm when an event is on disk");
}

#[test]
fn the_contents_of_the_queue_are_checked() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let cli = redis(&server);
    assert_found(&cli, "redis", "ok", "waiting in the queue: 0");
    let many: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let mut push = vec!["LPUSH", "analytics:queue"];
    push.extend(many.iter().map(String::as_str));
    server.cli(&push);
    assert_found(&cli, "redis", "warning", "waiting in the queue: 1000");
    server.cli(&["LPUSH", "analytics:queue:failed", "{}"]);
    assert_found(&cli, "redis", "warning", "events in the failed queue: 1");
    server.cli(&["ZADD", "analytics:queue:inflight", "1000", "batch"]);
    assert_found(&cli, "redis", "warning", "workers that have stopped");
    server.cli(&["DEL", "analytics:queue"]);
    server.cli(&["SET", "analytics:queue", "text"]);
    assert_found(&cli, "redis", "problem", "analytics:queue has the type string");
    server.cli(&["DEL", "analytics:queue"]);
    server.cli(&["DEL", "analytics:queue:inflight"]);
    server.cli(&["SET", "analytics:queue:inflight", "text"]);
    assert_found(&cli, "redis", "problem", "analytics:queue:inflight has the type string");
}

#[test]
fn a_redis_that_has_to_be_polled_is_reported() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    server.cli(&["ACL", "SETUSER", "default", "-client|tracking"]);
    assert_found(&redis(&server), "redis", "warning", "workers poll it");
}

#[test]
fn a_redis_with_restricted_permissions_is_still_checked() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    server
        .cli(&["ACL", "SETUSER", "app", "on", ">hush", "~*", "&*", "+@all", "-config", "-waitaof"]);
    let url = server.url().replace("redis://", "redis://app:hush@");
    let app = cli().env("REDIS_URL", &url);
    assert_found(&app, "redis", "warning", "CONFIG is forbidden");
    let always = cli().env("REDIS_URL", &url).env("BKLIT_DURABILITY", "always");
    let (findings, _) = examined(&always, &[]);
    assert!(!format!("{findings:?}").contains("hush"), "{findings:#?}");
    server.cli(&["ACL", "SETUSER", "app", "-info", "-time"]);
    assert_found(&app, "redis", "warning", "its version, memory and replication are unknown");
    assert_found(&app, "redis", "ok", "waiting in the queue: 0");
    let (findings, _) = examined(&app, &[]);
    let mut of_redis = findings.iter().filter(|found| found[0] == "redis");
    assert!(of_redis.all(|found| found[1] != "problem"), "{findings:#?}");
    server.cli(&["ACL", "SETUSER", "app", "-lpush"]);
    assert_found(&app, "redis", "problem", "NOPERM: the user may not run LPUSH on it");
    server.cli(&["ACL", "SETUSER", "app", "+lpush", "-eval"]);
    assert_found(&app, "redis", "problem", "has no permissions to run the 'eval' command");
}

#[test]
fn a_replica_is_a_problem() {
    let primary = RedisServer::start(Kind::Valkey, &[]);
    let replica = RedisServer::start(Kind::Valkey, &[]);
    replica.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    assert_found(&redis(&replica), "redis", "problem", "it is a replica");
}

#[test]
fn a_single_redis_is_not_a_cluster() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let cli = cli().env("REDIS_URL", &server.url().replace("redis://", "redis+cluster://"));
    assert_found(&cli, "redis", "problem", "write redis:// instead of redis+cluster://");
}

#[test]
fn a_cluster_and_its_state_are_reported() {
    let cluster = RedisCluster::start(&[]);
    let named = cli().env("REDIS_URL", &cluster.url());
    assert_found(&named, "redis", "ok", "the cluster has all its slots");
    assert_found(&named, "redis", "warning", "no replica is connected");
    for node in &cluster.nodes {
        assert_found(&redis(node), "redis", "problem", "belongs to a cluster");
    }
    let last = &cluster.nodes[2];
    last.cli(&["CLUSTER", "DELSLOTS", &cluster.slot("unused")]);
    for node in &cluster.nodes {
        let _ = node.try_cli(&["CLUSTER", "DELSLOTS", &cluster.slot("unused")]);
    }
    assert_found(&named, "redis", "problem", "lacks nodes or slots");
}

#[test]
fn a_possible_loss_in_a_failover_is_reported() {
    let sentinels = Sentinels::start(&[("appendfsync", "always")]);
    let cli = || cli().env("REDIS_URL", &sentinels.url());
    assert_found(&cli(), "redis", "ok", "a failover can lose the last events");
    let always = cli().env("BKLIT_DURABILITY", "always");
    assert_found(&always, "redis", "ok", "one has an event on disk before it is accepted");
    assert_no_problems(&always, "redis");
}

#[test]
fn rejected_passwords_and_old_protocols_are_reported() {
    let server = RedisServer::start(Kind::Valkey, &[("requirepass", "hush")]);
    let without = server.url().replace(":hush@", "");
    let wrong = server.url().replace("hush", "wr0ng");
    for (url, what) in
        [(without, "it requires a password"), (wrong, "rejects the user or the password")]
    {
        assert_found(&cli().env("REDIS_URL", &url), "redis", "problem", what);
    }
    let server = RedisServer::start(Kind::Redis, &[]);
    let proxy = RedisProxy::without_hello(server.port());
    assert_found(&cli().env("REDIS_URL", &proxy.url()), "redis", "warning", "RESP2 is used");
}

#[test]
fn unavailable_or_hanging_servers_are_reported_in_time() {
    let mut killed = RedisServer::start(Kind::Valkey, &[]);
    killed.kill9();
    assert_found(&redis(&killed), "redis", "problem", "no connection to Redis at 127.0.0.1");
    let frozen = RedisServer::start(Kind::Valkey, &[]);
    frozen.freeze();
    let clickhouse = ClickHouse::own();
    clickhouse.freeze();
    let mut postgres = Postgres::own();
    postgres.stop();
    let cli = redis(&frozen)
        .env("CLICKHOUSE_HOST", &clickhouse.url())
        .env("DATABASE_URL", &postgres.url());
    let began = std::time::Instant::now();
    let (findings, code) = examined(&cli, &[]);
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    for part in ["redis", "clickhouse", "postgres"] {
        let found = findings.iter().find(|found| found[0] == part).unwrap();
        assert_eq!(found[1], "problem", "{found:?}");
    }
    assert_eq!(code, 1);
    frozen.thaw();
    clickhouse.thaw();
}

#[test]
fn the_tables_of_clickhouse_are_checked() {
    let database = ClickHouse::shared();
    let cli =
        cli().env("CLICKHOUSE_HOST", &database.url()).env("CLICKHOUSE_DATABASE", database.name());
    assert_found(&cli, "clickhouse", "problem", "page_view_event is missing");
    cli.run(&["migrate"]).ok();
    assert_no_problems(&cli, "clickhouse");
    database.query(
        "ALTER TABLE page_view_event MODIFY SETTING non_replicated_deduplication_window = 0",
    );
    assert_found(&cli, "clickhouse", "problem", "a repeat may be stored twice");
}

#[test]
fn the_tables_of_postgres_are_checked() {
    let database = Postgres::shared();
    let cli = cli().env("DATABASE_URL", &database.url());
    assert_found(&cli, "postgres", "problem", "api_token cannot be read");
    database.sql(SCHEMA);
    assert_no_problems(&cli, "postgres");
    assert_found(&cli, "postgres", "ok", "Postgres 16");
    database.sql("ALTER TABLE \"EventDefinition\" RENAME COLUMN \"trackingId\" TO \"other\"");
    assert_found(&cli, "postgres", "problem", "\"trackingId\" does not exist");
    for n in 0..3 {
        database.sql(&insert_token(&format!("t{n}"), &stray_hash(n), None));
    }
    assert_found(&cli, "postgres", "warning", "slow to compare: 3");
    let wrong = database.url().replace("s3cret", "hush");
    let cli = super::cli().env("DATABASE_URL", &wrong);
    assert_found(&cli, "postgres", "problem", "password authentication failed");
    assert!(!cli.run(&["doctor"]).stdout.contains("hush"));
}
