//! Bklit's tokens in Postgres.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bklit_adapters::postgres::tokens::PostgresTokenStore;
use bklit_adapters::redis::tokens::{DEFAULT_KEY, RedisTokenStore};
use bklit_adapters::sqlite::tokens::SqliteTokenStore;
use bklit_pipeline::auth::{
    Authenticator, Denied, DomainRules, Scope, Secret, Site, TokenRecord, TokenStore,
};

use super::{OLD, OLDER, SCHEMA, insert_token, server_at, stray_hash};
use crate::support::proxy::Proxy;
use crate::support::redis::{eventually, server_at as redis_at};
use crate::support::servers::{Kind, Postgres, PostgresDatabase, RedisServer};

struct Bench {
    database: PostgresDatabase,
    store: Arc<PostgresTokenStore>,
    own: Arc<SqliteTokenStore>,
    _dir: tempfile::TempDir,
}

fn bench() -> Bench {
    let database = Postgres::shared();
    database.sql(SCHEMA);
    let dir = tempfile::tempdir().unwrap();
    let own = Arc::new(SqliteTokenStore::open(&dir.path().join("tokens.db")).unwrap());
    let url = format!("{}?schema=public&connection_limit=5&pgbouncer=true", database.url());
    let store = Arc::new(PostgresTokenStore::new(server_at(&url), own.clone()));
    Bench { database, store, own, _dir: dir }
}

impl Bench {
    /// Adds a token with a lookup, and sets `columns`.
    fn add(&self, id: &str, columns: &str) -> Secret {
        let secret = Secret::generate().unwrap();
        self.database.sql(&insert_token(id, "s:00", Some(&secret.hash().to_hex())));
        if !columns.is_empty() {
            self.database.sql(&format!("UPDATE api_token SET {columns} WHERE \"id\" = '{id}'"));
        }
        secret
    }

    /// Checks a token like a request does, without cached results.
    async fn identify(&self, secret: &str) -> Result<Arc<TokenRecord>, Denied> {
        Authenticator::new(self.store.clone()).identify(secret).await
    }

    /// The result, once it is available.
    async fn settled(&self, secret: &str) -> Result<Arc<TokenRecord>, Denied> {
        eventually("the token is known", || async {
            match self.identify(secret).await {
                Err(Denied::Unavailable(_)) => None,
                answer => Some(answer),
            }
        })
        .await
    }
}

#[tokio::test]
async fn domains_that_are_null_or_several_in_one_entry_are_read() {
    let bench = bench();
    let rules = DomainRules::default();
    for (id, entries, is_allowed) in [
        ("t1", "{NULL}", false),
        ("t2", "{NULL,shop.example}", true),
        ("t3", "{\"other.example, shop.example\"}", true),
    ] {
        let secret = bench.add(id, &format!("\"allowedDomains\" = '{entries}'"));
        let token = bench.identify(secret.expose()).await.unwrap();
        let allowed = token.allow_ingest("p", Site(Some("https://shop.example/")), rules);
        assert_eq!(allowed.is_ok(), is_allowed, "{entries}: {allowed:?}");
        let warnings = bklit_pipeline::auth::domains::warnings(&token.allowed_domains);
        let expected = ["the domain `` never matches: is empty"];
        assert_eq!(warnings, &expected[..usize::from(entries.contains("NULL"))], "{entries}");
    }
}

#[tokio::test]
async fn a_token_is_found_by_its_lookup_and_only_writes() {
    let bench = bench();
    let secret = bench.add("t1", "\"allowedDomains\" = '{example.com,b.example}'");
    bench.database.sql("INSERT INTO api_token_project VALUES ('x', 't1', 'q')");
    let token = bench.identify(secret.expose()).await.unwrap();
    assert_eq!((token.id.as_str(), token.scope), ("t1", Scope::Ingest));
    assert_eq!(token.projects, ["p", "q"]);
    assert_eq!(token.expires_at, None);
    let rules = DomainRules::default();
    token.allow_ingest("q", Site(Some("https://shop.example.com/")), rules).unwrap();
    let denied = token.allow_ingest("q", Site(Some("https://evil.example/")), rules);
    assert!(matches!(denied, Err(Denied::Domain(_))), "{denied:?}");
    assert!(matches!(token.allow_ingest("r", Site(None), rules), Err(Denied::Project)));
    assert!(matches!(token.allow_read(Some("p")), Err(Denied::Scope(Scope::Ingest))));
    let without = bench.add("t2", "\"allowedDomains\" = NULL");
    bench.database.sql("DELETE FROM api_token_project WHERE \"tokenId\" = 't2'");
    let token = bench.identify(without.expose()).await.unwrap();
    assert!(matches!(token.allow_ingest("p", Site(None), rules), Err(Denied::Project)));
    assert!(token.allow_read(None).is_err(), "no project is not all projects");
    let stranger = Secret::generate().unwrap();
    assert!(matches!(bench.identify(stranger.expose()).await, Err(Denied::Unknown)));
    // Revoked in the dashboard.
    bench.database.sql("DELETE FROM api_token");
    assert!(matches!(bench.identify(secret.expose()).await, Err(Denied::Unknown)));
}

