//! What each screen does: its keys, its rows and its selection.
//!
//! - `batch`: a batch in flight
//! - `detail`: one line in full
//! - `edit`: edited failed events
//! - `failed`: one failed event in full
//! - `help`: keys and commands
//! - `history`: figures over time
//! - `log`: the log and its panes
//! - `page`: scrolling through a text
//! - `problems`: warnings, errors and failed events, grouped
//! - `processes`: the processes of the pipeline
//! - `projects`: the list of projects
//! - `queue`: the queue and its repair
//! - `session`: the events of a session
//! - `sql`: queries on the store
//! - `sql_row`: one row of a result in full
//! - `trace`: the trace of an event or a batch
//! - `verify`: the results of dual-write verification
//! - `visitors`: current visitors
//! - `who`: where events come from

pub(super) mod batch;
mod detail;
pub(super) mod edit;
mod failed;
pub(super) mod help;
pub(super) mod history;
mod log;
mod page;
pub(super) mod problems;
pub(super) mod processes;
pub(super) mod projects;
pub(super) mod queue;
pub(super) mod session;
pub(super) mod sql;
mod sql_row;
pub(super) mod trace;
mod verify;
mod visitors;
mod who;

use crossterm::event::KeyEvent;
use ratatui::layout::{Position, Rect};

use super::{actions, mouse};
use crate::keymap::Action;
use crate::model::layout::Layout;
use crate::model::line::OwnedLine;
use crate::model::pane::Direction;
use crate::model::screen::{
    Detail, ProblemsScreen, ProcessesScreen, QueueScreen, Screen, Shown, VerifyScreen,
    VisitorsScreen, WhoScreen, on_screen,
};
use crate::model::trace::Subject;
use crate::model::{Model, panels};
use crate::msg::Effect;
pub(super) use log::{forget_lines, set_wraps};

/// Whether a screen handled a key.
pub(super) enum Outcome {
    /// It did; the effect is to be carried out by the loop.
    Done(Option<Effect>),
    /// It did not: the key's general action applies.
    Ignored,
}

impl From<Option<Effect>> for Outcome {
    fn from(effect: Option<Effect>) -> Self {
        Self::Done(effect)
    }
}

/// The selection of a screen, which can be copied, traced and shown in full.
pub(super) enum Selection {
    /// A line of the log.
    Line(Detail),
    /// Something else.
    Item(Item),
}

impl Selection {
    fn line(number: u64, line: OwnedLine) -> Self {
        Self::Line(Detail { number, line, scroll: 0 })
    }

    fn item<T: serde::Serialize>(
        item: &T,
        id: Option<impl Into<String>>,
        subject: Option<Subject>,
    ) -> Self {
        let json = serde_json::to_string(item).ok();
        Self::Item(Item { id: id.map(Into::into), json, subject })
    }
}

/// A selection that is not a line.
pub(super) struct Item {
    pub(super) id: Option<String>,
    pub(super) json: Option<String>,
    /// The subject of its trace.
    pub(super) subject: Option<Subject>,
}

/// A list on the screen, for the mouse.
pub(super) struct List {
    pub(super) area: Rect,
    /// The number of rows scrolled off at the top.
    pub(super) top: usize,
    pub(super) count: usize,
    /// The selected row; `None` while another list has the focus.
    pub(super) selected: Option<usize>,
    /// The action of a click on the selected row.
    pub(super) opens: Action,
}

/// How a screen reacts to keys, the mouse and the clock.
pub(super) trait Handler: Shown {
    /// Whether it replaces another screen of this kind instead of covering it.
    const IS_PANEL: bool = false;

    /// Handles an action; `nth` is which of the binding's keys was pressed.
    fn act(_model: &mut Model, _action: Action, _nth: usize) -> Outcome {
        Outcome::Ignored
    }

    /// Moves the selection or scrolls.
    fn scroll(model: &mut Model, action: Action);

    /// Inserts a key that is not bound.
    fn type_key(_model: &mut Model, _key: &KeyEvent) {}

    /// Goes back by one layer within the screen. Returns whether there was one.
    fn back(_model: &mut Model) -> bool {
        false
    }

    /// Keeps the selected row visible after the size or the rows have changed.
    fn settle(_model: &mut Model) {}

    /// Requests what it shows, if a request is due.
    fn poll(_model: &mut Model) -> Option<Effect> {
        None
    }

    /// Examines one more slice of the log. Returns whether there was work to do.
    fn work(_model: &mut Model) -> bool {
        false
    }

    /// The selection.
    fn selection(_model: &Model) -> Option<Selection> {
        None
    }

    /// Selects the line before or after one that was opened from here, and returns it.
    fn step(model: &mut Model, number: u64, direction: Direction) -> Option<Detail> {
        log::step(model, number, direction)
    }

    /// The lists on the screen, in the order of [`Handler::select`].
    fn lists(_model: &Model, _view: Rect) -> Vec<List> {
        Vec::new()
    }

    /// Selects a row in one of them.
    fn select(_model: &mut Model, _list: usize, _place: usize) {}

    /// Scrolls by the mouse's wheel.
    fn wheel(model: &mut Model, layout: &Layout, at: Position, action: Action) {
        if layout.overlay().contains(at) {
            (0..mouse::NOTCH).for_each(|_| Self::scroll(model, action));
        }
    }

