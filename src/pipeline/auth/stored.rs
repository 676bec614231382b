//! A token as JSON, as stored under its hash.

use serde::{Deserialize, Serialize};

use super::{Scope, TokenHash, TokenRecord, TokenStoreError};
use bklit_wire::time::UtcMillis;

/// The JSON of a token, without its hash.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// Identifies it in `token list` and `token revoke`.
    pub id: String,
    prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    scope: String,
    projects: Vec<String>,
    #[serde(default)]
    allowed_domains: Vec<String>,
    created_at: UtcMillis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<UtcMillis>,
    /// Orders tokens that were created in the same millisecond.
    #[serde(default, skip_serializing)]
    pub order: u64,
}

impl From<TokenRecord> for Stored {
    fn from(token: TokenRecord) -> Self {
        Self {
            id: token.id,
            prefix: token.prefix,
            name: token.name,
            scope: token.scope.as_str().to_owned(),
            projects: token.projects,
            allowed_domains: token.allowed_domains,
            created_at: token.created_at,
            expires_at: token.expires_at,
            order: 0,
        }
    }
}

impl Stored {
    /// The token with this hash (hex).
    ///
    /// # Errors
    /// When the hash is invalid or the scope is unknown.
    pub fn into_token(self, hash: &str) -> Result<TokenRecord, TokenStoreError> {
        let hash =
            TokenHash::from_hex(hash).ok_or_else(|| unreadable(hash, &"its hash is invalid"))?;
        let scope = Scope::from_name(&self.scope);
        Ok(TokenRecord {
            id: self.id,
            hash,
            prefix: self.prefix,
            name: self.name,
            scope: scope.ok_or_else(|| unreadable(&hash.to_hex(), &"its scope is unknown"))?,
            projects: self.projects,
            allowed_domains: self.allowed_domains,
            created_at: self.created_at,
            expires_at: self.expires_at,
        })
    }
}

/// The error about a stored token that cannot be read.
pub fn unreadable(hash: &str, what: &dyn std::fmt::Display) -> TokenStoreError {
    // The hash is not secret, and a few digits are enough to find it.
    let start: String = hash.chars().take(8).collect();
    TokenStoreError(format!("the token with hash {start}… cannot be read: {what}"))
}
