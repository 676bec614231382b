//! Typing a query.

use crossterm::event::{Event, KeyEvent};
use tui_input::InputRequest;
use tui_input::backend::crossterm::to_input_request;

use super::screens::{self, sql};
use super::typing;
use crate::keymap::Action;
use crate::model::sql::MAX_CHARS;
use crate::model::sql::completion::Completion;
use crate::model::{Focus, Model};
use crate::msg::Effect;

/// Handles a key of the input.
pub(super) fn act(model: &mut Model, action: Action) -> Option<Effect> {
    match action {
        Action::Accept => return sql::run(model),
        Action::Cancel => cancel(model),
        Action::NextCandidate => choose(model, true),
        Action::PreviousCandidate => choose(model, false),
        Action::OlderCommand => _ = model.panels.sql.recall(&model.histories.sql, true),
        _ => {
            // Below the newest query is the list.
            if !model.panels.sql.recall(&model.histories.sql, false) {
                leave(model);
            }
        }
    }
    screens::settle(model);
    None
}

/// Closes the completions, or leaves the input; an empty one with the screen.
fn cancel(model: &mut Model) {
    let panel = &mut model.panels.sql;
    if !panel.completion.candidates.is_empty() {
        panel.completion = Completion::default();
        return;
    }
    let is_empty = panel.input.value().trim().is_empty();
    leave(model);
    if is_empty {
        screens::back(model);
    }
}

fn leave(model: &mut Model) {
    model.panels.sql.completion = Completion::default();
    model.focus = Focus::Keys;
}

fn choose(model: &mut Model, forward: bool) {
    if model.panels.sql.completion.candidates.is_empty() {
        complete(model, true);
    }
    model.panels.sql.choose(forward);
}

fn complete(model: &mut Model, always: bool) {
    let saved = model.saved_queries();
    model.panels.sql.complete(&saved, always);
}

/// Inserts or edits with a key that is not bound.
pub(super) fn type_key(model: &mut Model, key: &KeyEvent) {
    match to_input_request(&Event::Key(*key)) {
        Some(InputRequest::InsertChar(c)) => insert(model, c.encode_utf8(&mut [0; 4])),
        Some(request) => {
            let input = &mut model.panels.sql.input;
            let before = input.value().to_owned();
            input.handle(request);
            if *input.value() == before {
                // The cursor has moved to another word.
                model.panels.sql.completion = Completion::default();
                moved(model);
            } else {
                changed(model);
            }
        }
        None => {}
    }
}

/// Pastes a query as it is, with the ends of its lines as terminals send them.
pub(super) fn paste(model: &mut Model, pasted: &str) {
    insert(model, &pasted.replace("\r\n", "\n").replace('\r', "\n"));
}

/// Inserts all of a text or nothing: without a part of it, a query has another meaning.
fn insert(model: &mut Model, text: &str) {
    match typing::insert(&mut model.panels.sql.input, text, MAX_CHARS) {
        Ok(()) => changed(model),
        Err(problem) => {
            model.panels.sql.is_cut = true;
            model.dirty = true;
            model.notify(problem);
        }
    }
}

fn changed(model: &mut Model) {
    model.panels.sql.is_cut = false;
    complete(model, false);
    moved(model);
}

fn moved(model: &mut Model) {
    model.dirty = true;
    screens::settle(model);
}
