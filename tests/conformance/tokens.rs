//! The port `TokenStore`.

use std::sync::Arc;

use bklit_adapters::postgres::tokens::PostgresTokenStore;
use bklit_adapters::redis::tokens::{DEFAULT_KEY, RedisTokenStore};
use bklit_adapters::sqlite::tokens::SqliteTokenStore;
use bklit_pipeline::auth::{Scope, Secret, TokenRecord, TokenStore};
use bklit_wire::time::UtcMillis;

use crate::postgres::{SCHEMA, server_at as postgres_at};
use crate::support::redis::server_at;
use crate::support::servers::{Kind, Postgres, PostgresDatabase, RedisServer};

fn token(scope: Scope, projects: &[&str]) -> TokenRecord {
    let projects = projects.iter().map(|&project| project.to_owned()).collect();
    TokenRecord::new(&Secret::generate().unwrap(), scope, projects).unwrap()
}

/// A created token is found unchanged by its hash.
pub async fn a_token_is_kept_whole(store: &dyn TokenStore) {
    assert_eq!(store.list().await.unwrap(), []);
    let mut full = token(Scope::Ingest, &["p1", "größer", "it's; DROP TABLE token", "[\"x\"]"]);
    full.name = Some("näme \"quoted\"".into());
    full.allowed_domains = vec!["example.com".into(), "b.example".into()];
    full.expires_at = Some(UtcMillis::MAX);
    let (plain, admin) = (token(Scope::Read, &[]), token(Scope::Admin, &[]));
    for one in [&full, &plain, &admin] {
        store.create(one.clone()).await.unwrap();
        assert_eq!(store.find(&one.hash).await.unwrap().as_ref(), Some(one));
    }
    assert_eq!(store.list().await.unwrap(), [full, plain, admin]);
    let stranger = Secret::generate().unwrap();
    assert_eq!(store.find(&stranger.hash()).await.unwrap(), None);
}

/// A revoked token is removed everywhere; others stay.
pub async fn a_revoked_token_is_removed(store: &dyn TokenStore) {
    let (one, other) = (token(Scope::Ingest, &["p"]), token(Scope::Ingest, &["p"]));
    store.create(one.clone()).await.unwrap();
    store.create(other.clone()).await.unwrap();
    assert!(store.revoke(&one.id).await.unwrap());
    assert!(!store.revoke(&one.id).await.unwrap(), "a second time there is none");
    assert!(!store.revoke("tok_unknown").await.unwrap());
    assert_eq!(store.find(&one.hash).await.unwrap(), None);
    assert_eq!(store.list().await.unwrap(), [other]);
}

/// An expired token is still listed and found: the caller checks the expiry.
pub async fn an_expired_token_stays(store: &dyn TokenStore) {
    let mut old = token(Scope::Ingest, &["p"]);
    old.expires_at = Some(UtcMillis::from_epoch_millis(1));
    store.create(old.clone()).await.unwrap();
    assert_eq!(store.find(&old.hash).await.unwrap(), Some(old.clone()));
    assert_eq!(store.list().await.unwrap(), [old]);
}

/// Ids and secrets are unique.
pub async fn a_token_is_created_once(store: &dyn TokenStore) {
    let one = token(Scope::Ingest, &["p"]);
    store.create(one.clone()).await.unwrap();
    let same_id = TokenRecord { id: one.id.clone(), ..token(Scope::Read, &["q"]) };
    let same_secret = TokenRecord { hash: one.hash, ..token(Scope::Read, &["q"]) };
    assert!(store.create(same_id).await.is_err());
    assert!(store.create(same_secret).await.is_err());
    assert_eq!(store.list().await.unwrap(), [one]);
}

/// Concurrent readers and writers do not disturb each other.
pub async fn many_at_once_are_all_kept(store: Arc<dyn TokenStore>) {
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let one = token(Scope::Ingest, &["p"]);
                store.create(one.clone()).await.unwrap();
                assert_eq!(store.find(&one.hash).await.unwrap(), Some(one));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.list().await.unwrap().len(), 32);
}

