//! The trace of an event, and the list of projects.

use crossterm::event::{Event, KeyEvent};
use tui_input::InputRequest;
use tui_input::backend::crossterm::to_input_request;

use super::field::set_filter;
use crate::tui::keymap::Action;
use crate::tui::model::projects::Projects;
use crate::tui::model::trace::{Subject, Trace};
use crate::tui::model::{Detail, Model, Screen};
use crate::tui::text;

/// Bytes typed to narrow the list of projects.
const MAX_TYPED: usize = 100;

/// Shows the way of the selected line's event.
pub(super) fn open(model: &mut Model) {
    let line = match model.screen() {
        Screen::Queue | Screen::Failed(_) => super::queue::item(model).map(|item| {
            let id = item.event.event_id.clone();
            (model.ring.next(), id.map(Subject::Event))
        }),
        Screen::Verify => {
            let line = model.boards.verify.selected_line();
            line.map(|(number, line)| (*number, Subject::of(line.as_ref())))
        }
        Screen::Detail(detail) => Some((detail.number, Subject::of(detail.line.as_ref()))),
        _ => model
            .pane()
            .cursor_line()
            .and_then(|number| Some((number, Subject::of(model.ring.get(number)?)))),
    };
    let Some((number, subject)) = line else { return model.notify(super::actions::NO_LINE) };
    let trace = subject.and_then(|subject| Trace::new(subject, number, &model.ring));
    let Some(trace) = trace else {
        return model.notify("this line is about no event and no batch");
    };
    model.push_screen(Screen::Trace(trace));
    settle(model);
}

/// Keeps the selected row in sight.
pub(super) fn settle(model: &mut Model) {
    let height = model.trace_rows();
    if let Some(Screen::Trace(trace)) = model.screens.last_mut() {
        trace.settle(height);
    }
}

/// Moves through the rows.
pub(super) fn scroll(model: &mut Model, action: Action) {
    let height = model.trace_rows();
    let Some(Screen::Trace(trace)) = model.screens.last_mut() else { return };
    let (place, page) = (trace.selected(), height.max(1));
    let to = match action {
        Action::Oldest => 0,
        Action::Up => place.saturating_sub(1),
        Action::Down => place + 1,
        Action::PageUp => place.saturating_sub(page),
        Action::PageDown => place + page,
        Action::HalfUp => place.saturating_sub(page.div_ceil(2)),
        Action::HalfDown => place + page.div_ceil(2),
        _ => usize::MAX,
    };
    trace.select(to, height);
}

/// The selected row in full.
pub(super) fn detail(model: &Model) -> Option<Detail> {
    let Some(Screen::Trace(trace)) = model.screens.last() else { return None };
    let row = trace.selected_row()?;
    Some(Detail { number: row.number, line: row.line.clone(), scroll: 0 })
}

/// Shows the list of projects.
pub(super) fn open_projects(model: &mut Model) {
    model.push_screen(Screen::Projects(Projects::new(&model.ring)));
}

/// Moves through the list of projects.
pub(super) fn choose(model: &mut Model, action: Action) {
    let Some(Screen::Projects(projects)) = model.screens.last_mut() else { return };
    let (place, last) = (projects.selected(), projects.choices().len().saturating_sub(1));
    projects.select(match action {
        Action::Up => place.saturating_sub(1),
        _ => (place + 1).min(last),
    });
}

/// Shows only the selected project, in the focused pane.
pub(super) fn accept_project(model: &mut Model) {
    let Some(Screen::Projects(projects)) = model.screens.last() else { return };
    let Some(chosen) = projects.chosen() else {
        return model.notify("there is no such project");
    };
    model.screens.pop();
    set_filter(model, |filter| filter.project = chosen);
}

/// Types a key that has no meaning of its own into the list.
pub(super) fn type_key(model: &mut Model, key: &KeyEvent) {
    let Some(Screen::Projects(projects)) = model.screens.last_mut() else { return };
    let Some(request) = to_input_request(&Event::Key(*key)) else { return };
    if let InputRequest::InsertChar(c) = request
        && (projects.input.value().len() >= MAX_TYPED || !text::is_typable(c))
    {
        return;
    }
    projects.input.handle(request);
    projects.select(0);
}
