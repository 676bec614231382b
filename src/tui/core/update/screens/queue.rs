//! The queue: batches in flight and failed events, and their repair.

use ratatui::layout::Rect;

use super::{Handler, List, Outcome, Selection, batch, edit, neighbour, settle_panels};
use crate::bulk::{Known, Operation, Which};
use crate::format;
use crate::keymap::Action;
use crate::model::cursor::{across, target};
use crate::model::panels::{BatchPanel, QueueList};
use crate::model::screen::{FailedDetail, ProblemsScreen, QueueScreen, Screen};
use crate::model::trace::Subject;
use crate::model::{ExportOf, Model, PromptPurpose};
use crate::msg::Effect;
use crate::requests::Request;
use crate::update::{bulk, prompt};
use bklit_wire::backend::Change;
use bklit_wire::queue::FailedView;

/// Changed by someone else.
pub(super) const GONE: &str = "nothing changed: it is no longer in the failed queue";
const NO_FAILED: &str = "no failed event is selected";

impl Handler for QueueScreen {
    const IS_PANEL: bool = true;

    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::NextList | Action::PreviousList => change_list(model, action),
            Action::FailedDetail => return inspect(model).into(),
            Action::QueueFilter => {
                let before = model.panels.queue.filter().to_owned();
                let purpose = PromptPurpose::QueueFilter { before: before.clone() };
                prompt::open(model, purpose, before);
            }
            Action::Export if model.panels.queue.chosen().1.count == 0 => {
                model.notify("no failed event to export");
            }
            Action::Export => {
                let name = model.zoned(model.now).strftime("failed-%Y%m%d-%H%M%S.jsonl");
                let name = name.to_string();
                let (which, known) = model.panels.queue.chosen();
                prompt::open(model, PromptPurpose::Export(ExportOf::Failed(which, known)), name);
            }
            Action::MarkFailed => mark(model),
            Action::EditOne => {
                let item = model.panels.queue.selected_item().cloned();
                return edit::edit_one(model, item).into();
            }
            Action::EditMany => {
                let (which, known) = model.panels.queue.chosen();
                edit::edit_many(model, which, known);
            }
            Action::RetryOne | Action::RetryAll | Action::DeleteOne | Action::DeleteAll => {
                return change_selected(model, action).into();
            }
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        let parts = model.queue_parts();
        let panel = &mut model.panels.queue;
        let counts = [panel.batches().len(), panel.count()];
        let (list, cursor, height) = match panel.list() {
            QueueList::Batches => (0, panel.batch, parts.batches),
            QueueList::Failed => (1, panel.cursor, parts.failed),
        };
        let within = || (list, target(action, cursor.selected(), height.into()));
        let (list, place) = across(action, list, cursor.selected(), &counts).unwrap_or_else(within);
        Self::select(model, list, place);
        settle_panels(model);
    }

    fn back(model: &mut Model) -> bool {
        if model.panels.queue.marks.count() > 0 {
            model.panels.queue.marks.clear();
            return true;
        }
        let is_filtered = !model.panels.queue.filter().is_empty();
        if is_filtered {
            set_filter(model, "");
        }
        is_filtered
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        poll(model)
    }

    fn selection(model: &Model) -> Option<Selection> {
        if let Some(batch) = model.panels.queue.selected_batch() {
            let subject = Subject::Batch(batch.id.clone());
            return Some(Selection::item(batch, Some(&batch.id), Some(subject)));
        }
        model.panels.queue.selected_item().map(failed_item)
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        let (panel, parts) = (&model.panels.queue, model.queue_parts());
        let on = |list| move |place| (panel.list() == list).then_some(place);
        let opens = Action::FailedDetail;
        vec![
            List {
                area: parts.batch_list(view),
                top: panel.batch.top(),
                count: panel.batches().len(),
                selected: on(QueueList::Batches)(panel.batch.selected()),
                opens,
            },
            List {
                area: parts.failed_list(view),
                top: panel.cursor.top(),
                count: panel.count(),
                selected: on(QueueList::Failed)(panel.selected()),
                opens,
            },
        ]
    }

    fn select(model: &mut Model, list: usize, place: usize) {
        let parts = model.queue_parts();
        match list {
            0 => model.panels.queue.select_batch(place, parts.batches.into()),
            _ => model.panels.queue.select(place, parts.failed.into()),
        }
    }
}

pub(super) fn failed_item(item: &FailedView) -> Selection {
    let subject = item.event.event_id.clone().map(Subject::Event);
    Selection::item(item, item.event.event_id.as_deref(), subject)
}

/// Requests what the queue's screen shows, if a request is due.
pub(super) fn poll(model: &mut Model) -> Option<Effect> {
    // Remaining times and ages change every second.
    model.dirty = true;
    model.panels.queue.polled.is_due(model.now).then(|| question(model))
}

fn question(model: &Model) -> Effect {
    Effect::Ask(Request::Queue { failed: model.panels.queue.wanted })
}

