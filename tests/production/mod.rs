//! The real program with Redis and ClickHouse, with one of them, and with neither.

mod idle;
mod outages;
mod presence;
mod refused;
mod repair;
mod tables;
mod tls;
mod tokens;

use serde_json::{Value, json};

use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon, eventually};

const QUEUE: &str = "analytics:queue";
/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:1";
const VIEWS: &str = "SELECT count() FROM page_view_event";

#[track_caller]
fn stored(daemon: &Daemon, count: u64) {
    eventually(DEADLINE, "the page views are stored", || daemon.scalar(VIEWS) == json!(count));
}

#[test]
fn each_combination_of_servers_stores_what_it_accepts() {
    for (with_redis, with_clickhouse) in
        [(false, false), (true, false), (false, true), (true, true)]
    {
        let redis = with_redis.then(|| RedisServer::start(Kind::Valkey, &[]));
        let clickhouse = with_clickhouse.then(ClickHouse::shared);
        let mut settings = String::new();
        if let Some(redis) = &redis {
            settings += &format!("redis_url = '{}'\n", redis.url());
        }
        if let Some(database) = &clickhouse {
            let (url, name) = (database.url(), database.name());
            settings += &format!("clickhouse_url = '{url}'\nclickhouse_database = '{name}'\n");
        }
        let daemon = Daemon::with_settings(&settings);
        let id = daemon.track("https://a.example/");
        eventually(DEADLINE, "the table exists", || {
            !with_clickhouse || daemon.cli(&["migrate", "--dry-run"]).contains("up to date")
        });
        stored(&daemon, 1);
        assert_eq!(daemon.scalar("SELECT id FROM page_view_event"), json!(id));
        eventually(DEADLINE, "the pipeline is healthy", || {
            let health = daemon.get("/health").json();
            health["status"] == "ok" && health["spooled"] == 0
        });
        assert!(daemon.cli(&["token", "list"]).contains("created at the first start"));
        // Nothing was written to files instead.
        let files = |name: &str| daemon.data_dir().join(name).exists();
        assert_eq!(files("tokens.db"), !with_redis, "{settings}");
        assert_eq!(files("store.db"), !with_clickhouse, "{settings}");
        if let Some(redis) = &redis {
            assert_eq!(redis.cli(&["HLEN", "bklit:tokens"]), "1");
        }
        if let Some(database) = &clickhouse {
            assert_eq!(database.query(VIEWS), "1");
        }
    }
}

#[test]
fn events_of_another_producer_are_stored() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let database = ClickHouse::shared();
    let daemon = Daemon::with_settings(&format!(
        "redis_url = '{}'\nclickhouse_url = '{}'\nclickhouse_database = '{}'",
        redis.url(),
        database.url(),
        database.name()
    ));
    let item = r#"{"id":"evt_1764000000000_k3j9x2a1b","type":"pageview","payload":{"url":"https://ts.example/","timestamp":"2026-01-02T03:04:05.678Z","projectId":"default","sessionId":"s-1","mobile":false,"country":"Norway"},"queuedAt":"2026-01-02T03:04:06.000Z","projectId":"default"}"#;
    redis.cli(&["LPUSH", QUEUE, item]);
    redis.cli(&["LPUSH", QUEUE, "not JSON"]);
    daemon.track("https://a.example/");
    eventually(DEADLINE, "both are stored", || {
        redis.cli(&["LLEN", QUEUE]) == "0"
            && daemon.cli(&["migrate", "--dry-run"]).contains("up to date")
            && daemon.scalar(VIEWS) == json!(2)
    });
    let url = "SELECT url FROM page_view_event WHERE id = 'evt_1764000000000_k3j9x2a1b'";
    assert_eq!(daemon.scalar(url), json!("https://ts.example/"));
    eventually(DEADLINE, "the other one failed", || {
        daemon.get("/health").json()["queue"]["failed"] == 1
    });
}

