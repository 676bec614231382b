//! The log and its panes.

use ratatui::layout::Position;

use super::history;
use super::{Handler, Outcome, Selection, open_detail, projects};
use crate::format;
use crate::keymap::Action;
use crate::model::filter::StageSet;
use crate::model::history::Topic;
use crate::model::layout::{Layout, PanePlace, TABLE_MIN_HEIGHT};
use crate::model::pane::{Direction, MAX_ROWS, Position as At};
use crate::model::panels::ProblemsPanel;
use crate::model::screen::{Detail, LogScreen};
use crate::model::{Amount, Flow, Model, Purpose};
use crate::msg::Effect;
use crate::playback::ReplayCommand;
use crate::requests::Request;
use crate::update::field;
use crate::update::field::set_filter;
use crate::update::{actions, mouse, navigation, panes, replay, timeline};
use bklit_wire::debug_log::{Level, Stage};

/// The columns of a stage's name in the table of figures.
const NAME_WIDTH: u16 = 15;

impl Handler for LogScreen {
    fn act(model: &mut Model, action: Action, nth: usize) -> Outcome {
        if timeline::act(model, action) {
            return Outcome::Done(None);
        }
        match action {
            Action::Pause if model.replay.is_some() => {
                return Some(Effect::Replay(ReplayCommand::Toggle)).into();
            }
            Action::ScrollLeft | Action::ScrollRight => {
                scroll_sideways(model, action == Action::ScrollRight);
            }
            Action::SeekBack | Action::SeekOn if model.replay.is_none() => {
                scroll_sideways(model, action == Action::SeekOn);
            }
            Action::Wrap => set_wraps(model, !model.pane().wraps()),
            Action::Slower | Action::Faster | Action::SeekBack | Action::SeekOn => {
                return replay::act(model, action).into();
            }
            Action::Pause => pause(model),
            Action::Clear => clear(model),
            Action::Timeline => timeline::toggle(model),
            Action::Unclear => unclear(model),
            Action::Figures => toggle_figures(model),
            Action::ZoomIn | Action::ZoomOut => {
                let now = model.now;
                let span = model.panels.bars.zoom(action == Action::ZoomOut, now);
                model.notify(format!("bars of the last {}", span.name()));
                return poll_bars(model).into();
            }
            Action::Split
            | Action::ClosePane
            | Action::NextPane
            | Action::PreviousPane
            | Action::FullPane => panes::act(model, action),
            Action::Search => field::open(model, Purpose::Search),
            Action::Filter => field::open(model, Purpose::Filter),
            Action::NextMatch
            | Action::PreviousMatch
            | Action::NextError
            | Action::PreviousError
            | Action::NextWarning
            | Action::PreviousWarning
            | Action::NextOfEvent
            | Action::PreviousOfEvent
            | Action::Context
            | Action::Mark
            | Action::Jump
            | Action::Fold => navigation::act(model, action),
            Action::Detail if navigation::unfold(model) => {}
            Action::Detail => open_detail(model),
            Action::Projects => projects::open(model),
            Action::ToggleStage => change_stages(model, nth, StageSet::toggled),
            Action::OnlyStage => change_stages(model, nth, |_, stage| StageSet::only(stage)),
            Action::AllStages => set_filter(model, |filter| filter.stages = StageSet::ALL),
            Action::Level => next_level(model),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        let height = model.log_height();
        let pane = model.panes.focused_mut();
        match action {
            Action::Oldest => pane.go_to_oldest(),
            Action::Up => pane.move_lines(Direction::Older, 1, height),
            Action::Down => pane.move_lines(Direction::Newer, 1, height),
            Action::PageUp => pane.move_view(Direction::Older, height, height),
            Action::PageDown => pane.move_view(Direction::Newer, height, height),
            Action::HalfUp => pane.move_view(Direction::Older, height.div_ceil(2), height),
            Action::HalfDown => pane.move_view(Direction::Newer, height.div_ceil(2), height),
            _ => {
                pane.follow();
                model.timeline.deselect();
            }
        }
    }

    fn back(model: &mut Model) -> bool {
        timeline::leave(model)
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        poll_bars(model)
    }

    fn selection(model: &Model) -> Option<Selection> {
        selected(model).map(Selection::Line)
    }

    fn wheel(model: &mut Model, layout: &Layout, at: Position, action: Action) {
        let Some(place) = pane_at(model, layout, at) else { return };
        let height = place.lines.height.into();
        let Some(pane) = model.panes.get_mut(place.pane) else { return };
        let before = pane.position();
        if action == Action::Up {
            pane.move_view(Direction::Older, mouse::NOTCH, height);
        } else {
            pane.move_view(Direction::Newer, mouse::NOTCH, height);
            // Nothing but new lines follows the end.
            if pane.position() == before && before != At::Follow {
                pane.follow();
            }
        }
    }

    fn click(model: &mut Model, layout: &Layout, at: Position) -> Option<Effect> {
        let mut stages = Stage::ALL.into_iter();
        if let Some(stage) = stages.find(|&stage| layout.stage(stage).contains(at)) {
            // The name is a switch; the figures next to it open the stage's history.
            let is_figures = layout.table.is_some_and(|table| at.x >= table.x + NAME_WIDTH);
            if is_figures {
                return history::open(model, Topic::Stage(stage));
            }
            return actions::act(model, Action::ToggleStage, stage.index());
        }
        if timeline::click(model, layout, at) {
            return None;
        }
        timeline::leave(model);
        let place = pane_at(model, layout, at)?;
        let had_focus = model.panes.focus() == place.pane;
        model.panes.set_focus(place.pane);
        let line = line_at(model, &place, mouse::row_of(place.lines, at)?)?;
        let pane = model.panes.focused_mut();
        if had_focus && !pane.follows() && pane.cursor_line() == Some(line) {
            return actions::act(model, Action::Detail, 0);
        }
        if line < model.ring.first_of(pane.filter().level) {
            model.notify("that line is no longer kept");
        } else {
            pane.go_to_line(line, place.lines.height.into());
        }
        None
    }
}

/// Requests the history for the bars, if a request is due. A replay has no pipeline.
pub(super) fn poll_bars(model: &mut Model) -> Option<Effect> {
    let now = model.now;
    if model.replay.is_some() || model.layout()?.table.is_none() {
        return None;
    }
    let query = model.panels.bars.query(now)?;
    model.panels.bars.polled.is_due(now).then_some(Effect::Ask(Request::Bars(query)))
}

pub(super) fn selected(model: &Model) -> Option<Detail> {
    let number = model.pane().cursor_line()?;
    let line = model.ring.get(number)?.to_owned();
    Some(Detail { number, line, scroll: 0 })
}

/// Moves to the line shown before or after a line, which may itself be hidden.
pub(super) fn step(model: &mut Model, number: u64, direction: Direction) -> Option<Detail> {
    let height = model.log_height();
    model.panes.focused_mut().go_to_adjacent(number, direction, height);
    selected(model)
}

fn pane_at(model: &Model, layout: &Layout, at: Position) -> Option<PanePlace> {
    let places = layout.panes(&model.panes).into_iter();
    places.into_iter().find(|place| {
        place.lines.contains(at) || place.title.is_some_and(|title| title.contains(at))
    })
}

/// The number of the line on a row of a pane.
fn line_at(model: &Model, place: &PanePlace, row: usize) -> Option<u64> {
    let pane = model.panes.get(place.pane);
    if let Some(held) = pane.held(&model.ring) {
        return held.number_at(row);
    }
    pane.number_at(row, place.lines.height.into())
}

fn pause(model: &mut Model) {
    model.flow = match model.flow {
        Flow::Live => Flow::Paused { since: model.ring.next(), oldest: model.ring.first() },
        Flow::Paused { .. } => Flow::Live,
    };
    for nth in 0..model.panes.count() {
        let height = model.pane_height(nth);
        let Some(pane) = model.panes.get_mut(nth) else { continue };
        match model.flow {
            Flow::Live => pane.release(),
            Flow::Paused { .. } => pane.hold(&model.ring, height),
        }
    }
    model.update_panes();
}

/// Hides all lines: pressed by mistake, it can be undone.
fn clear(model: &mut Model) {
    let lines = model.ring.len() as u64;
    model.ring.hide_all();
    restart(model);
    let key = model.key(Action::Unclear);
    model.notify(format!("cleared {}; {key} shows them again", format::lines(lines)));
}

fn unclear(model: &mut Model) {
    if !model.ring.has_hidden() {
        return model.notify("no cleared lines to show");
    }
    let lines = model.ring.show_all();
    model.update_panes();
    model.notify(format!("{} shown again", format::lines(lines)));
}

/// Drops all lines; the panes keep their filters.
pub(in crate::update) fn forget_lines(model: &mut Model) {
    model.ring.clear();
    model.panels.problems = ProblemsPanel::default();
    restart(model);
}

fn restart(model: &mut Model) {
    model.seek = None;
    if let Flow::Paused { since, oldest } = &mut model.flow {
        (*since, *oldest) = (model.ring.next(), model.ring.first());
    }
    model.lost = 0;
    for pane in model.panes.all_mut() {
        pane.follow();
        pane.release();
    }
    model.update_panes();
}

fn toggle_figures(model: &mut Model) {
    let before = model.layout().map(|layout| layout.amount);
    model.amount = match model.amount {
        Amount::All => Amount::Few,
        Amount::Few => Amount::All,
    };
    if before == model.layout().map(|layout| layout.amount) {
        model.amount = Amount::All;
        model.notify(format!("more figures need at least {TABLE_MIN_HEIGHT} rows"));
    }
    model.settle_panes();
}

/// Wraps the focused pane's long lines, or cuts them off.
pub(in crate::update) fn set_wraps(model: &mut Model, wraps: bool) {
    model.panes.focused_mut().set_wraps(wraps);
    let key = model.key(Action::ScrollRight);
    model.notify(match wraps {
        true => format!("long lines wrapped, at most {MAX_ROWS} rows"),
        false => format!("long lines cut off; {key} scrolls to the right"),
    });
}

fn scroll_sideways(model: &mut Model, right: bool) {
    let (width, height) = (model.pane_width(model.panes.focus()), model.log_height());
    let pane = model.panes.focused_mut();
    if pane.wraps() {
        let key = model.key(Action::Wrap);
        return model.notify(format!("long lines are wrapped; {key} cuts them off"));
    }
    if !pane.scroll_sideways(right, &model.ring, width, height) {
        model.notify(match right {
            true => "this is the end of the longest line shown",
            false => "this is the start of the lines",
        });
    }
}

fn change_stages(model: &mut Model, nth: usize, change: impl Fn(StageSet, Stage) -> StageSet) {
    if let Some(&stage) = Stage::ALL.get(nth) {
        set_filter(model, |filter| filter.stages = change(filter.stages, stage));
    }
}

fn next_level(model: &mut Model) {
    set_filter(model, |filter| {
        filter.level = match filter.level {
            Level::Info => Level::Warn,
            Level::Warn => Level::Error,
            Level::Error => Level::Info,
        };
    });
}
