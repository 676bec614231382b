//! Events that filters found.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::intake::filters::{Action, Verdict};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FilterLabel {
    rule: &'static str,
    action: &'static str,
}

/// The counters of the filters.
#[derive(Default)]
pub(super) struct FilterFigures {
    found: Family<FilterLabel, Counter>,
    /// Since they were last taken.
    dropped: AtomicU64,
}

impl FilterFigures {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "filtered",
            "Events that a filter found, by rule and what was done with them",
            self.found.clone(),
        );
    }

    /// Counts an event that a filter found.
    pub(super) fn count(&self, Verdict { rule, action }: Verdict) {
        if action == Action::Drop {
            self.dropped.fetch_add(1, Relaxed);
        }
        let label = FilterLabel { rule: rule.as_str(), action: action.as_str() };
        self.found.get_or_create(&label).inc();
    }

    /// Dropped events since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Relaxed)
    }
}
