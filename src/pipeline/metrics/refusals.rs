//! Refused events, and what became of the events of the last minutes.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::lock;
use bklit_wire::gauges::Recent;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusedLabel {
    reason: &'static str,
    field: &'static str,
}

/// The counters of refused events.
#[derive(Default)]
pub struct RefusalFigures {
    refused: Family<RefusedLabel, Counter>,
    /// Since the last [`RefusalFigures::observe`].
    new: AtomicU64,
    /// Reason and message.
    last: Mutex<Option<(&'static str, String)>>,
    last_store_error: Mutex<Option<String>>,
    /// Since the last [`RefusalFigures::observe`].
    new_incomplete: AtomicU64,
    last_incomplete: Mutex<Option<String>>,
    /// One for each minute, the current one last.
    minutes: Mutex<VecDeque<(Instant, Counts)>>,
}

/// What became of events.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) stored: u64,
    pub(super) not_stored: u64,
    pub(super) incomplete: u64,
}

impl RefusalFigures {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "refused_events",
            "Refused events, by reason and invalid field",
            self.refused.clone(),
        );
    }

    /// Counts a refused event. Reasons and fields come from a fixed list.
    pub fn refused(&self, reason: &'static str, field: Option<&'static str>, error: &str) {
        let label = RefusedLabel { reason, field: field.unwrap_or("") };
        self.refused.get_or_create(&label).inc();
        self.new.fetch_add(1, Relaxed);
        *lock(&self.last) = Some((reason, error.to_owned()));
    }

    /// Keeps the reason why something was not stored.
    pub(super) fn store_failed(&self, reason: String) {
        *lock(&self.last_store_error) = Some(reason);
    }

    /// Counts an insert whose events are stored, but not everywhere or not with all values.
    pub(super) fn stored_incompletely(&self, what: String) {
        self.new_incomplete.fetch_add(1, Relaxed);
        *lock(&self.last_incomplete) = Some(what);
    }

    /// Adds what was counted since the last call, and returns the sum of the last minutes.
    pub(super) fn observe(&self, now: Instant, new: Counts) -> Recent {
        let incomplete = self.new_incomplete.swap(0, Relaxed);
        let new = Counts { refused: self.new.swap(0, Relaxed), incomplete, ..new };
        let mut minutes = lock(&self.minutes);
        let is_over = |(began, _): &(Instant, Counts)| now.duration_since(*began) >= MINUTE;
        if minutes.back().is_none_or(is_over) {
            minutes.push_back((now, Counts::default()));
        }
        let span = MINUTE * u32::try_from(Recent::MINUTES).unwrap_or(1);
        while minutes.front().is_some_and(|(began, _)| now.duration_since(*began) > span) {
            minutes.pop_front();
        }
        if let Some((_, current)) = minutes.back_mut() {
            current.add(new);
        }
        let mut sum = Counts::default();
        minutes.iter().for_each(|(_, counts)| sum.add(*counts));
        let last = lock(&self.last).clone().filter(|_| sum.refused > 0);
        let (last_reason, last_error) = last.unzip();
        Recent {
            accepted: sum.accepted,
            refused: sum.refused,
            stored: sum.stored,
            not_stored: sum.not_stored,
            incomplete: sum.incomplete,
            last_reason: last_reason.map(str::to_owned),
            last_error,
            last_store_error: lock(&self.last_store_error).clone().filter(|_| sum.not_stored > 0),
            last_incomplete: lock(&self.last_incomplete).clone().filter(|_| sum.incomplete > 0),
        }
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.stored += other.stored;
        self.not_stored += other.not_stored;
        self.incomplete += other.incomplete;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_ten_minutes_does_not_count() {
        let figures = RefusalFigures::default();
        let start = Instant::now();
        figures.refused("queue", None, "full");
        figures.stored_incompletely("a view lacks rows".to_owned());
        let recent = figures.observe(start, Counts { accepted: 3, ..Counts::default() });
        assert_eq!((recent.accepted, recent.refused), (3, 1));
        assert_eq!(recent.last_reason.as_deref(), Some("queue"));
        assert_eq!(recent.incomplete, 1);
        assert_eq!(recent.last_incomplete.as_deref(), Some("a view lacks rows"));
        for minute in 1..=10 {
            let counts = Counts { stored: 2, not_stored: 1, ..Counts::default() };
            let recent = figures.observe(start + MINUTE * minute, counts);
            let expected = (3, 1, 2 * u64::from(minute), u64::from(minute));
            let Recent { accepted, refused, stored, not_stored, .. } = recent;
            assert_eq!((accepted, refused, stored, not_stored), expected);
        }
        let recent = figures.observe(start + MINUTE * 11, Counts::default());
        assert_eq!((recent.accepted, recent.refused, recent.stored), (0, 0, 20));
        assert_eq!((recent.last_error, recent.last_incomplete), (None, None));
        for second in 0..100_000 {
            figures.observe(start + Duration::from_secs(700 + second), Counts::default());
        }
        assert!(lock(&figures.minutes).len() <= Recent::MINUTES + 1);
    }
}
