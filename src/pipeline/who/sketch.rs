//! Counts by value in bounded memory, by the algorithm of Misra and Gries: a count is never too high,
//! and too low by at most [`Sketch::missing`].

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// The values that are kept. With more of them, the most frequent ones remain, and each count is too
/// low by less than the number of all events divided by this.
pub const MAX_VALUES: usize = 500;
/// The approximate memory of a value besides its string, in bytes.
const OVERHEAD: usize = 64;

/// How often each value was counted.
#[derive(Clone, Default)]
pub struct Sketch {
    counts: HashMap<Arc<str>, u64, RandomState>,
    total: u64,
    missing: u64,
}

impl Sketch {
    /// Counts a value `n` times; returns whether it is new here.
    pub fn add(&mut self, value: &str, n: u64) -> bool {
        self.total = self.total.saturating_add(n);
        if let Some(count) = self.counts.get_mut(value) {
            *count = count.saturating_add(n);
            return false;
        }
        self.insert(value.into(), n);
        true
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        self.missing = self.missing.saturating_add(other.missing);
        for (value, &n) in &other.counts {
            match self.counts.get_mut(value) {
                Some(count) => *count = count.saturating_add(n),
                None => self.insert(Arc::clone(value), n),
            }
        }
        self.shrink();
    }

    /// Shrinking at twice the size costs less than a step for each value.
    fn insert(&mut self, value: Arc<str>, n: u64) {
        self.counts.insert(value, n);
        if self.counts.len() >= 2 * MAX_VALUES {
            self.shrink();
        }
    }

    /// Leaves at most [`MAX_VALUES`] values: subtracts the count of the largest one beyond from all.
    /// At least `MAX_VALUES + 1` counts lose as much, which bounds the sum of what is subtracted.
    fn shrink(&mut self) {
        if self.counts.len() <= MAX_VALUES {
            return;
        }
        let mut all: Vec<u64> = self.counts.values().copied().collect();
        let (_, &mut less, _) = all.select_nth_unstable_by(MAX_VALUES, |a, b| b.cmp(a));
        self.missing = self.missing.saturating_add(less);
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(less);
            *count > 0
        });
    }

    /// The values with their counts, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.counts.iter().map(|(value, &count)| (value, count))
    }

    /// How often values were counted, also those that are not kept.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// By how much a count may be too low, at most; a value that is not kept may have occurred this
    /// often.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Its approximate memory in bytes.
    pub fn bytes(&self) -> usize {
        self.counts.keys().map(|value| value.len() + OVERHEAD).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Counts that are checked: never too high, and too low by at most what is stated, which is less
    /// than the guaranteed fraction of all.
    #[track_caller]
    fn assert_within_error(sketch: &Sketch, exact: &HashMap<String, u64>) {
        let total: u64 = exact.values().sum();
        assert_eq!(sketch.total(), total);
        assert!(sketch.missing() <= total / (MAX_VALUES as u64 + 1), "{}", sketch.missing());
        assert!(sketch.counts.len() < 2 * MAX_VALUES);
        for (value, &exact) in exact {
            let counted = sketch.counts.get(value.as_str()).copied().unwrap_or(0);
            assert!(counted <= exact, "{value}: {counted} of {exact}");
            assert!(exact - counted <= sketch.missing(), "{value}: {counted} of {exact}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn counts_are_within_the_stated_error(
            // Few values are frequent, as in real traffic; many are not.
            events in prop::collection::vec((0_u32..5_000, 0_u32..4, 1_u64..40), 1..6_000),
            parts in 1_usize..5,
        ) {
            let mut sketches = vec![Sketch::default(); parts];
            let mut exact = HashMap::new();
            for (nth, (value, skew, n)) in events.iter().enumerate() {
                let value = format!("v{}", value >> (skew * 3));
                sketches[nth % parts].add(&value, *n);
                *exact.entry(value).or_insert(0) += n;
            }
            let mut all = Sketch::default();
            sketches.iter().for_each(|sketch| all.merge(sketch));
            prop_assert!(all.counts.len() <= MAX_VALUES);
            assert_within_error(&all, &exact);
        }

        #[test]
        fn few_values_are_counted_exactly(
            events in prop::collection::vec((0_usize..MAX_VALUES, 1_u64..9), 0..3_000),
        ) {
            let (mut one, mut other) = (Sketch::default(), Sketch::default());
            let mut exact = HashMap::new();
            for (value, n) in events {
                let sketch = if value % 2 == 0 { &mut one } else { &mut other };
                sketch.add(&value.to_string(), n);
                *exact.entry(value.to_string()).or_insert(0) += n;
            }
            one.merge(&other);
            prop_assert_eq!(one.missing(), 0);
            assert_within_error(&one, &exact);
        }
    }

    #[test]
    fn a_flood_of_values_does_not_displace_a_frequent_one() {
        let mut sketch = Sketch::default();
        let mut exact = HashMap::new();
        for n in 0..200_000_u64 {
            // The frequent one begins when the places are taken.
            let value = match n > 50_000 && n.is_multiple_of(10) {
                true => "frequent".to_owned(),
                false => format!("made up {n}"),
            };
            sketch.add(&value, 1);
            *exact.entry(value).or_insert(0) += 1;
        }
        assert_within_error(&sketch, &exact);
        let counted = sketch.counts["frequent"];
        assert!(counted > 14_000, "{counted} of 15,000");
        assert!(sketch.bytes() < 2 * MAX_VALUES * 100);
    }
}
