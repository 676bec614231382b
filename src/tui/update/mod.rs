//! How the model changes. Nothing here does I/O or reads a clock: what the console cannot do
//! itself comes back as an [`Effect`].

mod actions;
mod feed;
mod field;

use crossterm::event::KeyEvent;

use super::keymap;
use super::model::{Focus, Model};
use super::msg::{Effect, Msg};

/// Takes a message in.
pub fn update(model: &mut Model, msg: Msg) -> Option<Effect> {
    match msg {
        Msg::Key(key) => {
            model.dirty = true;
            on_key(model, &key)
        }
        Msg::Paste(text) => {
            field::paste(model, &text);
            None
        }
        Msg::Resize(width, height) => {
            model.size = (width, height);
            model.dirty = true;
            model.pane.settle(model.log_height());
            actions::settle_scroll(model);
            None
        }
        Msg::Feed(messages) => {
            feed::take_in(model, messages);
            None
        }
        Msg::Tick(now) => {
            model.now = now;
            model.dirty |= model.figures.tick(now.epoch_seconds());
            model.dirty |= model.forget_old_notice();
            None
        }
    }
}

fn on_key(model: &mut Model, key: &KeyEvent) -> Option<Effect> {
    match keymap::find(model.context(), key) {
        Some((action, nth)) => actions::act(model, action, nth),
        None => {
            if let Focus::Field(_) = model.focus {
                field::type_key(model, key);
            }
            None
        }
    }
}
