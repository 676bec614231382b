//! The figures a process publishes once a second, beside its lines and independent of sampling.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize};

use super::debug_log::Stage;
use super::time::UtcMillis;

/// The longest latency that is told apart: one hour, in microseconds.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Whether a part of the pipeline works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not known yet.
    #[default]
    Unknown,
    /// The process does without it: it has other roles.
    Absent,
    /// It works.
    Ok,
    /// It fails.
    Failing,
}

/// What one process counted in about a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gauges {
    /// Names the process: figures of several are added up.
    pub process: String,
    /// Up to when.
    pub at: Option<UtcMillis>,
    /// How long it took to count, in milliseconds.
    pub interval_ms: u64,
    /// Of how many events one is shown in the lines; 1 shows all.
    pub sampling: u32,
    /// Lines left out by sampling.
    pub lines_sampled_out: u64,
    /// Events accepted.
    pub accepted: u64,
    /// Requests refused.
    pub refused: u64,
    /// By stage, in the order of [`Stage::ALL`].
    #[serde(deserialize_with = "stages")]
    pub stages: [StageGauges; Stage::ALL.len()],
    /// From accepted to stored.
    pub accept_to_stored: Latencies,
    /// The queue as this process sees it, if it does.
    pub queue: Option<QueueGauges>,
    /// Events waiting above which the queue's depth is an alarm, as this process is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm_depth: Option<u64>,
    /// The store that this process writes, `sqlite` or `clickhouse`; `None` from a process that has
    /// none, or an older one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Whether the queue works.
    pub queue_health: Health,
    /// Whether the store works.
    pub store_health: Health,
    /// Whether the worker works.
    pub worker_health: Health,
    /// What dual-write verification found, where it is on.
    pub verify: Option<VerifyGauges>,
}

/// Reads figures by stage of a process that may know fewer stages, or more at the end.
fn stages<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[StageGauges; Stage::ALL.len()], D::Error> {
    let mut read = Vec::<StageGauges>::deserialize(deserializer)?.into_iter();
    Ok(std::array::from_fn(|_| read.next().unwrap_or_default()))
}

/// What dual-write verification found in the events of this process since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerifyGauges {
    /// When it began.
    pub since: Option<UtcMillis>,
    /// Events that are the same on both ways.
    pub matched: u64,
    /// Events that were not stored through the queue.
    pub missing_in_queue_path: u64,
    /// Events that were written to the baseline and are not there.
    pub missing_in_baseline: u64,
    /// Events that differ, or are there more than once.
    pub different: u64,
    /// Events that were not written to the baseline, so nothing is known of them.
    pub not_written: u64,
    /// Events that were written and not compared, as there were too many.
    pub not_compared: u64,
    /// Events that are yet to be compared.
    pub waiting: u64,
}

impl VerifyGauges {
    /// Events that are not as they should be.
    pub fn mismatched(&self) -> u64 {
        let counts = [self.missing_in_queue_path, self.missing_in_baseline, self.different];
        counts.into_iter().fold(0, u64::saturating_add)
    }

    /// Events of which nothing is known.
    pub fn unknown(&self) -> u64 {
        self.not_written.saturating_add(self.not_compared)
    }

    /// With what another process found.
    pub fn merged(self, other: Self) -> Self {
        let since = self.since.into_iter().chain(other.since).min();
        let sum = u64::saturating_add;
        Self {
            since,
            matched: sum(self.matched, other.matched),
            missing_in_queue_path: sum(self.missing_in_queue_path, other.missing_in_queue_path),
            missing_in_baseline: sum(self.missing_in_baseline, other.missing_in_baseline),
            different: sum(self.different, other.different),
            not_written: sum(self.not_written, other.not_written),
            not_compared: sum(self.not_compared, other.not_compared),
            waiting: sum(self.waiting, other.waiting),
        }
    }
}

/// Of 100 compared events, how many match, cut to hundredths: 100 only when all do. `None` without
/// any.
pub fn match_rate(matched: u64, mismatched: u64) -> Option<String> {
    let all = u128::from(matched) + u128::from(mismatched);
    let hundredths = (u128::from(matched) * 10_000).checked_div(all)?;
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    Some(if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:02}") })
}

