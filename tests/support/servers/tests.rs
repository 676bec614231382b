//! The servers keep what the tests that use them rely on.

use super::{Kind, RedisServer};

#[test]
fn a_killed_server_comes_back_with_its_data_on_the_same_port() {
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
fn a_password_is_part_of_the_url_and_asked_for() {
    let server = RedisServer::start(Kind::Valkey, &[("requirepass", "s3cret")]);
    assert_eq!(server.url(), format!("redis://:s3cret@127.0.0.1:{}", server.port()));
    assert_eq!(server.cli(&["PING"]), "PONG");
}

#[test]
fn a_frozen_server_keeps_its_connections_and_goes_on() {
    let server = RedisServer::start(Kind::Redis, &[]);
    server.freeze();
    assert!(!server.answers(), "a stopped process does not answer");
    server.thaw();
    assert_eq!(server.cli(&["PING"]), "PONG");
}
