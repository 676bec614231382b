//! Splitting, closing and changing between panes.

use crate::tui::keymap::Action;
use crate::tui::model::Model;
use crate::tui::model::panes::MAX_PANES;

pub(super) fn act(model: &mut Model, action: Action) {
    let count = model.panes.count();
    match action {
        Action::Split => {
            if !model.panes.split() {
                model.notify(format!("there are {MAX_PANES} panes already; S closes one"));
            }
        }
        Action::ClosePane => {
            if !model.panes.close() {
                model.notify("this is the only pane; s splits it");
            }
        }
        _ if count == 1 => model.notify("there is one pane; s splits it"),
        Action::NextPane => model.panes.turn(1),
        Action::PreviousPane => model.panes.turn(count - 1),
        _ => model.panes.toggle_full(),
    }
    model.settle_panes();
    if model.panes.count() != count && !model.shows_all_panes() {
        model.notify("too small to show all panes: Tab shows the next one");
    }
}
