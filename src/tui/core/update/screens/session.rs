//! The events of a visitor's session.

use ratatui::layout::Rect;
use serde_json::Value;

use super::{Handler, List, Outcome, Selection, open_detail, trace};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::cursor::target;
use crate::model::pane::Direction;
use crate::model::parts::ListParts;
use crate::model::screen::{Detail, Screen, Shown as _};
use crate::model::session::{Session, session_of};
use crate::model::trace::Subject;
use crate::msg::Effect;
use crate::requests::Request;
use crate::update::actions::NO_LINE;
use bklit_wire::session_lookup::SessionTrace;

/// How deep the session of a failed event is looked for in its JSON.
const MAX_DEPTH: usize = 4;

impl Handler for Session {
    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        let has_line =
            model.shown::<Self>().and_then(Self::selected_row).map(|row| row.line.is_some());
        match action {
            Action::Detail if has_line == Some(false) => return trace::open(model).into(),
            Action::Detail => open_detail(model),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        let height = usize::from(model.list_parts().list.height);
        let Some(session) = model.shown_mut::<Self>() else { return };
        session.select(target(action, session.selected(), height), height);
    }

    fn settle(model: &mut Model) {
        let height = usize::from(model.list_parts().list.height);
        if let Some(session) = model.shown_mut::<Self>() {
            session.settle(height);
        }
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        question(model)
    }

    fn work(model: &mut Model) -> bool {
        let ring = &model.ring;
        let shown = model.screens.last_mut().and_then(Self::of_mut);
        let Some(session) = shown.filter(|session| session.has_work(ring)) else { return false };
        model.dirty |= session.work(ring) || !session.has_work(ring);
        <Self as Handler>::settle(model);
        true
    }

    fn selection(model: &Model) -> Option<Selection> {
        let row = model.shown::<Self>()?.selected_row()?;
        Some(match &row.line {
            Some(line) => Selection::line(row.number, line.clone()),
            None => {
                let subject = row.event_id.clone().map(Subject::Event);
                let json = serde_json::json!({ "eventId": row.event_id, "what": row.what });
                Selection::item(&json, row.event_id.clone(), subject)
            }
        })
    }

    fn step(model: &mut Model, _number: u64, direction: Direction) -> Option<Detail> {
        let action = if direction == Direction::Older { Action::Up } else { Action::Down };
        Self::scroll(model, action);
        match Self::selection(model)? {
            Selection::Line(detail) => Some(detail),
            Selection::Item(_) => None,
        }
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        let Some(session) = model.shown::<Self>() else { return Vec::new() };
        vec![List {
            area: ListParts::of(view).list,
            top: session.cursor.top(),
            count: session.rows().len(),
            selected: Some(session.selected()),
            opens: Action::Detail,
        }]
    }

    fn select(model: &mut Model, _list: usize, place: usize) {
        let height = usize::from(model.list_parts().list.height);
        if let Some(session) = model.shown_mut::<Self>() {
            session.select(place, height);
        }
    }
}

/// Shows the session of the selection.
pub(in crate::update) fn open(model: &mut Model) -> Option<Effect> {
    let (number, id, project) = match super::selection(model) {
        Some(Selection::Line(Detail { number, line, .. })) => {
            let line = line.as_ref();
            let id = session_of(line, number, &model.ring);
            (number, id, line.project_id().map(str::to_owned))
        }
        Some(Selection::Item(item)) => {
            let json = item.json.and_then(|json| serde_json::from_str(&json).ok());
            let found = |name| json.as_ref().and_then(|json| text_in(json, name, MAX_DEPTH));
            (model.ring.next(), found("sessionId"), found("projectId"))
        }
        None => {
            model.notify(NO_LINE);
            return None;
        }
    };
    match id {
        Some(id) => show(model, id, project, number),
        None => {
            model.notify("this line has no session");
            None
        }
    }
}

/// Shows a session by its id, whatever its project.
pub(in crate::update) fn open_id(model: &mut Model, id: String) -> Option<Effect> {
    let newest = u64::MAX;
    show(model, id, None, newest)
}

fn show(model: &mut Model, id: String, project: Option<String>, number: u64) -> Option<Effect> {
    let Some(session) = Session::new(id, project, number, &model.ring) else {
        model.notify("this id cannot be searched for");
        return None;
    };
    model.push_screen(Screen::Session(Box::new(session)));
    <Session as Handler>::settle(model);
    question(model)
}

/// A text in JSON, also in JSON within a text.
fn text_in(json: &Value, name: &str, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match json {
        Value::Object(fields) => {
            let own = fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            own.map(str::to_owned)
                .or_else(|| fields.values().find_map(|value| text_in(value, name, depth)))
        }
        Value::String(text) if text.starts_with('{') => {
            text_in(&serde_json::from_str(text).ok()?, name, depth)
        }
        _ => None,
    }
}

/// Requests the session on the screen, if a request is due. A replay has no pipeline.
fn question(model: &mut Model) -> Option<Effect> {
    let now = model.now;
    if model.replay.is_some() {
        return None;
    }
    let session = model.shown_mut::<Session>()?;
    session.polled.is_due(now).then(|| {
        let project = session.project().map(str::to_owned);
        Effect::Ask(Request::Session { id: session.id().to_owned(), project })
    })
}

/// Applies the answer, wherever the session is in the stack.
pub(in crate::update) fn take(model: &mut Model, id: &str, answer: &Result<SessionTrace, String>) {
    let now = model.now;
    for session in model.screens.iter_mut().filter_map(Session::of_mut) {
        session.take(id, answer.clone(), now);
    }
    <Session as Handler>::settle(model);
}
