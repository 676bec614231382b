//! The trace of an event, and the list of projects.

use crossterm::event::{Event, KeyEvent};
use tui_input::InputRequest;
use tui_input::backend::crossterm::to_input_request;

use super::field::set_filter;
use crate::backend::Request;
use crate::keymap::Action;
use crate::model::boards::LiveItem;
use crate::model::cursor::target;
use crate::model::projects::Projects;
use crate::model::trace::{Subject, Trace};
use crate::model::{Detail, Model, Screen};
use crate::msg::Effect;
use bklit_wire::event_lookup::EventTrace;
use bklit_wire::text;

/// Bytes typed to narrow the list of projects.
const MAX_TYPED: usize = 100;

/// Shows the way of the selected line's event, or of the selected batch.
pub(super) fn open(model: &mut Model) -> Option<Effect> {
    let next = model.ring.next();
    let event = |id: Option<&String>| (next, id.cloned().map(Subject::Event));
    let line = match model.screen() {
        Screen::Queue | Screen::Failed(_) => match model.boards.queue.selected_batch() {
            Some(batch) => Some((next, Some(Subject::Batch(batch.id.clone())))),
            None => super::queue::item(model).map(|item| event(item.event.event_id.as_ref())),
        },
        Screen::Batch(shown) => shown.selected().map(|found| event(found.event_id.as_ref())),
        Screen::Live => match model.boards.live.selected() {
            Some(LiveItem::Event(found)) => Some(event(Some(&found.event_id))),
            Some(_) => Some((next, None)),
            None => None,
        },
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
    match line {
        None => model.notify(super::actions::NO_LINE),
        Some((_, None)) => model.notify("this line is about no event and no batch"),
        Some((number, Some(subject))) => return show(model, subject, number),
    }
    None
}

/// Shows the way of an event, by its id.
pub(super) fn open_id(model: &mut Model, id: String) -> Option<Effect> {
    show(model, Subject::Event(id), model.ring.next())
}

fn show(model: &mut Model, subject: Subject, number: u64) -> Option<Effect> {
    let Some(trace) = Trace::new(subject, number, &model.ring) else {
        model.notify("that cannot be looked for");
        return None;
    };
    model.push_screen(Screen::Trace(trace));
    settle(model);
    ask(model)
}

/// Asks where the event on the screen is, if it is time to. What a replay tells of is elsewhere.
pub(super) fn ask(model: &mut Model) -> Option<Effect> {
    let now = model.now;
    if model.replay.is_some() {
        return None;
    }
    let Some(Screen::Trace(trace)) = model.screens.last_mut() else { return None };
    trace.question(now).map(|id| Effect::Ask(Request::Event(id)))
}

/// Takes the answer, wherever the trace is among the views.
pub(super) fn take(model: &mut Model, id: &str, answer: &Result<EventTrace, String>) {
    let now = model.now;
    for screen in &mut model.screens {
        if let Screen::Trace(trace) = screen {
            trace.take(id, answer.clone(), now, &model.ring);
        }
    }
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
    trace.select(target(action, trace.selected(), height), height);
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