fn change_list(model: &mut Model, action: Action) {
    let panel = &mut model.panels.queue;
    let counts = [panel.batches().len(), panel.count()];
    panel.list = match neighbour(action, panel.list() as usize, &counts) {
        Some(0) => QueueList::Batches,
        Some(_) => QueueList::Failed,
        None => panel.list,
    };
    settle_panels(model);
}

/// Marks the selected failed event, or removes its mark, and goes to the next one.
fn mark(model: &mut Model) {
    if model.panels.queue.selected_item().is_none() {
        return model.notify(NO_FAILED);
    }
    model.panels.queue.toggle_mark();
    let height = model.queue_parts().failed.into();
    let next = model.panels.queue.selected() + 1;
    model.panels.queue.select(next, height);
}

/// Shows the selected batch or event in full.
fn inspect(model: &mut Model) -> Option<Effect> {
    if let Some(found) = model.panels.queue.selected_batch().cloned() {
        model.push_screen(Screen::Batch(Box::new(BatchPanel::new(found))));
        return batch::question(model);
    }
    match model.panels.queue.selected_item().cloned() {
        Some(item) => {
            model.push_screen(Screen::Failed(Box::new(FailedDetail { item, scroll: 0 })));
        }
        None => model.notify(NO_FAILED),
    }
    None
}

fn change_selected(model: &mut Model, action: Action) -> Option<Effect> {
    let queue = &model.panels.queue;
    if queue.selected_batch().is_some() && queue.marks().count() == 0 && !model.options.read_only {
        let key = model.key(Action::NextList);
        model.notify(format!("a batch belongs to its worker; {key} goes to the failed events"));
        return None;
    }
    match action {
        Action::RetryAll | Action::DeleteAll => {
            let (which, known) = queue.chosen();
            change_many(model, action, which, known);
            None
        }
        _ => {
            let id = queue.selected_item().map(|item| item.id.clone());
            change_one(model, action, id)
        }
    }
}

/// Whether failed events can be changed now; says why not.
pub(super) fn may_change(model: &mut Model, is_empty: bool) -> bool {
    let problem = if model.options.read_only {
        Some("read-only: start without --read-only to change the queue".to_owned())
    } else {
        bulk::problem(model).or_else(|| is_empty.then(|| NO_FAILED.to_owned()))
    };
    let may = problem.is_none();
    problem.into_iter().for_each(|problem| model.notify(problem));
    may
}

/// Retries an event immediately, or asks before it is deleted.
pub(super) fn change_one(model: &mut Model, action: Action, id: Option<String>) -> Option<Effect> {
    if !may_change(model, id.is_none()) {
        return None;
    }
    let id = id?;
    if action == Action::RetryOne {
        return Some(send(model, Change::Retry, id));
    }
    prompt::open(model, PromptPurpose::Delete(id), String::new());
    None
}

/// Asks before many events are retried or deleted.
pub(super) fn change_many(model: &mut Model, action: Action, which: Which, known: Known) {
    if !may_change(model, known.count == 0) {
        return;
    }
    let operation = if action == Action::RetryAll { Operation::Retry } else { Operation::Delete };
    let plan = bulk::plan(model, operation, which, known);
    prompt::open(model, PromptPurpose::Confirm(Box::new(plan)), String::new());
}

/// Whether a screen that is open shows the queue.
pub(in crate::update) fn is_shown(model: &Model) -> bool {
    model.shown::<QueueScreen>().is_some()
        || model.shown::<ProblemsScreen>().is_some()
        || model.shown::<FailedDetail>().is_some()
}

/// Requests the change.
pub(in crate::update) fn send(model: &mut Model, change: Change, id: String) -> Effect {
    model.panels.queue.changes = true;
    Effect::Ask(Request::Change(change, id))
}

/// Shows only failed events that contain a text.
pub(in crate::update) fn set_filter(model: &mut Model, filter: &str) {
    model.panels.queue.set_filter(filter);
    settle_panels(model);
}

/// Shows the result of a change, and requests the queue's new state.
pub(in crate::update) fn changed(
    model: &mut Model,
    change: Change,
    result: Result<u64, String>,
) -> Option<Effect> {
    model.panels.queue.changes = false;
    let (verb, done) = match change {
        Change::Retry => ("retry", "put back into the queue"),
        Change::Delete => ("delete", "deleted"),
    };
    model.notify(match result {
        Ok(0) => GONE.to_owned(),
        Ok(1) => format!("1 event {done}"),
        Ok(changed) => format!("{} events {done}", format::count(changed)),
        Err(reason) => format!("cannot {verb}: {reason}"),
    });
    asks_again(model)
}

/// Requests the queue's new state.
pub(in crate::update) fn asks_again(model: &mut Model) -> Option<Effect> {
    model.panels.queue.polled.is_free(model.now).then(|| question(model))
}
