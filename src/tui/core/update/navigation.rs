//! Goes from a line to others: matches, warnings and errors, lines of the same event, its context,
//! marked lines; and folds repeats.

use crossterm::event::{KeyCode, KeyEvent};

use jiff::ToSpan;

use crate::keymap::Action;
use crate::model::palette::commands::Moment;
use crate::model::pane::{Direction, Jump, Visit, Wanted};
use crate::model::{Focus, Letter, Model};
use bklit_wire::debug_log::Level;
use bklit_wire::time::UtcMillis;

use super::actions::NO_LINE;

pub(super) fn act(model: &mut Model, action: Action) {
    use Direction::{Newer, Older};
    match action {
        Action::NextMatch => jump_to_found(model, Newer),
        Action::PreviousMatch => jump_to_found(model, Older),
        Action::NextError => jump(model, &Wanted::Level(Level::Error), Newer),
        Action::PreviousError => jump(model, &Wanted::Level(Level::Error), Older),
        Action::NextWarning => jump(model, &Wanted::Level(Level::Warn), Newer),
        Action::PreviousWarning => jump(model, &Wanted::Level(Level::Warn), Older),
        Action::NextOfEvent => jump_to_event(model, Newer),
        Action::PreviousOfEvent => jump_to_event(model, Older),
        Action::Context => toggle_context(model),
        Action::Mark => ask(model, Letter::Mark),
        Action::Jump => ask(model, Letter::Jump),
        _ => toggle_folds(model),
    }
}

fn jump_to_found(model: &mut Model, direction: Direction) {
    if model.pane().search().is_none() {
        let key = model.key(Action::Search);
        return model.notify(format!("no search yet: press {key} and type what to look for"));
    }
    jump(model, &Wanted::Found, direction);
}

fn jump_to_event(model: &mut Model, direction: Direction) {
    let Some(line) = model.pane().cursor_line().and_then(|number| model.ring.get(number)) else {
        return model.notify(NO_LINE);
    };
    let Some(event) = line.event_id().map(str::to_owned) else {
        return model.notify("this line has no event id");
    };
    jump(model, &Wanted::Event(event), direction);
}

/// Starts a jump; the first slice is examined immediately.
fn jump(model: &mut Model, wanted: &Wanted, direction: Direction) {
    match model.pane().seek(wanted.clone(), direction) {
        Some(seek) => {
            model.seek = Some(seek);
            seek_on(model);
        }
        None => report(model, wanted, direction, Jump::Nowhere),
    }
}

/// Continues the jump in progress with one more slice.
pub(super) fn seek_on(model: &mut Model) {
    let Some(mut seek) = model.seek.take() else { return };
    let (limit, height) = (model.limit(), model.log_height());
    let pane = model.panes.focused_mut();
    match pane.seek_on(&mut seek, &model.ring, limit, height) {
        Some(jump) => report(model, seek.wanted(), seek.direction(), jump),
        None => model.seek = Some(seek),
    }
    model.dirty = true;
}

/// Cancels the jump in progress. Returns whether there was one.
pub(super) fn end_seek(model: &mut Model) -> bool {
    model.seek.take().is_some()
}

/// Says where a jump ended, if that is not obvious.
fn report(model: &mut Model, wanted: &Wanted, direction: Direction, jump: Jump) {
    let place = if direction == Direction::Older { "above" } else { "below" };
    let ring = &model.ring;
    let has_older = direction == Direction::Older && ring.first_of(Level::Warn) < ring.first();
    let is_hidden = has_older && model.pane().filter().level == Level::Info;
    let older = match is_hidden {
        true => format!("; {} shows older ones", model.key(Action::Level)),
        false => String::new(),
    };
    model.notify(match (jump, wanted) {
        (Jump::Done, _) => return,
        (Jump::Wrapped, _) => "search wrapped".to_owned(),
        (Jump::Nowhere, Wanted::Found) => "no match in the lines shown".to_owned(),
        (Jump::Nowhere, Wanted::Level(Level::Error)) => format!("no error {place}{older}"),
        (Jump::Nowhere, Wanted::Level(_)) => format!("no warning or error {place}{older}"),
        (Jump::Nowhere, Wanted::Event(_)) => {
            format!("no other line of this event {place}")
        }
    });
}

fn toggle_context(model: &mut Model) {
    let (limit, height) = (model.limit(), model.log_height());
    if model.pane().visit() == Some(Visit::Context) {
        model.panes.focused_mut().end_visit(&model.ring, limit, height);
        return;
    }
    let Some(line) = model.pane().cursor_line() else { return model.notify(NO_LINE) };
    if line < model.ring.first() {
        return model.notify("the lines around this one are no longer kept");
    }
    model.panes.focused_mut().visit_context(&model.ring, limit, height);
    let key = model.key(Action::Context);
    model.notify(format!("all lines around this one; {key} goes back to the filter"));
}

/// Folding can be enabled without any repeats: it applies to new lines.
fn toggle_folds(model: &mut Model) {
    let (limit, height) = (model.limit(), model.log_height());
    let folds = !model.pane().folds();
    model.panes.focused_mut().set_folds(folds, &model.ring, limit, height);
    model.notify(if folds { "repeats folded, ×N" } else { "repeats unfolded" });
}

