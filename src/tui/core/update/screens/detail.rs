//! One line in full.

use ratatui::layout::Position;

use super::{Handler, Outcome, Selection, log, page, step};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::layout::Layout;
use crate::model::pane::Direction;
use crate::model::screen::{Detail, LogScreen, Screen};
use crate::msg::Effect;
use crate::update::mouse;

impl Handler for Detail {
    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::NextLine => go_to_adjacent(model, Direction::Newer),
            Action::PreviousLine => go_to_adjacent(model, Direction::Older),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    /// Next to the log, the keys that move by a line move in the log.
    fn scroll(model: &mut Model, action: Action) {
        let is_next_to_log = model.layout().is_some_and(|layout| layout.detail.is_some());
        match action {
            Action::Up if is_next_to_log => go_to_adjacent(model, Direction::Older),
            Action::Down if is_next_to_log => go_to_adjacent(model, Direction::Newer),
            _ => page::scroll::<Self>(model, action),
        }
    }

    fn settle(model: &mut Model) {
        page::settle::<Self>(model);
    }

    /// Next to the log, the wheel scrolls what is under it.
    fn wheel(model: &mut Model, layout: &Layout, at: Position, action: Action) {
        if layout.detail.is_some() && layout.log.contains(at) {
            LogScreen::wheel(model, layout, at, action);
        } else if layout.page().contains(at) {
            (0..mouse::NOTCH).for_each(|_| page::scroll::<Self>(model, action));
        }
    }

    /// Next to the log, a click on a line shows that line.
    fn click(model: &mut Model, layout: &Layout, at: Position) -> Option<Effect> {
        if layout.detail.is_some() && layout.log.contains(at) {
            LogScreen::click(model, layout, at);
            if let Some(detail) = log::selected(model) {
                model.screens.pop();
                model.push_screen(Screen::Detail(detail));
            }
        }
        None
    }

    fn selection(model: &Model) -> Option<Selection> {
        model.shown::<Self>().map(|shown| Selection::line(shown.number, shown.line.clone()))
    }
}

/// Shows the line before or after; the selection on the screen below moves as well.
fn go_to_adjacent(model: &mut Model, direction: Direction) {
    let Some(number) = model.shown::<Detail>().map(|shown| shown.number) else { return };
    let before = model.screens.pop();
    match step(model, number, direction) {
        Some(detail) if detail.number != number => model.push_screen(Screen::Detail(detail)),
        _ => {
            model.screens.extend(before);
            model.notify(match direction {
                Direction::Older => "this is the oldest line",
                Direction::Newer => "this is the newest line",
            });
        }
    }
}