/// A stage's figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageGauges {
    /// Steps taken.
    pub count: u64,
    /// Of them, with a warning.
    pub warnings: u64,
    /// Of them, failed.
    pub errors: u64,
    /// How long they took.
    pub latencies: Latencies,
}

/// The queue's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueGauges {
    /// Events that wait.
    pub depth: u64,
    /// Events claimed by a worker.
    pub in_flight: u64,
    /// Events in the failed queue.
    pub failed: u64,
    /// Events accepted that wait in this process for the queue to come back.
    pub spooled: u64,
    /// How long ago the oldest waiting event was accepted, in milliseconds; none when nothing
    /// waits, or the process does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_ms: Option<u64>,
    /// Batches whose lease is over; none when the process does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lapsed: Option<u64>,
}

/// Counted latencies, as pairs of microseconds and count: exact to about one percent, and
/// mergeable with those of other seconds and processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latencies(Vec<(u64, u64)>);

impl Latencies {
    /// An empty histogram for latencies in microseconds up to an hour.
    pub fn histogram() -> Histogram<u64> {
        // The bounds are valid constants; `new` without an upper bound cannot fail either.
        Histogram::new_with_bounds(1, LONGEST_MICROS, 2).unwrap_or_else(|_| {
            let mut growing = Histogram::new_with_max(2, 0).unwrap_or_else(|_| unreachable!());
            growing.auto(true);
            growing
        })
    }

    /// What a histogram holds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let counted = histogram.iter_recorded();
        Self(counted.map(|v| (v.value_iterated_to(), v.count_since_last_iteration())).collect())
    }

    /// Adds these latencies to `histogram`.
    pub fn add_to(&self, histogram: &mut Histogram<u64>) {
        for &(micros, count) in &self.0 {
            // Another process's counts must not make sums overflow.
            histogram.saturating_record_n(micros, count.min(u32::MAX.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_survive_the_wire_and_merge() {
        let mut one = Latencies::histogram();
        (1..=1000).for_each(|micros| one.record(micros).unwrap());
        let json = serde_json::to_string(&Latencies::of(&one)).unwrap();
        let read: Latencies = serde_json::from_str(&json).unwrap();
        let mut sum = Latencies::histogram();
        read.add_to(&mut sum);
        read.add_to(&mut sum);
        assert_eq!(sum.len(), 2000);
        assert!((490..=510).contains(&sum.value_at_quantile(0.5)));
    }

    #[test]
    fn a_match_rate_is_100_only_when_all_match() {
        let rate = |matched, mismatched| match_rate(matched, mismatched);
        assert_eq!(rate(0, 0), None);
        assert_eq!(rate(7, 0).unwrap(), "100");
        assert_eq!(rate(999_999, 1).unwrap(), "99.99");
        assert_eq!(rate(1, 1).unwrap(), "50");
        assert_eq!(rate(u64::MAX, u64::MAX).unwrap(), "50");
        assert_eq!(rate(0, 3).unwrap(), "0");
    }

    #[test]
    fn figures_of_a_newer_or_older_process_can_be_read() {
        let gauges: Gauges = serde_json::from_str(r#"{"process":"a","future":1}"#).unwrap();
        assert_eq!((gauges.process.as_str(), gauges.sampling), ("a", 0));
        let older = r#"{"queue":{"depth":7,"inFlight":1,"failed":2}}"#;
        let queue = serde_json::from_str::<Gauges>(older).unwrap().queue.unwrap();
        assert_eq!((queue.depth, queue.oldest_waiting_ms, queue.lapsed), (7, None, None));
        assert!(!serde_json::to_string(&queue).unwrap().contains("lapsed"));
        for stages in [1, 6, 9] {
            let counts = vec![r#"{"count":3}"#; stages].join(",");
            let json = format!(r#"{{"process":"b","stages":[{counts}]}}"#);
            let gauges: Gauges = serde_json::from_str(&json).unwrap();
            let known = gauges.stages.iter().filter(|stage| stage.count == 3).count();
            assert_eq!(known, stages.min(Stage::ALL.len()));
            assert_eq!(gauges.store, None);
        }
    }
}
