//! Tokens in Redis.

use bklit_adapters::redis::tokens::{DEFAULT_KEY, RedisTokenStore};
use bklit_pipeline::auth::{Scope, Secret, TokenRecord, TokenStore};
use bklit_wire::time::UtcMillis;

use crate::support::redis::server_at;
use crate::support::servers::{Kind, RedisServer};

pub fn token(id: &str, created_at: i64) -> (Secret, TokenRecord) {
    let secret = Secret::generate().unwrap();
    let record = TokenRecord {
        id: id.to_owned(),
        hash: secret.hash(),
        prefix: secret.prefix().to_owned(),
        name: Some("my \"site\"".to_owned()),
        scope: Scope::Read,
        projects: vec!["p1".to_owned(), "p2".to_owned()],
        allowed_domains: vec!["example.com".to_owned()],
        created_at: UtcMillis::from_epoch_millis(created_at),
        expires_at: Some(UtcMillis::MAX),
    };
    (secret, record)
}

#[tokio::test]
async fn tokens_are_created_found_listed_and_revoked() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let store = RedisTokenStore::new(server_at(&server), DEFAULT_KEY);
        assert!(store.list().await.unwrap().is_empty());
        let (secret, later) = token("tok_2", 2_000);
        let (_, mut earlier) = token("tok_1", 1_000);
        (earlier.name, earlier.expires_at, earlier.scope) = (None, None, Scope::Ingest);
        store.create(later.clone()).await.unwrap();
        store.create(earlier.clone()).await.unwrap();
        assert!(store.create(later.clone()).await.is_err(), "there is one with this secret");
        let other = RedisTokenStore::new(server_at(&server), DEFAULT_KEY);
        assert_eq!(other.find(&secret.hash()).await.unwrap(), Some(later.clone()));
        assert_eq!(other.find(&Secret::generate().unwrap().hash()).await.unwrap(), None);
        assert_eq!(other.list().await.unwrap(), [earlier, later]);
        assert!(other.revoke("tok_2").await.unwrap());
        assert!(!other.revoke("tok_2").await.unwrap());
        assert_eq!(store.find(&secret.hash()).await.unwrap(), None);
        let all = server.cli(&["HGETALL", "bklit:tokens"]);
        assert!(!all.contains(&secret.expose()[20..]), "only hashes are kept");
    }
}

#[tokio::test]
async fn a_damaged_token_is_an_error_and_not_missing() {
    let server = RedisServer::start(Kind::Redis, &[]);
    let store = RedisTokenStore::new(server_at(&server), DEFAULT_KEY);
    let (secret, _) = token("t", 0);
    let field = secret.hash().to_hex();
    server.cli(&["HSET", DEFAULT_KEY, &field, "{"]);
    let error = store.find(&secret.hash()).await.unwrap_err().to_string();
    assert!(error.contains(&field[..8]) && !error.contains(&field), "{error}");
    assert!(!store.revoke("t").await.unwrap());
    let scope = r#"{"id":"t","prefix":"p","scope":"all","projects":[],"createdAt":0}"#;
    server.cli(&["HSET", DEFAULT_KEY, &field, scope]);
    let error = store.find(&secret.hash()).await.unwrap_err().to_string();
    assert!(error.contains("scope"), "{error}");
    // Readable tokens are not affected.
    let (_, other) = token("tok_2", 2_000);
    store.create(other.clone()).await.unwrap();
    let listing = store.listing().await;
    assert_eq!((listing.unreadable, listing.unavailable.is_none()), (1, true));
    assert_eq!(listing.tokens, std::slice::from_ref(&other));
    assert_eq!(store.list().await.unwrap(), [other]);
}
