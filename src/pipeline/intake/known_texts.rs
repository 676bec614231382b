//! A small cache of what recent strings mean, such as user agents: parsing one takes longer than
//! everything else about an event, and most visitors share a few.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Texts remembered: a later one takes the place of an earlier one, by its hash.
const SLOTS: usize = 1 << 12;
/// The part of a slot that is the meaning; the rest is of the text's hash.
const MEANING: u64 = 0xff;

/// What strings mean, as a byte each. Strings are distinguished by 56 bits of their hash.
pub struct KnownTexts {
    slots: Box<[AtomicU64]>,
    /// Seeded at random, so that clients cannot choose strings with the same hash.
    hasher: RandomState,
}

impl Default for KnownTexts {
    fn default() -> Self {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { slots, hasher: RandomState::new() }
    }
}

impl KnownTexts {
    /// What `text` means: as remembered, or as `read` finds out. It must always find the same.
    pub fn meaning(&self, text: &str, read: impl FnOnce(&str) -> u8) -> u8 {
        let hash = self.hasher.hash_one(text);
        let nth = usize::try_from(hash % SLOTS as u64).unwrap_or(0);
        // All zero is an empty slot.
        let key = (hash & !MEANING).max(MEANING + 1);
        let known = self.slots[nth].load(Relaxed);
        if known & !MEANING == key {
            return known.to_le_bytes()[0];
        }
        let meaning = read(text);
        self.slots[nth].store(key | u64::from(meaning), Relaxed);
        meaning
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_once_until_another_takes_its_place() {
        let known = KnownTexts::default();
        for meaning in [0, 7, 255] {
            let text = meaning.to_string();
            assert_eq!(known.meaning(&text, |_| meaning), meaning);
            assert_eq!(known.meaning(&text, |_| panic!("it is known")), meaning);
        }
        let length = |text: &str| u8::try_from(text.len()).unwrap();
        for n in 0..10 * SLOTS {
            let text = format!("text {n}");
            assert_eq!(known.meaning(&text, length), length(&text));
        }
        let mut read = 0;
        for n in 0..10 * SLOTS {
            let text = format!("text {n}");
            let counted = |text: &str| {
                read += 1;
                length(text)
            };
            assert_eq!(known.meaning(&text, counted), length(&text));
        }
        assert!(read >= 9 * SLOTS, "{read}");
    }
}