#[tokio::test]
async fn expiry_is_independent_of_the_servers_time_zone() {
    let bench = bench();
    let name = bench.database.sql("SELECT current_database()");
    bench.database.sql(&format!("ALTER DATABASE {name} SET timezone TO 'Asia/Tokyo'"));
    for (at, works) in [
        ("now() AT TIME ZONE 'utc' - interval '1 second'", false),
        ("now() AT TIME ZONE 'utc' + interval '1 hour'", true),
        ("'infinity'", true),
        ("'-infinity'", false),
        ("'1969-01-01'", false),
        ("'2900-01-01'", true),
    ] {
        let id = format!("t{}", fastrand::u64(..));
        let secret = bench.add(&id, &format!("\"expiresAt\" = {at}"));
        match bench.identify(secret.expose()).await {
            Ok(_) => assert!(works, "{at}"),
            Err(Denied::Expired) => assert!(!works, "{at}"),
            Err(error) => panic!("{at}: {error}"),
        }
    }
}

#[tokio::test]
async fn an_old_token_is_found_by_its_scrypt_hash() {
    let bench = bench();
    for (id, (_, hash)) in [("a", OLD), ("b", OLDER)] {
        bench.database.sql(&insert_token(id, hash, None));
    }
    // Invalid hashes do no harm.
    for (n, hash) in ["", ":", "no hash", "s:zz", &"f".repeat(400)].iter().enumerate() {
        bench.database.sql(&insert_token(&format!("bad{n}"), hash, None));
    }
    for n in 0..5 {
        bench.database.sql(&insert_token(&format!("stray{n}"), &stray_hash(n), None));
    }
    for (id, (secret, _)) in [("a", OLD), ("b", OLDER)] {
        let token = bench.settled(secret).await.unwrap();
        assert_eq!(
            (token.id.as_str(), token.projects.as_slice()),
            (id, ["p".to_owned()].as_slice())
        );
        // From now on its SHA-256 is sufficient.
        let hash = Secret::parse(secret).unwrap().hash();
        assert_eq!(bench.store.find(&hash).await.unwrap().unwrap().id, id);
    }
    let nearly = OLD.0.replace("0123456789abcdef0123", "1123456789abcdef0123");
    assert!(matches!(bench.settled(&nearly).await, Err(Denied::Unknown)));
    // Expiry and revocation work as for other tokens.
    bench.database.sql("UPDATE api_token SET \"expiresAt\" = '2020-01-01' WHERE \"id\" = 'a'");
    assert!(matches!(bench.settled(OLD.0).await, Err(Denied::Expired)));
    bench.database.sql("DELETE FROM api_token WHERE \"id\" = 'b'");
    assert!(matches!(bench.settled(OLDER.0).await, Err(Denied::Unknown)));
    // Nothing was written, not even the time of use.
    let used = "SELECT count(*) FROM api_token WHERE \"lastUsedAt\" IS NOT NULL";
    assert_eq!(bench.database.sql(used), "0");
}

