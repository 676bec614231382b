//! Old tokens of Bklit, of which only a salted scrypt hash is stored. Finding the token that a
//! secret belongs to means comparing it with each hash, at about 50 ms of CPU time per hash.
//!
//! So only one secret is compared at a time and few may wait; further requests are asked to retry.
//! Results are cached; an unknown secret is compared again only if the set of old tokens has
//! changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use moka::sync::Cache;
use scrypt::{Params, scrypt};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use bklit_pipeline::auth::single_flight::SingleFlight;
use bklit_pipeline::auth::{Secret, TokenHash, TokenStoreError};

/// Maximum old tokens that are compared. If Postgres has more, the least recently used ones are
/// ignored.
pub(super) const MAX_CANDIDATES: usize = 1_000;

/// Secrets compared at the same time, and the maximum number including those that wait.
const AT_ONCE: usize = 1;
const MAX_UNDER_WAY: usize = 16;

/// How long a request waits. The comparison continues in the background, and the next request finds
/// the result.
const REQUEST_WAIT: Duration = Duration::from_secs(3);

/// How long the list of old tokens is cached.
const LIST_TTL: Duration = Duration::from_secs(2);

/// Size of the caches of known and of unknown secrets, and how long their entries are kept.
const MAX_KNOWN: u64 = 10_000;
const KNOWN_UNUSED: Duration = Duration::from_secs(24 * 60 * 60);
const MISS_TTL: Duration = Duration::from_secs(10 * 60);

/// The defaults of Node's `crypto.scrypt` (N = 2^14, r = 8, p = 1), and Bklit's hash length.
const LOG_N: u8 = 14;
const R: u32 = 8;
const P: u32 = 1;
const LENGTH: usize = 64;

/// The `tokenPrefix` of a secret: its first 8 characters, which so far are the same for all.
pub(super) fn prefix(secret: &Secret) -> &str {
    &secret.expose()[..8]
}

/// The result of comparing a secret with the old tokens.
pub(super) enum Checked {
    /// It belongs to the token with this `tokenHash`.
    Matches(Arc<str>),
    /// It belongs to none of them.
    Unknown,
}

/// The `tokenHash`es of the old tokens, and a digest of the list.
#[derive(Clone)]
pub(super) struct Candidates {
    hashes: Arc<[String]>,
    digest: [u8; 32],
}

/// Finds the old token that a secret belongs to.
pub(super) struct OldTokens {
    list: moka::future::Cache<(), Candidates>,
    matches: Cache<TokenHash, Arc<str>>,
    misses: Cache<TokenHash, [u8; 32]>,
    /// Secrets being compared.
    in_flight: SingleFlight<TokenHash, ()>,
    turns: Arc<Semaphore>,
    excess_logged: AtomicBool,
}

impl Default for OldTokens {
    fn default() -> Self {
        Self {
            list: moka::future::Cache::builder().max_capacity(1).time_to_live(LIST_TTL).build(),
            matches: Cache::builder().max_capacity(MAX_KNOWN).time_to_idle(KNOWN_UNUSED).build(),
            misses: Cache::builder().max_capacity(MAX_KNOWN).time_to_live(MISS_TTL).build(),
            in_flight: SingleFlight::new(MAX_UNDER_WAY),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            excess_logged: AtomicBool::new(false),
        }
    }
}

impl OldTokens {
    /// The `tokenHash` of a secret, from the cache.
    pub(super) fn known(&self, hash: &TokenHash) -> Option<Arc<str>> {
        self.matches.get(hash)
    }

    /// The old tokens, from the cache or by calling `read`.
    pub(super) async fn candidates(
        &self,
        read: impl Future<Output = Result<Vec<String>, TokenStoreError>>,
    ) -> Result<Candidates, TokenStoreError> {
        let list = async {
            let mut hashes = read.await?;
            if hashes.len() > MAX_CANDIDATES && !self.excess_logged.swap(true, Relaxed) {
                tracing::warn!(
                    "more than {MAX_CANDIDATES} tokens in Postgres have no tokenLookup; only the \
                     most recently used ones work: create new ones in Bklit"
                );
            }
            hashes.truncate(MAX_CANDIDATES);
            let mut digest = Sha256::new();
            for hash in &hashes {
                digest.update((hash.len() as u64).to_be_bytes());
                digest.update(hash);
            }
            Ok(Candidates { hashes: hashes.into(), digest: digest.finalize().into() })
        };
        let list = self.list.try_get_with((), list).await;
        list.map_err(|error: Arc<TokenStoreError>| TokenStoreError(error.0.clone()))
    }

    /// Finds the token that the secret belongs to.
    ///
    /// # Errors
    /// If the result is not available within [`REQUEST_WAIT`], or too many other secrets are
    /// waiting.
    pub(super) async fn check(
        &self,
        secret: &Secret,
        candidates: &Candidates,
    ) -> Result<Checked, TokenStoreError> {
        let hash = secret.hash();
        if let Some(known) = self.result(&hash, candidates) {
            return Ok(known);
        }
        let started = self.in_flight.begin(&hash, self.attempt(secret, candidates));
        let started =
            started.ok_or_else(|| busy("too many other tokens are being compared with old ones"));
        let ended = started?.by(Instant::now() + REQUEST_WAIT).await;
        match self.result(&hash, candidates) {
            Some(result) => Ok(result),
            None if ended.is_none() => Err(busy("it is being compared with old ones")),
            None => Err(busy("the old tokens have just changed")),
        }
    }

    fn result(&self, hash: &TokenHash, candidates: &Candidates) -> Option<Checked> {
        if candidates.hashes.is_empty() {
            return Some(Checked::Unknown);
        }
        if let Some(scrypt) = self.matches.get(hash) {
            return Some(Checked::Matches(scrypt));
        }
        let missed = self.misses.get(hash)?;
        (missed == candidates.digest).then_some(Checked::Unknown)
    }

    /// Compares the secret when its turn comes.
    fn attempt(
        &self,
        secret: &Secret,
        candidates: &Candidates,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (turns, matches, misses) =
            (Arc::clone(&self.turns), self.matches.clone(), self.misses.clone());
        let (secret, candidates) = (secret.clone(), candidates.clone());
        async move {
            let Ok(turn) = turns.acquire_owned().await else { return };
            let tried = tokio::task::spawn_blocking(move || {
                let hash = secret.hash();
                let found = candidates.hashes.iter().find(|stored| matches_hash(&secret, stored));
                match found {
                    Some(stored) => matches.insert(hash, stored.as_str().into()),
                    None => misses.insert(hash, candidates.digest),
                }
                drop(turn);
            });
            // The runtime reports a panic; waiting requests are asked to retry.
            let _ = tried.await;
        }
    }
}

fn busy(why: &str) -> TokenStoreError {
    TokenStoreError(format!("this token has not been verified yet: {why}; retry the request"))
}

/// Whether `stored`, which is `salt:hex(scrypt(secret, salt, 64))`, matches the secret. The salt is
/// used as text, even if it looks like hex.
fn matches_hash(secret: &Secret, stored: &str) -> bool {
    let Some((salt, digits)) = stored.split_once(':') else { return false };
    let Some(expected) = decode(digits) else { return false };
    let mut found = [0u8; LENGTH];
    let hashed = Params::new(LOG_N, R, P).is_ok_and(|params| {
        scrypt(secret.expose().as_bytes(), salt.as_bytes(), &params, &mut found).is_ok()
    });
    hashed && found.ct_eq(&expected).into()
}

fn decode(digits: &str) -> Option<[u8; LENGTH]> {
    HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?.try_into().ok()
}
