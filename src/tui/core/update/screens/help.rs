//! The keys and commands.

use super::{Handler, Outcome, page};
use crate::keymap::Action;
use crate::model::screen::Help;
use crate::model::{Model, PromptPurpose};
use crate::update::prompt;

impl Handler for Help {
    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match (action, model.shown::<Self>()) {
            (Action::Search, Some(help)) => {
                let before = help.filter.clone();
                let purpose = PromptPurpose::HelpFilter { before: before.clone() };
                prompt::open(model, purpose, before);
                Outcome::Done(None)
            }
            _ => Outcome::Ignored,
        }
    }

    fn scroll(model: &mut Model, action: Action) {
        page::scroll::<Self>(model, action);
    }

    fn back(model: &mut Model) -> bool {
        let is_filtered = model.shown::<Self>().is_some_and(|help| !help.filter.is_empty());
        if is_filtered {
            set_filter(model, "");
        }
        is_filtered
    }

    fn settle(model: &mut Model) {
        page::settle::<Self>(model);
    }
}

/// Shows only keys and commands that contain a text.
pub(in crate::update) fn set_filter(model: &mut Model, filter: &str) {
    if let Some(help) = model.shown_mut::<Help>() {
        help.filter = filter.to_lowercase();
        help.scroll = 0;
    }
    page::settle::<Help>(model);
}