/// Shows the lines that the selected one represents. Returns whether there are several.
pub(super) fn unfold(model: &mut Model) -> bool {
    let height = model.log_height();
    let cursor = model.pane().window(height).cursor;
    if cursor.is_none_or(|place| model.pane().repeats(place) < 2) {
        return false;
    }
    if let Some(line) = model.pane().cursor_line() {
        model.panes.focused_mut().go_to_line(line, height);
    }
    toggle_folds(model);
    true
}

fn ask(model: &mut Model, letter: Letter) {
    if letter == Letter::Jump && model.marks.is_empty() {
        let key = model.key(Action::Mark);
        return model.notify(format!("no marks yet; {key} and a letter marks a line"));
    }
    if letter == Letter::Mark && model.pane().cursor_line().is_none() {
        return model.notify(NO_LINE);
    }
    model.focus = Focus::Letter(letter);
}

/// Handles the letter that was requested; any other key is ignored.
pub(super) fn take_letter(model: &mut Model, letter: Letter, key: &KeyEvent) {
    let KeyCode::Char(name) = key.code else { return };
    model.focus = Focus::Keys;
    if !name.is_ascii_alphanumeric() {
        return model.notify("invalid mark: use a letter or a digit");
    }
    match letter {
        Letter::Mark => {
            if let Some(line) = model.pane().cursor_line() {
                model.marks.insert(name, line);
                let key = model.key(Action::Jump);
                model.notify(format!("marked {name}; {key}{name} jumps back"));
            }
        }
        Letter::Jump => jump_to_mark(model, name),
    }
}

/// Goes to the first line from a moment on.
pub(super) fn go_to(model: &mut Model, moment: Moment) {
    let Some(time) = resolve(model, moment) else {
        return model.notify("invalid time: no such time on that day");
    };
    let (low, reached) = first_since(model, time);
    match reached {
        Reached::Line => {}
        Reached::End => model.notify("no line is that recent"),
        Reached::Start => model.notify("older lines are no longer kept; this is the oldest"),
    }
    let (limit, height) = (model.limit(), model.log_height());
    model.panes.focused_mut().go_to_line(low.min(limit.saturating_sub(1)), height);
}

/// Shows the first line from a time on, or the nearest one that is kept.
pub(super) fn show_time(model: &mut Model, time: UtcMillis) {
    let (low, _) = first_since(model, time);
    let (limit, height) = (model.limit(), model.log_height());
    model.panes.focused_mut().go_to_line(low.min(limit.saturating_sub(1)), height);
}

/// The times of the oldest and the newest line that the pane could show, in milliseconds.
pub(super) fn held(model: &Model) -> Option<(i64, i64)> {
    let first = model.ring.first_of(model.pane().filter().level);
    let mut lines = model.ring.lines(first..model.limit());
    let oldest = lines.next()?.1.time().epoch_millis();
    let newest = model.ring.get(model.limit().checked_sub(1)?)?.time().epoch_millis();
    Some((oldest, newest.max(oldest)))
}

/// Where the first line from a time on is.
enum Reached {
    /// There is one.
    Line,
    /// All lines are older.
    End,
    /// Lines of that time are no longer kept.
    Start,
}

/// The number of the first line from a time on.
fn first_since(model: &Model, time: UtcMillis) -> (u64, Reached) {
    let (first, limit) = (model.ring.first(), model.limit());
    let is_since = |number| model.ring.get(number).is_some_and(|line| line.time() >= time);
    // Lines are almost in order of time.
    let (mut low, mut high) = (first, limit);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_since(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let oldest = model.ring.get(first).map(|line| line.time());
    let reached = match oldest {
        _ if low >= limit => Reached::End,
        Some(oldest) if low == first && oldest > time => Reached::Start,
        _ => Reached::Line,
    };
    (low, reached)
}

/// The moment, on the clock shown.
fn resolve(model: &Model, moment: Moment) -> Option<UtcMillis> {
    let now = model.zoned(model.now);
    let then = match moment {
        Moment::Ago(ago) => now.checked_sub(ago).ok()?,
        Moment::Clock(time) => {
            let today = now.with().time(time).build().ok()?;
            if today > now { today.checked_sub(1.day()).ok()? } else { today }
        }
    };
    Some(UtcMillis::from_epoch_millis(then.timestamp().as_millisecond()))
}

fn jump_to_mark(model: &mut Model, name: char) {
    let Some(&line) = model.marks.get(&name) else {
        return model.notify(format!("mark {name} is not set"));
    };
    if model.ring.get(line).is_none() {
        model.marks.remove(&name);
        return model.notify(format!("the line of mark {name} is no longer kept"));
    }
    let height = model.log_height();
    if !model.panes.focused_mut().go_to_line(line, height) {
        let key = model.key(Action::Context);
        model.notify(format!(
            "that line is hidden here; this is the nearest, {key} shows all around it"
        ));
    }
}
