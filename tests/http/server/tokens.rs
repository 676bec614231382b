//! A real token store whose lookups can be made to fail.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use bklit_adapters::sqlite::tokens::SqliteTokenStore;
use bklit_pipeline::auth::{
    Listing, Scope, Secret, TokenHash, TokenRecord, TokenStore, TokenStoreError,
};

/// A real token store that counts its lookups and can be made to fail.
pub struct Tokens {
    store: SqliteTokenStore,
    pub lookups: AtomicUsize,
    pub is_away: AtomicBool,
    /// While a writer holds it, lookups wait.
    pub gate: tokio::sync::RwLock<()>,
    _dir: tempfile::TempDir,
}

impl Tokens {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteTokenStore::open(&dir.path().join("tokens.db")).unwrap();
        Self {
            store,
            lookups: AtomicUsize::new(0),
            is_away: AtomicBool::new(false),
            gate: tokio::sync::RwLock::default(),
            _dir: dir,
        }
    }

    /// Creates a token, modified by `change`.
    pub async fn make(
        &self,
        scope: Scope,
        projects: &[&str],
        change: impl FnOnce(&mut TokenRecord),
    ) -> (Secret, TokenRecord) {
        let secret = Secret::generate().unwrap();
        let projects = projects.iter().map(|&project| project.to_owned()).collect();
        let mut token = TokenRecord::new(&secret, scope, projects).unwrap();
        change(&mut token);
        self.store.create(token.clone()).await.unwrap();
        (secret, token)
    }

    fn looked_up(&self) -> Result<(), TokenStoreError> {
        self.lookups.fetch_add(1, SeqCst);
        if self.is_away.load(SeqCst) {
            return Err(TokenStoreError("gone".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl TokenStore for Tokens {
    async fn create(&self, token: TokenRecord) -> Result<(), TokenStoreError> {
        self.store.create(token).await
    }

    async fn find(&self, hash: &TokenHash) -> Result<Option<TokenRecord>, TokenStoreError> {
        self.looked_up()?;
        let _open = self.gate.read().await;
        self.store.find(hash).await
    }

    async fn listing(&self) -> Listing {
        match self.looked_up() {
            Ok(()) => self.store.listing().await,
            Err(error) => Listing::unavailable(error),
        }
    }

    async fn revoke(&self, id: &str) -> Result<bool, TokenStoreError> {
        self.store.revoke(id).await
    }
}
