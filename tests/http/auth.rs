//! Who may write what, from where.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use bklit_adapters::sqlite::tokens::SqliteTokenStore;
use bklit_pipeline::auth::{
    DEFAULT_PROJECT, Scope, Secret, TokenRecord, TokenStore, bootstrap, default_token,
};
use bklit_wire::time::UtcMillis;

use super::client::{Answer, DEADLINE, post, request};
use super::server::Server;

const VIEW: &str = r#"{"url":"https://a.example/","projectId":"p"}"#;
const END: &str = r#"{"sessionId":"s","projectId":"p"}"#;

async fn track(server: &Server, secret: &str, headers: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {secret}");
    let mut all = vec![("Authorization", bearer.as_str())];
    all.extend(headers);
    server.send(post("/track", &all, VIEW)).await
}

fn assert_refused(answer: &Answer, status: u16, part: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.error().contains(part), "{part}: {}", answer.error());
    assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Bearer"));
}

#[tokio::test]
async fn writing_needs_a_token_of_the_project() {
    let server = Server::start().await;
    let stranger = Secret::generate().unwrap();
    let (other, _) = server.tokens.make(Scope::Ingest, &["q", "P", "pp"], |_| {}).await;
    let (both, _) = server.tokens.make(Scope::Ingest, &["q", "p"], |_| {}).await;
    let past = |token: &mut TokenRecord| token.expires_at = Some(UtcMillis::now());
    let (old, _) = server.tokens.make(Scope::Ingest, &["p"], past).await;
    let future = |token: &mut TokenRecord| token.expires_at = Some(UtcMillis::MAX);
    let (young, _) = server.tokens.make(Scope::Ingest, &["p"], future).await;
    let (reader, _) = server.tokens.make(Scope::Read, &["p"], |_| {}).await;

    assert_refused(&track(&server, stranger.expose(), &[]).await, 401, "not valid");
    assert_refused(&track(&server, other.expose(), &[]).await, 401, "not for this project");
    assert_refused(&track(&server, old.expose(), &[]).await, 401, "expired");
    assert_refused(&track(&server, reader.expose(), &[]).await, 401, "scope read");
    assert_refused(&track(&server, &server.read, &[]).await, 401, "scope read");
    assert_refused(&track(&server, "", &[]).await, 401, "Bearer bk_live_");
    for path in ["/track", "/api/track", "/track-event"] {
        assert_refused(&server.send(post(path, &[], VIEW)).await, 401, "Bearer bk_live_");
    }
    let other_scheme = format!("Token {}", server.ingest);
    let quoted = format!("Bearer \"{}\"", server.ingest);
    for header in [
        "Basic dTpw",
        "Bearer",
        "bk_live_",
        "",
        "Bearer \u{e9}",
        &server.ingest,
        &other_scheme,
        &quoted,
    ] {
        for path in ["/track", "/session-end"] {
            let answer = server.send(post(path, &[("Authorization", header)], VIEW)).await;
            let expected = "send `Authorization: Bearer bk_live_…`";
            assert_refused(&answer, 401, expected);
        }
        let read = server.get("/api/queue", &[("Authorization", header)]).await;
        assert_refused(&read, 401, "Bearer bk_live_");
    }
    assert!(server.queued().is_empty());
    assert_eq!(track(&server, both.expose(), &[]).await.status, 200);
    assert_eq!(track(&server, young.expose(), &[]).await.status, 200);
    let lower = format!("bearer  {}", server.ingest);
    assert_eq!(server.send(post("/track", &[("authorization", &lower)], VIEW)).await.status, 200);
}