#[tokio::test]
async fn a_wrong_token_is_compared_only_once_with_the_same_old_tokens() {
    let bench = bench();
    bench.database.sql(&insert_token("stray", &stray_hash(1), None));
    let wrong = Secret::generate().unwrap();
    assert!(matches!(bench.settled(wrong.expose()).await, Err(Denied::Unknown)));
    // One comparison takes longer than all of these.
    let began = Instant::now();
    for _ in 0..20 {
        assert!(matches!(bench.identify(wrong.expose()).await, Err(Denied::Unknown)));
    }
    let repeated = began.elapsed();
    assert!(repeated < Duration::from_secs(2), "{repeated:?}");
    // Unless the list of old tokens changes.
    bench.database.sql(&insert_token("a", OLD.1, None));
    let found = eventually("it works", || async { bench.identify(OLD.0).await.ok() }).await;
    assert_eq!(found.id, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_tokens_does_not_affect_others() {
    let bench = bench();
    let current = bench.add("current", "");
    bench.database.sql(&insert_token("old", OLD.1, None));
    assert_eq!(bench.settled(OLD.0).await.unwrap().id, "old");
    for n in 0..300 {
        bench.database.sql(&insert_token(&format!("stray{n:03}"), &stray_hash(n), None));
    }
    // The list of old tokens is refreshed after a moment.
    eventually("the strays are candidates", || async {
        let wrong = Secret::generate().unwrap();
        matches!(bench.identify(wrong.expose()).await, Err(Denied::Unavailable(_))).then_some(())
    })
    .await;
    let flood: Vec<_> = (0..200)
        .map(|_| {
            let store = bench.store.clone();
            tokio::spawn(async move {
                let wrong = Secret::generate().unwrap();
                let began = Instant::now();
                let answer = Authenticator::new(store).identify(wrong.expose()).await;
                (answer.map(|_| ()), began.elapsed())
            })
        })
        .collect();
    assert_eq!(bench.identify(current.expose()).await.unwrap().id, "current");
    assert_eq!(bench.identify(OLD.0).await.unwrap().id, "old");
    let mut rejected = 0;
    for one in flood {
        let (answer, _) = one.await.unwrap();
        match answer {
            Err(Denied::Unavailable(error)) if error.0.contains("too many") => rejected += 1,
            Err(Denied::Unavailable(_) | Denied::Unknown) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(rejected > 150, "{rejected}");
}

#[tokio::test]
async fn our_own_tokens_work_next_to_bklits() {
    let bench = bench();
    let secret = Secret::generate().unwrap();
    let token = TokenRecord::new(&secret, Scope::Read, Vec::new()).unwrap();
    bench.store.create(token.clone()).await.unwrap();
    assert_eq!(bench.own.list().await.unwrap(), std::slice::from_ref(&token));
    assert_eq!(*bench.identify(secret.expose()).await.unwrap(), token);
    bench.add("t1", "\"allowedDomains\" = '{example.com}'");
    bench.database.sql(&insert_token("old", OLD.1, None));
    let ids: Vec<_> = bench.store.list().await.unwrap().into_iter().map(|t| t.id).collect();
    assert_eq!(ids, [token.id.as_str(), "old", "t1"]);
    assert!(!bench.store.revoke("t1").await.unwrap(), "it is not ours to revoke");
    assert_eq!(bench.database.sql("SELECT count(*) FROM api_token"), "2");
    assert!(bench.store.revoke(&token.id).await.unwrap());
    assert!(matches!(bench.settled(secret.expose()).await, Err(Denied::Unknown)));
}

#[tokio::test]
async fn a_failed_query_is_unavailable_and_not_unknown() {
    let bench = bench();
    let secret = bench.add("t1", "");
    bench.database.sql("ALTER TABLE api_token_project RENAME TO other");
    let denied = bench.identify(secret.expose()).await.unwrap_err();
    assert!(matches!(denied, Denied::Unavailable(_)), "{denied}");
    assert!(denied.to_string().contains("api_token_project"), "{denied}");
    bench.database.sql("ALTER TABLE other RENAME TO api_token_project");
    assert_eq!(bench.identify(secret.expose()).await.unwrap().id, "t1");
}

#[tokio::test]
async fn tables_may_be_in_another_schema() {
    let database = Postgres::shared();
    database.sql(&format!("CREATE SCHEMA \"We\"\"b\"; SET search_path TO \"We\"\"b\"; {SCHEMA}"));
    let secret = Secret::generate().unwrap();
    let insert = insert_token("t1", "s:00", Some(&secret.hash().to_hex()));
    database.sql(&format!("SET search_path TO \"We\"\"b\"; {insert}"));
    let dir = tempfile::tempdir().unwrap();
    let own = Arc::new(SqliteTokenStore::open(&dir.path().join("tokens.db")).unwrap());
    let store = |url: &str| PostgresTokenStore::new(server_at(url), own.clone());
    let there = store(&format!("{}?schema=We%22b", database.url()));
    assert_eq!(there.find(&secret.hash()).await.unwrap().unwrap().id, "t1");
    assert!(store(&database.url()).find(&secret.hash()).await.is_err());
}

#[tokio::test]
async fn a_restarted_server_is_used_again() {
    let mut postgres = Postgres::own();
    postgres.sql(SCHEMA);
    let known = Secret::generate().unwrap();
    let unknown = Secret::generate().unwrap();
    postgres.sql(&insert_token("known", "s:00", Some(&known.hash().to_hex())));
    postgres.sql(&insert_token("unknown", "s:00", Some(&unknown.hash().to_hex())));
    let dir = tempfile::tempdir().unwrap();
    let own = Arc::new(SqliteTokenStore::open(&dir.path().join("tokens.db")).unwrap());
    let store = Arc::new(PostgresTokenStore::new(server_at(&postgres.url()), own));
    let authenticator = Authenticator::new(store.clone());
    for _ in 0..2 {
        assert_eq!(authenticator.identify(known.expose()).await.unwrap().id, "known");
        postgres.kill9();
        eventually("the killed server's processes have ended", || async {
            store.find(&known.hash()).await.is_err().then_some(())
        })
        .await;
        // Known tokens keep working for longer than the cache's lifetime.
        let until = Instant::now() + bklit_pipeline::auth::TTL * 3 / 2;
        while Instant::now() < until {
            assert_eq!(authenticator.identify(known.expose()).await.unwrap().id, "known");
            let denied = Authenticator::new(store.clone()).identify(unknown.expose()).await;
            assert!(matches!(denied, Err(Denied::Unavailable(_))), "{denied:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        postgres.restart();
        eventually("the other token works", || async {
            Authenticator::new(store.clone()).identify(unknown.expose()).await.ok()
        })
        .await;
        // An operator closes the connections, which has no visible effect.
        postgres.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bklit-tui'",
        );
        assert_eq!(store.find(&known.hash()).await.unwrap().unwrap().id, "known");
    }
}

#[tokio::test]
async fn a_revocation_takes_effect_over_a_slow_connection() {
    let bench = bench();
    let secret = bench.add("t1", "");
    let mut url = url::Url::parse(&bench.database.url()).unwrap();
    // Connecting alone takes longer than a request with a known token waits.
    let far = Proxy::far_before(url.port().unwrap(), Duration::from_millis(200));
    url.set_port(Some(far.port())).unwrap();
    let store = PostgresTokenStore::new(server_at(url.as_str()), bench.own.clone());
    let authenticator = Authenticator::new(Arc::new(store));
    assert_eq!(authenticator.identify(secret.expose()).await.unwrap().id, "t1");
    bench.database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'bklit-tui' AND datname = current_database()",
    );
    bench.database.sql("DELETE FROM api_token");
    let since = Instant::now();
    loop {
        let began = Instant::now();
        let answer = authenticator.identify(secret.expose()).await;
        assert!(began.elapsed() < Duration::from_secs(1), "it waits {:?}", began.elapsed());
        match answer {
            Err(Denied::Unknown) => break,
            Ok(_) => assert!(since.elapsed() < Duration::from_secs(10), "never seen"),
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn without_redis_beacons_of_projects_in_postgres_work() {
    let bench = bench();
    bench.add("t1", "");
    let mut redis = RedisServer::start(Kind::Valkey, &[]);
    let own = || Arc::new(RedisTokenStore::new(redis_at(&redis), DEFAULT_KEY));
    let (for_shop, fresh) = (own(), own());
    let ours = Secret::generate().unwrap();
    let ours = TokenRecord::new(&ours, Scope::Ingest, vec!["shop".to_owned()]).unwrap();
    for_shop.create(ours).await.unwrap();
    let authenticator = |own| {
        let server = server_at(&bench.database.url());
        Authenticator::new(Arc::new(PostgresTokenStore::new(server, own)))
    };
    let before = authenticator(for_shop);
    let on = Site(None);
    before.authorize_beacon("shop", on).await.unwrap();
    redis.kill9();
    let after = authenticator(fresh);
    assert!(after.knows_tokens().await, "a fresh process is ready");
    after.authorize_beacon("p", on).await.unwrap();
    for project in ["shop", "unknown"] {
        let denied = after.authorize_beacon(project, on).await;
        assert!(matches!(denied, Err(Denied::Unavailable(_))), "{project}: {denied:?}");
    }
    // A process that has read the complete list keeps using it.
    eventually("Redis is missed", || async {
        let denied = before.authorize_beacon("unknown", on).await;
        matches!(denied, Err(Denied::Unavailable(_))).then_some(())
    })
    .await;
    before.authorize_beacon("shop", on).await.unwrap();
    before.authorize_beacon("p", on).await.unwrap();
    redis.restart();
    eventually("the complete list is available again", || async {
        let denied = before.authorize_beacon("unknown", on).await;
        matches!(denied, Err(Denied::Missing)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_token_is_left_out_of_the_list() {
    let bench = bench();
    bench.add("good", "");
    bench.add("bad", "");
    bench
        .database
        .sql("UPDATE api_token SET \"allowedDomains\" = '{{a,b},{c,d}}' WHERE \"id\" = 'bad'");
    let listing = bench.store.listing().await;
    let ids: Vec<_> = listing.tokens.iter().map(|token| token.id.as_str()).collect();
    assert_eq!((ids.as_slice(), listing.unreadable), (["good"].as_slice(), 1));
}
