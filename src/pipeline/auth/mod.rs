//! Who may write or read which project: the port `TokenStore` and the cached check on top of it.
//!
//! - `authenticator`: the cached check
//! - `beacons`: ending sessions without a token
//! - `bootstrap`: the token of the first start
//! - `domains`: the sites that may use a token
//! - `listing`: the list of all tokens
//! - `settings`: how tokens are checked
//! - `single_flight`: one lookup per token at a time
//! - `stored`: a token as JSON
//! - `token`: secrets and their hashes
//! - `token_cache`: tokens that stay valid while the store is unavailable

pub mod authenticator;
mod beacons;
mod bootstrap;
pub mod domains;
pub mod listing;
mod settings;
pub mod single_flight;
pub mod stored;
pub mod token;
mod token_cache;

use async_trait::async_trait;

use bklit_wire::time::UtcMillis;

pub use authenticator::{Authenticator, Denied, TTL};
pub use bootstrap::{BootstrapError, DEFAULT_PROJECT, bootstrap, default_token};
pub use domains::{DomainRules, ForeignSite, Site};
pub use listing::Listing;
pub use settings::AuthSettings;
pub use token::{Secret, TokenHash};
pub use token_cache::count_saved;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Writing events to its projects. These tokens are in public web pages, so they allow nothing
    /// else.
    Ingest,
    /// Reading: debug stream, dashboards, metrics.
    Read,
    /// Reading, and repairing the queue, which all projects share.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Read, Self::Admin];

    /// Its name in commands and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    /// The scope of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// A token as it is stored, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Identifies it in `token list` and `token revoke`.
    pub id: String,
    /// SHA-256 of the secret.
    pub hash: TokenHash,
    /// The secret's first characters, to recognise it.
    pub prefix: String,
    /// What the operator calls it.
    pub name: Option<String>,
    /// What it allows.
    pub scope: Scope,
    /// The projects it is for; empty means all (not for [`Scope::Ingest`]).
    pub projects: Vec<String>,
    /// Domains that may use it, as they were entered (see [`domains`]); empty means any.
    pub allowed_domains: Vec<String>,
    /// When it was created.
    pub created_at: UtcMillis,
    /// When it expires.
    pub expires_at: Option<UtcMillis>,
}

impl TokenRecord {
    /// A token for `secret`, created now, with a new id, for any site and without expiry.
    ///
    /// # Errors
    /// When the system's random source fails.
    pub fn new(
        secret: &Secret,
        scope: Scope,
        projects: Vec<String>,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self {
            id: format!("tok_{:012x}", getrandom::u64()? >> 16),
            hash: secret.hash(),
            prefix: secret.prefix().to_owned(),
            name: None,
            scope,
            projects,
            allowed_domains: Vec::new(),
            created_at: UtcMillis::now(),
            expires_at: None,
        })
    }
}

/// Why tokens cannot be looked up or changed now.
#[derive(Debug, thiserror::Error)]
#[error("the token store is unavailable: {0}")]
pub struct TokenStoreError(pub String);

/// Where tokens are kept.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// Adds a token.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn create(&self, token: TokenRecord) -> Result<(), TokenStoreError>;

    /// The token with this hash, revoked ones excluded, expired ones not.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn find(&self, hash: &TokenHash) -> Result<Option<TokenRecord>, TokenStoreError>;

    /// The token with this secret. Differs from [`TokenStore::find`] only if the store also has
    /// hashes of another kind.
    ///
    /// # Errors
    /// When the store cannot be read, or finding out takes longer.
    async fn find_by_secret(
        &self,
        secret: &Secret,
    ) -> Result<Option<TokenRecord>, TokenStoreError> {
        self.find(&secret.hash()).await
    }

    /// All tokens that are not revoked; incomplete if a part of the store is unavailable.
    async fn listing(&self) -> Listing;

    /// All tokens that can be read, oldest first.
    ///
    /// # Errors
    /// When a part of the store is unavailable, so that there may be others.
    async fn list(&self) -> Result<Vec<TokenRecord>, TokenStoreError> {
        self.listing().await.whole()
    }

    /// Removes a token; returns whether it existed.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn revoke(&self, id: &str) -> Result<bool, TokenStoreError>;
}
