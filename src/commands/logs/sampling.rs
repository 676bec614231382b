//! What `logs` says of lines that it does not get: sampled out where they are made, or lost on
//! their way.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use bklit_wire::gauges::Gauges;

/// A process that publishes no figures for so long samples no more.
const GONE_AFTER: Duration = Duration::from_secs(5);
/// How long all must be shown until that is told, and how often another rate is.
const QUIET: Duration = Duration::from_secs(3);
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Processes that are told apart.
const MAX_PROCESSES: usize = 1_000;

/// How lines are sampled, as was told last.
#[derive(Default)]
pub struct Sampling {
    /// By process: one of so many events is shown, as of then.
    processes: HashMap<String, (u32, Instant)>,
    told: Option<Told>,
}

struct Told {
    rate: u32,
    at: Instant,
    /// Since when all are shown.
    whole_since: Option<Instant>,
    left_out: u64,
}

impl Sampling {
    /// Takes in a process's figures.
    pub fn take(&mut self, gauges: &Gauges, now: Instant) {
        if gauges.sampling > 1 {
            if self.processes.len() < MAX_PROCESSES || self.processes.contains_key(&gauges.process)
            {
                self.processes.insert(gauges.process.clone(), (gauges.sampling, now));
            }
            let told =
                self.told.get_or_insert(Told { rate: 1, at: now, whole_since: None, left_out: 0 });
            told.left_out += gauges.lines_sampled_out;
        } else {
            self.processes.remove(&gauges.process);
        }
    }

    /// What is to be told now.
    pub fn news(&mut self, now: Instant) -> Option<String> {
        self.processes.retain(|_, (_, at)| now.saturating_duration_since(*at) < GONE_AFTER);
        let rate = self.processes.values().map(|(rate, _)| *rate).max().unwrap_or(1);
        let told = self.told.as_mut()?;
        if rate > 1 {
            told.whole_since = None;
            let begins = told.rate == 1;
            if !begins && (rate == told.rate || now - told.at < AGAIN_AFTER) {
                return None;
            }
            (told.rate, told.at) = (rate, now);
            let why = if begins { ": there are too many lines to show all" } else { " now" };
            return Some(format!("1 of {rate} events shown{why}"));
        }
        let since = *told.whole_since.get_or_insert(now);
        if now - since < QUIET {
            return None;
        }
        let left_out = self.told.take().map_or(0, |told| told.left_out);
        // Of a project alone it is not known.
        let lines =
            if left_out > 0 { format!("; {left_out} lines were left out") } else { String::new() };
        Some(format!("all events shown again{lines}"))
    }
}

/// Messages that were lost on their way.
#[derive(Default)]
pub struct Losses(u64);

impl Losses {
    /// What is to be told of some more.
    pub fn more(&mut self, count: u64) -> String {
        self.0 = self.0.saturating_add(count);
        let all = if self.0 > count { format!(", {} in all", self.0) } else { String::new() };
        format!("{count} messages lost: they came faster than they were read{all}")
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
    fn begin_other_rates_and_end_are_told_and_flapping_is_not() {
        let mut sampling = Sampling::default();
        let start = Instant::now();
        let mut told = Vec::new();
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            let rate = match second {
                5..20 => 4,
                // Up and down.
                20..30 => 4 << (second % 2),
                // A second of rest is no end.
                32 => 1,
                30..40 => 8,
                _ => 1,
            };
            sampling.take(&gauges("one", rate), now);
            sampling.take(&gauges("two", 1), now);
            told.extend(sampling.news(now).map(|news| (second, news)));
        }
        let told: Vec<_> = told.iter().map(|(second, news)| (*second, news.as_str())).collect();
        assert_eq!(
            told,
            [
                (5, "1 of 4 events shown: there are too many lines to show all"),
                (21, "1 of 8 events shown now"),
                (43, "all events shown again; 3400 lines were left out"),
            ]
        );
    }

    #[test]
    fn a_process_that_is_gone_samples_no_more() {
        let mut sampling = Sampling::default();
        let start = Instant::now();
        sampling.take(&gauges("killed", 2), start);
        assert!(sampling.news(start).unwrap().starts_with("1 of 2 events"));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(sampling.news(at(4)), None);
        assert_eq!(sampling.news(at(5)), None);
        let end = sampling.news(at(9)).unwrap();
        assert_eq!(end, "all events shown again; 100 lines were left out");
        assert_eq!(sampling.news(at(20)), None);
    }

    #[test]
    fn losses_add_up() {
        let mut losses = Losses::default();
        assert!(losses.more(3).ends_with("than they were read"));
        assert!(losses.more(4).ends_with("than they were read, 7 in all"));
    }
}
