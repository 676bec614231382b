//! Tokens that the store has confirmed, which count while it is away, for [`GRACE`] at most. Those
//! that may send events are also noted in a file: a process that starts while the store is away
//! accepts events as the one before it did.

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

/// The longest file that is read; one of ours is shorter.
const MAX_BYTES: u64 = 64 << 20;

/// What is known.
pub(super) struct TokenCache {
    tokens: Cache<TokenHash, Confirmed>,
    /// The file says something else.
    changed: AtomicBool,
    /// It says the same, of an earlier time.
    confirmed: AtomicBool,
}

#[derive(Clone)]
struct Confirmed {
    token: Arc<TokenRecord>,
    at: UtcMillis,
}

/// A line of the file: hash and record as a store has them, no secret.
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

    /// All that count now.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<TokenRecord>> {
        self.tokens.iter().filter(|(_, known)| known.counts()).map(|(_, known)| known.token)
    }

    /// The store has just said what this token is, or that there is none.
    pub(super) fn take_in(&self, hash: TokenHash, found: Option<&Arc<TokenRecord>>) {
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

    /// Whether the file says something else; or, with `times`, is of an earlier time.
    pub(super) fn is_to_be_written(&self, times: bool) -> bool {
        self.changed.load(Relaxed) || (times && self.confirmed.load(Relaxed))
    }

    /// Writes the file, aside and then in its place. Blocks.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        // Before the tokens are read: what changes meanwhile is for the next time.
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
        let aside = file.with_extension("cache.new");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut open = OpenOptions::new();
        let mut new = open.write(true).create_new(true).mode(0o600).open(&aside)?;
        new.write_all(&text)?;
        new.sync_all()?;
        fs::rename(&aside, file)
    }

    /// Takes in what an earlier process has noted; how many count. Blocks.
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

/// How many tokens a process would take over from `file`. Blocks.
///
/// # Errors
/// When the file cannot be read.
pub fn noted(file: &Path) -> io::Result<usize> {
    TokenCache::new().read(file)
}

impl Confirmed {
    /// Not for longer than that, however often the process is started; and not where a clock was
    /// set back, as nobody knows how old it is then.
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
    fn what_is_noted_is_known_again_without_secrets_and_for_sending_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens.cache");
        let (known, (secret, sends), (_, reads)) =
            (TokenCache::new(), token(Scope::Ingest), token(Scope::Read));
        assert_eq!(known.read(&file).unwrap(), 0);
        known.confirm(sends.hash, &sends);
        known.confirm(reads.hash, &reads);
        assert!(known.is_to_be_written(false));
        known.write(&file).unwrap();
        assert!(!known.is_to_be_written(true));
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&secret.expose()[12..]), "{text}");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        let later = TokenCache::new();
        assert_eq!(later.read(&file).unwrap(), 1);
        assert_eq!(later.get(&sends.hash), Some(Arc::clone(&sends)));
        assert_eq!(later.get(&reads.hash), None);
        later.confirm(sends.hash, &sends);
        assert!(!later.is_to_be_written(false) && later.is_to_be_written(true));
        later.forget(&sends.hash);
        later.write(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
    }

    #[test]
    fn what_is_older_than_the_grace_or_from_the_future_does_not_count() {
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
