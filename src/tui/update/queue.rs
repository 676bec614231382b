//! Inspecting and repairing the queue.

use std::path::PathBuf;

use crossterm::event::{Event, KeyEvent};
use tui_input::backend::crossterm::to_input_request;
use tui_input::{Input, InputRequest};

use crate::backend::Request;
use crate::keymap::{Action, Context};
use crate::model::boards::BatchBoard;
use crate::model::{FailedDetail, Focus, Model, Prompt, PromptPurpose, Screen};
use crate::msg::Effect;
use crate::view::format;
use bklit_wire::backend::Change;
use bklit_wire::queue::{BatchView, FailedView};
use bklit_wire::text;

/// Characters that an answer takes.
const MAX_CHARS: usize = 500;
/// Typed instead of the number of events.
const DELETE_WORD: &str = "delete";

const NO_FAILED: &str = "no failed event is selected";

/// The question for what the queue's view shows.
pub(super) fn question(model: &Model) -> Effect {
    Effect::Ask(Request::Queue { failed: model.boards.queue.wanted })
}

/// The failed event that is shown in full, or selected.
pub(super) fn item(model: &Model) -> Option<&FailedView> {
    match model.screen() {
        Screen::Failed(shown) => Some(&shown.item),
        Screen::Queue => model.boards.queue.selected_item(),
        _ => None,
    }
}

/// Shows the selected batch or event in full.
pub(super) fn inspect(model: &mut Model) -> Option<Effect> {
    if let Some(batch) = model.boards.queue.selected_batch().cloned() {
        model.push_screen(Screen::Batch(Box::new(BatchBoard::new(batch))));
        return batch_question(model);
    }
    match item(model).cloned() {
        Some(item) => {
            model.push_screen(Screen::Failed(Box::new(FailedDetail { item, scroll: 0 })));
        }
        None => model.notify(NO_FAILED),
    }
    None
}

/// The question for what is in the batch on the screen, if it is time to ask.
pub(super) fn batch_question(model: &mut Model) -> Option<Effect> {
    let now = model.now;
    let Some(Screen::Batch(shown)) = model.screens.last_mut() else { return None };
    let asks = !shown.is_done() && shown.polled.is_due(now);
    asks.then(|| Effect::Ask(Request::Batch(shown.batch.id.clone())))
}

/// Takes what is in a batch, wherever it is among the views. Once it is done, what was known of it
/// stays.
pub(super) fn take_batch(model: &mut Model, id: &str, answer: &Result<Option<BatchView>, String>) {
    let now = model.now;
    for screen in &mut model.screens {
        if let Screen::Batch(shown) = screen
            && shown.batch.id == id
        {
            shown.take(answer.clone().map(|batch| batch.map(|batch| batch.events)), now);
        }
    }
}

/// Opens a text field of the queue's view.
pub(super) fn ask(model: &mut Model, action: Action) {
    let (purpose, input) = match action {
        Action::QueueFilter => {
            let before = model.boards.queue.filter().to_owned();
            (PromptPurpose::QueueFilter { before: before.clone() }, before)
        }
        _ if model.boards.queue.count() == 0 => return model.notify("no failed event to export"),
        _ => {
            let now = model.now.timestamp().to_zoned_datetime(model.zone.clone());
            (PromptPurpose::Export, now.strftime("failed-%Y%m%d-%H%M%S.jsonl").to_string())
        }
    };
    open(model, purpose, input);
}

fn open(model: &mut Model, purpose: PromptPurpose, input: String) {
    let prompt = Prompt { purpose, input: Input::new(input), problem: None };
    model.focus = Focus::Prompt(Box::new(prompt));
}

/// Retries one at once; what is more, or cannot be undone, is asked for first.
pub(super) fn change(model: &mut Model, action: Action) -> Option<Effect> {
    if model.options.read_only {
        model.notify("read-only: start without --read-only to change the queue");
        return None;
    }
    if model.boards.queue.selected_batch().is_some() && matches!(model.screen(), Screen::Queue) {
        let key = model.key(Action::NextList);
        model.notify(format!("a batch is its worker's; {key} goes to the failed events"));
        return None;
    }
    if model.boards.queue.changes {
        model.notify("the last change is still on its way");
        return None;
    }
    let ids: Vec<_> = match action {
        Action::RetryAll | Action::DeleteAll => {
            model.boards.queue.shown(0).map(|item| item.id.clone()).collect()
        }
        _ => item(model).map(|item| item.id.clone()).into_iter().collect(),
    };
    if ids.is_empty() {
        model.notify(NO_FAILED);
        return None;
    }
    let change = match action {
        Action::RetryOne | Action::RetryAll => Change::Retry,
        _ => Change::Delete,
    };
    if action == Action::RetryOne {
        return Some(send(model, change, ids));
    }
    open(model, PromptPurpose::Confirm(change, ids), String::new());
    None
}

fn send(model: &mut Model, change: Change, ids: Vec<String>) -> Effect {
    model.boards.queue.changes = true;
    Effect::Ask(Request::Change(change, ids))
}

