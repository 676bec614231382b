//! All tokens, as far as they can be listed.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{TokenRecord, TokenStoreError};

/// The tokens that a store could list. What is among them counts; that one is not says something
/// only when no part of the store is away.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that are not revoked, oldest first.
    pub tokens: Vec<TokenRecord>,
    /// How many more there are that cannot be read: damaged ones, or a newer version's.
    pub unreadable: usize,
    /// Why there may be others besides.
    pub away: Option<TokenStoreError>,
}

impl Listing {
    /// Of a store that is away.
    pub fn away(error: TokenStoreError) -> Self {
        Self { away: Some(error), ..Self::default() }
    }

    /// Those that can be read, of a store that is not away.
    ///
    /// # Errors
    /// When it is.
    pub fn whole(self) -> Result<Vec<TokenRecord>, TokenStoreError> {
        self.away.map_or(Ok(self.tokens), Err)
    }
}

/// Leaves out what cannot be read, and tells of it once.
#[derive(Default)]
pub struct LeavesOut {
    told: AtomicBool,
}

impl LeavesOut {
    /// What could be read, and how many could not.
    pub fn unreadable<T>(
        &self,
        read: impl Iterator<Item = Result<T, TokenStoreError>>,
    ) -> (Vec<T>, usize) {
        let (mut tokens, mut left_out) = (Vec::new(), 0);
        for token in read {
            match token {
                Ok(token) => tokens.push(token),
                Err(error) => {
                    left_out += 1;
                    if !self.told.swap(true, Relaxed) {
                        tracing::warn!(reason = error.0, "a token is left out; others may be too");
                    }
                }
            }
        }
        (tokens, left_out)
    }
}
