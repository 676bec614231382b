//! Tokens that the store has confirmed, which stay valid while it is unavailable, for up to [`GRACE`].
//! Ingest tokens are also saved in a file, so that a process that starts while the store is
//! unavailable accepts the same events as the one before it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use super::authenticator::{CAPACITY, GRACE};
use super::stored::Stored;
use super::{Scope, TokenHash, TokenRecord};
use bklit_wire::time::UtcMillis;

/// The most bytes read of a file; a full cache is smaller.
const MAX_BYTES: u64 = 64 << 20;

/// The confirmed tokens.
pub(super) struct TokenCache {
    tokens: Cache<TokenHash, Confirmed>,
    /// Whether tokens have changed since the file was written.
    changed: AtomicBool,
    /// Whether only the times of confirmation have changed since then.
    confirmed: AtomicBool,
}

#[derive(Clone)]
struct Confirmed {
    token: Arc<TokenRecord>,
    at: UtcMillis,
}

/// A line of the file: hash and record as in a store, without the secret.
#[derive(Serialize, Deserialize)]
struct Line {
    hash: String,
    at: UtcMillis,
    token: Stored,
}

impl TokenCache {
    pub(super) fn new() -> Self {
        let tokens = Cache::builder().max_capacity(CAPACITY).time_to_live(GRACE).build();
        Self { tokens, changed: false.into(), confirmed: false.into() }
    }

    pub(super) fn get(&self, hash: &TokenHash) -> Option<Arc<TokenRecord>> {
        self.tokens.get(hash).filter(Confirmed::counts).map(|known| known.token)
    }

    /// All tokens that are valid now.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<TokenRecord>> {
        self.tokens.iter().filter(|(_, known)| known.counts()).map(|(_, known)| known.token)
    }

    /// Records the store's current result for a token.
    pub(super) fn update(&self, hash: TokenHash, found: Option<&Arc<TokenRecord>>) {
        match found {
            Some(token) => self.confirm(hash, token),
            None => self.forget(&hash),
        }
    }

    fn confirm(&self, hash: TokenHash, token: &Arc<TokenRecord>) {
        let before = self.tokens.get(&hash);
        let flag = match before {
            Some(before) if before.token == *token => &self.confirmed,
            _ => &self.changed,
        };
        self.tokens.insert(hash, Confirmed { token: Arc::clone(token), at: UtcMillis::now() });
        flag.store(true, Relaxed);
    }

    fn forget(&self, hash: &TokenHash) {
        if self.tokens.remove(hash).is_some() {
            self.changed.store(true, Relaxed);
        }
    }

    /// Whether the file is out of date; with `times`, also if only the times have changed.
    pub(super) fn needs_saving(&self, times: bool) -> bool {
        self.changed.load(Relaxed) || (times && self.confirmed.load(Relaxed))
    }

    /// Replaces the file atomically. Blocks.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        // Before the tokens are read: changes during the write are saved next time.
        let flags = [&self.changed, &self.confirmed].map(|flag| flag.swap(false, Relaxed));
        let written = self.write_tokens(file);
        if written.is_err() {
            self.changed.fetch_or(flags[0] | flags[1], Relaxed);
        }
        written
    }

    fn write_tokens(&self, file: &Path) -> io::Result<()> {
        let mut text = Vec::new();
        for (hash, Confirmed { token, at }) in &self.tokens {
            if token.scope == Scope::Ingest {
                let token = Stored::from((*token).clone());
                serde_json::to_writer(&mut text, &Line { hash: hash.to_hex(), at, token })?;
                text.push(b'\n');
            }
        }
        let temporary = file.with_extension("cache.new");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut open = OpenOptions::new();
        let mut new = open.write(true).create_new(true).mode(0o600).open(&temporary)?;
        new.write_all(&text)?;
        new.sync_all()?;
        fs::rename(&temporary, file)
    }

    /// Loads what an earlier process saved; returns how many tokens are still valid. Blocks.
    pub(super) fn read(&self, file: &Path) -> io::Result<usize> {
        let mut text = String::new();
        match fs::File::open(file) {
            Ok(file) => file.take(MAX_BYTES).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut counted = 0;
        for line in text.lines() {
            let Line { hash, at, token } = serde_json::from_str(line)?;
            let token = token.into_token(&hash).map_err(io::Error::other)?;
            let known = Confirmed { token: Arc::new(token), at };
            if known.counts() && known.token.scope == Scope::Ingest {
                self.tokens.insert(known.token.hash, known);
                counted += 1;
            }
        }
        Ok(counted)
    }
}

/// How many valid tokens are saved in `file`. Blocks.
///
/// # Errors
/// When the file cannot be read.
pub fn count_saved(file: &Path) -> io::Result<usize> {
    TokenCache::new().read(file)
}

impl Confirmed {
    /// Whether it is younger than [`GRACE`], however often the process was restarted. An age below
    /// zero, after a clock was set back, means unknown and does not count.
    fn counts(&self) -> bool {
        let age = UtcMillis::now().epoch_millis() - self.at.epoch_millis();
        u128::try_from(age).is_ok_and(|age| age < GRACE.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::auth::Secret;

    fn token(scope: Scope) -> (Secret, Arc<TokenRecord>) {
        let secret = Secret::generate().unwrap();
        let mut token = TokenRecord::new(&secret, scope, vec!["p".to_owned()]).unwrap();
        token.allowed_domains = vec!["a.example".to_owned()];
        (secret, Arc::new(token))
    }

    #[test]
    fn only_ingest_tokens_are_saved_and_without_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens.cache");
        let (known, (secret, sends), (_, reads)) =
            (TokenCache::new(), token(Scope::Ingest), token(Scope::Read));
        assert_eq!(known.read(&file).unwrap(), 0);
        known.confirm(sends.hash, &sends);
        known.confirm(reads.hash, &reads);
        assert!(known.needs_saving(false));
        known.write(&file).unwrap();
        assert!(!known.needs_saving(true));
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&secret.expose()[12..]), "{text}");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        let later = TokenCache::new();
        assert_eq!(later.read(&file).unwrap(), 1);
        assert_eq!(later.get(&sends.hash), Some(Arc::clone(&sends)));
        assert_eq!(later.get(&reads.hash), None);
        later.confirm(sends.hash, &sends);
        assert!(!later.needs_saving(false) && later.needs_saving(true));
        later.forget(&sends.hash);
        later.write(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
    }

    #[test]
    fn tokens_older_than_the_grace_or_from_the_future_are_not_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens.cache");
        let (known, (_, token)) = (TokenCache::new(), token(Scope::Ingest));
        let grace = i64::try_from(GRACE.as_millis()).unwrap();
        let now = UtcMillis::now().epoch_millis();
        for (at, counts) in [(now - 1_000, 1), (now - grace, 0), (now + 60_000, 0)] {
            let at = UtcMillis::from_epoch_millis(at);
            let stored = Stored::from((*token).clone());
            let line = Line { hash: token.hash.to_hex(), at, token: stored };
            fs::write(&file, serde_json::to_string(&line).unwrap()).unwrap();
            assert_eq!(TokenCache::new().read(&file).unwrap(), counts, "{at:?}");
        }
        fs::write(&file, "{").unwrap();
        assert!(known.read(&file).is_err());
    }
}
