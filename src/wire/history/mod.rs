//! The history of figures: what processes counted in each minute of the last eight days; the JSON of
//! `GET /api/history`.
//!
//! - `buckets`: mergeable histograms of latencies
//! - `totals`: what was counted in a span of time

mod buckets;
mod totals;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gauges::About;
use crate::time::UtcMillis;
pub use buckets::Buckets;
pub use totals::{ProjectTotals, QueuePeaks, StageTotals, Totals};

/// The resolution of the history, in milliseconds.
pub const MINUTE: i64 = 60_000;
/// How many minutes are kept: eight days, so that all of the last day can be compared with a week
/// earlier.
pub const MINUTES: usize = 8 * 24 * 60;
/// The most points of one response.
pub const MAX_POINTS: i64 = 1_500;
/// The most projects named in a point: those with the most events.
pub const MAX_PROJECTS: usize = 20;
/// The most processes listed in one response.
pub const MAX_PROCESSES: usize = 256;

/// Which part of the history to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    from: i64,
    to: i64,
    step: i64,
}

impl HistoryQuery {
    /// The points that begin in `from..to`, each of `step` long. Both ends are moved down to a
    /// multiple of the step.
    ///
    /// # Errors
    /// If the step is not a whole number of minutes, if `to` is not after `from`, or if that is more
    /// than [`MAX_POINTS`] points.
    pub fn new(from: UtcMillis, to: UtcMillis, step: Duration) -> Result<Self, String> {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        if step < MINUTE || step % MINUTE != 0 {
            return Err("the step must be a whole number of minutes".to_owned());
        }
        let down = |at: UtcMillis| at.epoch_millis().div_euclid(step).saturating_mul(step);
        // A point that has begun belongs to the range.
        let (from, to) = (down(from), down(to).max(down(from)).saturating_add(step));
        if (to - from) / step > MAX_POINTS {
            return Err(format!("more than {MAX_POINTS} points; choose a larger step"));
        }
        Ok(Self { from, to, step })
    }

    /// The beginning of the first point.
    pub fn from(self) -> UtcMillis {
        UtcMillis::from_epoch_millis(self.from)
    }

    /// The end of the last point.
    pub fn to(self) -> UtcMillis {
        UtcMillis::from_epoch_millis(self.to)
    }

    /// The length of a point in milliseconds.
    pub fn step(self) -> i64 {
        self.step
    }

    /// The number of points.
    pub fn points(self) -> usize {
        usize::try_from((self.to - self.from) / self.step).unwrap_or(0)
    }

    /// The point in which a time lies.
    pub fn place(self, at: UtcMillis) -> Option<usize> {
        let at = at.epoch_millis();
        let is_within = (self.from..self.to).contains(&at);
        is_within.then(|| usize::try_from((at - self.from) / self.step).ok()).flatten()
    }

    /// The same range, this many milliseconds earlier: a multiple of the step, or the nearest one.
    #[must_use]
    pub fn earlier(self, millis: i64) -> Self {
        let back = millis / self.step * self.step;
        Self { from: self.from - back, to: self.to - back, ..self }
    }
}

/// Part of the history, merged over processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// The beginning of the first point.
    pub from: UtcMillis,
    /// The end of the last point.
    pub to: UtcMillis,
    /// The length of a point in milliseconds.
    pub step_ms: i64,
    /// The points in order. One in which no process ran is left out.
    pub points: Vec<HistoryPoint>,
    /// The processes that were counted, the most recently seen first.
    pub processes: Vec<ProcessSeen>,
    /// Why some figures are missing, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}

impl History {
    /// The point that begins at this time.
    pub fn point(&self, at: i64) -> Option<&HistoryPoint> {
        let place = self.points.binary_search_by_key(&at, |point| point.at.epoch_millis()).ok()?;
        self.points.get(place)
    }
}

/// What was counted in one step of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryPoint {
    /// Its beginning.
    pub at: UtcMillis,
    /// What was counted.
    #[serde(flatten)]
    pub totals: Totals,
}

/// A process, and what it counted in the range.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessSeen {
    /// Its name, as in gauges and lines.
    pub process: String,
    /// Where and what it is.
    pub about: About,
    /// The last minute in which it ran.
    pub last: Option<UtcMillis>,
    /// Accepted events.
    pub accepted: u64,
    /// Refused events.
    pub refused: u64,
    /// Failed steps of all stages.
    pub errors: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> UtcMillis {
        UtcMillis::from_epoch_millis(minutes * MINUTE)
    }

    #[test]
    fn a_range_consists_of_whole_steps() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let query = HistoryQuery::new(at(61), at(119), minutes(10)).unwrap();
        assert_eq!((query.from(), query.to(), query.points()), (at(60), at(120), 6));
        assert_eq!(query.place(at(59)), None);
        assert_eq!(query.place(at(60)), Some(0));
        assert_eq!(query.place(at(119)), Some(5));
        assert_eq!(query.place(at(120)), None);
        let before = query.earlier(25 * MINUTE);
        assert_eq!((before.from(), before.points()), (at(40), 6));
        let now = HistoryQuery::new(at(60), at(60), minutes(1)).unwrap();
        assert_eq!(now.points(), 1, "the minute that has begun");
    }

    #[test]
    fn a_range_has_a_bound() {
        let step = Duration::from_secs(60);
        assert!(HistoryQuery::new(at(0), at(MAX_POINTS - 1), step).is_ok());
        let error = HistoryQuery::new(at(0), at(MAX_POINTS), step).unwrap_err();
        assert!(error.contains("1500 points"), "{error}");
        for step in [0, 1, 59, 61, 90] {
            assert!(HistoryQuery::new(at(0), at(1), Duration::from_secs(step)).is_err(), "{step}");
        }
        assert!(HistoryQuery::new(UtcMillis::MIN, UtcMillis::MAX, Duration::MAX).is_err());
    }

    #[test]
    fn a_point_of_another_version_can_be_read() {
        let json = r#"{"at":"2026-01-02T03:04:00.000Z","accepted":3,"future":{"a":1}}"#;
        let point: HistoryPoint = serde_json::from_str(json).unwrap();
        assert_eq!((point.totals.accepted, point.totals.queue), (3, None));
        let json = serde_json::to_string(&point).unwrap();
        assert_eq!(serde_json::from_str::<HistoryPoint>(&json).unwrap(), point);
    }
}
