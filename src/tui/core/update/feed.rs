//! Messages from the bus.

use crate::model::panels::VerifyPanel;
use crate::model::{Link, Model};
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::time::UtcMillis;

/// Applies messages, in order.
pub(super) fn take_in(model: &mut Model, messages: Vec<DebugMessage>) {
    let next = model.ring.next();
    for message in messages {
        match message {
            DebugMessage::Log(log) => {
                let counts = counts(model, log.timestamp);
                if counts {
                    count(model, &log);
                }
                model.notable.take(&log);
                model.ring.push_log(&log);
                note_problem(model);
                if counts {
                    note_watched(model);
                }
                if VerifyPanel::wants(&log) {
                    let number = model.ring.next() - 1;
                    let line = model.ring.get(number).map(|line| line.to_owned());
                    line.into_iter().for_each(|line| model.panels.verify.take(number, line));
                }
            }
            DebugMessage::Unparsed(line) => {
                model.ring.push_unparsed(model.now, &line);
                note_problem(model);
                note_watched(model);
            }
            DebugMessage::Gauges(gauges) => {
                model.alerts.answered(gauges.accepted, gauges.refused);
                if gauges.accepted > 0 {
                    model.accepted_at = Some(model.now);
                }
                model.dirty |= model.figures.gauges(&gauges);
                if model.link != Link::Up && !model.hears_itself {
                    (model.hears_itself, model.dirty) = (true, true);
                }
            }
            DebugMessage::Queue(queue) => model.dirty |= model.figures.observed_queue(queue),
            DebugMessage::HistoryEnd => {}
            DebugMessage::Lost(lines) => {
                model.lost = model.lost.saturating_add(lines);
                model.dirty = true;
            }
            DebugMessage::Connected => {
                model.hears_itself = false;
                model.figures.cut(false);
                if let Link::Down(reason) = std::mem::replace(&mut model.link, Link::Up) {
                    model.notify("connected again");
                    note_gap(model, &reason);
                }
                model.dirty = true;
            }
            DebugMessage::Disconnected(reason) => {
                if model.cut.is_none() {
                    (model.cut, model.hears_itself) = (Some(model.now), false);
                }
                model.figures.cut(true);
                model.link = Link::Down(bklit_wire::text::safe(&reason).into());
                model.dirty = true;
            }
        }
    }
    if model.ring.next() != next {
        model.update_panes();
        model.dirty = true;
    }
}

/// Adds a line about the gap in the messages while the connection was down.
fn note_gap(model: &mut Model, reason: &str) {
    let Some(since) = model.cut.take() else { return };
    let gap = format!(
        "no connection from {} to {}, lines may be missing: {reason}",
        model.time_of_day(since),
        model.time_of_day(model.now)
    );
    model.ring.push_note(model.now, &gap);
}

/// Whether a line is current: errors from before the console was opened raise no alerts.
fn counts(model: &Model, timestamp: UtcMillis) -> bool {
    model.replay.is_some() || !model.figures.is_history(timestamp)
}

fn count(model: &mut Model, log: &DebugLog) {
    model.figures.line(log);
    if log.level == Level::Error {
        model.alerts.error();
    }
    if log.stage == Stage::Ingestion && log.level == Level::Info {
        model.alerts.accepted();
    }
}

/// Counts the newest line for the problems, if it is one.
fn note_problem(model: &mut Model) {
    let Some(number) = model.ring.next().checked_sub(1) else { return };
    if let Some(line) = model.ring.get(number).filter(|line| line.level() > Level::Info) {
        model.panels.problems.groups_mut().add(line, number, model.now);
    }
}

/// Counts the newest line for alerts on lines.
fn note_watched(model: &mut Model) {
    let newest = model.ring.next().checked_sub(1).and_then(|number| model.ring.get(number));
    if let Some(line) = newest {
        model.alerts.line(line);
    }
}
