//! Tests of the servers themselves: what other tests rely on.

use serde_json::json;

use super::{ClickHouse, Database, Kind, Postgres, PostgresDatabase, RedisServer};
use crate::support::{DEADLINE, eventually};

#[test]
fn a_killed_server_restarts_with_its_data_on_the_same_port() {
    for kind in Kind::ALL {
        let mut server = RedisServer::start(kind, &[("appendfsync", "always")]);
        let url = server.url();
        assert_eq!(server.cli(&["SET", "name", "value"]), "OK");
        server.kill9();
        server.restart();
        assert_eq!(server.url(), url, "{kind:?}");
        assert_eq!(server.cli(&["GET", "name"]), "value", "{kind:?}");
        server.stop();
        server.restart();
        assert_eq!(server.cli(&["GET", "name"]), "value", "{kind:?}");
        assert!(server.dir().join("appendonlydir").is_dir(), "{kind:?}");
    }
}

#[test]
fn only_valkey_confirms_the_append_only_file() {
    let valkey = RedisServer::start(Kind::Valkey, &[]);
    assert_eq!(valkey.cli(&["WAITAOF", "1", "0", "1000"]), "1\n0");
    let redis = RedisServer::start(Kind::Redis, &[]);
    let commands = redis.cli(&["COMMAND", "INFO", "WAITAOF"]);
    assert_eq!(commands, "", "Redis 7.0 has no WAITAOF");
    assert!(redis.log().contains("7.0."), "{}", redis.log());
}

#[test]
fn a_password_is_part_of_the_url_and_required() {
    let server = RedisServer::start(Kind::Valkey, &[("requirepass", "s3cret")]);
    assert_eq!(server.url(), format!("redis://:s3cret@127.0.0.1:{}", server.port()));
    assert_eq!(server.cli(&["PING"]), "PONG");
}

#[test]
fn a_frozen_server_keeps_its_connections_and_continues() {
    let server = RedisServer::start(Kind::Redis, &[]);
    server.freeze();
    assert!(!server.answers(), "a stopped process does not respond");
    server.thaw();
    assert_eq!(server.cli(&["PING"]), "PONG");
}

#[test]
fn databases_on_the_shared_clickhouse_are_isolated() {
    let [one, two]: [Database; 2] = [ClickHouse::shared(), ClickHouse::shared()];
    assert_eq!(one.url(), two.url());
    assert_ne!(one.name(), two.name());
    one.query("CREATE TABLE t (x Int8) ENGINE = MergeTree ORDER BY x");
    two.query("CREATE TABLE t (x Int8) ENGINE = MergeTree ORDER BY x");
    one.query("INSERT INTO t FORMAT JSONEachRow {\"x\": 1}");
    assert_eq!(
        (one.query("SELECT count() FROM t"), two.query("SELECT count() FROM t")),
        ("1".into(), "0".into())
    );
}

#[test]
fn a_dedicated_clickhouse_restarts_with_its_rows() {
    let mut server = ClickHouse::own();
    let url = server.url();
    server.query("CREATE TABLE t (x Int8) ENGINE = MergeTree ORDER BY x");
    server.fault(json!({"match": "INSERT INTO t", "kind": "kill_after_commit"}));
    server.query("SELECT 1");
    let insert = std::panic::catch_unwind(|| server.query("INSERT INTO t VALUES (1)"));
    assert!(insert.is_err(), "a killed server does not respond");
    eventually(DEADLINE, "the process exits", || !server.is_running());
    server.restart();
    assert_eq!((server.url(), server.query("SELECT x FROM t")), (url, "1".into()));
    assert_eq!(server.faults(), Vec::<serde_json::Value>::new());
    server.stop();
    assert!(!server.is_running());
}

#[test]
fn faults_are_counted_and_healed() {
    let server = ClickHouse::own();
    server.fault(json!({"match": "SELECT 7", "kind": "burn_token", "times": 1}));
    assert_eq!((server.query("SELECT 7"), server.query("SELECT 7")), (String::new(), "7".into()));
    assert_eq!((&server.faults()[0]["seen"], &server.faults()[0]["hits"]), (&json!(2), &json!(1)));
    server.heal();
    assert!(server.faults().is_empty());
    let outcomes: Vec<_> = server.log().iter().map(|entry| entry["outcome"].clone()).collect();
    assert_eq!(outcomes, ["not run", "done"]);
    server.freeze();
    server.thaw();
    assert_eq!(ClickHouse::with_account("u", "p").query("SELECT 1"), "1");
}

#[test]
fn databases_on_the_shared_postgres_are_isolated() {
    let [one, two]: [PostgresDatabase; 2] = [Postgres::shared(), Postgres::shared()];
    assert_ne!(one.url(), two.url());
    one.sql("CREATE TABLE t (x int)");
    two.sql("CREATE TABLE t (x int); INSERT INTO t VALUES (1), (2)");
    assert_eq!(
        (one.sql("SELECT count(*), 'a' FROM t"), two.sql("SELECT x FROM t")),
        ("0|a".into(), "1\n2".into())
    );
}

#[test]
fn a_dedicated_postgres_restarts_with_its_rows() {
    let mut server = Postgres::own();
    let url = server.url();
    server.sql("CREATE TABLE t (x int); INSERT INTO t VALUES (1)");
    server.restart();
    assert_eq!((server.url(), server.sql("SELECT x FROM t")), (url, "1".into()));
    server.kill9();
    server.restart();
    server.stop();
    server.restart();
    assert_eq!(server.sql("SELECT x FROM t"), "1");
}
