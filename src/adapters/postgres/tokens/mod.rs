//! The tokens of Bklit's Postgres, read-only, combined with our own token store.
//!
//! Bklit's dashboard creates and revokes its tokens. Our own tokens, such as those with the scope
//! `read`, are kept in the other store, which is searched first.

mod legacy_scrypt;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::postgres::tokens::legacy_scrypt::{Checked, OldTokens};
use crate::postgres::{Link, PostgresFailure, PostgresServer};
use bklit_pipeline::auth::listing::LeavesOut;
use bklit_pipeline::auth::{
    Listing, Scope, Secret, TokenHash, TokenRecord, TokenStore, TokenStoreError,
};
use bklit_wire::time::UtcMillis;

/// Maximum tokens of Bklit that are listed. The list decides which projects accept beacons without
/// a token.
const MAX_LISTED: usize = 20_000;

/// The [`TokenStore`] with Bklit's tokens and our own.
pub struct PostgresTokenStore {
    own: Arc<dyn TokenStore>,
    link: Link,
    statements: Statements,
    old: OldTokens,
    leaves_out: LeavesOut,
    excess_logged: AtomicBool,
}

/// The statements.
struct Statements {
    by_lookup: String,
    by_hash: String,
    all: String,
    old_hashes: String,
}

impl Statements {
    fn new(server: &PostgresServer) -> Self {
        let (token, project) = (server.table("api_token"), server.table("api_token_project"));
        // Timestamps have no time zone and are in UTC. Postgres' infinities are not numbers.
        let token_columns = format!(
            "SELECT t.\"id\"::text, t.\"tokenLookup\", t.\"tokenPrefix\", \
             array_replace(coalesce(t.\"allowedDomains\", '{{}}')::text[], NULL, ''), \
             CASE t.\"expiresAt\" WHEN 'infinity' THEN NULL WHEN '-infinity' THEN 0 \
             ELSE floor(extract(epoch FROM t.\"expiresAt\") * 1000)::bigint END, \
             ARRAY(SELECT p.\"projectId\"::text FROM {project} p \
             WHERE p.\"tokenId\" = t.\"id\" ORDER BY 1) FROM {token} t"
        );
        Self {
            by_lookup: format!("{token_columns} WHERE t.\"tokenLookup\" = $1 LIMIT 1"),
            by_hash: format!(
                "{token_columns} WHERE t.\"tokenLookup\" IS NULL AND t.\"tokenHash\" = $1 LIMIT 1"
            ),
            all: format!("{token_columns} ORDER BY t.\"id\" LIMIT {MAX_LISTED}"),
            // Tokens in use are compared first.
            old_hashes: format!(
                "SELECT \"tokenHash\" FROM {token} \
                 WHERE \"tokenLookup\" IS NULL AND \"tokenPrefix\" = $1 \
                 ORDER BY \"lastUsedAt\" DESC NULLS LAST, \"id\" LIMIT {}",
                legacy_scrypt::MAX_CANDIDATES + 1
            ),
        }
    }
}

impl PostgresTokenStore {
    /// Combines the tokens in Postgres and in `own`. Connects when it is first used.
    pub fn new(server: PostgresServer, own: Arc<dyn TokenStore>) -> Self {
        let statements = Statements::new(&server);
        Self {
            own,
            link: Link::new(server),
            statements,
            old: OldTokens::default(),
            leaves_out: LeavesOut::default(),
            excess_logged: AtomicBool::new(false),
        }
    }

    async fn rows(&self, statement: &str, text: Option<&str>) -> Result<Vec<Row>, TokenStoreError> {
        let parameter = text.as_ref().map(|text| (text as &(dyn ToSql + Sync), Type::TEXT));
        self.link.query(statement, parameter.as_slice()).await.map_err(|error| unavailable(&error))
    }

    async fn one(
        &self,
        statement: &str,
        text: &str,
        hash: TokenHash,
    ) -> Result<Option<TokenRecord>, TokenStoreError> {
        let rows = self.rows(statement, Some(text)).await?;
        rows.first().map(|row| record(row, Some(hash))).transpose()
    }

    /// Finds a token of Bklit by the SHA-256 of its secret. Finds an old token only if its secret
    /// was compared before.
    async fn bklit_by_hash(
        &self,
        hash: &TokenHash,
    ) -> Result<Option<TokenRecord>, TokenStoreError> {
        if let Some(found) = self.one(&self.statements.by_lookup, &hash.to_hex(), *hash).await? {
            return Ok(Some(found));
        }
        match self.old.known(hash) {
            Some(scrypt) => self.one(&self.statements.by_hash, &scrypt, *hash).await,
            None => Ok(None),
        }
    }

