//! Connections: passwords, databases, TLS, and servers that are unavailable or do not respond.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bklit_adapters::redis::connection::{RedisOptions, RedisServer as Server};
use bklit_adapters::redis::queue::{DEFAULT_PREFIX, Durability, RedisQueue, RedisQueueOptions};
use bklit_pipeline::queue::{Queue, QueueError};

use crate::support::redis::{LEASE, eventually, item, options, queue_at};
use crate::support::servers::{Kind, RedisServer};

fn queue(options: &RedisOptions, durability: Durability) -> RedisQueue {
    let queue = RedisQueueOptions { durability, ..RedisQueueOptions::default() };
    RedisQueue::new(Server::new(options).unwrap(), &queue)
}

async fn refused(queue: &RedisQueue) -> String {
    match queue.push(item("x")).await {
        Err(QueueError::Unavailable(reason) | QueueError::InDoubt { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn user_password_and_database_come_from_the_url() {
    let server = RedisServer::start(Kind::Valkey, &[("requirepass", "s3cret")]);
    server.cli(&["ACL", "SETUSER", "bklit", "on", ">pa:ss@/", "~*", "&*", "+@all"]);
    let url = format!("redis://bklit:pa%3Ass%40%2F@127.0.0.1:{}/3", server.port());
    let third = queue(&options(&url), Durability::Everysec);
    third.push(item("a")).await.unwrap();
    assert_eq!(server.cli(&["-n", "3", "LLEN", DEFAULT_PREFIX]), "1");
    queue_at(&server).push(item("b")).await.unwrap();
    assert_eq!(server.cli(&["LLEN", DEFAULT_PREFIX]), "1");

    let url = format!("redis://:wr0ng@127.0.0.1:{}", server.port());
    let reason = refused(&queue(&options(&url), Durability::Everysec)).await;
    assert!(reason.contains(&server.port().to_string()) && !reason.contains("wr0ng"), "{reason}");
}

#[tokio::test]
async fn an_invalid_url_is_refused_immediately() {
    for url in ["http://x", "redis://:secret@", "redis://h/nodb", "", "rediss://h/#insecure-too"] {
        let error = Server::new(&options(url)).unwrap_err().to_string();
        assert!(error.starts_with("the URL ") && !error.contains("secret"), "{url}: {error}");
    }
}

#[tokio::test]
async fn an_unavailable_server_is_reported_immediately_and_used_again_later() {
    let mut server = RedisServer::start(Kind::Redis, &[]);
    let queue = queue_at(&server);
    queue.push(item("a")).await.unwrap();
    server.kill9();
    assert!(refused(&queue).await.contains("Redis"));
    let start = Instant::now();
    for _ in 0..1_000 {
        let reason = refused(&queue).await;
        assert!(reason.contains(&format!("127.0.0.1:{}", server.port())), "{reason}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "no waiting while it is known to be unavailable"
    );
    assert!(queue.claim(1, LEASE).await.is_err());
    assert!(queue.stats().await.is_err());
    server.restart();
    eventually("pushes again", || async { queue.push(item("b")).await.ok() }).await;
    eventually("claims again", || async { queue.claim(9, LEASE).await.ok().flatten() }).await;
}

#[tokio::test]
async fn a_server_that_does_not_respond_causes_a_timeout() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let short = Duration::from_millis(300);
    let options =
        RedisOptions { response_timeout: short, connect_timeout: short, ..options(&server.url()) };
    let queue = queue(&options, Durability::Everysec);
    queue.push(item("a")).await.unwrap();
    server.freeze();
    let start = Instant::now();
    refused(&queue).await;
    refused(&queue).await;
    assert!(queue.claim(1, LEASE).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    server.thaw();
    eventually("pushes again", || async { queue.push(item("b")).await.ok() }).await;
}

#[tokio::test]
async fn pushes_behind_a_timed_out_one_wait_no_longer_than_it() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let limit = Duration::from_secs(2);
    let options = RedisOptions { response_timeout: limit, ..options(&server.url()) };
    let queue = Arc::new(queue(&options, Durability::Everysec));
    queue.push(item("evt_0")).await.unwrap();
    server.freeze();
    let began = Instant::now();
    let mut pushes = tokio::task::JoinSet::new();
    // More than fit into one round trip.
    for n in 0..5_000 {
        let queue = Arc::clone(&queue);
        pushes.spawn(async move { queue.push(item(&format!("evt_{n}"))).await });
    }
    assert!(pushes.join_all().await.iter().all(Result::is_err));
    assert!(began.elapsed() < limit * 3 / 2, "{:?}", began.elapsed());
    server.thaw();
}

#[tokio::test]
async fn durability_always_is_refused_if_the_server_cannot_guarantee_it() {
    type Case<'a> = (Kind, &'a [(&'a str, &'a str)], bool);
    let cases: [Case<'_>; 6] = [
        (Kind::Valkey, &[], true),
        (Kind::Valkey, &[("appendfsync", "always")], true),
        (Kind::Valkey, &[("appendonly", "no")], false),
        (Kind::Redis, &[], false),
        (Kind::Redis, &[("appendfsync", "always")], true),
        (Kind::Redis, &[("appendonly", "no")], false),
    ];
    for (kind, config, kept) in cases {
        let server = RedisServer::start(kind, config);
        let queue = queue(&options(&server.url()), Durability::Always);
        match queue.push(item("a")).await {
            Ok(_) => assert!(kept, "{kind:?} {config:?}"),
            Err(error) => {
                assert!(!kept && error.to_string().contains("appendfsync always"), "{error}");
                assert_eq!(server.cli(&["LLEN", DEFAULT_PREFIX]), "0");
            }
        }
        // Claims work with any durability of the server.
        server.cli(&["LPUSH", DEFAULT_PREFIX, "{}"]);
        assert!(queue.claim(1, LEASE).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn tls_checks_the_servers_certificate() {
    let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tls");
    // If another program takes the port in the meantime, the start fails, and with it the test.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = RedisServer::start(
        Kind::Redis,
        &[
            ("tls-port", &port.to_string()),
            ("tls-cert-file", &format!("{tls}/server.pem")),
            ("tls-key-file", &format!("{tls}/server.key")),
            ("tls-ca-cert-file", &format!("{tls}/ca.pem")),
            ("tls-auth-clients", "no"),
        ],
    );
    let root_certificates = Some(std::fs::read(format!("{tls}/ca.pem")).unwrap());
    let url = format!("rediss://localhost:{port}");
    let trusting = RedisOptions { root_certificates, ..options(&url) };
    let queue = queue(&trusting, Durability::Everysec);
    queue.push(item("a")).await.unwrap();
    assert_eq!(queue.claim(1, LEASE).await.unwrap().unwrap().items.len(), 1);
    let reason = refused(&self::queue(&options(&url), Durability::Everysec)).await;
    assert!(reason.to_lowercase().contains("certificate"), "{reason}");
    let plain = options(&format!("redis://localhost:{port}"));
    refused(&self::queue(&plain, Durability::Everysec)).await;
}
