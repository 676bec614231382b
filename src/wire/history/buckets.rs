//! Histograms of latencies that are small, mergeable and exact to about five percent.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::gauges::Latencies;

/// The number of buckets: eight for each doubling, from 1 µs to 71 minutes.
const COUNT: usize = 256;

/// The largest number of microseconds in each bucket. Small numbers have fewer whole microseconds
/// than buckets; then the first of several with the same bound is used.
const UPPER: [u64; COUNT] = upper_bounds();

const fn upper_bounds() -> [u64; COUNT] {
    /// 2^(n/8)
    const ROOTS: [f64; 8] = [
        1.0,
        1.090_507_732_665_257_7,
        1.189_207_115_002_721,
        1.296_839_554_651_009_6,
        std::f64::consts::SQRT_2,
        1.542_210_825_407_940_7,
        1.681_792_830_507_429,
        1.834_008_086_409_342_4,
    ];
    let (mut bounds, mut nth) = ([0; COUNT], 0);
    while nth < COUNT {
        bounds[nth] = ((1_u64 << (nth / 8)) as f64 * ROOTS[nth % 8]) as u64;
        nth += 1;
    }
    bounds
}

/// A histogram of latencies: how many are in each bucket that has any. A bucket is at most 9.1 %
/// wide, and latencies are represented by its middle. Longer ones than the last bound count as that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets(Vec<(u8, u64)>);

impl Buckets {
    /// The bucket of a number of microseconds.
    pub fn bucket(micros: u64) -> u8 {
        let place = UPPER.partition_point(|&bound| bound < micros);
        u8::try_from(place).unwrap_or(u8::MAX)
    }

    /// The largest number of microseconds in a bucket.
    pub fn upper(bucket: u8) -> u64 {
        UPPER[usize::from(bucket)]
    }

    /// Counts `n` latencies of `micros`.
    pub fn record(&mut self, micros: u64, n: u64) {
        self.add(Self::bucket(micros), n);
    }

    fn add(&mut self, bucket: u8, n: u64) {
        if n == 0 {
            return;
        }
        match self.0.binary_search_by_key(&bucket, |&(bucket, _)| bucket) {
            Ok(place) => self.0[place].1 = self.0[place].1.saturating_add(n),
            Err(place) => self.0.insert(place, (bucket, n)),
        }
    }

    /// Counts the latencies of gauges.
    pub fn add_latencies(&mut self, latencies: &Latencies) {
        latencies.iter().for_each(|(micros, n)| self.record(micros, n));
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|&(bucket, n)| self.add(bucket, n));
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, &(_, n)| sum.saturating_add(n))
    }

    /// The latency in microseconds that this share of all, from 0 to 1, does not exceed; `None` if
    /// nothing was counted. At most five percent off.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let all = self.count();
        let rank = (all as f64 * share.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0_u64;
        let found = self.0.iter().find(|&&(_, n)| {
            seen = seen.saturating_add(n);
            seen >= rank
        });
        found.or(self.0.last()).map(|&(bucket, _)| middle(bucket))
    }

    /// The middle of each bucket that has any, in microseconds, with its count; in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|&(bucket, n)| (middle(bucket), n))
    }

    /// The number of each bucket that has any, with its count; in order.
    pub fn numbered(&self) -> impl Iterator<Item = (u8, u64)> {
        self.0.iter().copied()
    }

    /// The histogram with these counts by number.
    pub fn of_numbered(counts: impl IntoIterator<Item = (u8, u64)>) -> Self {
        let mut all = Self::default();
        counts.into_iter().for_each(|(bucket, n)| all.add(bucket, n));
        all
    }
}

fn middle(bucket: u8) -> u64 {
    let upper = UPPER[usize::from(bucket)];
    let lower = usize::from(bucket).checked_sub(1).map_or(0, |below| UPPER[below] + 1);
    lower.midpoint(upper.max(lower))
}

/// Pairs of the largest number of microseconds in a bucket and its count.
impl Serialize for Buckets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|&(bucket, n)| (UPPER[usize::from(bucket)], n)))
    }
}

impl<'de> Deserialize<'de> for Buckets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = Vec::<(u64, u64)>::deserialize(deserializer)?;
        let mut all = Self::default();
        pairs.into_iter().for_each(|(micros, n)| all.record(micros, n));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(all: &[u64]) -> Buckets {
        let mut buckets = Buckets::default();
        all.iter().for_each(|&micros| buckets.record(micros, 1));
        buckets
    }

    #[test]
    fn bounds_rise_by_an_eighth_of_a_doubling() {
        for pair in UPPER.windows(2) {
            let [low, high] = pair else { unreachable!() };
            assert!(high >= low);
            assert!(*high as f64 <= *low as f64 * 1.091 + 1.0, "{low} {high}");
        }
        assert!(UPPER[COUNT - 1] > 3_600_000_000, "an hour fits");
        assert_eq!(of(&[0, 1, u64::MAX]).numbered().collect::<Vec<_>>(), [(0, 2), (255, 1)]);
        assert_eq!(Buckets::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn a_quantile_is_off_by_at_most_five_percent(
            mut all in prop::collection::vec(1_u64..3_900_000_000, 1..200), share in 0.0..=1.0,
        ) {
            let found = of(&all).quantile(share).unwrap();
            all.sort_unstable();
            let rank = (all.len() as f64 * share).ceil().max(1.0) as usize;
            let exact = all[rank - 1];
            let off = found.abs_diff(exact);
            prop_assert!(off as f64 <= (exact as f64 * 0.05).max(1.0), "{} for {}", found, exact);
        }

        #[test]
        fn merging_is_counting_both(
            one in prop::collection::vec(any::<u64>(), 0..50),
            two in prop::collection::vec(any::<u64>(), 0..50),
        ) {
            let mut merged = of(&one);
            merged.merge(&of(&two));
            prop_assert_eq!(&merged, &of(&[one, two].concat()));
            let json = serde_json::to_string(&merged).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Buckets>(&json).unwrap(), &merged);
            prop_assert_eq!(Buckets::of_numbered(merged.numbered()), merged);
        }
    }
}
