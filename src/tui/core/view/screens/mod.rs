//! How each screen is drawn.
//!
//! - `batch`: the batches in flight, and one with its events
//! - `history`: figures over time
//! - `log`: the log and its status
//! - `page`: scrollable texts
//! - `polled`: what polled screens share
//! - `projects`: the list of projects
//! - `queue`: the queue and its failed events
//! - `trace`: the waterfall of a trace
//! - `verify`: the results of dual-write verification
//! - `visitors`: current visitors

mod batch;
mod history;
mod log;
mod page;
mod polled;
mod projects;
mod queue;
mod trace;
mod verify;
mod visitors;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::keymap::Binding;
use crate::model::Model;
use crate::model::layout::Layout;
use crate::model::screen::{Shown, on_screen};
pub(super) use log::shown_by;

/// How a screen is drawn.
trait Draw: Shown {
    /// Draws it between header and hints. Returns the cursor's position, if it has one.
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position>;

    /// Draws the row above the hints, if the screen leaves it free.
    fn status(_model: &Model, _buf: &mut Buffer, _area: Rect) {}

    /// What a key currently does, for the hints; `None` if nothing.
    fn hint(_model: &Model, binding: &Binding) -> Option<&'static str> {
        binding.hint
    }
}

pub(super) fn draw(model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
    on_screen!(model.screen(), S => model.shown::<S>()?.draw(model, buf, layout))
}

pub(super) fn status(model: &Model, buf: &mut Buffer, area: Rect) {
    on_screen!(model.screen(), S => S::status(model, buf, area));
}

pub(super) fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
    on_screen!(model.screen(), S => S::hint(model, binding))
}
