//! One line in full.

use super::{Handler, Outcome, Selection, page, step};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::pane::Direction;
use crate::model::screen::{Detail, Screen};

impl Handler for Detail {
    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::NextLine => go_beside(model, Direction::Newer),
            Action::PreviousLine => go_beside(model, Direction::Older),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        page::scroll::<Self>(model, action);
    }

    fn settle(model: &mut Model) {
        page::settle::<Self>(model);
    }

    fn selection(model: &Model) -> Option<Selection> {
        model.shown::<Self>().map(|shown| Selection::line(shown.number, shown.line.clone()))
    }
}

/// Shows the line before or after; the selection on the screen below moves as well.
fn go_beside(model: &mut Model, direction: Direction) {
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
