//! Secrets and their hashes.

use std::fmt;
use std::hash::{Hash, Hasher};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A token as the client sends it: `bk_live_` and 64 hex digits. Never logged.
#[derive(Clone)]
pub struct Secret(String);

/// SHA-256 of a [`Secret`]; compared in constant time.
#[derive(Clone, Copy, Eq)]
pub struct TokenHash([u8; 32]);

impl Secret {
    /// The beginning of every token.
    pub const PREFIX: &'static str = "bk_live_";
    const DIGITS: usize = 64;

    /// A new secret, from the system's random source.
    ///
    /// # Errors
    /// When the system's random source fails.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0u8; Self::DIGITS / 2];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{}{}", Self::PREFIX, HEXLOWER.encode(&bytes))))
    }

    /// Parses what a client sent; `None` if it does not have the form of a token.
    pub fn parse(text: &str) -> Option<Self> {
        Self::has_form(text).then(|| Self(text.to_owned()))
    }

    fn has_form(text: &str) -> bool {
        text.strip_prefix(Self::PREFIX).is_some_and(|digits| {
            // Without an early end, so that the compiler compares many bytes at once.
            let is_hex = digits.bytes().fold(true, |is_hex, b| is_hex & b.is_ascii_hexdigit());
            digits.len() == Self::DIGITS && is_hex
        })
    }

    /// The secret itself, to show it once or write it to a file.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its first 12 characters: enough to recognise it, but useless to an attacker.
    pub fn prefix(&self) -> &str {
        &self.0[..12]
    }

    /// Its hash, which is what stores keep.
    pub fn hash(&self) -> TokenHash {
        TokenHash::digest(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}…)", self.prefix())
    }
}

impl TokenHash {
    /// A placeholder for a token whose secret's SHA-256 is not known.
    pub const OF_NO_SECRET: Self = Self([0; 32]);

    /// The hash of what a client sent, without copying it; `None` if it does not have the form of a
    /// token.
    pub fn of_secret(text: &str) -> Option<Self> {
        Secret::has_form(text).then(|| Self::digest(text))
    }

    fn digest(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Lower-case hex.
    pub fn to_hex(self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Parses 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_well_formed_and_hidden_in_debug_output() {
        let secret = Secret::generate().unwrap();
        assert!(Secret::parse(secret.expose()).is_some());
        assert_eq!(TokenHash::of_secret(secret.expose()), Some(secret.hash()));
        assert!(!format!("{secret:?}{:?}", secret.hash()).contains(&secret.expose()[12..]));
        for wrong in
            ["", "bk_live_", "bk_live_zz", &secret.expose()[1..], &format!("{}0", secret.expose())]
        {
            assert!(Secret::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_hash_survives_hex() {
        let hash = Secret::generate().unwrap().hash();
        assert_eq!(TokenHash::from_hex(&hash.to_hex()), Some(hash));
        assert!(TokenHash::from_hex("é").is_none());
        assert!(TokenHash::from_hex(&"+1".repeat(32)).is_none());
    }
}
