//! What is known about this process from its start.

use std::sync::atomic::Ordering::Relaxed;

use super::Metrics;
use bklit_wire::gauges::About;

impl Metrics {
    /// Identifies this process among those that publish gauges.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// Names the store that this process writes.
    pub fn set_store(&self, name: &'static str) {
        let _ = self.store.set(name);
    }

    /// Sets where and what this process is; published with the gauges.
    pub fn set_about(&self, about: About) {
        let _ = self.about.set(about);
    }

    /// Where and what this process is, as far as it is known.
    pub fn about(&self) -> About {
        self.about.get().cloned().unwrap_or_default()
    }

    /// Sets the number of waiting events above which to raise an alarm; published with the gauges.
    pub fn set_alarm_depth(&self, depth: u64) {
        self.alarm_depth.store(depth, Relaxed);
    }
}
