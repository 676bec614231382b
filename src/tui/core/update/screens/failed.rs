//! One failed event in full.

use super::{Handler, Outcome, Selection, edit, page, queue};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::screen::FailedDetail;
use crate::msg::Effect;

impl Handler for FailedDetail {
    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        let id = model.shown::<Self>().map(|shown| shown.item.id.clone());
        match action {
            Action::RetryOne | Action::DeleteOne => queue::change_one(model, action, id).into(),
            Action::EditOne => {
                let item = model.shown::<Self>().map(|shown| shown.item.clone());
                edit::edit_one(model, item).into()
            }
            _ => Outcome::Ignored,
        }
    }

    fn scroll(model: &mut Model, action: Action) {
        page::scroll::<Self>(model, action);
    }

    fn settle(model: &mut Model) {
        page::settle::<Self>(model);
    }

    /// The queue below is still polled.
    fn poll(model: &mut Model) -> Option<Effect> {
        queue::poll(model)
    }

    fn selection(model: &Model) -> Option<Selection> {
        model.shown::<Self>().map(|shown| queue::failed_item(&shown.item))
    }
}
