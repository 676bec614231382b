//! How the model changes. Nothing here does I/O or reads a clock: what the console cannot do
//! itself comes back as an [`Effect`].

mod actions;
mod alerts;
mod boards;
mod feed;
mod field;
mod mouse;
mod palette;
mod panes;
mod places;
mod queue;
mod replay;
mod report;
mod trace;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::keymap::Action;
use super::model::{Focus, Model, Screen};
use super::msg::{Effect, Msg};

/// Takes a message in.
pub fn update(model: &mut Model, msg: Msg) -> Option<Effect> {
    match msg {
        Msg::Key(key) => {
            model.dirty = true;
            // What was told before was about what was there before.
            model.notice = None;
            on_key(model, &key)
        }
        Msg::Paste(text) => match model.focus {
            Focus::Prompt(_) => {
                queue::paste(model, &text);
                None
            }
            _ => field::paste(model, &text),
        },
        Msg::Mouse(event) => mouse::act(model, &event),
        Msg::Resize(width, height) => {
            model.size = (width, height);
            model.dirty = true;
            model.settle_panes();
            actions::settle_scroll(model);
            trace::settle(model);
            boards::settle(model);
            None
        }
        Msg::Feed(messages) => {
            feed::take_in(model, messages);
            None
        }
        Msg::Work => work(model),
        Msg::Tick(now) => {
            model.wall = now;
            // A replay has a clock of its own.
            if model.replay.is_none() {
                alerts::tick(model, now);
            }
            model.dirty |= model.forget_old_notice();
            boards::poll(model)
        }
        Msg::Answer(answer) => {
            model.dirty = true;
            boards::take(model, answer)
        }
        Msg::Replay(replayed) => {
            replay::take_in(model, replayed);
            None
        }
        Msg::Report(report) => {
            report::take_in(model, report);
            None
        }
    }
}

/// One slice of what there is to look at: for what is on the screen first.
fn work(model: &mut Model) -> Option<Effect> {
    match model.screens.last_mut() {
        Some(Screen::Trace(shown)) if shown.has_work(&model.ring) => {
            model.dirty |= shown.work(&model.ring) || !shown.has_work(&model.ring);
            trace::settle(model);
            return None;
        }
        Some(Screen::Projects(projects)) if projects.has_work(&model.ring) => {
            projects.work(&model.ring);
            model.dirty = true;
            return None;
        }
        _ => {}
    }
    if model.seek.is_some() {
        places::seek_on(model);
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
        if places::end_seek(model) && action == Action::Back {
            model.notify("stopped looking");
            return None;
        }
        return actions::act(model, action, nth);
    }
    if key.modifiers.contains(KeyModifiers::ALT) {
        // Nothing is bound to Alt: over a slow line, Esc and the key after it look like this.
        let esc = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
        let plain = KeyEvent { modifiers: key.modifiers - KeyModifiers::ALT, ..*key };
        return on_key(model, &esc).or_else(|| on_key(model, &plain));
    }
    places::end_seek(model);
    match (&model.focus, model.screen()) {
        (Focus::Field(_), _) => field::type_key(model, key),
        (Focus::Prompt(_), _) => queue::type_key(model, key),
        (Focus::Palette(_), _) => return palette::type_key(model, key),
        (Focus::Letter(letter), _) => places::take_letter(model, *letter, key),
        (Focus::Keys, Screen::Projects(_)) => trace::type_key(model, key),
        (Focus::Keys, _) => {}
    }
    None
}
