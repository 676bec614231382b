//! What a pipeline without events costs its servers, by their own counters.

use std::time::Duration;

use super::stored;
use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{DEADLINE, Daemon, eventually};

/// The most Redis commands an hour, including those inside scripts, of all processes together.
const PER_HOUR: f64 = 1_500.0;

/// How long is measured, unless `BKLIT_TEST_IDLE_SECONDS` says otherwise.
const SECONDS: u64 = 30;

/// What is executed every few minutes may fall into a short time once: for each process observing
/// the queue, counting subscribers of both buses, and a sweep; for the worker two checks for items.
const ONCE: f64 = 11.0;
const ONCE_FOR_WORKER: f64 = 6.0;

/// Commands executed since the counters were reset.
fn commands(redis: &RedisServer) -> (u64, String) {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let calls = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        // Those of this test.
        let is_own = ["info", "config|resetstat"].contains(&name);
        (!is_own).then(|| rest.split(',').next().unwrap().parse::<u64>().unwrap())
    });
    (calls.sum(), stats)
}

fn measured() -> u64 {
    let seconds = std::env::var("BKLIT_TEST_IDLE_SECONDS").ok();
    seconds.map_or(SECONDS, |seconds| seconds.parse().expect("a number of seconds"))
}

/// Counts commands and statements while nothing happens.
fn costs_little(redis: &RedisServer, clickhouse: &ClickHouse, processes: u32) {
    let seconds = measured();
    let statements = || clickhouse.log().len();
    // A start takes commands. In the next minutes it sweeps idle sessions twice.
    std::thread::sleep(Duration::from_secs(if seconds > SECONDS { 160 } else { 4 }));
    redis.cli(&["CONFIG", "RESETSTAT"]);
    let before = statements();
    std::thread::sleep(Duration::from_secs(seconds));
    let (count, stats) = commands(redis);
    let most = PER_HOUR * seconds as f64 / 3600.0 + ONCE * f64::from(processes) + ONCE_FOR_WORKER;
    println!("{processes} processes, {seconds} s: {count} commands\n{stats}");
    assert!((count as f64) <= most, "{count} commands in {seconds} s, more than {most}: {stats}");
    assert_eq!(statements(), before, "statements: {:?}", &clickhouse.log()[before..]);
}

fn settings(redis: &RedisServer, clickhouse: &ClickHouse) -> String {
    let (redis, clickhouse) = (redis.url(), clickhouse.url());
    format!("redis_url = '{redis}'\nclickhouse_url = '{clickhouse}'")
}

/// Waits until the tables exist and the worker has noticed it.
fn tables_exist(daemon: &Daemon) {
    eventually(DEADLINE, "the tables exist", || {
        daemon.cli(&["migrate", "--dry-run"]).contains("up to date")
    });
    eventually(DEADLINE, "the store works", || {
        daemon.get("/health").json()["health"]["store"] == "ok"
    });
}

/// And an item that another program pushes is stored at once.
#[test]
fn an_idle_process_costs_its_servers_next_to_nothing() {
    let (redis, clickhouse) = (RedisServer::start(Kind::Valkey, &[]), ClickHouse::own());
    let daemon = Daemon::with_settings(&settings(&redis, &clickhouse));
    tables_exist(&daemon);
    costs_little(&redis, &clickhouse, 1);
    let item = r#"{"id":"evt_1764000000000_k3j9x2a1b","type":"pageview","payload":{"url":"https://ts.example/","timestamp":"2026-01-02T03:04:05.678Z","projectId":"default"},"queuedAt":"2026-01-02T03:04:06.000Z","projectId":"default"}"#;
    let pushed = std::time::Instant::now();
    redis.cli(&["LPUSH", super::QUEUE, item]);
    eventually(DEADLINE, "it is stored", || {
        clickhouse.query("SELECT count() FROM analytics.page_view_event") == "1"
    });
    // Less than the interval of checks.
    assert!(pushed.elapsed() < Duration::from_secs(10), "{:?}", pushed.elapsed());
    assert_eq!(daemon.get("/health").json()["status"], "ok");
}

/// The shards of a server are watched together.
#[test]
fn an_idle_process_with_several_shards_costs_no_more() {
    let (redis, clickhouse) = (RedisServer::start(Kind::Valkey, &[]), ClickHouse::own());
    let settings = settings(&redis, &clickhouse) + "\n[queue]\nshards = 4";
    let daemon = Daemon::with_settings(&settings);
    tables_exist(&daemon);
    daemon.track("https://a.example/");
    stored(&daemon, 1);
    assert_eq!(redis.cli(&["EXISTS", "analytics:queue:shards"]), "1");
    costs_little(&redis, &clickhouse, 1);
}

#[test]
fn idle_processes_with_one_role_each_cost_little_too() {
    let (redis, clickhouse) = (RedisServer::start(Kind::Valkey, &[]), ClickHouse::own());
    let settings = settings(&redis, &clickhouse);
    let with_roles = |roles| Daemon::with_environment(&settings, &[("BKLIT_ROLES", roles)]);
    let processes = ["ingestion", "websocket", "worker"].map(with_roles);
    tables_exist(&processes[2]);
    costs_little(&redis, &clickhouse, 3);
    processes[0].track("https://a.example/");
    stored(&processes[2], 1);
}

/// A failing store is noticed as soon as its state is requested.
#[test]
fn the_state_of_an_idle_process_is_fresh_on_request() {
    let (redis, mut clickhouse) = (RedisServer::start(Kind::Valkey, &[]), ClickHouse::own());
    let daemon = Daemon::with_settings(&settings(&redis, &clickhouse));
    tables_exist(&daemon);
    eventually(DEADLINE, "it works", || daemon.get("/health").json()["status"] == "ok");
    std::thread::sleep(Duration::from_secs(6));
    clickhouse.kill9();
    redis.cli(&["LPUSH", "analytics:queue:failed", "{}"]);
    eventually(DEADLINE, "both are noticed", || {
        let health = daemon.get("/health").json();
        health["queue"]["failed"] == 1 && health["health"]["store"] == "failing"
    });
    clickhouse.restart();
    eventually(DEADLINE, "it works again", || daemon.get("/health").json()["status"] == "ok");
}