#[test]
fn another_consumer_finds_items_in_the_contracts_form() {
    let redis = RedisServer::start(Kind::Redis, &[]);
    let settings = format!("redis_url = '{}'\nclickhouse_url = '{NOWHERE}'", redis.url());
    let daemon = Daemon::with_settings(&settings);
    daemon.track("https://a.example/first");
    eventually(DEADLINE, "the worker holds the first", || {
        daemon.get("/health").json()["queue"]["inFlight"] == 1
    });
    let id = daemon.track("https://a.example/second");
    let item: Value = serde_json::from_str(&redis.cli(&["RPOP", QUEUE])).unwrap();
    assert_eq!((&item["id"], &item["type"]), (&json!(id), &json!("pageview")));
    assert_eq!(item["projectId"], "default");
    assert_eq!(item["payload"]["url"], "https://a.example/second");
    assert!(item["queuedAt"].as_str().is_some_and(|time| time.ends_with('Z')), "{item}");
    assert_eq!(daemon.get("/health").json()["status"], "degraded");
}

#[test]
fn servers_that_start_after_the_daemon_are_used_once_available() {
    let mut redis = RedisServer::start(Kind::Valkey, &[]);
    let mut clickhouse = ClickHouse::own();
    redis.kill9();
    clickhouse.kill9();
    let daemon = Daemon::with_settings(&format!(
        "redis_url = '{}'\nclickhouse_url = '{}'\n[worker]\nmax_backoff = '500ms'",
        redis.url(),
        clickhouse.url()
    ));
    assert_eq!(daemon.get("/health").json()["status"], "degraded");
    redis.restart();
    eventually(DEADLINE, "the first token", || daemon.data_dir().join("token").exists());
    daemon.track("https://a.example/");
    clickhouse.restart();
    eventually(DEADLINE, "the tables are created", || {
        let tables =
            clickhouse.query("SELECT count() FROM system.tables WHERE database = 'analytics'");
        tables.parse::<u32>().unwrap() >= 4
    });
    stored(&daemon, 1);
}

#[test]
fn migrate_creates_the_tables_and_prints_the_statements() {
    let database = ClickHouse::shared();
    let cli = Cli::new()
        .env("CLICKHOUSE_HOST", &database.url())
        .env("CLICKHOUSE_DATABASE", database.name());
    let planned = cli.run(&["migrate", "--dry-run"]).ok();
    assert!(planned.contains("CREATE TABLE IF NOT EXISTS"), "{planned}");
    assert_eq!(database.query("SHOW TABLES"), "");
    let done = cli.run(&["migrate"]).ok();
    assert_eq!(done, format!("{planned}-- Done.\n"));
    assert!(database.query("SHOW TABLES").contains("tracked_session"));
    assert!(cli.run(&["migrate"]).ok().contains("up to date"));
    assert_eq!(cli.run(&["sql", "--json", VIEWS]).ok().trim(), r#"{"count()":0}"#);
    let error = Cli::new().run(&["migrate"]).failed();
    assert!(error.contains("--clickhouse-url"), "{error}");
}

#[test]
fn passwords_are_used_and_never_shown() {
    let redis = RedisServer::start(Kind::Valkey, &[("requirepass", "hush-redis")]);
    let clickhouse = ClickHouse::with_account("writer", "hush-house");
    let settings = format!(
        "log = 'debug'\nredis_url = '{}'\nclickhouse_url = '{}'\n\
         clickhouse_username = 'writer'\nclickhouse_password = 'hush-house'",
        redis.url(),
        clickhouse.url()
    );
    let mut daemon = Daemon::with_settings(&settings);
    daemon.track("https://a.example/");
    eventually(DEADLINE, "the page view is stored", || {
        daemon.cli(&["migrate", "--dry-run"]).contains("up to date")
    });
    stored(&daemon, 1);
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait_exit(DEADLINE).success());
    let output = format!("{}{}", daemon.stdout(), daemon.stderr());
    assert!(output.contains("127.0.0.1") && !output.contains("hush"), "{output}");
    // Wrong passwords are refused and not shown.
    let address = redis.url().replace("hush-redis", "hush-wrong");
    let error = Cli::new().env("REDIS_URL", &address).run(&["token", "list"]).failed();
    assert!(!error.contains("hush"), "{error}");
    let cli = Cli::new().env("CLICKHOUSE_HOST", &clickhouse.url());
    let cli = cli.env("CLICKHOUSE_USERNAME", "writer").env("CLICKHOUSE_PASSWORD", "hush-wrong");
    let error = cli.run(&["sql", "SELECT 1"]).failed();
    assert!(!error.contains("hush"), "{error}");
}
