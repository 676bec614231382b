//! Alerts: raised at each second, and taken note of.

use crate::alerts::Reading;
use crate::pipeline::gauges::Health;
use crate::pipeline::time::UtcMillis;
use crate::tui::model::Model;
use crate::tui::msg::{Effect, Job};

/// A second has passed, by the clock of what is watched.
pub(super) fn tick(model: &mut Model, now: UtcMillis) {
    model.now = now;
    model.dirty |= model.figures.tick(now.epoch_seconds());
    let summary = model.figures.summary();
    let reading = Reading {
        depth: summary.queue.map(|queue| queue.depth),
        alarm_depth: model.alarm_depth(),
        store_fails: summary.health[1] == Health::Failing,
    };
    let told = model.alerts.tick(now.epoch_seconds(), &reading);
    // What was amiss then is nothing to be woken up by now.
    let is_now = model.replay.is_none();
    for (alert, count) in told {
        model.dirty = true;
        if is_now && model.options.shell.alerts.bell {
            model.outbox.push(Effect::Bell);
        }
        if is_now {
            model.outbox.push(Effect::Job(Job::Alert(alert, count)));
        }
    }
}

pub(super) fn acknowledge(model: &mut Model) {
    if !model.alerts.acknowledge() {
        model.notify("no alert is shown");
    }
}
