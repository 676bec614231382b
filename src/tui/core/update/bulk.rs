//! Changes of many failed events: begun, stopped, and their progress.

use super::screens::{edit, queue};
use crate::bulk::{BulkReport, End, Known, Operation, Plan, Progress, Which};
use crate::keymap::Action;
use crate::model::bulk::Bulk;
use crate::model::{ExportOf, Focus, Model, Prompt, PromptPurpose};
use crate::msg::Effect;

/// The result of a change that took longer than this stays until it has been seen, in milliseconds.
const LONG: i64 = 5_000;

/// Why no change can begin now.
pub(super) fn problem(model: &Model) -> Option<String> {
    match &model.bulk {
        _ if model.panels.queue.changes => Some("the last change is still in progress".to_owned()),
        Some(Bulk { plan, result: None, .. }) => {
            let key = model.key(Action::StopBulk);
            Some(format!("{} is still in progress; {key} stops it", plan.operation.doing()))
        }
        _ => None,
    }
}

/// A plan for what is in the failed queue now.
pub(super) fn plan(model: &Model, operation: Operation, which: Which, known: Known) -> Plan {
    let total = model.panels.queue.total();
    let until = Some(model.panels.queue.counted_at().unwrap_or(model.wall));
    // The clock of a worker may be ahead.
    let until = until.max(model.panels.queue.newest());
    Plan { operation, which, known, total, until }
}

/// Begins a plan, unless something is in progress.
pub(super) fn begin(model: &mut Model, plan: Plan) -> Option<Effect> {
    if let Some(problem) = problem(model) {
        model.notify(problem);
        return None;
    }
    model.bulk = Some(Bulk::new(plan.clone(), model.wall));
    Some(Effect::Bulk(plan))
}

/// Stops what is in progress, or hides its result.
pub(super) fn stop(model: &mut Model) -> Option<Effect> {
    match &mut model.bulk {
        None => {
            model.notify("no failed events are being retried, deleted or exported");
            None
        }
        Some(Bulk { result: Some(_), .. }) => {
            model.bulk = None;
            super::screens::settle(model);
            None
        }
        Some(bulk) => {
            bulk.is_stopping = true;
            Some(Effect::StopBulk)
        }
    }
}

/// Shows its progress or its result, and then the new state of the queue.
pub(super) fn take_in(model: &mut Model, report: BulkReport) -> Option<Effect> {
    model.dirty = true;
    let bulk = model.bulk.as_mut().filter(|bulk| bulk.result.is_none())?;
    let is_export = matches!(bulk.plan.operation, Operation::Export(_));
    let is_first = bulk.progress == Progress::default();
    bulk.progress = report.progress;
    let Some(end) = report.end else {
        if is_export && is_first {
            // Its file has been created.
            close_prompt(model);
        }
        return None;
    };
    if let End::Previewed(preview) = end {
        let plan = bulk.plan.clone();
        model.bulk = None;
        edit::previewed(model, &plan, preview);
        super::screens::settle(model);
        return None;
    }
    if let (End::Done(_), Which::Marked(marks)) = (&end, &bulk.plan.which)
        && !is_export
    {
        model.panels.queue.marks.remove(marks);
    }
    let result = bulk.outcome(&end);
    let took = model.wall.epoch_millis().saturating_sub(bulk.since.epoch_millis());
    bulk.result = Some(result.clone()).filter(|_| took >= LONG);
    if bulk.result.is_none() {
        model.bulk = None;
    }
    match (&end, &mut model.focus) {
        (End::Failed(why), Focus::Prompt(prompt)) if is_export && is_for_export(prompt) => {
            prompt.problem = Some(why.clone());
        }
        _ => {
            if is_export {
                close_prompt(model);
            }
            model.notify(result);
        }
    }
    super::screens::settle(model);
    if queue::is_shown(model) { queue::asks_again(model) } else { None }
}

/// Closes the question for an export's file.
fn close_prompt(model: &mut Model) {
    if let Focus::Prompt(prompt) = &model.focus
        && is_for_export(prompt)
    {
        model.focus = Focus::Keys;
    }
}

fn is_for_export(prompt: &Prompt) -> bool {
    matches!(prompt.purpose, PromptPurpose::Export(ExportOf::Failed(..)))
}
