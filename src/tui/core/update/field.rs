//! The text field: input is applied immediately, and cancelling restores the previous state. An
//! error is shown, and the rest of the input is applied.

use crossterm::event::{Event, KeyEvent};
use tui_input::backend::crossterm::to_input_request;
use tui_input::{Input, InputRequest};

use super::{palette, typing};
use crate::histories::Recall;
use crate::keymap::Action;
use crate::model::filter::{Filter, OneProcess};
use crate::model::query::Query;
use crate::model::{Field, Focus, Model, Purpose};
use crate::msg::{Effect, Job};

/// The most characters in a text field.
const MAX_CHARS: usize = 500;

/// Opens a field with the current search or filter.
pub(super) fn open(model: &mut Model, purpose: Purpose) {
    let before = match purpose {
        Purpose::Search => model.pane().search().cloned(),
        Purpose::Filter => model.pane().filter().query.clone(),
    };
    let source = before.as_ref().map_or("", Query::source);
    let input = Input::new(source.to_owned());
    let recall = Recall::default();
    model.focus = Focus::Field(Box::new(Field { purpose, input, before, recall, problem: None }));
}

/// Shows only lines of a process, or of all.
pub(super) fn set_process(model: &mut Model, process: Option<String>) {
    let one = process.map(|name| process_filter(model, name));
    set_filter(model, |filter| filter.process = one);
}

/// The condition that only lines of a process are shown.
pub(super) fn process_filter(model: &mut Model, name: String) -> OneProcess {
    let number = model.ring.number_of(&name);
    OneProcess { name, number }
}

/// Handles a key of the field.
pub(super) fn act(model: &mut Model, action: Action) {
    match action {
        Action::Accept => accept(model),
        Action::Cancel => cancel(model),
        Action::OlderCommand => recall(model, true),
        Action::NewerCommand => recall(model, false),
        _ => {}
    }
}

/// Closes the field and keeps its input; with an error it stays open.
fn accept(model: &mut Model) {
    // The error is on the screen and can be corrected.
    if let Focus::Field(field) = &model.focus
        && field.problem.is_some()
    {
        return;
    }
    let Some(field) = close(model) else { return };
    if model.histories.queries.remember(field.input.value()) {
        save_histories(model);
    }
    if field.purpose == Purpose::Search {
        let height = model.log_height();
        model.panes.focused_mut().reveal_found(height);
        if model.pane().search().is_some() && model.pane().found().is_empty() {
            model.notify("no match in the lines shown");
        }
    }
}

/// Closes the field and restores the previous state.
fn cancel(model: &mut Model) {
    if let Focus::Letter(_) = model.focus {
        model.focus = Focus::Keys;
        return;
    }
    let Some(field) = close(model) else { return };
    apply(model, field.purpose, field.before);
}

/// Shows the older or newer query of the history.
fn recall(model: &mut Model, older: bool) {
    let Focus::Field(field) = &mut model.focus else { return };
    let query = field.recall.step(&model.histories.queries, field.input.value(), older);
    field.input = Input::new(query);
    read(model);
}

fn close(model: &mut Model) -> Option<Field> {
    match std::mem::replace(&mut model.focus, Focus::Keys) {
        Focus::Field(field) => Some(*field),
        other => {
            model.focus = other;
            None
        }
    }
}

/// Inserts a key that is not bound.
pub(super) fn type_key(model: &mut Model, key: &KeyEvent) {
    if let Some(request) = to_input_request(&Event::Key(*key)) {
        edit(model, [request]);
    }
}

/// Pastes into the field, if one is open; line ends become spaces.
pub(super) fn paste(model: &mut Model, pasted: &str) -> Option<Effect> {
    if let Focus::Palette(_) = model.focus {
        return palette::insert(model, pasted);
    }
    let pasted = pasted.trim_end_matches(['\r', '\n']).replace("\r\n", " ");
    let typed = pasted.chars().map(|c| if c.is_control() { ' ' } else { c });
    edit(model, typed.map(InputRequest::InsertChar));
    None
}

fn edit(model: &mut Model, requests: impl IntoIterator<Item = InputRequest>) {
    let Focus::Field(field) = &mut model.focus else { return };
    let has_changed = typing::edit(&mut field.input, requests, MAX_CHARS);
    model.dirty = true;
    if has_changed {
        read(model);
    }
}

/// Applies what is in the field.
fn read(model: &mut Model) {
    let Focus::Field(field) = &mut model.focus else { return };
    let purpose = field.purpose;
    let (query, problem) = Query::read(field.input.value(), purpose);
    field.problem = problem;
    apply(model, purpose, query);
}

/// Saves what was typed, for later runs.
pub(super) fn save_histories(model: &mut Model) {
    let histories = model.histories.clone();
    model.outbox.push(Effect::Job(Job::SaveHistories(histories)));
}

/// Applies a query as search or filter.
pub(super) fn apply(model: &mut Model, purpose: Purpose, query: Option<Query>) {
    match purpose {
        Purpose::Search => {
            let (limit, height) = (model.limit(), model.log_height());
            model.panes.focused_mut().set_search(query, &model.ring, limit, height);
        }
        Purpose::Filter => {
            set_filter(model, |filter| filter.query = query);
        }
    }
}

/// Changes the filter.
pub(super) fn set_filter(model: &mut Model, change: impl FnOnce(&mut Filter)) {
    let mut filter = model.pane().filter().clone();
    change(&mut filter);
    let (limit, height) = (model.limit(), model.log_height());
    model.panes.focused_mut().set_filter(filter, &model.ring, limit, height);
}
