//! The keys and commands.

use super::{Handler, page};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::screen::Help;

impl Handler for Help {
    fn scroll(model: &mut Model, action: Action) {
        page::scroll::<Self>(model, action);
    }

    fn settle(model: &mut Model) {
        page::settle::<Self>(model);
    }
}
