//! Scripts access only the keys passed in `KEYS`. The queue's conformance suite runs behind the same
//! proxy; here are the other scripts, and a check that the proxy notices.

use std::time::Duration;

use bklit_adapters::redis::connection::RedisServer as Server;
use bklit_adapters::redis::presence::RedisPresence;
use bklit_adapters::redis::queue::{RedisQueue, RedisQueueOptions};
use bklit_adapters::redis::tokens::RedisTokenStore;
use bklit_pipeline::auth::TokenStore;
use bklit_pipeline::presence::Presence;
use bklit_pipeline::queue::Queue;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

use super::tokens::token;
use crate::support::redis::{LEASE, ids, item, options};
use crate::support::redis_proxy::RedisProxy;
use crate::support::servers::{Kind, RedisServer};

fn guarded(server: &RedisServer) -> (RedisProxy, Server) {
    let proxy = RedisProxy::with_declared_keys(server.port());
    let connected = Server::new(&options(&proxy.url())).unwrap();
    (proxy, connected)
}

#[tokio::test]
async fn an_undeclared_key_fails_the_script() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let proxy = RedisProxy::with_declared_keys(server.port());
        let client = redis::Client::open(proxy.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        for call in ["call", "pcall"] {
            let text =
                format!("redis.call('TIME') return redis.{call}('LLEN', KEYS[1] .. ARGV[1])");
            let script = redis::Script::new(&text);
            let declared = script.key("a").arg("").invoke_async::<u64>(&mut connection).await;
            assert_eq!(declared.unwrap(), 0, "{kind:?}");
            let error = script.key("a").arg("b").invoke_async::<u64>(&mut connection).await;
            let error = error.unwrap_err().to_string();
            assert!(error.contains("undeclared key ab"), "{kind:?} {call}: {error}");
        }
    }
}

#[tokio::test]
async fn presence_and_tokens_declare_their_keys() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let (_proxy, connected) = guarded(&server);
    let presence = RedisPresence::new(connected.clone());
    let key = SessionKey { project_id: "p".into(), session_id: "s".into() };
    let timeout = Duration::from_secs(60);
    let now = UtcMillis::now();
    presence.active(&[(key.clone(), now)], timeout).await.unwrap();
    assert_eq!(presence.count("p").await, Ok(1));
    presence.ended(&[(key, now)], timeout).await.unwrap();
    assert_eq!(presence.count("p").await, Ok(0));
    let tokens = RedisTokenStore::new(connected, "tokens");
    let (secret, record) = token("tok_1", 1_000);
    tokens.create(record.clone()).await.unwrap();
    assert_eq!(tokens.find(&secret.hash()).await.unwrap(), Some(record));
}

/// Programs with other leases on the same queue, and leases from before the clock was set back, are
/// looked up in the batches' own keys.
#[tokio::test]
async fn leases_of_other_lengths_are_respected_without_undeclared_keys() {
    let server = RedisServer::start(Kind::Valkey, &[]);
    let (_proxy, connected) = guarded(&server);
    let queue = RedisQueue::new(connected, &RedisQueueOptions::default());
    let short = Duration::from_secs(1);
    for id in ["a", "b"] {
        queue.push(item(id)).await.unwrap();
    }
    let long = queue.claim(1, LEASE).await.unwrap().unwrap();
    let other = queue.claim(1, short).await.unwrap().unwrap();
    assert_eq!((ids(&long), ids(&other)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert!(queue.claim(1, short).await.unwrap().is_none(), "both are held");
    // Far beyond the lease that its owner requested.
    let inflight = "analytics:queue:inflight";
    server.cli(&["ZADD", inflight, "99999999999999", &other.id.batch]);
    assert!(queue.claim(1, short).await.unwrap().is_none());
    let lease_end = server.cli(&["ZSCORE", inflight, &other.id.batch]);
    assert!(lease_end.parse::<f64>().unwrap() < 99_999_999_999_999.0, "{lease_end}");
    queue.acknowledge(&long.id, &[]).await.unwrap();
    queue.acknowledge(&other.id, &[]).await.unwrap();
}

/// What a crash of an earlier version may have left: more empty batches than one claim looks at.
#[tokio::test]
async fn empty_batches_are_removed_over_several_claims() {
    const EMPTY: usize = 150;
    let server = RedisServer::start(Kind::Valkey, &[]);
    let (_proxy, connected) = guarded(&server);
    let queue = RedisQueue::new(connected, &RedisQueueOptions::default());
    let mut add = vec!["ZADD".to_owned(), "analytics:queue:inflight".to_owned()];
    add.extend((0..EMPTY).flat_map(|n| ["1".to_owned(), format!("empty{n:03}")]));
    server.cli(&add.iter().map(String::as_str).collect::<Vec<_>>());
    queue.push(item("a")).await.unwrap();
    let mut claims = 0;
    let claim = loop {
        claims += 1;
        if let Some(claim) = queue.claim(1, LEASE).await.unwrap() {
            break claim;
        }
        assert!(claims < 10, "the event is not reached");
    };
    assert_eq!(ids(&claim), ["a"]);
    assert_eq!(server.cli(&["ZCARD", "analytics:queue:inflight"]), "1");
}
