//! Locks on keys within this process, so that concurrent calls do not store the same event or
//! session at the same time.

use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, PoisonError};

use foldhash::HashSet;
use foldhash::fast::RandomState;
use tokio::sync::Notify;

#[cfg(test)]
use self::tests::interleave;

/// The locked keys, stored as hashes: two keys with the same hash only wait for each other.
#[derive(Default)]
pub(super) struct KeyLocks {
    held: Mutex<HashSet<u64>>,
    freed: Notify,
    hasher: RandomState,
}

/// Locked keys, which are unlocked on drop.
pub(super) struct Held<'a> {
    keys: Vec<u64>,
    locks: &'a KeyLocks,
}

impl KeyLocks {
    /// Waits until none of the keys is locked, then locks all of them. Cancel-safe.
    pub(super) async fn hold<K: Hash>(&self, keys: impl Iterator<Item = K>) -> Held<'_> {
        let keys: Vec<u64> = keys.map(|key| self.hasher.hash_one(key)).collect();
        loop {
            interleave();
            let mut freed = std::pin::pin!(self.freed.notified());
            // Registered before checking, so that no release is missed.
            freed.as_mut().enable();
            if self.try_hold(&keys) {
                return Held { keys, locks: self };
            }
            freed.await;
        }
    }

    fn try_hold(&self, keys: &[u64]) -> bool {
        interleave();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let free = keys.iter().all(|key| !held.contains(key));
        if free {
            held.extend(keys.iter().copied());
        }
        free
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        interleave();
        let mut held = self.locks.held.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            held.remove(key);
        }
        drop(held);
        interleave();
        self.locks.freed.notify_waiters();
    }
}

/// A point at which the model check may switch tasks.
#[cfg(not(test))]
fn interleave() {}

#[cfg(test)]
mod tests;
