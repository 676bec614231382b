//! The token store in Redis: the hash `bklit:tokens`. A field is the hex SHA-256 of a secret, its
//! value the token's permissions as JSON.
//!
//! Tokens are few and rarely change, so all operations except a lookup by hash read all of them.

use async_trait::async_trait;
use redis::{Script, cmd};

use crate::redis::connection::{Link, RedisFailure, RedisServer};
use bklit_pipeline::auth::listing::LeavesOut;
use bklit_pipeline::auth::stored::{Stored, unreadable};
use bklit_pipeline::auth::{Listing, TokenHash, TokenRecord, TokenStore, TokenStoreError};

/// The key that the token commands and all processes share.
pub const DEFAULT_KEY: &str = "bklit:tokens";

/// The [`TokenStore`] in Redis.
pub struct RedisTokenStore {
    link: Link,
    key: String,
    create: Script,
    leaves_out: LeavesOut,
}

/// Adds a token unless its hash or its id exists. Tokens are numbered in the order of creation.
/// KEYS: tokens   ARGV: hash, id, its JSON without the closing brace
const CREATE: &str = "
    if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 0 end
    local last = 0
    for _, json in ipairs(redis.call('HVALS', KEYS[1])) do
        local is_json, token = pcall(cjson.decode, json)
        if is_json and type(token) == 'table' then
            if token.id == ARGV[2] then return 0 end
            last = math.max(last, tonumber(token.order) or 0)
        end
    end
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. ',\"order\":' .. last + 1 .. '}')
    return 1
";

impl RedisTokenStore {
    /// Uses the hash `key`. Connects when it is first used.
    pub fn new(server: RedisServer, key: &str) -> Self {
        let (link, create) = (Link::new(server.for_key(key)), Script::new(CREATE));
        Self { link, key: key.to_owned(), create, leaves_out: LeavesOut::default() }
    }

    async fn all(&self) -> Result<Vec<(String, String)>, RedisFailure> {
        let connection = self.link.connection().await?;
        connection.query(cmd("HGETALL").arg(&self.key)).await
    }
}

fn unavailable(error: impl std::fmt::Display) -> TokenStoreError {
    TokenStoreError(error.to_string())
}

/// Reads a token, and its number among those created at the same time.
fn read(field: &str, json: &str) -> Result<(u64, TokenRecord), TokenStoreError> {
    let stored: Stored = serde_json::from_str(json).map_err(|error| unreadable(field, &error))?;
    Ok((stored.order, stored.into_token(field)?))
}

#[async_trait]
impl TokenStore for RedisTokenStore {
    async fn create(&self, token: TokenRecord) -> Result<(), TokenStoreError> {
        let hash = token.hash.to_hex();
        let stored = Stored::from(token);
        let mut json = serde_json::to_string(&stored).map_err(unavailable)?;
        json.pop();
        let connection = self.link.connection().await.map_err(unavailable)?;
        let mut call = self.create.key(&self.key);
        call.arg(hash).arg(&stored.id).arg(json);
        match connection.script::<bool>(&call).await.map_err(unavailable)? {
            true => Ok(()),
            false => Err(TokenStoreError("the token already exists".to_owned())),
        }
    }

    async fn find(&self, hash: &TokenHash) -> Result<Option<TokenRecord>, TokenStoreError> {
        let field = hash.to_hex();
        let connection = self.link.connection().await.map_err(unavailable)?;
        let command = cmd("HGET").arg(&self.key).arg(&field).take();
        let json: Option<String> = connection.query(&command).await.map_err(unavailable)?;
        json.map(|json| read(&field, &json).map(|(_, token)| token)).transpose()
    }

    async fn listing(&self) -> Listing {
        let all = match self.all().await {
            Ok(all) => all,
            Err(failure) => return Listing::unavailable(unavailable(failure)),
        };
        let tokens = all.iter().map(|(field, json)| read(field, json));
        let (mut tokens, unreadable) = self.leaves_out.unreadable(tokens);
        tokens.sort_by_key(|(order, token)| (token.created_at, *order));
        let tokens = tokens.into_iter().map(|(_, token)| token).collect();
        Listing { tokens, unreadable, unavailable: None }
    }

    async fn revoke(&self, id: &str) -> Result<bool, TokenStoreError> {
        let all = self.all().await.map_err(unavailable)?;
        let named = |json: &str| serde_json::from_str::<Stored>(json).is_ok_and(|s| s.id == id);
        let Some((field, _)) = all.iter().find(|(_, json)| named(json)) else { return Ok(false) };
        let connection = self.link.connection().await.map_err(unavailable)?;
        let command = cmd("HDEL").arg(&self.key).arg(field).take();
        connection.query(&command).await.map_err(unavailable)
    }
}
