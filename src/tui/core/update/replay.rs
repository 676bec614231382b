//! A replay: its clock, its messages, and the keys that control it.

use super::screens::forget_lines;
use super::{alerts, feed};
use crate::keymap::Action;
use crate::model::figures::Figures;
use crate::model::{Link, Model};
use crate::msg::Effect;
use crate::playback::{ReplayCommand, Replayed};

/// How far a key seeks, in milliseconds.
const STEP: i64 = 10_000;

pub(super) fn act(model: &mut Model, action: Action) -> Option<Effect> {
    if model.replay.is_none() {
        model.notify("no replay is running; start one with bklit-tui replay FILE");
        return None;
    }
    Some(Effect::Replay(match action {
        Action::Slower => ReplayCommand::Slower,
        Action::Faster => ReplayCommand::Faster,
        Action::SeekBack => ReplayCommand::Seek(-STEP),
        _ => ReplayCommand::Seek(STEP),
    }))
}

/// Applies what a replay delivers.
pub(super) fn take_in(model: &mut Model, replayed: Vec<Replayed>) {
    for one in replayed {
        match one {
            Replayed::Reset => reset(model),
            Replayed::Clock(at) => alerts::tick(model, at),
            Replayed::Feed(messages) => feed::take_in(model, messages),
            Replayed::State(state) => {
                model.dirty |= model.replay.as_ref() != Some(&state);
                model.replay = Some(state);
            }
        }
    }
}

/// Drops all lines and figures; filters and screens stay.
fn reset(model: &mut Model) {
    forget_lines(model);
    model.figures = Figures::default();
    model.link = Link::Up;
    let settings = model.options.shell.alerts.clone();
    model.alerts.forget(settings);
    model.dirty = true;
}
