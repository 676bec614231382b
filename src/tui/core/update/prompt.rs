//! The prompt at the bottom of a screen.

use crossterm::event::{Event, KeyEvent};
use tui_input::backend::crossterm::to_input_request;
use tui_input::{Input, InputRequest};

use super::screens::{edit, help, queue};
use super::{bulk, palette, typing};
use crate::bulk::{Known, Operation, Plan};
use crate::keymap::{Action, Context};
use crate::model::export::Export;
use crate::model::palette::commands::{Format, format_of};
use crate::model::{ExportOf, Focus, Model, Prompt, PromptPurpose};
use crate::msg::{Effect, Target};
use bklit_wire::backend::Change;
use bklit_wire::edit_rule::EditRule;

/// The most characters in the input.
const MAX_CHARS: usize = 500;

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
        PromptPurpose::Delete(id) => {
            let (id, known) = (id.clone(), Known { count: 1, is_exact: true });
            let confirmed = confirms(model, &typed, known, Operation::Delete.verb(), true);
            confirmed.then(|| queue::send(model, Change::Delete, id))
        }
        PromptPurpose::Confirm(plan) => {
            let plan = Plan::clone(plan);
            let (verb, is_deletion) = (plan.operation.verb(), plan.operation == Operation::Delete);
            match confirms(model, &typed, plan.known, verb, is_deletion) {
                true => edit::begin(model, plan),
                false => None,
            }
        }
        PromptPurpose::Rule(which, known) => match typed.parse::<EditRule>() {
            Ok(rule) => {
                let (which, known) = (which.clone(), *known);
                let plan = bulk::plan(model, Operation::Preview(rule), which, known);
                model.focus = Focus::Keys;
                bulk::begin(model, plan)
            }
            Err(problem) => {
                prompt.problem = Some(problem);
                None
            }
        },
        PromptPurpose::Export(of) => {
            let of = of.clone();
            export(model, of, &typed)
        }
    }
}

/// Whether the number of events was typed, or the word, where that is sufficient. If so, the prompt
/// is closed; otherwise it says what to type.
fn confirms(model: &mut Model, typed: &str, known: Known, word: &str, or_word: bool) -> bool {
    let is_number = known.is_exact && typed.replace(',', "") == known.count.to_string();
    let is_word = (or_word || !known.is_exact) && typed == word;
    let confirmed = is_number || is_word;
    let expected = match (known.is_exact, or_word) {
        (true, false) => known.count.to_string(),
        (true, true) => format!("{} or {word}", known.count),
        (false, _) => word.to_owned(),
    };
    let cancel = model.options.shell.bindings.label(Context::Field, Action::Cancel);
    if confirmed {
        model.focus = Focus::Keys;
    } else if let Focus::Prompt(prompt) = &mut model.focus {
        prompt.problem = Some(format!("Nothing done: type {expected}, or {cancel} to cancel."));
    }
    confirmed
}

fn export(model: &mut Model, of: ExportOf, typed: &str) -> Option<Effect> {
    if typed.is_empty() {
        model.focus = Focus::Keys;
        return None;
    }
    let (which, known) = match of {
        ExportOf::Failed(which, known) => (which, known),
        ExportOf::Lines(filter) => {
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
        ExportOf::Rows(table) => {
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
    };
    if let (Some(problem), Focus::Prompt(prompt)) = (bulk::problem(model), &mut model.focus) {
        prompt.problem = Some(problem);
        return None;
    }
    // The prompt stays open until the file has been created.
    let plan = bulk::plan(model, Operation::Export(typed.to_owned()), which, known);
    bulk::begin(model, plan)
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
