//! Actions of the key table, for screens that do not override them.

use super::screens::{self, Outcome, Selection, history, session, sql, trace};
use super::{alerts, bulk, field, mouse, palette, prompt, sql_input};
use crate::keymap::Action;
use crate::model::filter::Condition;
use crate::model::history::Topic;
use crate::model::pane::Visit;
use crate::model::screen::{Help, Screen, SqlScreen};
use crate::model::{Focus, Model, Purpose};
use crate::msg::Effect;

/// Shown if an action needs a line.
pub(super) const NO_LINE: &str = "no line is selected";

/// A pipeline that accepted events within this time is in use, in milliseconds.
const IN_USE: i64 = 60_000;
/// How long the question about quitting is open, in milliseconds.
const QUIT_WAIT: i64 = 4_000;

/// Executes an action; `nth` is which of the binding's keys was pressed.
pub(super) fn act(model: &mut Model, action: Action, nth: usize) -> Option<Effect> {
    match action {
        Action::Quit => return quit(model),
        // A running query on the screen is stopped instead.
        Action::QuitAtOnce if model.shown::<SqlScreen>().is_some() && sql::stop(model) => {
            return None;
        }
        Action::QuitAtOnce => return Some(Effect::Quit),
        Action::Redraw => return Some(Effect::Redraw),
        Action::Suspend => return Some(Effect::Suspend),
        _ => {}
    }
    model.may_quit = None;
    match &model.focus {
        Focus::Palette(_) => palette::act(model, action),
        Focus::Prompt(_) => prompt::act(model, action),
        Focus::Sql => sql_input::act(model, action),
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

/// Quits; asks first if that stops a pipeline which has accepted events just now, or a change of many
/// failed events.
fn quit(model: &mut Model) -> Option<Effect> {
    let (wall, now) = (model.wall.epoch_millis(), model.now.epoch_millis());
    let is_in_use = model.accepted_at.is_some_and(|at| now - at.epoch_millis() < IN_USE);
    let is_confirmed = model.may_quit.take().is_some_and(|until| wall < until);
    let running = model.bulk.as_ref().filter(|bulk| bulk.result.is_none());
    let why = match running {
        _ if is_confirmed => None,
        Some(bulk) => Some(format!("{}, quitting stops that", bulk.plan.operation.doing())),
        None if model.options.shell.stops_pipeline && is_in_use => {
            Some("events are arriving, quitting stops this pipeline".to_owned())
        }
        None => None,
    };
    let Some(why) = why else { return Some(Effect::Quit) };
    model.may_quit = Some(wall.saturating_add(QUIT_WAIT));
    let key = model.key(Action::Quit);
    model.notify(format!("{why}; {key} again quits"));
    None
}

fn act_anywhere(model: &mut Model, action: Action) -> Option<Effect> {
    match action {
        Action::CopyId => return copy_id(model),
        Action::CopyLine => return copy_line(model),
        Action::Mouse => return mouse::toggle(model),
        Action::Palette => palette::open(model),
        Action::Acknowledge => alerts::acknowledge(model),
        Action::StopBulk => return bulk::stop(model),
        Action::Trace => return trace::open(model),
        Action::Session => return session::open(model),
        Action::History => return history::open(model, Topic::Pipeline),
        Action::Sql => return sql::open(model, None),
        Action::Queue
        | Action::Live
        | Action::Verify
        | Action::Problems
        | Action::Processes
        | Action::Who => return screens::open(model, action),
        Action::Back => return back(model),
        Action::Help => {
            let of = model.context();
            model.push_screen(Screen::Help(Help { scroll: 0, of, filter: String::new() }));
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

/// Goes back by one layer: closes the topmost screen; on the log, ends a visit, the search, or one
/// condition of the filter. Never ends the console.
fn back(model: &mut Model) -> Option<Effect> {
    if screens::back(model) {
        return None;
    }
    let (limit, height) = (model.limit(), model.log_height());
    match model.panes.focused_mut().end_visit(&model.ring, limit, height) {
        Some(Visit::Group) => return screens::return_to_problems(model),
        Some(Visit::Context) => return None,
        None => {}
    }
    if !model.alerts.banners().is_empty() {
        alerts::acknowledge(model);
        return None;
    }
    if model.pane().search().is_some() {
        field::apply(model, Purpose::Search, None);
        return None;
    }
    let mut conditions = Condition::ALL.into_iter().rev();
    if let Some(last) = conditions.find(|&condition| model.pane().filter().has(condition)) {
        field::set_filter(model, |filter| filter.remove(last));
    }
    None
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