macro_rules! redis_conformance {
    ($name:ident, $kind:expr) => {
        mod $name {
            use super::*;

            fn open() -> (RedisTokenStore, RedisServer) {
                let server = RedisServer::start($kind, &[]);
                (RedisTokenStore::new(server_at(&server), DEFAULT_KEY), server)
            }

            #[tokio::test]
            async fn conforms() {
                let (store, _server) = open();
                a_token_is_kept_whole(&store).await;
                let (store, _server) = open();
                a_revoked_token_is_removed(&store).await;
                let (store, _server) = open();
                an_expired_token_stays(&store).await;
                let (store, _server) = open();
                a_token_is_created_once(&store).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn conforms_under_concurrency() {
                let (store, _server) = open();
                many_at_once_are_all_kept(Arc::new(store)).await;
            }
        }
    };
}

redis_conformance!(valkey, Kind::Valkey);
redis_conformance!(redis, Kind::Redis);

/// Our own tokens next to those of a Bklit that has none yet.
mod postgres {
    use super::*;

    fn open() -> (PostgresTokenStore, PostgresDatabase, tempfile::TempDir) {
        let database = Postgres::shared();
        database.sql(SCHEMA);
        let dir = tempfile::tempdir().unwrap();
        let own = SqliteTokenStore::open(&dir.path().join("tokens.db")).unwrap();
        (PostgresTokenStore::new(postgres_at(&database.url()), Arc::new(own)), database, dir)
    }

    #[tokio::test]
    async fn conforms() {
        let (store, _database, _dir) = open();
        a_token_is_kept_whole(&store).await;
        let (store, _database, _dir) = open();
        a_revoked_token_is_removed(&store).await;
        let (store, _database, _dir) = open();
        an_expired_token_stays(&store).await;
        let (store, _database, _dir) = open();
        a_token_is_created_once(&store).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn conforms_under_concurrency() {
        let (store, _database, _dir) = open();
        many_at_once_are_all_kept(Arc::new(store)).await;
    }
}

mod sqlite {
    use super::*;

    fn open() -> (SqliteTokenStore, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (SqliteTokenStore::open(&dir.path().join("tokens.db")).unwrap(), dir)
    }

    #[tokio::test]
    async fn conforms() {
        let (store, _dir) = open();
        a_token_is_kept_whole(&store).await;
        let (store, _dir) = open();
        a_revoked_token_is_removed(&store).await;
        let (store, _dir) = open();
        an_expired_token_stays(&store).await;
        let (store, _dir) = open();
        a_token_is_created_once(&store).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn conforms_under_concurrency() {
        let (store, _dir) = open();
        many_at_once_are_all_kept(Arc::new(store)).await;
    }

    #[tokio::test]
    async fn another_connection_sees_changes_immediately() {
        let (daemon, dir) = open();
        let command = SqliteTokenStore::open(&dir.path().join("tokens.db")).unwrap();
        let one = token(Scope::Ingest, &["p"]);
        command.create(one.clone()).await.unwrap();
        assert_eq!(daemon.find(&one.hash).await.unwrap(), Some(one.clone()));
        assert!(daemon.revoke(&one.id).await.unwrap());
        assert_eq!(command.list().await.unwrap(), []);
        drop((daemon, command));
        let again = SqliteTokenStore::open(&dir.path().join("tokens.db")).unwrap();
        assert_eq!(again.list().await.unwrap(), []);
    }

    #[test]
    fn concurrent_openings_create_the_file_once() {
        for _ in 0..10 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("tokens.db");
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| SqliteTokenStore::open(&path).unwrap());
                }
            });
        }
    }

    #[test]
    fn a_file_that_is_not_a_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.db");
        std::fs::write(&path, "nonsense ".repeat(1000)).unwrap();
        let error = SqliteTokenStore::open(&path).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("token store is unavailable"), "{error}");
    }
}
