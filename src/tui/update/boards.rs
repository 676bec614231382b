//! The views beside the log: opening them, asking for what they show, moving in them.

use super::queue;
use crate::tui::backend::{Answer, Request};
use crate::tui::keymap::Action;
use crate::tui::model::{Detail, Model, Screen};
use crate::tui::msg::Effect;

/// Opens a view, in place of another one of its kind.
pub(super) fn open(model: &mut Model, action: Action) -> Option<Effect> {
    let screen = match action {
        Action::Queue => Screen::Queue,
        Action::Live => Screen::Live,
        _ => Screen::Verify,
    };
    if let Screen::Queue | Screen::Live | Screen::Verify = model.screen() {
        model.screens.pop();
    }
    model.push_screen(screen);
    settle(model);
    poll(model)
}

/// Asks for what is on the screen, if it is time to.
pub(super) fn poll(model: &mut Model) -> Option<Effect> {
    let now = model.now;
    match model.screens.last() {
        Some(Screen::Queue | Screen::Failed(_)) => {
            // Times left and ages go on.
            model.dirty = true;
            model.boards.queue.polled.is_due(now).then(|| queue::question(model))
        }
        Some(Screen::Live) => {
            model.dirty = true;
            model.boards.live.is_due(now).then_some(Effect::Ask(Request::Live))
        }
        _ => None,
    }
}

/// Takes an answer; some lead to the next question.
pub(super) fn take(model: &mut Model, answer: Answer) -> Option<Effect> {
    let now = model.now;
    match answer {
        Answer::Queue(answer) => {
            model.boards.queue.take(answer, now);
            settle(model);
            None
        }
        Answer::Live(answer) => {
            model.boards.live.take(answer, now);
            None
        }
        Answer::Changed(change, result) => queue::changed(model, change, result),
        Answer::Exported(result) => {
            queue::exported(model, result);
            None
        }
    }
}

/// Keeps the selected rows in sight.
pub(super) fn settle(model: &mut Model) {
    let (failed, findings) = (usize::from(model.queue_parts().failed), model.verify_rows());
    model.boards.queue.settle(failed);
    let selected = model.boards.verify.selected();
    model.boards.verify.select(selected, findings);
}

/// Moves through the rows.
pub(super) fn scroll(model: &mut Model, action: Action) {
    let is_queue = matches!(model.screen(), Screen::Queue);
    let (place, height) = if is_queue {
        (model.boards.queue.selected(), usize::from(model.queue_parts().failed))
    } else {
        (model.boards.verify.selected(), model.verify_rows())
    };
    let to = match action {
        Action::Oldest => 0,
        Action::Up => place.saturating_sub(1),
        Action::Down => place.saturating_add(1),
        Action::PageUp => place.saturating_sub(height),
        Action::PageDown => place.saturating_add(height),
        Action::HalfUp => place.saturating_sub(height.div_ceil(2)),
        Action::HalfDown => place.saturating_add(height.div_ceil(2)),
        _ => usize::MAX,
    };
    if is_queue {
        model.boards.queue.select(to, height);
    } else {
        model.boards.verify.select(to, height);
    }
}

/// The selected line of what the verifier told, in full.
pub(super) fn detail(model: &Model) -> Option<Detail> {
    let Screen::Verify = model.screen() else { return None };
    let (number, line) = model.boards.verify.selected_line()?;
    Some(Detail { number: *number, line: line.clone(), scroll: 0 })
}
