//! Actions of the key table, for screens that do not override them.

use super::screens::{self, Outcome, Selection, history, trace};
use super::{alerts, field, mouse, palette, prompt};
use crate::keymap::Action;
use crate::model::screen::{Help, Screen};
use crate::model::{Focus, Model, Purpose};
use crate::msg::Effect;
use crate::update::navigation;

/// Shown if an action needs a line.
pub(super) const NO_LINE: &str = "no line is selected";

/// Executes an action; `nth` is which of the binding's keys was pressed.
pub(super) fn act(model: &mut Model, action: Action, nth: usize) -> Option<Effect> {
    match action {
        Action::Quit => return Some(Effect::Quit),
        Action::Redraw => return Some(Effect::Redraw),
        Action::Suspend => return Some(Effect::Suspend),
        _ => {}
    }
    match &model.focus {
        Focus::Palette(_) => palette::act(model, action),
        Focus::Prompt(_) => prompt::act(model, action),
        Focus::Field(_) | Focus::Letter(_) => {
            field::act(model, action);
            None
        }
        Focus::Keys => match screens::act(model, action, nth) {
            Outcome::Done(effect) => effect,
            Outcome::Ignored => act_anywhere(model, action),
        },
    }
}

fn act_anywhere(model: &mut Model, action: Action) -> Option<Effect> {
    match action {
        Action::CopyId => return copy_id(model),
        Action::CopyLine => return copy_line(model),
        Action::Mouse => return mouse::toggle(model),
        Action::Palette => palette::open(model),
        Action::Acknowledge => alerts::acknowledge(model),
        Action::Trace => return trace::open(model),
        Action::History => return history::open(model, None),
        Action::Queue | Action::Live | Action::Verify | Action::Processes => {
            return screens::open(model, action);
        }
        Action::Back => back(model),
        Action::Help => {
            let of = model.context();
            model.push_screen(Screen::Help(Help { scroll: 0, of }));
        }
        Action::Follow
        | Action::Oldest
        | Action::Up
        | Action::Down
        | Action::PageUp
        | Action::PageDown
        | Action::HalfUp
        | Action::HalfDown => screens::scroll(model, action),
        _ => {}
    }
    None
}

/// Goes back by one layer: closes the topmost screen; on the log, ends the context, the search or
/// the filter. Never ends the console.
fn back(model: &mut Model) {
    if screens::back(model) || model.alerts.acknowledge() {
        return;
    }
    if model.pane().in_context() {
        navigation::act(model, Action::Context);
    } else if model.pane().search().is_some() {
        field::apply(model, Purpose::Search, None);
    } else if model.pane().filter().query.is_some() {
        field::apply(model, Purpose::Filter, None);
    }
}

fn copy_id(model: &mut Model) -> Option<Effect> {
    let (id, missing) = match screens::selection(model) {
        Some(Selection::Line(detail)) => {
            let id = detail.line.as_ref().event_id().map(str::to_owned);
            (id, "this line has no event id")
        }
        Some(Selection::Item(item)) => (item.id, "no id to copy"),
        None => match model.options.curl.clone().filter(|_| model.ring.is_empty()) {
            Some(curl) => {
                model.notify("copied the curl command");
                return Some(Effect::Copy(curl));
            }
            None => (None, NO_LINE),
        },
    };
    match &id {
        Some(id) => model.notify(format!("copied {id}")),
        None => model.notify(missing),
    }
    id.map(Effect::Copy)
}

fn copy_line(model: &mut Model) -> Option<Effect> {
    let json = match screens::selection(model) {
        Some(Selection::Line(detail)) => Some(detail.line.as_ref().to_json()),
        Some(Selection::Item(item)) => item.json,
        None => None,
    };
    model.notify(if json.is_some() { "copied the line as JSON" } else { NO_LINE });
    json.map(Effect::Copy)
}
