//! The queue: batches in flight and failed events, and their repair.

use ratatui::layout::Rect;

use super::{Handler, List, Outcome, Selection, batch, neighbour, settle_panels};
use crate::format;
use crate::keymap::Action;
use crate::model::cursor::{across, target};
use crate::model::panels::{BatchPanel, QueueList};
use crate::model::screen::{FailedDetail, QueueScreen, Screen};
use crate::model::trace::Subject;
use crate::model::{ExportOf, Model, PromptPurpose};
use crate::msg::Effect;
use crate::requests::Request;
use crate::update::prompt;
use bklit_wire::backend::Change;
use bklit_wire::queue::FailedView;

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
            Action::Export if model.panels.queue.count() == 0 => {
                model.notify("no failed event to export");
            }
            Action::Export => {
                let name = model.zoned(model.now).strftime("failed-%Y%m%d-%H%M%S.jsonl");
                let name = name.to_string();
                prompt::open(model, PromptPurpose::Export(ExportOf::Shown), name);
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
    if queue.selected_batch().is_some() && !model.options.read_only {
        let key = model.key(Action::NextList);
        model.notify(format!("a batch belongs to its worker; {key} goes to the failed events"));
        return None;
    }
    let ids = match action {
        Action::RetryAll | Action::DeleteAll => {
            queue.shown(0).map(|item| item.id.clone()).collect()
        }
        _ => queue.selected_item().map(|item| item.id.clone()).into_iter().collect(),
    };
    change(model, action, ids)
}

/// Retries a single event immediately; anything more, or irreversible, needs confirmation.
pub(super) fn change(model: &mut Model, action: Action, ids: Vec<String>) -> Option<Effect> {
    let problem = if model.options.read_only {
        Some("read-only: start without --read-only to change the queue")
    } else if model.panels.queue.changes {
        Some("the last change is still in progress")
    } else if ids.is_empty() {
        Some(NO_FAILED)
    } else {
        None
    };
    if let Some(problem) = problem {
        model.notify(problem);
        return None;
    }
    let change = match action {
        Action::RetryOne | Action::RetryAll => Change::Retry,
        _ => Change::Delete,
    };
    if action == Action::RetryOne {
        return Some(send(model, change, ids));
    }
    prompt::open(model, PromptPurpose::Confirm(change, ids), String::new());
    None
}

/// Requests the change.
pub(in crate::update) fn send(model: &mut Model, change: Change, ids: Vec<String>) -> Effect {
    model.panels.queue.changes = true;
    Effect::Ask(Request::Change(change, ids))
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
        Ok(0) => "nothing changed: they are no longer in the failed queue".to_owned(),
        Ok(1) => format!("1 event {done}"),
        Ok(changed) => format!("{} events {done}", format::count(changed)),
        Err(reason) => format!("cannot {verb}: {reason}"),
    });
    model.panels.queue.polled.is_free(model.now).then(|| question(model))
}
