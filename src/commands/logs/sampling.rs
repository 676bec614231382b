//! Reports on lines that `logs` does not receive: sampled out by the pipeline, or lost in transit.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use bklit_wire::gauges::Gauges;

/// A process without gauges for this long no longer counts.
const GONE_AFTER: Duration = Duration::from_secs(5);
/// How long all lines must have been published before the end of sampling is reported.
const QUIET: Duration = Duration::from_secs(3);
/// The shortest time between reports of a changed rate.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// The most processes tracked.
const MAX_PROCESSES: usize = 1_000;

/// How lines are sampled, and what was reported last.
#[derive(Default)]
pub struct Sampling {
    /// By process: 1 of how many events is published, and when that was last seen.
    processes: HashMap<String, (u32, Instant)>,
    reported: Option<Reported>,
}

struct Reported {
    rate: u32,
    at: Instant,
    /// Since when all events are published.
    whole_since: Option<Instant>,
    left_out: u64,
}

impl Sampling {
    /// Records a process's gauges.
    pub fn record(&mut self, gauges: &Gauges, now: Instant) {
        if gauges.sampling > 1 {
            if self.processes.len() < MAX_PROCESSES || self.processes.contains_key(&gauges.process)
            {
                self.processes.insert(gauges.process.clone(), (gauges.sampling, now));
            }
            let new = Reported { rate: 1, at: now, whole_since: None, left_out: 0 };
            self.reported.get_or_insert(new).left_out += gauges.lines_sampled_out;
        } else {
            self.processes.remove(&gauges.process);
        }
    }

    /// What is to be reported now.
    pub fn report(&mut self, now: Instant) -> Option<String> {
        self.processes.retain(|_, (_, at)| now.saturating_duration_since(*at) < GONE_AFTER);
        let rate = self.processes.values().map(|(rate, _)| *rate).max().unwrap_or(1);
        let last = self.reported.as_mut()?;
        if rate > 1 {
            last.whole_since = None;
            let begins = last.rate == 1;
            if !begins && (rate == last.rate || now - last.at < AGAIN_AFTER) {
                return None;
            }
            (last.rate, last.at) = (rate, now);
            let why = if begins { ": too many lines to show them all" } else { " now" };
            return Some(format!("1 of {rate} events shown{why}"));
        }
        let since = *last.whole_since.get_or_insert(now);
        if now - since < QUIET {
            return None;
        }
        let left_out = self.reported.take().map_or(0, |last| last.left_out);
        // With --project, the number is unknown.
        let lines = if left_out > 0 {
            format!("; {left_out} lines were sampled out")
        } else {
            String::new()
        };
        Some(format!("all events shown again{lines}"))
    }
}

/// Messages that were lost in transit.
#[derive(Default)]
pub struct Losses(u64);

impl Losses {
    /// Counts further lost messages and returns the report.
    pub fn report(&mut self, count: u64) -> String {
        self.0 = self.0.saturating_add(count);
        let all = if self.0 > count { format!(", {} in total", self.0) } else { String::new() };
        format!("{count} messages lost: they arrived faster than they were read{all}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauges(process: &str, sampling: u32) -> Gauges {
        let lines_sampled_out = if sampling > 1 { 100 } else { 0 };
        Gauges { process: process.into(), sampling, lines_sampled_out, ..Gauges::default() }
    }

    #[test]
    fn start_rate_changes_and_end_are_reported_and_flapping_is_not() {
        let mut sampling = Sampling::default();
        let start = Instant::now();
        let mut reports = Vec::new();
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            let rate = match second {
                5..20 => 4,
                // Up and down.
                20..30 => 4 << (second % 2),
                // One second without sampling does not end it.
                32 => 1,
                30..40 => 8,
                _ => 1,
            };
            sampling.record(&gauges("one", rate), now);
            sampling.record(&gauges("two", 1), now);
            reports.extend(sampling.report(now).map(|report| (second, report)));
        }
        let reports: Vec<_> = reports.iter().map(|(at, report)| (*at, report.as_str())).collect();
        assert_eq!(
            reports,
            [
                (5, "1 of 4 events shown: too many lines to show them all"),
                (21, "1 of 8 events shown now"),
                (43, "all events shown again; 3400 lines were sampled out"),
            ]
        );
    }

    #[test]
    fn a_process_that_has_exited_no_longer_counts() {
        let mut sampling = Sampling::default();
        let start = Instant::now();
        sampling.record(&gauges("killed", 2), start);
        assert!(sampling.report(start).unwrap().starts_with("1 of 2 events"));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(sampling.report(at(4)), None);
        assert_eq!(sampling.report(at(5)), None);
        let end = sampling.report(at(9)).unwrap();
        assert_eq!(end, "all events shown again; 100 lines were sampled out");
        assert_eq!(sampling.report(at(20)), None);
    }

    #[test]
    fn losses_add_up() {
        let mut losses = Losses::default();
        assert!(losses.report(3).ends_with("than they were read"));
        assert!(losses.report(4).ends_with("than they were read, 7 in total"));
    }
}
