//! The gauges that a process publishes once a second, in addition to its lines and regardless of
//! sampling.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize};

use super::debug_log::Stage;
use super::pause::Paused;
use super::time::UtcMillis;

/// The longest latency recorded, in microseconds: one hour. Longer ones count as this.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Whether a part of the pipeline works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not known yet.
    #[default]
    Unknown,
    /// The process does not run this part: it has other roles.
    Absent,
    /// It works.
    Ok,
    /// It fails.
    Failing,
}

/// What one process counted in about one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gauges {
    /// Identifies the process: the gauges of several are added up.
    pub process: String,
    /// Where and what that process is; `None` from an older one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    /// The end of the interval.
    pub at: Option<UtcMillis>,
    /// The length of the interval, in milliseconds.
    pub interval_ms: u64,
    /// One in this many events is shown in the lines; 1 shows all.
    pub sampling: u32,
    /// Lines left out by sampling.
    pub lines_sampled_out: u64,
    /// Whether these are the last gauges of a process that stops as it was asked to.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// Events accepted.
    pub accepted: u64,
    /// Events refused.
    pub refused: u64,
    /// Those of them that were over a limit.
    pub throttled: u64,
    /// Events that filters dropped.
    pub filtered: u64,
    /// By stage, in the order of [`Stage::ALL`].
    #[serde(deserialize_with = "stages")]
    pub stages: [StageGauges; Stage::ALL.len()],
    /// Time from acceptance to storage.
    pub accept_to_stored: Latencies,
    /// The queue, if this process observes it.
    pub queue: Option<QueueGauges>,
    /// The number of waiting events above which this process is configured to raise an alarm.
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
    /// The results of dual-write verification, where it is on.
    pub verify: Option<VerifyGauges>,
    /// The parts that fail, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// What an operator has paused.
    #[serde(skip_serializing_if = "Paused::is_empty")]
    pub paused: Paused,
    /// What became of the events of the last minutes; `None` from an older process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recent: Option<Recent>,
}

/// Where and what a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct About {
    /// Its host's name.
    pub host: String,
    /// The program's version.
    pub version: String,
    /// Its roles, separated by commas.
    pub roles: String,
    /// When it started.
    pub since: Option<UtcMillis>,
}

/// A part that fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Failure {
    /// `queue`, `store` or `worker`.
    pub part: String,
    /// What fails.
    pub message: String,
    /// Why, according to the last attempt.
    pub reason: String,
    /// When it began to fail.
    pub since: Option<UtcMillis>,
}

/// What became of the events of the last [`Recent::MINUTES`] minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Recent {
    /// Accepted events.
    pub accepted: u64,
    /// Refused events.
    pub refused: u64,
    /// Stored events.
    pub stored: u64,
    /// Failed inserts, and events that the store rejected.
    pub not_stored: u64,
    /// Inserts of events that were stored, but are missing from a materialized view or lack values.
    pub incomplete: u64,
    /// The kind of the last refusal, as in `GET /api/refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reason: Option<String>,
    /// The message of the last refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Why the last event or insert was not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_store_error: Option<String>,
    /// What was missing last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_incomplete: Option<String>,
}

impl Recent {
    /// The number of minutes it covers.
    pub const MINUTES: usize = 10;
}

/// Reads figures by stage of a process that may know fewer stages, or more at the end.
fn stages<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[StageGauges; Stage::ALL.len()], D::Error> {
    let mut read = Vec::<StageGauges>::deserialize(deserializer)?.into_iter();
    Ok(std::array::from_fn(|_| read.next().unwrap_or_default()))
}

/// The results of dual-write verification for the events of this process since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerifyGauges {
    /// When it started.
    pub since: Option<UtcMillis>,
    /// Events that are the same on both paths.
    pub matched: u64,
    /// Events that were not stored through the queue.
    pub missing_in_queue_path: u64,
    /// Events that were written to the baseline but are missing there.
    pub missing_in_baseline: u64,
    /// Events that differ, or are stored more than once.
    pub different: u64,
    /// Events that were not written to the baseline, so their state is unknown.
    pub not_written: u64,
    /// Events that were written but not compared, because there were too many.
    pub not_compared: u64,
    /// Events still to be compared.
    pub waiting: u64,
}

impl VerifyGauges {
    /// Events that are missing, different or duplicated.
    pub fn mismatched(&self) -> u64 {
        let counts = [self.missing_in_queue_path, self.missing_in_baseline, self.different];
        counts.into_iter().fold(0, u64::saturating_add)
    }

    /// Events whose state is unknown.
    pub fn unknown(&self) -> u64 {
        self.not_written.saturating_add(self.not_compared)
    }

    /// Adds the results of another process.
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

/// The percentage of compared events that match, rounded down to hundredths so that it is 100 only
/// when all do. `None` if none were compared.
pub fn match_rate(matched: u64, mismatched: u64) -> Option<String> {
    let all = u128::from(matched) + u128::from(mismatched);
    let hundredths = (u128::from(matched) * 10_000).checked_div(all)?;
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    Some(if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:02}") })
}

/// A stage's gauges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageGauges {
    /// Steps taken.
    pub count: u64,
    /// Steps with a warning.
    pub warnings: u64,
    /// Failed steps.
    pub errors: u64,
    /// How long they took.
    pub latencies: Latencies,
}

/// The queue's gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueGauges {
    /// Waiting events.
    pub depth: u64,
    /// Events claimed by a worker.
    pub in_flight: u64,
    /// Events in the failed queue.
    pub failed: u64,
    /// Accepted events in this process's spool, waiting for the queue to become available again.
    pub spooled: u64,
    /// The age of the oldest waiting event, in milliseconds; `None` if nothing waits or the process
    /// does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_ms: Option<u64>,
    /// Batches whose lease has expired; `None` if the process does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lapsed: Option<u64>,
}

/// A histogram of latencies as pairs of microseconds and count: exact to about one percent, and
/// mergeable with those of other intervals and processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latencies(Vec<(u64, u64)>);

impl Latencies {
    /// An empty histogram for latencies in microseconds up to an hour.
    pub fn histogram() -> Histogram<u64> {
        // The bounds are valid constants, so the fallback is never used.
        Histogram::new_with_bounds(1, LONGEST_MICROS, 2).unwrap_or_else(|_| {
            let mut growing = Histogram::new_with_max(2, 0).unwrap_or_else(|_| unreachable!());
            growing.auto(true);
            growing
        })
    }

    /// The content of a histogram.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let counted = histogram.iter_recorded();
        Self(counted.map(|v| (v.value_iterated_to(), v.count_since_last_iteration())).collect())
    }

    /// Pairs of microseconds and count.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        // Counts from another process must not overflow the sums.
        self.0.iter().map(|&(micros, count)| (micros, count.min(u32::MAX.into())))
    }

    /// Adds these latencies to `histogram`.
    pub fn add_to(&self, histogram: &mut Histogram<u64>) {
        for (micros, count) in self.iter() {
            histogram.saturating_record_n(micros, count);
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
    fn gauges_of_a_newer_or_older_process_can_be_read() {
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
