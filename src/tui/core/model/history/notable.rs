//! The slowest steps and the last failures of each stage, from the lines that arrived.

use std::collections::{BTreeMap, VecDeque};

use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::history::MINUTE;
use bklit_wire::text;
use bklit_wire::time::UtcMillis;
use serde::Serialize;
use serde_json::Value;

use crate::model::line::REASONS;

/// The most slow steps kept of a minute.
const SLOWEST: usize = 5;
/// The most minutes for which they are kept.
const MINUTES: usize = 120;
/// The most failures kept of a stage.
const MAX_FAILURES: usize = 500;
/// The most columns of a text.
const MAX_TEXT: usize = 200;

/// A line that is kept although the log may drop it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotableLine {
    /// When the step ended.
    pub at: UtcMillis,
    /// The stage.
    pub stage: Stage,
    /// Its level.
    pub level: Level,
    /// How long it took, in microseconds.
    pub micros: Option<u64>,
    /// The event it was about.
    pub event: Option<String>,
    /// The project it was about.
    pub project: Option<String>,
    /// What happened, with the reason.
    pub text: String,
    /// The page it was about, without the scheme, or else the event.
    pub about: Option<String>,
}

/// The lines of one stage.
#[derive(Debug, Default)]
struct OfStage {
    /// By minute.
    slowest: BTreeMap<i64, Vec<NotableLine>>,
    failures: VecDeque<NotableLine>,
}

/// The slowest steps of each of the last minutes, and the last warnings and errors.
#[derive(Debug, Default)]
pub struct Notable([OfStage; Stage::ALL.len()]);

impl Notable {
    /// Keeps a line if it is notable.
    pub(crate) fn take(&mut self, log: &DebugLog) {
        let here = &mut self.0[log.stage.index()];
        if log.level > Level::Info {
            here.failures.push_back(NotableLine::of(log));
            if here.failures.len() > MAX_FAILURES {
                here.failures.pop_front();
            }
        }
        let Some(micros) = micros(log) else { return };
        let slowest = here.slowest.entry(log.timestamp.epoch_millis().div_euclid(MINUTE));
        let slowest = slowest.or_default();
        let place = slowest.partition_point(|other| other.micros.unwrap_or(0) >= micros);
        if place >= SLOWEST {
            return;
        }
        slowest.truncate(SLOWEST - 1);
        slowest.insert(place, NotableLine::of(log));
        if here.slowest.len() > MINUTES {
            here.slowest.pop_first();
        }
    }

    /// The slowest steps of these stages that ended in a range of milliseconds, slowest first.
    pub fn slowest(
        &self,
        stages: impl Iterator<Item = Stage>,
        range: std::ops::Range<i64>,
    ) -> Vec<&NotableLine> {
        let minutes = range.start.div_euclid(MINUTE)..=range.end.div_euclid(MINUTE);
        let of = |stage: Stage| self.0[stage.index()].slowest.range(minutes.clone());
        let lines = stages.flat_map(of).flat_map(|(_, lines)| lines);
        let mut lines: Vec<_> =
            lines.filter(|line| range.contains(&line.at.epoch_millis())).collect();
        lines.sort_by_key(|line| std::cmp::Reverse(line.micros));
        lines
    }

    /// The warnings and errors of these stages in a range of milliseconds, newest first.
    pub fn failures(
        &self,
        stages: impl Iterator<Item = Stage>,
        range: std::ops::Range<i64>,
    ) -> Vec<&NotableLine> {
        let lines = stages.flat_map(|stage| &self.0[stage.index()].failures);
        let mut lines: Vec<_> =
            lines.filter(|line| range.contains(&line.at.epoch_millis())).collect();
        lines.sort_by_key(|line| std::cmp::Reverse(line.at));
        lines
    }
}

fn micros(log: &DebugLog) -> Option<u64> {
    let millis = log.duration.filter(|millis| millis.is_finite() && *millis >= 0.0)?;
    Some((millis * 1e3) as u64)
}

fn without_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

impl NotableLine {
    fn of(log: &DebugLog) -> Self {
        let reason = REASONS.iter().find_map(|&name| log.data.get(name));
        let reason = reason.and_then(Value::as_str).map(|reason| format!(": {reason}"));
        let whole = format!("{}{}", log.message, reason.unwrap_or_default());
        let url = log.data.get("url").and_then(Value::as_str);
        let safe = |what: &str| text::clip(&text::safe(what), MAX_TEXT).into_owned();
        Self {
            at: log.timestamp,
            stage: log.stage,
            level: log.level,
            micros: micros(log),
            event: log.event_id.as_deref().map(safe),
            project: log.project_id.as_deref().map(safe),
            text: safe(&whole),
            about: url.map(without_scheme).or(log.event_id.as_deref()).map(safe),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: i64, level: Level, millis: f64) -> DebugLog {
        let mut log = DebugLog::new(Stage::Worker, level, "Batch stored");
        log.timestamp = UtcMillis::from_epoch_millis(at);
        log.duration = Some(millis);
        log.data.insert("error".to_owned(), "no\u{1b}[31m disk".into());
        log
    }

    fn worker() -> impl Iterator<Item = Stage> {
        [Stage::Worker].into_iter()
    }

    #[test]
    fn the_slowest_of_each_minute_are_kept_within_a_bound() {
        let mut notable = Notable::default();
        for minute in 0..500 {
            for n in 0..50 {
                notable.take(&line(minute * MINUTE + n, Level::Info, (n * 7 % 50) as f64));
            }
        }
        let all = notable.slowest(worker(), 0..i64::MAX / 2);
        assert_eq!(all.len(), SLOWEST * MINUTES);
        assert!(all.iter().all(|line| line.micros >= Some(45_000)), "{:?}", all.last());
        let minute = notable.slowest(worker(), 450 * MINUTE..451 * MINUTE);
        let micros: Vec<_> = minute.iter().filter_map(|line| line.micros).collect();
        assert_eq!(micros, [49_000, 48_000, 47_000, 46_000, 45_000]);
        assert!(notable.slowest(worker(), 0..MINUTE).is_empty(), "the oldest were dropped");
        assert!(notable.slowest([Stage::Queue].into_iter(), 0..i64::MAX / 2).is_empty());
    }

    #[test]
    fn failures_are_kept_within_a_bound_and_are_safe_to_show() {
        let mut notable = Notable::default();
        for n in 0..2_000 {
            notable.take(&line(n, Level::Error, f64::NAN));
            notable.take(&line(n, Level::Info, 1.0));
        }
        let failures = notable.failures(worker(), 0..i64::MAX / 2);
        assert_eq!(failures.len(), MAX_FAILURES);
        assert_eq!(failures[0].at, UtcMillis::from_epoch_millis(1_999));
        assert_eq!(failures[0].text, "Batch stored: no\\u{1b}[31m disk");
        assert_eq!(failures[0].micros, None);
    }
}
