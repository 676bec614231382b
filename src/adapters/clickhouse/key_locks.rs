//! What this process is storing just now, so that it does no part of it twice at once.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

#[cfg(test)]
use self::tests::interleave;

/// Keys that somebody is working on. Kept as hashes: two keys that happen to share one only wait
/// for each other.
#[derive(Default)]
pub(super) struct KeyLocks {
    held: Mutex<HashSet<u64>>,
    freed: Notify,
    hasher: RandomState,
}

/// Keys that nobody else works on until this is dropped.
pub(super) struct Held<'a> {
    keys: HashSet<u64>,
    key_locks: &'a KeyLocks,
}

impl KeyLocks {
    /// Waits until none of the keys is held, then holds them all. Cancelling it is safe.
    pub(super) async fn hold<K: Hash>(&self, keys: impl Iterator<Item = K>) -> Held<'_> {
        let keys: HashSet<u64> = keys.map(|key| self.hasher.hash_one(key)).collect();
        loop {
            interleave();
            let mut freed = std::pin::pin!(self.freed.notified());
            // From here on no release is missed.
            freed.as_mut().enable();
            if self.try_hold(&keys) {
                return Held { keys, key_locks: self };
            }
            freed.await;
        }
    }

    fn try_hold(&self, keys: &HashSet<u64>) -> bool {
        interleave();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let free = held.is_disjoint(keys);
        if free {
            held.extend(keys);
        }
        free
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        interleave();
        let mut held = self.key_locks.held.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            held.remove(key);
        }
        drop(held);
        interleave();
        self.key_locks.freed.notify_waiters();
    }
}

/// Where the model check lets another task go on.
#[cfg(not(test))]
fn interleave() {}

#[cfg(test)]
mod tests;
