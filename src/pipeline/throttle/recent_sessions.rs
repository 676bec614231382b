//! The sessions from which this process has recently accepted events.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Sessions remembered: a later one takes the place of an earlier one, by its hash.
const SLOTS: usize = 1 << 16;

/// Identifies a session within this process.
#[derive(Clone, Copy, Debug)]
pub struct SessionMark(u64);

/// A lossy set: it may forget a session, but never contains one that was not added.
pub(super) struct RecentSessions {
    slots: Box<[AtomicU64]>,
    /// Seeded at random, so that clients cannot choose ids that replace those of others.
    hasher: RandomState,
}

impl RecentSessions {
    pub(super) fn new() -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { slots, hasher: RandomState::new() }
    }

    pub(super) fn mark(&self, project: &str, session: &str) -> SessionMark {
        // 0 marks an empty slot.
        SessionMark(self.hasher.hash_one((project, session)).max(1))
    }

    pub(super) fn insert(&self, session: SessionMark) {
        self.slot(session).store(session.0, Relaxed);
    }

    /// Removes a session; returns whether it was known.
    pub(super) fn remove(&self, session: SessionMark) -> bool {
        self.slot(session).compare_exchange(session.0, 0, Relaxed, Relaxed).is_ok()
    }

    fn slot(&self, session: SessionMark) -> &AtomicU64 {
        let nth = usize::try_from(session.0 % SLOTS as u64).unwrap_or(0);
        &self.slots[nth]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_until_it_ends_or_is_replaced() {
        let sessions = RecentSessions::new();
        let mark = |project: &str, session: &str| sessions.mark(project, session);
        sessions.insert(mark("p", "s"));
        assert!(!sessions.remove(mark("q", "s")) && !sessions.remove(mark("ps", "")));
        assert!(sessions.remove(mark("p", "s")));
        assert!(!sessions.remove(mark("p", "s")));
        let many = 10 * SLOTS;
        (0..many).for_each(|n| sessions.insert(mark("p", &n.to_string())));
        let known = (0..many).filter(|n| sessions.remove(mark("p", &n.to_string()))).count();
        assert!((SLOTS / 2..=SLOTS).contains(&known), "{known}");
    }
}
