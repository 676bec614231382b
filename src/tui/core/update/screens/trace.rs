//! The trace of an event or a batch.

use ratatui::layout::Rect;

use super::{Handler, List, Outcome, Selection, open_detail};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::cursor::target;
use crate::model::layout::{TRACE_HEAD, below};
use crate::model::pane::Direction;
use crate::model::screen::{Detail, Screen, Shown as _};
use crate::model::trace::{Subject, Trace};
use crate::msg::Effect;
use crate::requests::Request;
use crate::update::actions::NO_LINE;
use bklit_wire::event_lookup::EventTrace;

impl Handler for Trace {
    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::Detail => open_detail(model),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        let height = model.trace_rows();
        let Some(trace) = model.shown_mut::<Self>() else { return };
        trace.select(target(action, trace.selected(), height), height);
    }

    fn settle(model: &mut Model) {
        let height = model.trace_rows();
        if let Some(trace) = model.shown_mut::<Self>() {
            trace.settle(height);
        }
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        // The waiting time grows until the event is stored.
        model.dirty |= model.shown::<Self>().is_some_and(|trace| !trace.is_stored());
        question(model)
    }

    fn work(model: &mut Model) -> bool {
        let ring = &model.ring;
        let shown = model.screens.last_mut().and_then(Self::of_mut);
        let Some(trace) = shown.filter(|trace| trace.has_work(ring)) else { return false };
        model.dirty |= trace.work(ring) || !trace.has_work(ring);
        <Self as Handler>::settle(model);
        true
    }

    fn selection(model: &Model) -> Option<Selection> {
        detail(model).map(Selection::Line)
    }

    fn step(model: &mut Model, _number: u64, direction: Direction) -> Option<Detail> {
        let action = if direction == Direction::Older { Action::Up } else { Action::Down };
        Self::scroll(model, action);
        detail(model)
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        let Some(trace) = model.shown::<Self>() else { return Vec::new() };
        vec![List {
            area: below(view, TRACE_HEAD),
            top: trace.top,
            count: trace.rows().len(),
            selected: Some(trace.selected()),
            opens: Action::Detail,
        }]
    }

    fn select(model: &mut Model, _list: usize, place: usize) {
        let height = model.trace_rows();
        if let Some(trace) = model.shown_mut::<Self>() {
            trace.select(place, height);
        }
    }
}

fn detail(model: &Model) -> Option<Detail> {
    let row = model.shown::<Trace>()?.selected_row()?;
    Some(Detail { number: row.number, line: row.line.clone(), scroll: 0 })
}

/// Traces the selection.
pub(in crate::update) fn open(model: &mut Model) -> Option<Effect> {
    let (number, subject) = match super::selection(model) {
        Some(Selection::Line(detail)) => (detail.number, Subject::of(detail.line.as_ref())),
        Some(Selection::Item(item)) => (model.ring.next(), item.subject),
        None => {
            model.notify(NO_LINE);
            return None;
        }
    };
    match subject {
        Some(subject) => show(model, subject, number),
        None => {
            model.notify("this line has no event or batch");
            None
        }
    }
}

/// Traces an event by its id.
pub(in crate::update) fn open_id(model: &mut Model, id: String) -> Option<Effect> {
    show(model, Subject::Event(id), model.ring.next())
}

fn show(model: &mut Model, subject: Subject, number: u64) -> Option<Effect> {
    let Some(trace) = Trace::new(subject, number, &model.ring) else {
        model.notify("this id cannot be traced");
        return None;
    };
    model.push_screen(Screen::Trace(trace));
    <Trace as Handler>::settle(model);
    question(model)
}

/// Requests the state of the event on the screen, if a request is due. A replay has no pipeline.
fn question(model: &mut Model) -> Option<Effect> {
    let now = model.now;
    if model.replay.is_some() {
        return None;
    }
    let trace = model.shown_mut::<Trace>()?;
    trace.question(now).map(|id| Effect::Ask(Request::Event(id)))
}

/// Applies the answer, wherever the trace is in the stack.
pub(in crate::update) fn take(model: &mut Model, id: &str, answer: &Result<EventTrace, String>) {
    let (now, ring) = (model.now, &model.ring);
    for trace in model.screens.iter_mut().filter_map(Trace::of_mut) {
        trace.take(id, answer.clone(), now, ring);
    }
    <Trace as Handler>::settle(model);
}
