//! Recognises messages of this process when they come back from Redis.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// Messages remembered; the oldest is dropped first. More than are in transit at a time.
const REMEMBERED: usize = 65_536;

/// Messages that this process has published and not received back yet.
#[derive(Default)]
pub(super) struct OwnMessages {
    hasher: RandomState,
    published: Mutex<Published>,
}

#[derive(Default)]
struct Published {
    awaited: HashMap<u64, u32>,
    /// In the order of publishing, including received ones.
    order: VecDeque<u64>,
}

impl OwnMessages {
    /// Remembers a message that is about to be published.
    pub(super) fn published(&self, payload: &[u8]) {
        let hash = self.hasher.hash_one(payload);
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if published.order.len() == REMEMBERED
            && let Some(oldest) = published.order.pop_front()
        {
            published.take(oldest);
        }
        published.order.push_back(hash);
        *published.awaited.entry(hash).or_default() += 1;
    }

    /// Whether a received message is one of them; if so, removes it.
    pub(super) fn received(&self, payload: &[u8]) -> bool {
        let hash = self.hasher.hash_one(payload);
        self.published.lock().unwrap_or_else(PoisonError::into_inner).take(hash)
    }
}

impl Published {
    fn take(&mut self, hash: u64) -> bool {
        let Some(count) = self.awaited.get_mut(&hash) else { return false };
        *count -= 1;
        if *count == 0 {
            self.awaited.remove(&hash);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_recognised_as_often_as_it_was_published() {
        let own = OwnMessages::default();
        own.published(b"a");
        own.published(b"a");
        assert_eq!([(); 3].map(|()| own.received(b"a")), [true, true, false]);
        assert!(!own.received(b"b"));
    }

    #[test]
    fn messages_that_never_come_back_are_dropped() {
        let own = OwnMessages::default();
        for n in 0..=REMEMBERED as u32 {
            own.published(&n.to_le_bytes());
        }
        assert!(!own.received(&0u32.to_le_bytes()));
        assert!(own.received(&1u32.to_le_bytes()));
        let published = own.published.lock().unwrap();
        assert!(published.order.len() <= REMEMBERED && published.awaited.len() < REMEMBERED);
    }
}
