//! The sessions from which this process has recently accepted events.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Sessions remembered: a later one takes the place of an earlier one, by its hash.
const SLOTS: usize = 1 << 16;

/// A lossy set: it may forget a session, and knows no session that it was not told of.
pub(super) struct RecentSessions {
    slots: Box<[AtomicU64]>,
    /// Seeded at random, so that nobody can choose ids that replace those of others.
    hasher: RandomState,
}

impl RecentSessions {
    pub(super) fn new() -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { slots, hasher: RandomState::new() }
    }

    pub(super) fn insert(&self, project: &str, session: &str) {
        let (slot, hash) = self.slot(project, session);
        slot.store(hash, Relaxed);
    }

    /// Removes a session; returns whether it was known.
    pub(super) fn remove(&self, project: &str, session: &str) -> bool {
        let (slot, hash) = self.slot(project, session);
        slot.compare_exchange(hash, 0, Relaxed, Relaxed).is_ok()
    }

    fn slot(&self, project: &str, session: &str) -> (&AtomicU64, u64) {
        // 0 marks an empty slot.
        let hash = self.hasher.hash_one((project, session)).max(1);
        let nth = usize::try_from(hash % SLOTS as u64).unwrap_or(0);
        (&self.slots[nth], hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_until_it_ends_or_is_replaced() {
        let sessions = RecentSessions::new();
        sessions.insert("p", "s");
        assert!(!sessions.remove("q", "s") && !sessions.remove("ps", ""));
        assert!(sessions.remove("p", "s"));
        assert!(!sessions.remove("p", "s"));
        let many = 10 * SLOTS;
        (0..many).for_each(|n| sessions.insert("p", &n.to_string()));
        let known = (0..many).filter(|n| sessions.remove("p", &n.to_string())).count();
        assert!((SLOTS / 2..=SLOTS).contains(&known), "{known}");
    }
}
