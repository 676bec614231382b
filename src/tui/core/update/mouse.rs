//! The mouse: the wheel scrolls what is under it, a click selects, and a click on the selected row
//! opens it. Positions come from the layout.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{navigation, palette, screens};
use crate::keymap::Action;
use crate::model::layout::Layout;
use crate::model::{Focus, Model};
use crate::msg::Effect;

/// How many lines one notch of the wheel scrolls.
pub(super) const NOTCH: usize = 3;

/// Enables or disables it.
pub(super) fn toggle(model: &mut Model) -> Option<Effect> {
    set(model, !model.mouse)
}

pub(super) fn set(model: &mut Model, on: bool) -> Option<Effect> {
    model.mouse = on;
    let key = model.key(Action::Mouse);
    model.notify(if on {
        format!("the mouse is on; {key} gives it back to the terminal, to select text")
    } else {
        "the mouse is off".to_owned()
    });
    Some(Effect::Mouse(on))
}

pub(super) fn act(model: &mut Model, mouse: &MouseEvent) -> Option<Effect> {
    // Reports may still arrive after the mouse was disabled.
    if !model.mouse {
        return None;
    }
    let layout = model.layout()?;
    let at = Position { x: mouse.column, y: mouse.row };
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            model.dirty = true;
            navigation::end_seek(model);
            click(model, &layout, at)
        }
        MouseEventKind::ScrollUp | MouseEventKind::ScrollDown => {
            model.dirty = true;
            navigation::end_seek(model);
            let is_up = mouse.kind == MouseEventKind::ScrollUp;
            wheel(model, &layout, at, is_up);
            None
        }
        _ => None,
    }
}

/// The row of a list at a position.
pub(super) fn row_of(list: Rect, at: Position) -> Option<usize> {
    list.contains(at).then(|| usize::from(at.y - list.y))
}

fn wheel(model: &mut Model, layout: &Layout, at: Position, is_up: bool) {
    match &mut model.focus {
        Focus::Palette(palette) => {
            if layout.candidates(palette.candidates.len()).contains(at) {
                palette.choose(!is_up);
            }
        }
        // The letter is for the selected line.
        Focus::Letter(_) => {}
        Focus::Keys | Focus::Field(_) | Focus::Prompt(_) | Focus::Sql => {
            let action = if is_up { Action::Up } else { Action::Down };
            screens::wheel(model, layout, at, action);
        }
    }
}

fn click(model: &mut Model, layout: &Layout, at: Position) -> Option<Effect> {
    match &mut model.focus {
        Focus::Keys => screens::click(model, layout, at),
        Focus::Palette(open) => {
            let list = layout.candidates(open.candidates.len());
            let row = row_of(list, at)?;
            open.choose_nth(open.top(list.height.into()) + row);
            palette::list_files(model)
        }
        // The query stays as it is.
        Focus::Sql => {
            model.focus = Focus::Keys;
            screens::click(model, layout, at)
        }
        // A click neither accepts nor cancels the input.
        Focus::Field(_) | Focus::Prompt(_) | Focus::Letter(_) => None,
    }
}
