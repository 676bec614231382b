//! Going from a line to others: of the same event, around it, marked ones; and repeats.

use crossterm::event::{KeyCode, KeyEvent};

use crate::tui::keymap::Action;
use crate::tui::model::pane::{Direction, Jump};
use crate::tui::model::{Focus, Letter, Model};

use super::actions::NO_LINE;

pub(super) fn act(model: &mut Model, action: Action) {
    match action {
        Action::NextOfEvent => jump_to_event(model, Direction::Newer),
        Action::PreviousOfEvent => jump_to_event(model, Direction::Older),
        Action::Context => toggle_context(model),
        Action::Mark => ask(model, Letter::Mark),
        Action::Jump => ask(model, Letter::Jump),
        _ => toggle_folds(model),
    }
}

fn jump_to_event(model: &mut Model, direction: Direction) {
    let Some(line) = model.pane().cursor_line().and_then(|number| model.ring.get(number)) else {
        return model.notify(NO_LINE);
    };
    let Some(event) = line.event_id().map(str::to_owned) else {
        return model.notify("this line has no event id");
    };
    let height = model.log_height();
    let pane = model.panes.focused_mut();
    if pane.jump_to_event(direction, &event, &model.ring, height) == Jump::Nowhere {
        model.notify(match direction {
            Direction::Older => "no line of this event above, of those shown",
            Direction::Newer => "no line of this event below, of those shown",
        });
    }
}

fn toggle_context(model: &mut Model) {
    if model.pane().cursor_line().is_none() && !model.pane().in_context() {
        return model.notify(NO_LINE);
    }
    let (limit, height) = (model.limit(), model.log_height());
    if model.panes.focused_mut().toggle_context(&model.ring, limit, height) {
        model.notify("all lines around this one; c goes back to the filter");
    }
}

/// Also without a single fold: it stays on for what comes.
fn toggle_folds(model: &mut Model) {
    let (limit, height) = (model.limit(), model.log_height());
    let folds = !model.pane().folds();
    model.panes.focused_mut().set_folds(folds, &model.ring, limit, height);
    model.notify(if folds { "repeats are one line, ×N" } else { "repeats are lines again" });
}

/// Shows the lines that the selected one stands for. Returns whether it stands for several.
pub(super) fn unfold(model: &mut Model) -> bool {
    let height = model.log_height();
    let cursor = model.pane().window(height).cursor;
    if cursor.is_none_or(|place| model.pane().repeats(place) < 2) {
        return false;
    }
    if let Some(line) = model.pane().cursor_line() {
        model.panes.focused_mut().go_to_line(line, height);
    }
    toggle_folds(model);
    true
}

fn ask(model: &mut Model, letter: Letter) {
    if letter == Letter::Jump && model.marks.is_empty() {
        return model.notify("no marks yet; m and a letter marks a line");
    }
    if letter == Letter::Mark && model.pane().cursor_line().is_none() {
        return model.notify(NO_LINE);
    }
    model.focus = Focus::Letter(letter);
}

/// Takes the letter that was asked for; any other key changes nothing.
pub(super) fn take_letter(model: &mut Model, letter: Letter, key: &KeyEvent) {
    let KeyCode::Char(name) = key.code else { return };
    model.focus = Focus::Keys;
    if !name.is_ascii_alphanumeric() {
        return model.notify("marks are named by letters and digits");
    }
    match letter {
        Letter::Mark => {
            if let Some(line) = model.pane().cursor_line() {
                model.marks.insert(name, line);
                model.notify(format!("marked {name}; '{name} comes back"));
            }
        }
        Letter::Jump => jump_to_mark(model, name),
    }
}

fn jump_to_mark(model: &mut Model, name: char) {
    let Some(&line) = model.marks.get(&name) else {
        return model.notify(format!("there is no mark {name}"));
    };
    if model.ring.get(line).is_none() {
        model.marks.remove(&name);
        return model.notify(format!("the line of mark {name} is no longer kept"));
    }
    let height = model.log_height();
    if !model.panes.focused_mut().go_to_line(line, height) {
        model.notify("that line is hidden here; this is the nearest, c shows all around it");
    }
}
