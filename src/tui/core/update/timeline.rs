//! The timeline above the log.

use ratatui::layout::Position;

use crate::keymap::Action;
use crate::model::Model;
use crate::model::layout::Layout;
use crate::msg::Msg;
use bklit_wire::time::UtcMillis;

/// Bars by which a page key moves the selection.
const PAGE: i64 = 10;

/// When the bars have to be rebuilt.
pub(super) struct When {
    /// At once.
    now: bool,
    /// If the counts have changed.
    if_changed: bool,
    /// If the counts are complete.
    if_done: bool,
}

impl When {
    /// After a message: at once after user input, otherwise once a second.
    pub(super) fn after(msg: &Msg) -> Self {
        Self {
            now: !matches!(msg, Msg::Feed(_) | Msg::Tick(_) | Msg::Work | Msg::Replay(_)),
            if_changed: matches!(msg, Msg::Tick(_)),
            if_done: matches!(msg, Msg::Work),
        }
    }
}

impl When {
    /// After user input.
    pub(super) fn is_by_hand(&self) -> bool {
        self.now
    }
}

/// Rebuilds the bars, if they are shown and it is time to.
pub(super) fn refresh(model: &mut Model, when: &When) {
    if !model.timeline().is_shown() {
        return;
    }
    let is_done = || !model.pane().has_work(model.ring(), model.limit());
    if when.now || (when.if_changed && model.has_stale_bars()) || (when.if_done && is_done()) {
        model.make_bars();
    }
}

/// Shows the timeline and gives it the focus; hides it if it has the focus.
pub(super) fn toggle(model: &mut Model) {
    let has_no_space = |model: &Model| model.layout().is_some_and(|l| l.timeline.is_none());
    let hides = model.is_in_timeline() || (model.timeline.is_shown && has_no_space(model));
    model.timeline.deselect();
    (model.timeline.is_shown, model.timeline.has_keys) = (!hides, !hides);
    if !hides && has_no_space(model) {
        let key = model.key(Action::Figures);
        model.notify(format!("no space for the timeline; {key} hides the figures"));
    }
    model.settle_panes();
}

/// Handles an action while the timeline has the focus. Returns whether it is one of the timeline's.
pub(super) fn act(model: &mut Model, action: Action) -> bool {
    if !model.is_in_timeline() {
        return false;
    }
    let timeline = &mut model.timeline;
    match action {
        Action::Earlier => timeline.step(-1),
        Action::Later => timeline.step(1),
        Action::MuchEarlier => timeline.step(-PAGE),
        Action::MuchLater => timeline.step(PAGE),
        Action::ZoomIn | Action::ZoomOut => {
            let out = action == Action::ZoomOut;
            let says = match (timeline.zoom(out), timeline.span()) {
                (false, Some(_)) => "this is the shortest span".to_owned(),
                (false, None) if !out => "the whole log is shown".to_owned(),
                (_, None) => "all that the log holds".to_owned(),
                (true, Some(seconds)) => format!("a span of {}", span_name(seconds)),
            };
            model.notify(says);
        }
        Action::ShowTime => jump(model),
        _ => return false,
    }
    true
}

/// A span in minutes or hours.
fn span_name(seconds: i64) -> String {
    match seconds / 60 {
        1 => "a minute".to_owned(),
        minutes @ 2..60 => format!("{minutes} minutes"),
        60 => "an hour".to_owned(),
        minutes => format!("{} hours", minutes / 60),
    }
}

/// Returns the focus to the log. Returns whether the timeline had it.
pub(super) fn leave(model: &mut Model) -> bool {
    let had_keys = model.is_in_timeline();
    model.timeline.has_keys = false;
    model.timeline.deselect();
    had_keys
}

/// Goes to the time that is clicked. Returns whether the click was on the timeline.
pub(super) fn click(model: &mut Model, layout: &Layout, at: Position) -> bool {
    let Some(place) = layout.timeline.filter(|place| place.bars.contains(at)) else { return false };
    let (column, columns) = (usize::from(at.x - place.bars.x), usize::from(place.bars.width));
    if let Some(bar) = model.timeline.bars().at_column(column, columns) {
        model.timeline.has_keys = true;
        model.timeline.select(bar);
        model.make_bars();
        jump(model);
    }
    true
}

/// Goes to the first line of the selected bar, and returns the focus to the log.
fn jump(model: &mut Model) {
    let Some(seconds) = model.timeline.selection() else { return };
    leave(model);
    let (limit, height) = (model.limit(), model.log_height());
    let pane = model.panes.focused_mut();
    if pane.index().is_empty() {
        return model.notify("no lines to go to");
    }
    if pane.go_to_time(&seconds, &model.ring, height) {
        return;
    }
    if !pane.go_to_time(&(seconds.start..i64::MAX), &model.ring, height) {
        pane.go_to_line(limit.saturating_sub(1), height);
    }
    let time = |second: i64| UtcMillis::from_epoch_millis(second.saturating_mul(1000));
    let (from, to) = (time(seconds.start), time(seconds.end));
    let (from, to) = (model.time_of_day(from), model.time_of_day(to));
    model.notify(format!("no line from {from} to {to} is shown; this is the nearest one"));
}