#[tokio::test]
async fn a_token_may_be_limited_to_domains() {
    let server = Server::start().await;
    let limit = |token: &mut TokenRecord| token.allowed_domains = vec!["example.com".into()];
    let (limited, _) = server.tokens.make(Scope::Ingest, &["p"], limit).await;
    for headers in [
        &[("Origin", "https://example.com")][..],
        &[("Origin", "http://shop.example.com:8080")],
        &[("Referer", "https://www.example.com/page?x=https://evil.org")],
        &[("Origin", "https://example.com"), ("Referer", "https://evil.org/")],
    ] {
        assert_eq!(track(&server, limited.expose(), headers).await.status, 200, "{headers:?}");
    }
    for headers in [
        &[][..],
        &[("Origin", "null"), ("Referer", "https://example.com/")],
        &[("Origin", "https://evilexample.com")],
        &[("Origin", "https://example.com.evil.org")],
        &[("Origin", "https://evil.org"), ("Referer", "https://example.com/")],
        &[("Referer", "https://evil.org/?example.com")],
        &[("Referer", "example.com")],
    ] {
        assert_refused(&track(&server, limited.expose(), headers).await, 403, "domains");
    }
}

#[tokio::test]
async fn a_beacon_ends_a_session_without_a_token() {
    let server = Server::start().await;
    let beacon = |body: &'static str, origin: &'static str| {
        let headers = [("Content-Type", "text/plain;charset=UTF-8"), ("Origin", origin)];
        server.send(post("/session-end", &headers, body))
    };
    assert_eq!(beacon(END, "https://a.example").await.status, 200);
    let stolen = r#"{"sessionId":"s","projectId":"p","eventId":"evt_of_another"}"#;
    let answer = beacon(stolen, "https://a.example").await;
    assert_ne!(answer.json()["eventId"], "evt_of_another", "strangers choose no ids");
    assert!(server.queued().iter().all(|item| !item.client_id));
    // Only for projects with an ingest token, and only from its domains.
    let unknown = r#"{"sessionId":"s","projectId":"unknown"}"#;
    assert_refused(&beacon(unknown, "https://a.example").await, 401, "token is needed");
    let limit = |token: &mut TokenRecord| token.allowed_domains = vec!["example.com".into()];
    server.tokens.make(Scope::Ingest, &["shop"], limit).await;
    server.tokens.make(Scope::Read, &["readers"], |_| {}).await;
    let shop = r#"{"sessionId":"s","projectId":"shop"}"#;
    let since = Instant::now();
    while beacon(shop, "https://www.example.com").await.status != 200 {
        assert!(since.elapsed() < DEADLINE, "the new tokens are never seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_refused(&beacon(shop, "https://evil.org").await, 403, "certain domains");
    let readers = r#"{"sessionId":"s","projectId":"readers"}"#;
    assert_refused(&beacon(readers, "https://a.example").await, 401, "token is needed");
    // A token that is sent must be valid.
    let wrong = [("Authorization", "Bearer bk_live_")];
    assert_refused(&server.send(post("/session-end", &wrong, END)).await, 401, "not valid");
}

#[tokio::test]
async fn a_revocation_and_a_new_token_are_seen_within_seconds() {
    let server = Server::start().await;
    let (secret, token) = server.tokens.make(Scope::Ingest, &["p"], |_| {}).await;
    let fresh = Secret::generate().unwrap();
    assert_eq!(track(&server, secret.expose(), &[]).await.status, 200);
    assert_eq!(track(&server, fresh.expose(), &[]).await.status, 401);
    let record = TokenRecord::new(&fresh, Scope::Ingest, vec!["p".into()]).unwrap();
    server.tokens.create(record).await.unwrap();
    assert!(server.tokens.revoke(&token.id).await.unwrap());
    let since = Instant::now();
    for (secret, status) in [(&secret, 401), (&fresh, 200)] {
        while track(&server, secret.expose(), &[]).await.status != status {
            assert!(since.elapsed() < Duration::from_secs(5), "not seen within seconds");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_revocation_ends_an_open_stream() {
    let server = Server::start().await;
    let (secret, token) = server.tokens.make(Scope::Read, &[], |_| {}).await;
    let mut client = server.client().await;
    let authorization = format!("Bearer {}", secret.expose());
    let headers = [("Authorization", authorization.as_str())];
    client.send(request("GET", "/api/debug-stream", &headers)).await;
    assert_eq!(client.head().await.unwrap().status, 200);
    assert!(server.tokens.revoke(&token.id).await.unwrap());
    // The last chunk of the response: it ends properly.
    while client.line().await.expect("the stream ends in time") != "0" {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_with_one_token_are_one_lookup() {
    let server = Server::start().await;
    let unknown = Secret::generate().unwrap();
    for (secret, status) in [(server.ingest.clone(), 200), (unknown.expose().to_owned(), 401)] {
        let before = server.tokens.lookups.load(SeqCst);
        let began = Instant::now();
        let bytes = post("/track", &[("Authorization", &format!("Bearer {secret}"))], VIEW);
        let requests: Vec<_> = (0..50)
            .map(|_| {
                let (address, bytes) = (server.address, bytes.clone());
                tokio::spawn(async move {
                    let mut client = super::client::Client::connect(address).await;
                    client.send(bytes).await;
                    client.answer().await.status
                })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), status);
        }
        let lookups = server.tokens.lookups.load(SeqCst) - before;
        // One for each period for which the result is cached.
        let most = 1 + began.elapsed().as_secs() as usize / 2;
        assert!((1..=most).contains(&lookups), "{lookups} lookups");
    }
}

#[tokio::test]
async fn without_the_token_store_clients_are_asked_to_retry() {
    let server = Server::start().await;
    server.tokens.is_away.store(true, SeqCst);
    for bytes in [
        post("/track", &[("Authorization", &format!("Bearer {}", server.ingest))], VIEW),
        post("/session-end", &[], END),
    ] {
        let answer = server.send(bytes).await;
        assert_eq!(answer.status, 503);
        assert!(
            answer.error().contains("tokens cannot be checked now")
                && answer.header("retry-after").is_some()
        );
    }
    server.tokens.is_away.store(false, SeqCst);
    server.works().await;
}

fn token_store(dir: &std::path::Path) -> SqliteTokenStore {
    SqliteTokenStore::open(&dir.join("tokens.db")).unwrap()
}

#[tokio::test]
async fn only_the_first_start_creates_a_token() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    assert!(default_token(dir.path()).is_none());
    let store = token_store(dir.path());
    assert!(bootstrap(&store, dir.path()).await.unwrap());
    let secret = default_token(dir.path()).unwrap();
    let mode = std::fs::metadata(dir.path().join("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = store.find(&secret.hash()).await.unwrap().unwrap();
    assert_eq!((token.scope, token.projects), (Scope::Ingest, vec![DEFAULT_PROJECT.to_owned()]));

    assert!(!bootstrap(&store, dir.path()).await.unwrap());
    assert_eq!(store.list().await.unwrap().len(), 1);
    // Revoking it does not create a new one.
    assert!(store.revoke(&token.id).await.unwrap());
    assert!(!bootstrap(&store, dir.path()).await.unwrap());
    assert_eq!(store.list().await.unwrap(), []);
    assert!(default_token(dir.path()).is_some());
}

#[tokio::test]
async fn an_interrupted_first_start_is_completed() {
    for store_has_it in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let store = token_store(dir.path());
        let begun = Secret::generate().unwrap();
        std::fs::write(dir.path().join("token.new"), begun.expose()).unwrap();
        if store_has_it {
            let token = TokenRecord::new(&begun, Scope::Ingest, vec!["default".into()]).unwrap();
            store.create(token).await.unwrap();
        }
        assert!(bootstrap(&store, dir.path()).await.unwrap());
        let secret = default_token(dir.path()).unwrap();
        assert_eq!(secret.expose() == begun.expose(), store_has_it);
        assert!(store.find(&secret.hash()).await.unwrap().is_some());
        assert_eq!(store.list().await.unwrap().len(), 1);
        assert!(!dir.path().join("token.new").exists());
    }
}

#[tokio::test]
async fn with_existing_tokens_no_first_one_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let store = token_store(dir.path());
    let token = TokenRecord::new(&Secret::generate().unwrap(), Scope::Read, vec![]).unwrap();
    store.create(token).await.unwrap();
    assert!(!bootstrap(&store, dir.path()).await.unwrap());
    assert!(default_token(dir.path()).is_none());
    assert!(store.revoke(&store.list().await.unwrap()[0].id).await.unwrap());
    let error = bootstrap(&store, "/dev/null/x".as_ref()).await.unwrap_err().to_string();
    assert!(error.contains("/dev/null/x/token"), "{error}");
}
