//! The prompt at the bottom of a screen.

use std::collections::HashSet;
use std::path::PathBuf;

use crossterm::event::{Event, KeyEvent};
use tui_input::backend::crossterm::to_input_request;
use tui_input::{Input, InputRequest};

use super::screens::{help, queue};
use super::{palette, typing};
use crate::format;
use crate::keymap::{Action, Context};
use crate::model::export::Export;
use crate::model::palette::commands::{Format, format_of};
use crate::model::{ExportOf, Focus, Model, Prompt, PromptPurpose};
use crate::msg::{Effect, Target};
use crate::requests::Request;
use bklit_wire::backend::Change;

/// The most characters in the input.
const MAX_CHARS: usize = 500;
/// Can be typed instead of the number of events.
const DELETE_WORD: &str = "delete";

/// Opens a prompt.
pub(super) fn open(model: &mut Model, purpose: PromptPurpose, input: String) {
    let prompt = Prompt { purpose, input: Input::new(input), problem: None };
    model.focus = Focus::Prompt(Box::new(prompt));
}

pub(super) fn act(model: &mut Model, action: Action) -> Option<Effect> {
    match action {
        Action::Accept => accept(model),
        Action::Cancel => {
            cancel(model);
            None
        }
        _ => None,
    }
}

/// Closes the prompt and executes its action; with invalid input it stays open.
fn accept(model: &mut Model) -> Option<Effect> {
    let Focus::Prompt(prompt) = &mut model.focus else { return None };
    let typed = prompt.input.value().trim().to_owned();
    match &prompt.purpose {
        PromptPurpose::QueueFilter { .. } | PromptPurpose::HelpFilter { .. } => {
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
            Some(queue::send(model, change, ids))
        }
        PromptPurpose::Export(of) => {
            let of = of.clone();
            export(model, of, &typed)
        }
    }
}

fn export(model: &mut Model, of: ExportOf, typed: &str) -> Option<Effect> {
    if typed.is_empty() {
        model.focus = Focus::Keys;
        return None;
    }
    if let ExportOf::Lines(filter) = of {
        let target = Target { path: typed.to_owned(), overwrite: false };
        return match palette::export_lines(model, *filter, target, Format::Jsonl) {
            Ok(effect) => {
                model.focus = Focus::Keys;
                Some(effect)
            }
            Err(problem) => {
                model.notify(problem);
                None
            }
        };
    }
    if let ExportOf::Rows(table) = of {
        let target = Target { path: typed.to_owned(), overwrite: false };
        let exported = format_of(typed).and_then(|format| {
            palette::begin_export(model, Export::of_rows(table, format), target)
        });
        return match exported {
            Ok(effect) => {
                model.focus = Focus::Keys;
                Some(effect)
            }
            Err(problem) => {
                if let Focus::Prompt(prompt) = &mut model.focus {
                    prompt.problem = Some(problem);
                }
                None
            }
        };
    }
    if model.panels.queue.exports {
        model.notify("the last export is still being written");
        return None;
    }
    let queue = &model.panels.queue;
    let items: Vec<_> = match of {
        ExportOf::Failed(ids) => {
            let ids: HashSet<_> = ids.into_iter().collect();
            queue.all().iter().filter(|item| ids.contains(&item.id)).cloned().collect()
        }
        _ => queue.shown(0).cloned().collect(),
    };
    model.panels.queue.exports = true;
    Some(Effect::Ask(Request::Export { path: PathBuf::from(typed), items }))
}

/// Closes the prompt; restores a filter.
fn cancel(model: &mut Model) {
    let Focus::Prompt(prompt) = std::mem::replace(&mut model.focus, Focus::Keys) else { return };
    match &prompt.purpose {
        PromptPurpose::QueueFilter { before } => queue::set_filter(model, before),
        PromptPurpose::HelpFilter { before } => help::set_filter(model, before),
        _ => {}
    }
}

/// Inserts a key that is not bound.
pub(super) fn type_key(model: &mut Model, key: &KeyEvent) {
    if let Some(request) = to_input_request(&Event::Key(*key)) {
        edit(model, [request]);
    }
}

/// Pastes into the prompt; line ends become spaces.
pub(super) fn paste(model: &mut Model, pasted: &str) {
    let typed = pasted.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c });
    edit(model, typed.map(InputRequest::InsertChar));
    model.dirty = true;
}

fn edit(model: &mut Model, requests: impl IntoIterator<Item = InputRequest>) {
    let Focus::Prompt(prompt) = &mut model.focus else { return };
    typing::edit(&mut prompt.input, requests, MAX_CHARS);
    prompt.problem = None;
    let typed = prompt.input.value().to_owned();
    match prompt.purpose {
        PromptPurpose::QueueFilter { .. } => queue::set_filter(model, &typed),
        PromptPurpose::HelpFilter { .. } => help::set_filter(model, &typed),
        _ => {}
    }
}

/// Shows the result of exporting failed events; the prompt stays open if it failed.
pub(super) fn exported(model: &mut Model, result: Result<(u64, PathBuf), String>) {
    model.panels.queue.exports = false;
    let is_open = |prompt: &Prompt| matches!(prompt.purpose, PromptPurpose::Export(_));
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