    async fn bklit_by_secret(
        &self,
        secret: &Secret,
    ) -> Result<Option<TokenRecord>, TokenStoreError> {
        let hash = secret.hash();
        if let Some(found) = self.bklit_by_hash(&hash).await? {
            return Ok(Some(found));
        }
        let hashes = self.old.candidates(self.old_hashes(secret)).await?;
        match self.old.check(secret, &hashes).await? {
            Checked::Matches(scrypt) => self.one(&self.statements.by_hash, &scrypt, hash).await,
            Checked::Unknown => Ok(None),
        }
    }

    async fn old_hashes(&self, secret: &Secret) -> Result<Vec<String>, TokenStoreError> {
        let rows =
            self.rows(&self.statements.old_hashes, Some(legacy_scrypt::prefix(secret))).await?;
        rows.iter().map(|row| row.try_get(0).map_err(|error| unreadable(&error))).collect()
    }
}

#[async_trait]
impl TokenStore for PostgresTokenStore {
    async fn create(&self, token: TokenRecord) -> Result<(), TokenStoreError> {
        self.own.create(token).await
    }

    async fn find(&self, hash: &TokenHash) -> Result<Option<TokenRecord>, TokenStoreError> {
        let own = self.own.find(hash).await;
        either(own, || self.bklit_by_hash(hash)).await
    }

    async fn find_by_secret(
        &self,
        secret: &Secret,
    ) -> Result<Option<TokenRecord>, TokenStoreError> {
        let own = self.own.find_by_secret(secret).await;
        either(own, || self.bklit_by_secret(secret)).await
    }

    async fn listing(&self) -> Listing {
        let rows = self.rows(&self.statements.all, None);
        let (mut listing, rows) = tokio::join!(self.own.listing(), rows);
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                listing.unavailable.get_or_insert(error);
                return listing;
            }
        };
        if rows.len() == MAX_LISTED && !self.excess_logged.swap(true, Relaxed) {
            tracing::warn!(
                "only the first {MAX_LISTED} tokens in Postgres are used to check beacons"
            );
        }
        let read = rows.iter().map(|row| record(row, None));
        let (tokens, unreadable) = self.leaves_out.unreadable(read);
        listing.tokens.extend(tokens);
        listing.unreadable += unreadable;
        listing
    }

    async fn revoke(&self, id: &str) -> Result<bool, TokenStoreError> {
        self.own.revoke(id).await
    }
}

/// The token from our own store, otherwise Bklit's. Reports `None` only if both stores were
/// readable.
async fn either<F: Future<Output = Result<Option<TokenRecord>, TokenStoreError>>>(
    own: Result<Option<TokenRecord>, TokenStoreError>,
    bklit: impl FnOnce() -> F,
) -> Result<Option<TokenRecord>, TokenStoreError> {
    match own {
        Ok(Some(token)) => Ok(Some(token)),
        Ok(None) => bklit().await,
        Err(error) => match bklit().await {
            Ok(Some(token)) => Ok(Some(token)),
            Ok(None) | Err(_) => Err(error),
        },
    }
}

fn record(row: &Row, hash: Option<TokenHash>) -> Result<TokenRecord, TokenStoreError> {
    let failed = |error| unreadable(&error);
    let lookup: Option<String> = row.try_get(1).map_err(failed)?;
    let expires: Option<i64> = row.try_get(4).map_err(failed)?;
    Ok(TokenRecord {
        id: row.try_get(0).map_err(failed)?,
        hash: hash.or_else(|| TokenHash::from_hex(&lookup?)).unwrap_or(TokenHash::OF_NO_SECRET),
        prefix: row.try_get::<_, Option<String>>(2).map_err(failed)?.unwrap_or_default(),
        name: None,
        // Bklit's tokens are public, in web pages, so they allow only writing.
        scope: Scope::Ingest,
        projects: row.try_get(5).map_err(failed)?,
        allowed_domains: row.try_get(3).map_err(failed)?,
        created_at: UtcMillis::MIN,
        expires_at: expires.map(UtcMillis::from_epoch_millis),
    })
}

fn unavailable(error: &PostgresFailure) -> TokenStoreError {
    TokenStoreError(error.to_string())
}

fn unreadable(error: &tokio_postgres::Error) -> TokenStoreError {
    TokenStoreError(format!("a token in Postgres cannot be read: {error}"))
}
