//! The check with a store that is slow, hangs or changes its results.

use tokio::time::Instant;

use super::*;
use crate::auth::{Listing, Secret};

/// Responds to the first call, then hangs.
struct Hanging {
    token: TokenRecord,
    was_called: std::sync::atomic::AtomicBool,
}

#[async_trait::async_trait]
impl TokenStore for Hanging {
    async fn create(&self, _: TokenRecord) -> Result<(), TokenStoreError> {
        Ok(())
    }

    async fn find(&self, _: &TokenHash) -> Result<Option<TokenRecord>, TokenStoreError> {
        Ok(self.list().await?.pop())
    }

    async fn listing(&self) -> Listing {
        if self.was_called.swap(true, std::sync::atomic::Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Listing { tokens: vec![self.token.clone()], ..Listing::default() }
    }

    async fn revoke(&self, _: &str) -> Result<bool, TokenStoreError> {
        Ok(false)
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_does_not_hold_up_a_token_in_use() {
    let secret = Secret::generate().unwrap();
    let token = TokenRecord::new(&secret, Scope::Ingest, vec!["p".to_owned()]).unwrap();
    let hanging = || Arc::new(Hanging { token: token.clone(), was_called: false.into() });
    let (by_token, by_beacon) = (Authenticator::new(hanging()), Authenticator::new(hanging()));
    for _ in 0..3 {
        let began = Instant::now();
        assert!(by_token.identify(secret.expose()).await.is_ok());
        assert!(by_beacon.authorize_beacon("p", Site(None)).await.is_ok());
        assert!(began.elapsed() <= KNOWN_TIMEOUT * 2, "{:?}", began.elapsed());
        // As if the cache entries had expired.
        by_token.tokens.invalidate_all();
        tokio::time::advance(TTL).await;
    }
    let began = Instant::now();
    let unknown = Secret::generate().unwrap();
    let denied = by_token.identify(unknown.expose()).await;
    assert!(matches!(denied, Err(Denied::Unavailable(_))), "{denied:?}");
    assert_eq!(began.elapsed().as_secs(), LOOKUP_TIMEOUT.as_secs());
}

/// Takes [`Slow::TAKES`] for every response.
struct Slow {
    token: std::sync::Mutex<Option<TokenRecord>>,
    calls: std::sync::atomic::AtomicUsize,
}

impl Slow {
    const TAKES: Duration = Duration::from_millis(400);
}

#[async_trait::async_trait]
impl TokenStore for Slow {
    async fn create(&self, _: TokenRecord) -> Result<(), TokenStoreError> {
        Ok(())
    }

    async fn find(&self, _: &TokenHash) -> Result<Option<TokenRecord>, TokenStoreError> {
        Ok(self.list().await?.pop())
    }

    async fn listing(&self) -> Listing {
        self.calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        tokio::time::sleep(Self::TAKES).await;
        let tokens = self.token.lock().unwrap().clone().into_iter().collect();
        Listing { tokens, ..Listing::default() }
    }

    async fn revoke(&self, _: &str) -> Result<bool, TokenStoreError> {
        Ok(self.token.lock().unwrap().take().is_some())
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_response_counts_from_when_it_arrives() {
    let secret = Secret::generate().unwrap();
    let token = TokenRecord::new(&secret, Scope::Ingest, vec!["p".to_owned()]).unwrap();
    let slow = Arc::new(Slow { token: Some(token).into(), calls: 0.into() });
    let tokens = Authenticator::new(slow.clone());
    assert!(tokens.identify(secret.expose()).await.is_ok(), "the first request waits");
    slow.revoke("").await.unwrap();
    // As if the cache entry had expired.
    tokens.tokens.invalidate_all();
    let began = Instant::now();
    for _ in 0..20 {
        assert!(tokens.identify(secret.expose()).await.is_ok(), "the earlier result, meanwhile");
    }
    assert!(began.elapsed() <= KNOWN_TIMEOUT * 2, "{:?}", began.elapsed());
    tokio::time::sleep_until(began + Slow::TAKES * 2).await;
    let denied = tokens.identify(secret.expose()).await;
    assert!(matches!(denied, Err(Denied::Unknown)), "{denied:?}");
    assert_eq!(slow.calls.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn beacons_rarely_read_the_list_of_tokens() {
    let secret = Secret::generate().unwrap();
    let token = TokenRecord::new(&secret, Scope::Ingest, vec!["p".to_owned()]).unwrap();
    let slow = Arc::new(Slow { token: Some(token).into(), calls: 0.into() });
    let tokens = Authenticator::new(slow.clone());
    let began = Instant::now();
    let mut beacons = 0;
    while began.elapsed() < Duration::from_secs(60) {
        assert!(tokens.authorize_beacon("p", Site(None)).await.is_ok());
        let denied = tokens.authorize_beacon("q", Site(None)).await;
        assert!(matches!(denied, Err(Denied::Missing)), "{denied:?}");
        beacons += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let lists = slow.calls.load(std::sync::atomic::Ordering::SeqCst);
    assert!(beacons > 500 && (6..=8).contains(&lists), "{lists} lists for {beacons} beacons");
    // A revocation takes effect with the next list.
    slow.revoke("").await.unwrap();
    while tokens.authorize_beacon("p", Site(None)).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(75), "the revocation never takes effect");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
