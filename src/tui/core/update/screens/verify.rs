//! The results of dual-write verification.

use ratatui::layout::Rect;

use super::{Handler, List, Outcome, Selection, open_detail};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::cursor::target;
use crate::model::layout::{VERIFY_HEAD, below};
use crate::model::pane::Direction;
use crate::model::screen::{Detail, VerifyScreen};

impl Handler for VerifyScreen {
    const IS_PANEL: bool = true;

    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::Detail => open_detail(model),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        let height = model.verify_rows();
        let to = target(action, model.panels.verify.selected(), height);
        model.panels.verify.select(to, height);
    }

    fn selection(model: &Model) -> Option<Selection> {
        detail(model).map(Selection::Line)
    }

    fn step(model: &mut Model, _number: u64, direction: Direction) -> Option<Detail> {
        // The newest finding is at the top.
        let action = if direction == Direction::Older { Action::Down } else { Action::Up };
        Self::scroll(model, action);
        detail(model)
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        let panel = &model.panels.verify;
        vec![List {
            area: below(view, VERIFY_HEAD),
            top: panel.top,
            count: panel.count(),
            selected: Some(panel.selected()),
            opens: Action::Detail,
        }]
    }

    fn select(model: &mut Model, _list: usize, place: usize) {
        let height = model.verify_rows();
        model.panels.verify.select(place, height);
    }
}

fn detail(model: &Model) -> Option<Detail> {
    let (number, line) = model.panels.verify.selected_line()?;
    Some(Detail { number: *number, line: line.clone(), scroll: 0 })
}
