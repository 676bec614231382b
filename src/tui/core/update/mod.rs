//! Changes the model. Nothing here does I/O or reads a clock; what the loop has to do is returned
//! as an [`Effect`].
//!
//! - `actions`: actions of keys, unless a screen overrides them
//! - `alerts`: raises and acknowledges alerts
//! - `answers`: answers of the pipeline
//! - `bulk`: changes of many failed events
//! - `feed`: messages from the bus
//! - `field`: the text field of searches and filters
//! - `mouse`: clicks and the wheel
//! - `navigation`: jumps between lines
//! - `palette`: input and commands of the palette
//! - `panes`: splits, closes and changes panes
//! - `prompt`: the prompt at the bottom of a screen
//! - `remember`: saves and restores the layout
//! - `replay`: a replay's messages and keys
//! - `report`: reports of jobs
//! - `screens`: what each screen does
//! - `sql_input`: typing a query on the store
//! - `timeline`: the timeline above the log
//! - `typing`: typing into text fields

mod actions;
mod alerts;
mod answers;
mod bulk;
mod feed;
mod field;
mod mouse;
mod navigation;
mod palette;
mod panes;
mod prompt;
mod remember;
mod replay;
mod report;
mod screens;
mod sql_input;
mod timeline;
mod typing;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

pub use remember::{begin, restore};

use super::keymap::Action;
use super::model::{Focus, Model};
use super::msg::{Effect, Msg, Report};

/// Applies a message.
pub fn update(model: &mut Model, msg: Msg) -> Option<Effect> {
    let when = timeline::When::after(&msg);
    let effect = apply(model, msg);
    model.measure_panes(when.is_by_hand());
    timeline::refresh(model, &when);
    if when.is_by_hand() {
        remember::save(model);
    }
    effect
}

fn apply(model: &mut Model, msg: Msg) -> Option<Effect> {
    match msg {
        Msg::Key(key) => {
            model.dirty = true;
            // A notice is about the state before this key.
            model.notice = None;
            on_key(model, &key)
        }
        Msg::Paste(text) => match model.focus {
            Focus::Prompt(_) => {
                prompt::paste(model, &text);
                None
            }
            Focus::Sql => {
                sql_input::paste(model, &text);
                None
            }
            _ => field::paste(model, &text),
        },
        Msg::Mouse(event) => mouse::act(model, &event),
        Msg::Resize(width, height) => {
            model.size = (width, height);
            model.dirty = true;
            model.settle_panes();
            screens::settle(model);
            None
        }
        Msg::Feed(messages) => {
            feed::take_in(model, messages);
            None
        }
        Msg::Work => work(model),
        Msg::Tick(now) => {
            model.wall = now;
            // A replay has its own clock.
            if model.replay.is_none() {
                alerts::tick(model, now);
            }
            model.dirty |= model.forget_old_notice();
            screens::poll(model)
        }
        Msg::Answer(answer) => {
            model.dirty = true;
            answers::take(model, answer)
        }
        Msg::Replay(replayed) => {
            replay::take_in(model, replayed);
            None
        }
        Msg::Report(Report::Edited(edited)) => screens::edit::take_edited(model, edited),
        Msg::Report(Report::Bulk(report)) => bulk::take_in(model, report),
        Msg::Report(report) => {
            report::take_in(model, report);
            None
        }
    }
}

/// Does one slice of work; what is visible comes first.
fn work(model: &mut Model) -> Option<Effect> {
    if screens::work(model) {
        return None;
    }
    if model.seek.is_some() {
        navigation::seek_on(model);
        return None;
    }
    let limit = model.limit();
    if let Some(nth) = model.panes.with_work(&model.ring, limit) {
        let height = model.pane_height(nth);
        if let Some(pane) = model.panes.get_mut(nth) {
            pane.work(&model.ring, limit, height);
        }
        model.dirty = true;
        return None;
    }
    palette::export_piece(model)
}

fn on_key(model: &mut Model, key: &KeyEvent) -> Option<Effect> {
    if let Some((action, nth)) = model.options.shell.bindings.find(model.context(), key) {
        if navigation::end_seek(model) && action == Action::Back {
            model.notify("jump cancelled");
            return None;
        }
        return actions::act(model, action, nth);
    }
    if key.modifiers.contains(KeyModifiers::ALT) {
        // Alt is not bound: on a slow connection, Esc followed by a key looks the same.
        let esc = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
        let plain = KeyEvent { modifiers: key.modifiers - KeyModifiers::ALT, ..*key };
        return on_key(model, &esc).or_else(|| on_key(model, &plain));
    }
    navigation::end_seek(model);
    match &model.focus {
        Focus::Field(_) => field::type_key(model, key),
        Focus::Prompt(_) => prompt::type_key(model, key),
        Focus::Palette(_) => return palette::type_key(model, key),
        Focus::Letter(letter) => navigation::take_letter(model, *letter, key),
        Focus::Sql => sql_input::type_key(model, key),
        Focus::Keys => screens::type_key(model, key),
    }
    None
}