/// Closes the field and does what it was for; with an answer that will not do, it stays open.
pub(super) fn accept(model: &mut Model) -> Option<Effect> {
    let Focus::Prompt(prompt) = &mut model.focus else { return None };
    let typed = prompt.input.value().trim().to_owned();
    match &prompt.purpose {
        PromptPurpose::QueueFilter { .. } => {
            model.focus = Focus::Keys;
            None
        }
        PromptPurpose::Confirm(change, ids) => {
            let (change, count) = (*change, ids.len());
            let cancel = &model.options.shell.bindings.label(Context::Field, Action::Cancel);
            let is_word = change == Change::Delete && typed == DELETE_WORD;
            if !is_word && typed.replace(',', "") != count.to_string() {
                prompt.problem = Some(match change {
                    Change::Retry => format!("Nothing done: type {count}, or {cancel} to cancel."),
                    Change::Delete => {
                        format!(
                            "Nothing done: type {count} or {DELETE_WORD}, or {cancel} to cancel."
                        )
                    }
                });
                return None;
            }
            let ids = ids.clone();
            model.focus = Focus::Keys;
            Some(send(model, change, ids))
        }
        PromptPurpose::Export => export(model, &typed),
    }
}

fn export(model: &mut Model, typed: &str) -> Option<Effect> {
    if typed.is_empty() {
        model.focus = Focus::Keys;
        return None;
    }
    if model.boards.queue.exports {
        model.notify("the last export is still being written");
        return None;
    }
    let items: Vec<_> = model.boards.queue.shown(0).cloned().collect();
    model.boards.queue.exports = true;
    Some(Effect::Ask(Request::Export { path: PathBuf::from(typed), items }))
}

/// Closes the field; a filter is as before then.
pub(super) fn cancel(model: &mut Model) {
    if let Focus::Prompt(prompt) = std::mem::replace(&mut model.focus, Focus::Keys)
        && let PromptPurpose::QueueFilter { before } = &prompt.purpose
    {
        set_filter(model, before);
    }
}

/// Ends the filter of the queue's view, if that is on the screen. Returns whether there was one.
pub(super) fn end_filter(model: &mut Model) -> bool {
    let ends = matches!(model.screen(), Screen::Queue) && !model.boards.queue.filter().is_empty();
    if ends {
        set_filter(model, "");
    }
    ends
}

fn set_filter(model: &mut Model, filter: &str) {
    model.boards.queue.set_filter(filter);
    super::boards::settle(model);
}

/// Types a key that has no meaning of its own.
pub(super) fn type_key(model: &mut Model, key: &KeyEvent) {
    if let Some(request) = to_input_request(&Event::Key(*key)) {
        edit(model, [request]);
    }
}

/// Pastes into the field; line ends become spaces.
pub(super) fn paste(model: &mut Model, pasted: &str) {
    let typed = pasted.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c });
    edit(model, typed.map(InputRequest::InsertChar));
    model.dirty = true;
}

fn edit(model: &mut Model, requests: impl IntoIterator<Item = InputRequest>) {
    let Focus::Prompt(prompt) = &mut model.focus else { return };
    let mut chars = prompt.input.value().chars().count();
    for request in requests {
        if let InputRequest::InsertChar(c) = request {
            if chars >= MAX_CHARS || !text::is_typable(c) {
                continue;
            }
            chars += 1;
        }
        prompt.input.handle(request);
    }
    prompt.problem = None;
    if let PromptPurpose::QueueFilter { .. } = prompt.purpose {
        let filter = prompt.input.value().to_owned();
        set_filter(model, &filter);
    }
}

/// Tells what became of a change, and asks how the queue is now.
pub(super) fn changed(
    model: &mut Model,
    change: Change,
    result: Result<u64, String>,
) -> Option<Effect> {
    model.boards.queue.changes = false;
    let (verb, done) = match change {
        Change::Retry => ("retry", "put back into the queue"),
        Change::Delete => ("delete", "deleted"),
    };
    model.notify(match result {
        Ok(0) => "they were gone already".to_owned(),
        Ok(1) => format!("1 event {done}"),
        Ok(changed) => format!("{} events {done}", format::count(changed)),
        Err(reason) => format!("cannot {verb}: {reason}"),
    });
    model.boards.queue.polled.is_free(model.now).then(|| question(model))
}

/// Tells what became of an export; the field stays open while it did not work.
pub(super) fn exported(model: &mut Model, result: Result<(u64, PathBuf), String>) {
    model.boards.queue.exports = false;
    let is_open = |prompt: &Prompt| prompt.purpose == PromptPurpose::Export;
    match (result, &mut model.focus) {
        (Ok((events, path)), focus) => {
            if let Focus::Prompt(prompt) = focus
                && is_open(prompt)
            {
                *focus = Focus::Keys;
            }
            let events = format::count(events);
            model.notify(format!("{events} events written to {}", path.display()));
        }
        (Err(reason), Focus::Prompt(prompt)) if is_open(prompt) => prompt.problem = Some(reason),
        (Err(reason), _) => model.notify(reason),
    }
}
