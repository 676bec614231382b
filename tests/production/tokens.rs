//! Recently used tokens are accepted by a process that starts while their server is unavailable.

use std::os::unix::fs::PermissionsExt;

use bklit_pipeline::auth::Secret;
use serde_json::json;

use crate::postgres::{SCHEMA, insert_token};
use crate::support::servers::{ClickHouse, Kind, Postgres, RedisServer};
use crate::support::{DEADLINE, Daemon, eventually, request};

fn cache(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.data_dir().join("tokens.cache")).unwrap_or_default()
}

fn status(daemon: &Daemon, secret: &str, path: &str, body: &serde_json::Value) -> u16 {
    let bearer = format!("Bearer {secret}");
    let mut headers = vec![("Content-Type", "application/json")];
    if !secret.is_empty() {
        headers.push(("Authorization", bearer.as_str()));
    }
    request(daemon.addr, "POST", path, &headers, body.to_string().as_bytes()).unwrap().status
}

#[test]
fn a_start_without_redis_accepts_recently_used_tokens() {
    let mut redis = RedisServer::start(Kind::Valkey, &[("appendfsync", "always")]);
    let database = ClickHouse::shared();
    let daemon = Daemon::with_settings(&format!(
        "redis_url = '{}'\nclickhouse_url = '{}'\nclickhouse_database = '{}'",
        redis.url(),
        database.url(),
        database.name()
    ));
    let unused = daemon.cli(&["token", "create", "--project", "default", "--quiet"]);
    let revoked = daemon.cli(&["token", "create", "--project", "default", "--quiet"]);
    let body = json!({ "url": "https://a.example/", "projectId": "default" });
    let mut ids = vec![daemon.track("https://a.example/before")];
    assert_eq!(status(&daemon, revoked.trim(), "/track", &body), 200);
    eventually(DEADLINE, "both are cached", || cache(&daemon).lines().count() == 2);
    let list = daemon.cli(&["token", "list", "--json"]);
    let last: serde_json::Value = serde_json::from_str(list.lines().last().unwrap()).unwrap();
    daemon.cli(&["token", "revoke", last["id"].as_str().unwrap()]);
    eventually(DEADLINE, "it is refused", || {
        status(&daemon, revoked.trim(), "/track", &body) == 401
    });
    eventually(DEADLINE, "it is no longer cached", || cache(&daemon).lines().count() == 1);
    let file = daemon.data_dir().join("tokens.cache").metadata().unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert!(!cache(&daemon).contains(&daemon.token()), "no secret is written to the file");

    redis.kill9();
    let daemon = daemon.restart();
    assert_eq!(daemon.get("/ready").status, 200, "{}", daemon.get("/ready").text());
    ids.extend((0..5).map(|n| daemon.track(&format!("https://a.example/{n}"))));
    for stranger in [unused.trim(), revoked.trim()] {
        assert_eq!(status(&daemon, stranger, "/track", &body), 503, "unknown until Redis is back");
    }
    let end = json!({ "sessionId": "s", "projectId": "default" });
    assert_eq!(status(&daemon, "", "/session-end", &end), 200, "a beacon of a project in use");
    let elsewhere = json!({ "sessionId": "s", "projectId": "other" });
    assert_eq!(status(&daemon, "", "/session-end", &elsewhere), 503);

    redis.restart();
    let stored = |id: &str| {
        database.query(&format!("SELECT count() FROM page_view_event WHERE id = '{id}'"))
    };
    for id in &ids {
        eventually(DEADLINE, "it is stored", || stored(id) != "0");
        assert_eq!(stored(id), "1", "{id}");
    }
    eventually(DEADLINE, "the revoked token is refused as revoked", || {
        status(&daemon, revoked.trim(), "/track", &body) == 401
    });
    assert_eq!(status(&daemon, unused.trim(), "/track", &body), 200);
}

#[test]
fn a_first_start_without_redis_accepts_tokens_in_postgres() {
    let postgres = Postgres::shared();
    postgres.sql(SCHEMA);
    let secret = Secret::generate().unwrap();
    postgres.sql(&insert_token("t", "s:00", Some(&secret.hash().to_hex())));
    let daemon = Daemon::with_settings(&format!(
        "redis_url = 'redis://127.0.0.1:1/'\ndatabase_url = '{}'",
        postgres.url()
    ));
    assert_eq!(daemon.get("/ready").status, 200, "{}", daemon.get("/ready").text());
    let end = |project: &str| json!({ "sessionId": "s", "projectId": project });
    assert_eq!(status(&daemon, "", "/session-end", &end("p")), 200);
    assert_eq!(status(&daemon, "", "/session-end", &end("of-redis")), 503);
    let body = json!({ "url": "https://a.example/", "projectId": "p" });
    assert_eq!(status(&daemon, secret.expose(), "/track", &body), 200);
}

#[test]
fn responses_do_not_reveal_server_addresses() {
    let settings =
        "redis_url = 'redis://127.0.0.1:1/'\ndatabase_url = 'postgres://u:p@127.0.0.1:2/d'";
    let daemon = Daemon::with_settings(settings);
    let secret = format!("Bearer bk_live_{}", "0".repeat(64));
    let headers = [("Content-Type", "application/json"), ("Authorization", secret.as_str())];
    let answer = request(daemon.addr, "POST", "/track", &headers, b"{}").unwrap();
    assert_eq!(answer.status, 503);
    let text = answer.text();
    assert!(!text.contains("127.0.0.1") && !text.contains("Redis"), "{text}");
    assert!(text.contains("try again later"), "{text}");
}
