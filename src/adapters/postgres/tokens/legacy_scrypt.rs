//! Old tokens of Bklit, of which only a salted scrypt hash is kept: which one a secret is can only
//! be found out by trying each, at some 50 ms of a processor.
//!
//! So one secret is tried at a time, few wait, and the rest is told to come again. What was found
//! out is remembered; a secret that is none of them is tried again only when there are others.

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

/// Old tokens that are tried; Postgres may have more, of which the longest unused are left out.
pub(super) const MAX_CANDIDATES: usize = 1_000;

/// Secrets that are tried at once, and that wait for it besides.
const AT_ONCE: usize = 1;
const MAX_UNDER_WAY: usize = 16;

/// How long a request waits; trying goes on behind it, and the next request finds the result.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the list of old tokens is used before it is read again.
const LIST_TTL: Duration = Duration::from_secs(2);

/// Secrets of which is remembered which token they are, and that are none, and for how long.
const MAX_KNOWN: u64 = 10_000;
const KNOWN_UNUSED: Duration = Duration::from_secs(24 * 60 * 60);
const MISS_TTL: Duration = Duration::from_secs(10 * 60);

/// What Node's `crypto.scrypt` does unasked: N = 2^14, r = 8, p = 1; and Bklit's length.
const LOG_N: u8 = 14;
const R: u32 = 8;
const P: u32 = 1;
const LENGTH: usize = 64;

/// The `tokenPrefix` of a secret: its first characters, which so far are those of all.
pub(super) fn prefix(secret: &Secret) -> &str {
    &secret.expose()[..8]
}

/// Which of the old tokens a secret is.
pub(super) enum Checked {
    /// The one with this `tokenHash`.
    Matches(Arc<str>),
    /// None of them.
    Unknown,
}

/// The `tokenHash`es of the old tokens, and what tells this list from others.
#[derive(Clone)]
pub(super) struct Candidates {
    hashes: Arc<[String]>,
    digest: [u8; 32],
}

/// Finds out which of the old tokens a secret is.
pub(super) struct OldTokens {
    list: moka::future::Cache<(), Candidates>,
    matches: Cache<TokenHash, Arc<str>>,
    misses: Cache<TokenHash, [u8; 32]>,
    /// Secrets that are tried.
    in_flight: SingleFlight<TokenHash, ()>,
    turns: Arc<Semaphore>,
    told_of_more: AtomicBool,
}

impl Default for OldTokens {
    fn default() -> Self {
        Self {
            list: moka::future::Cache::builder().max_capacity(1).time_to_live(LIST_TTL).build(),
            matches: Cache::builder().max_capacity(MAX_KNOWN).time_to_idle(KNOWN_UNUSED).build(),
            misses: Cache::builder().max_capacity(MAX_KNOWN).time_to_live(MISS_TTL).build(),
            in_flight: SingleFlight::new(MAX_UNDER_WAY),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            told_of_more: AtomicBool::new(false),
        }
    }
}

impl OldTokens {
    /// The `tokenHash` of a secret that was tried before.
    pub(super) fn known(&self, hash: &TokenHash) -> Option<Arc<str>> {
        self.matches.get(hash)
    }

    /// The old tokens, read by `read` if that was not done just now.
    pub(super) async fn candidates(
        &self,
        read: impl Future<Output = Result<Vec<String>, TokenStoreError>>,
    ) -> Result<Candidates, TokenStoreError> {
        let list = async {
            let mut hashes = read.await?;
            if hashes.len() > MAX_CANDIDATES && !self.told_of_more.swap(true, Relaxed) {
                tracing::warn!(
                    "more than {MAX_CANDIDATES} tokens in Postgres have no tokenLookup; only the \
                     latest used of them work: make new ones in Bklit"
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

    /// Which of them the secret is.
    ///
    /// # Errors
    /// When that is not known within [`PATIENCE`], or too many others are tried.
    pub(super) async fn check(
        &self,
        secret: &Secret,
        candidates: &Candidates,
    ) -> Result<Checked, TokenStoreError> {
        let hash = secret.hash();
        if let Some(known) = self.result(&hash, candidates) {
            return Ok(known);
        }
        let begun = self.in_flight.begin(&hash, self.attempt(secret, candidates));
        let begun = begun.ok_or_else(|| busy("too many others are being compared with old tokens"));
        let ended = begun?.by(Instant::now() + PATIENCE).await;
        match self.result(&hash, candidates) {
            Some(result) => Ok(result),
            None if ended.is_none() => Err(busy("it is being compared with old tokens")),
            None => Err(busy("the old tokens have changed meanwhile")),
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

    /// Tries the secret when its turn comes.
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
            // A panic is reported by the runtime; whoever waits is told to come again.
            let _ = tried.await;
        }
    }
}

fn busy(why: &str) -> TokenStoreError {
    TokenStoreError(format!("this token is not known yet, and {why}; send it again"))
}

/// Whether `stored`, `salt:hex(scrypt(secret, salt, 64))`, is of this secret. The salt is its text,
/// not what that may encode.
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
