//! How each screen is drawn.
//!
//! - `batch`: the batches in flight, and one with its events
//! - `history`: figures over time
//! - `log`: the log and its status
//! - `page`: scrollable texts
//! - `polled`: what polled screens share
//! - `problems`: warnings, errors and failed events, grouped
//! - `processes`: the processes of the pipeline
//! - `projects`: the list of projects
//! - `queue`: the queue and its failed events
//! - `session`: the events of a session
//! - `sql`: queries on the store
//! - `trace`: the waterfall of a trace
//! - `verify`: the results of dual-write verification
//! - `visitors`: current visitors
//! - `who`: where events come from

mod batch;
mod history;
mod log;
mod page;
mod polled;
mod problems;
mod processes;
mod projects;
mod queue;
mod session;
mod sql;
mod trace;
mod verify;
mod visitors;
mod who;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::panel::{self, Panel};
use crate::keymap::{Action, Binding};
use crate::model::Model;
use crate::model::layout::Layout;
use crate::model::line::LineRef;
use crate::model::query::detail;
use crate::model::screen::{LogScreen, Shown, on_screen};
use crate::model::trace::Subject;
pub(super) use log::{is_focused, phrase, shown_by};

/// How a screen is drawn.
trait Draw: Shown {
    /// Draws it between header and hints. Returns the cursor's position, if it has one.
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position>;

    /// Draws over the lower border, if the screen has something to show there.
    fn status(_model: &Model, _buf: &mut Buffer, _area: Rect) {}

    /// What a key currently does, for the hints; `None` if nothing.
    fn hint(_model: &Model, binding: &Binding) -> Option<&'static str> {
        binding.hint
    }
}

/// Whether a line leads to a trace or a session.
fn leads(line: LineRef<'_>, action: Action) -> bool {
    match action {
        Action::Session => line.event_id().is_some() || detail(line, "sessionId").is_some(),
        _ => Subject::of(line).is_some(),
    }
}

/// Draws the topmost screen in its frame. A line in full that is next to the log leaves the log
/// visible.
pub(super) fn draw(model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
    if log::is_focused(model) {
        return LogScreen.draw(model, buf, layout);
    }
    if layout.detail.is_some() {
        LogScreen.draw(model, buf, layout);
    }
    let view = layout.page();
    let theme = model.options.theme;
    // The upper border is part of the view, because it has its title.
    let frame = Rect { x: view.x - 1, width: view.width + 2, height: view.height + 1, ..view };
    let panel = Panel { focused: true, ..Panel::default() };
    panel.draw(buf, frame, theme);
    let cursor = on_screen!(model.screen(), S => model.shown::<S>()?.draw(model, buf, layout));
    panel::join_rules(buf, frame, theme);
    cursor
}

pub(super) fn status(model: &Model, buf: &mut Buffer, layout: &Layout) {
    let area = layout.status;
    if layout.detail.is_some() {
        return LogScreen::status(model, buf, area);
    }
    on_screen!(model.screen(), S => S::status(model, buf, area));
}

pub(super) fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
    on_screen!(model.screen(), S => S::hint(model, binding))
}