    /// Selects what is clicked, or opens it if it was selected.
    fn click(model: &mut Model, layout: &Layout, at: Position) -> Option<Effect> {
        let lists = Self::lists(model, layout.overlay()).into_iter().enumerate();
        let (nth, list) = lists.into_iter().find(|(_, list)| list.area.contains(at))?;
        let place = list.top + mouse::row_of(list.area, at)?;
        if place >= list.count {
            return None;
        }
        if list.selected == Some(place) {
            return actions::act(model, list.opens, 0);
        }
        Self::select(model, nth, place);
        // The sizes of the lists depend on which one has the focus.
        settle_panels(model);
        None
    }
}

pub(super) fn act(model: &mut Model, action: Action, nth: usize) -> Outcome {
    on_screen!(model.screen(), S => <S as Handler>::act(model, action, nth))
}

pub(super) fn scroll(model: &mut Model, action: Action) {
    on_screen!(model.screen(), S => <S as Handler>::scroll(model, action));
}

pub(super) fn type_key(model: &mut Model, key: &KeyEvent) {
    on_screen!(model.screen(), S => <S as Handler>::type_key(model, key));
}

pub(super) fn poll(model: &mut Model) -> Option<Effect> {
    on_screen!(model.screen(), S => <S as Handler>::poll(model))
}

pub(super) fn work(model: &mut Model) -> bool {
    on_screen!(model.screen(), S => <S as Handler>::work(model))
}

pub(super) fn selection(model: &Model) -> Option<Selection> {
    on_screen!(model.screen(), S => <S as Handler>::selection(model))
}

pub(super) fn wheel(model: &mut Model, layout: &Layout, at: Position, action: Action) {
    on_screen!(model.screen(), S => <S as Handler>::wheel(model, layout, at, action));
}

pub(super) fn click(model: &mut Model, layout: &Layout, at: Position) -> Option<Effect> {
    on_screen!(model.screen(), S => <S as Handler>::click(model, layout, at))
}

/// Keeps selections visible: of the screen, and of data that outlives screens.
pub(super) fn settle(model: &mut Model) {
    on_screen!(model.screen(), S => <S as Handler>::settle(model));
    settle_panels(model);
}

fn settle_panels(model: &mut Model) {
    let parts = model.queue_parts();
    model.panels.queue.settle(parts.batches.into(), parts.failed.into());
    let rows = model.visitors_parts().rows;
    model.panels.visitors.settle(rows.map(usize::from));
    let findings = model.verify_rows();
    let selected = model.panels.verify.selected();
    model.panels.verify.select(selected, findings);
    let events = model.batch_rows();
    for shown in model.all_shown_mut::<panels::BatchPanel>() {
        let count = shown.events().len();
        shown.cursor.settle(count, events);
    }
}

/// Opens the screen of an action, replacing another panel.
pub(super) fn open(model: &mut Model, action: Action) -> Option<Effect> {
    let screen = match action {
        Action::Problems => {
            // Shows the worst problem now, not the one selected before.
            model.panels.problems.restart();
            Screen::Problems(ProblemsScreen)
        }
        Action::Queue => {
            model.panels.queue.want_shown();
            Screen::Queue(QueueScreen)
        }
        Action::Live => Screen::Visitors(VisitorsScreen),
        Action::Verify => Screen::Verify(VerifyScreen),
        Action::Processes => Screen::Processes(ProcessesScreen),
        Action::Who => Screen::Who(WhoScreen),
        // No other action opens a screen of its own.
        _ => return None,
    };
    open_panel(model, screen)
}

/// Goes back to the problems, where they were left.
pub(super) fn return_to_problems(model: &mut Model) -> Option<Effect> {
    open_panel(model, Screen::Problems(ProblemsScreen))
}

fn open_panel(model: &mut Model, screen: Screen) -> Option<Effect> {
    replace_panel(model, screen);
    settle(model);
    poll(model)
}

/// Shows a panel, instead of another one if that is on top.
fn replace_panel(model: &mut Model, screen: Screen) {
    if on_screen!(model.screen(), S => <S as Handler>::IS_PANEL) {
        model.screens.pop();
    }
    model.push_screen(screen);
}

/// Goes back by one layer: within the screen, or to the screen below. Returns whether there was
/// one; never closes the log.
pub(super) fn back(model: &mut Model) -> bool {
    if on_screen!(model.screen(), S => <S as Handler>::back(model)) {
        return true;
    }
    let closed = model.screens.pop().is_some();
    if closed {
        settle(model);
    }
    closed
}

/// Shows the selected line in full.
pub(super) fn open_detail(model: &mut Model) {
    match selection(model) {
        Some(Selection::Line(detail)) => model.push_screen(Screen::Detail(detail)),
        _ => model.notify(actions::NO_LINE),
    }
}

/// Moves by one line on the screen below a detail.
fn step(model: &mut Model, number: u64, direction: Direction) -> Option<Detail> {
    on_screen!(model.screen(), S => <S as Handler>::step(model, number, direction))
}

/// The nearest list that has rows, after or before the focused one.
fn neighbour(action: Action, at: usize, counts: &[usize]) -> Option<usize> {
    let step = if action == Action::NextList { 1 } else { counts.len() - 1 };
    let mut all = (1..=counts.len()).map(|nth| (at + nth * step) % counts.len());
    all.find(|&list| counts[list] > 0)
}
