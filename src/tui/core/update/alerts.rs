//! Raises alerts every second, and acknowledges them.

use super::screens;
use crate::model::Model;
use crate::model::alerts::{Alerts, MAX_WATCHED};
use crate::model::grouping::{Group, GroupKey};
use crate::model::palette::commands::Notify;
use crate::msg::{Effect, Job};
use bklit_alerts::Reading;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::gauges::Health;
use bklit_wire::time::UtcMillis;

/// A second has passed on the clock of the source.
pub(super) fn tick(model: &mut Model, now: UtcMillis) {
    model.now = now;
    model.dirty |= model.figures.tick(now.epoch_seconds());
    if model.has_no_current_data() {
        // Nothing ends or begins while nothing is known.
        return;
    }
    let before = model.alerts.banners().to_vec();
    let reading = reading(model);
    let reported = model.alerts.tick(now.epoch_seconds(), &reading);
    if before != model.alerts.banners() {
        model.dirty = true;
        resize(model, before.len());
    }
    // Alerts in a replay are about the past, so they neither ring the bell nor run the command.
    let is_now = model.replay.is_none();
    for (alert, count) in reported {
        model.dirty = true;
        if is_now && model.options.shell.alerts.bell {
            model.outbox.push(Effect::Bell);
        }
        if is_now {
            model.outbox.push(Effect::Job(Job::Alert(alert, count)));
        }
    }
}

fn reading(model: &Model) -> Reading {
    let summary = model.figures.summary();
    let failure = |part: usize| {
        let reason = summary.failures[part].as_ref().map(|failure| failure.reason.clone());
        (summary.health[part] == Health::Failing).then(|| reason.unwrap_or_default())
    };
    let [queue, store] = [0, 1].map(failure);
    Reading {
        depth: summary.known_queue().map(|queue| queue.depth),
        alarm_depth: model.alarm_depth(),
        store_failure: store,
        queue_failure: queue,
        spooled: summary.queue.map_or(0, |queue| queue.spooled),
        refused: mostly(model, |key| {
            key.level() == Level::Warn && key.stage() == Some(Stage::Ingestion)
        }),
        errors: mostly(model, |key| key.level() == Level::Error),
        no_worker: summary.no_worker.filter(|_| !model.has_no_current_data()),
    }
}

/// The most frequent message of these lines.
fn mostly(model: &Model, wanted: impl Fn(&GroupKey) -> bool) -> Option<String> {
    let recent = |group: &Group| group.recent(model.now, 2);
    let groups = model.panels.problems.groups().iter().filter(|group| wanted(&group.key));
    let group = groups.max_by_key(|group| recent(group)).filter(|group| recent(group) > 0)?;
    let status = group.key.status().map(|status| format!(" {status}")).unwrap_or_default();
    let project = match group.projects.named.as_slice() {
        [(project, _)] if group.projects.others == 0 => format!(" {project}"),
        _ => String::new(),
    };
    let colon = if status.is_empty() && project.is_empty() { "" } else { ":" };
    Some(format!("mostly{status}{project}{colon} {}", group.what()))
}

/// Adapts the screen to another number of alerts.
fn resize(model: &mut Model, before: usize) {
    if before != model.alerts.banners().len() {
        model.settle_panes();
        screens::settle(model);
    }
}

pub(super) fn acknowledge(model: &mut Model) {
    let before = model.alerts.banners().len();
    if !model.alerts.acknowledge() {
        model.notify("no alerts");
    }
    resize(model, before);
}

/// Changes the alerts on lines: adds, removes or lists queries.
pub(super) fn notify(model: &mut Model, what: Notify) -> Result<(), String> {
    let reported = match what {
        Notify::List => list(model),
        Notify::Watch(query) => {
            let source = query.source().to_owned();
            let too_many =
                || format!("at most {MAX_WATCHED} line alerts; :notify off N removes one");
            let number = model.alerts.watch(query).ok_or_else(too_many)?;
            format!("alert {number} set: each line that matches “{source}”")
        }
        Notify::Stop(None) => match unwatched(model, |alerts| alerts.unwatch_all()) {
            0 => return Err("no line alerts set".to_owned()),
            _ => "all line alerts removed".to_owned(),
        },
        Notify::Stop(Some(number)) => match unwatched(model, |alerts| alerts.unwatch(number)) {
            Some(query) => format!("alert on “{}” removed", query.source()),
            None => {
                return Err(format!("no alert {number}; {}", list(model)));
            }
        },
    };
    model.notify(reported);
    Ok(())
}

/// Removes queries, and with them their alerts.
fn unwatched<T>(model: &mut Model, remove: impl FnOnce(&mut Alerts) -> T) -> T {
    let before = model.alerts.banners().len();
    let removed = remove(&mut model.alerts);
    resize(model, before);
    removed
}

fn list(model: &Model) -> String {
    let numbered = model.alerts.watched().enumerate();
    let numbered: Vec<_> =
        numbered.map(|(place, query)| format!("{} {}", place + 1, query.source())).collect();
    match numbered.as_slice() {
        [] => "no line alerts; :notify QUERY sets one".to_owned(),
        all => format!("line alerts: {}", all.join(" · ")),
    }
}
