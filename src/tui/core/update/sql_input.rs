//! Typing a query.

use crossterm::event::{Event, KeyEvent};
use tui_input::InputRequest;
use tui_input::backend::crossterm::to_input_request;

use super::screens::{self, sql};
use super::typing;
use crate::keymap::Action;
use crate::model::sql::MAX_CHARS;
use crate::model::sql::completion::Completion;
use crate::model::sql::tokens::one_line;
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

/// Inserts a key that is not bound.
pub(super) fn type_key(model: &mut Model, key: &KeyEvent) {
    if let Some(request) = to_input_request(&Event::Key(*key)) {
        edit(model, [request]);
    }
}

/// Pastes a query, on one line.
pub(super) fn paste(model: &mut Model, pasted: &str) {
    edit(model, one_line(pasted).chars().map(InputRequest::InsertChar));
}

fn edit(model: &mut Model, requests: impl IntoIterator<Item = InputRequest>) {
    model.dirty = true;
    if typing::edit(&mut model.panels.sql.input, requests, MAX_CHARS) {
        complete(model, false);
    } else {
        // The cursor has moved to another word.
        model.panels.sql.completion = Completion::default();
    }
    screens::settle(model);
}
