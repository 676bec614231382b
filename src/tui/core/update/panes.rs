//! Splits, closes and changes panes.

use crate::keymap::Action;
use crate::model::Model;
use crate::model::panes::MAX_PANES;

pub(super) fn act(model: &mut Model, action: Action) {
    let count = model.panes.count();
    match action {
        Action::Split => {
            if !model.panes.split() {
                let key = model.key(Action::ClosePane);
                model.notify(format!("at most {MAX_PANES} panes; {key} closes one"));
            }
        }
        Action::ClosePane => {
            if !model.panes.close() {
                model.notify(format!(
                    "this is the only pane; {} splits it",
                    model.key(Action::Split)
                ));
            }
        }
        _ if count == 1 => {
            model.notify(format!("there is one pane; {} splits it", model.key(Action::Split)));
        }
        Action::NextPane => model.panes.turn(1),
        Action::PreviousPane => model.panes.turn(count - 1),
        _ => model.panes.toggle_full(),
    }
    model.settle_panes();
    if model.panes.count() != count && !model.shows_all_panes() {
        let key = model.key(Action::NextPane);
        model.notify(format!("{key} shows the other panes"));
    }
}
