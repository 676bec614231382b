//! The list of all tokens, possibly incomplete.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{TokenRecord, TokenStoreError};

/// The tokens that a store could list. A token in the list is valid; that one is missing means
/// something only if no part of the store is unavailable.
#[derive(Debug, Default)]
pub struct Listing {
    /// Tokens that are not revoked, oldest first.
    pub tokens: Vec<TokenRecord>,
    /// The number of tokens that cannot be read: damaged, or written by a newer version.
    pub unreadable: usize,
    /// Why the list may be incomplete.
    pub unavailable: Option<TokenStoreError>,
}

impl Listing {
    /// The empty list of an unavailable store.
    pub fn unavailable(error: TokenStoreError) -> Self {
        Self { unavailable: Some(error), ..Self::default() }
    }

    /// The readable tokens of a complete list.
    ///
    /// # Errors
    /// When a part of the store is unavailable.
    pub fn whole(self) -> Result<Vec<TokenRecord>, TokenStoreError> {
        self.unavailable.map_or(Ok(self.tokens), Err)
    }
}

/// Leaves out tokens that cannot be read, and logs the first one.
#[derive(Default)]
pub struct LeavesOut {
    logged: AtomicBool,
}

impl LeavesOut {
    /// Returns the readable ones, and the number of the others.
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
                    if !self.logged.swap(true, Relaxed) {
                        tracing::warn!(
                            reason = error.0,
                            "ignoring an unreadable token; there may be others"
                        );
                    }
                }
            }
        }
        (tokens, left_out)
    }
}
