//! What each action of the key table does.

use super::field::{self, set_filter};
use super::{alerts, boards, mouse, palette, panes, places, queue, replay, trace};
use crate::keymap::Action;
use crate::model::filter::StageSet;
use crate::model::pane::Direction;
use crate::model::{Amount, Detail, Flow, Focus, Model, Purpose, Screen};
use crate::msg::Effect;
use crate::replay::ReplayCommand;
use crate::view;
use bklit_wire::debug_log::{Level, Stage};

/// Said where an action needs a line.
pub(super) const NO_LINE: &str = "no line is selected";

/// Does it; `nth` is which of the binding's keys was pressed.
pub(super) fn act(model: &mut Model, action: Action, nth: usize) -> Option<Effect> {
    match action {
        Action::Quit => return Some(Effect::Quit),
        Action::Redraw => return Some(Effect::Redraw),
        Action::Suspend => return Some(Effect::Suspend),
        Action::CopyId => return copy_id(model),
        Action::CopyLine => return copy_line(model),
        Action::Pause if model.replay.is_some() => {
            return Some(Effect::Replay(ReplayCommand::Toggle));
        }
        Action::Slower | Action::Faster | Action::SeekBack | Action::SeekOn => {
            return replay::act(model, action);
        }
        Action::Mouse => return mouse::toggle(model),
        Action::Palette => palette::open(model),
        Action::Accept | Action::Cancel if matches!(model.focus(), Focus::Palette(_)) => {
            return palette::act(model, action);
        }
        Action::NextCandidate
        | Action::PreviousCandidate
        | Action::OlderCommand
        | Action::NewerCommand => return palette::act(model, action),
        Action::Acknowledge => alerts::acknowledge(model),
        Action::Pause => pause(model),
        Action::Clear => clear(model),
        Action::Figures => toggle_figures(model),
        Action::Split
        | Action::ClosePane
        | Action::NextPane
        | Action::PreviousPane
        | Action::FullPane => {
            panes::act(model, action);
        }
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
        | Action::Fold => places::act(model, action),
        Action::Trace => return trace::open(model),
        Action::NextList | Action::PreviousList => boards::change_list(model, action),
        Action::OpenRow => return boards::open_row(model),
        Action::Projects => trace::open_projects(model),
        Action::Queue | Action::Live | Action::Verify => return boards::open(model, action),
        Action::FailedDetail => return queue::inspect(model),
        Action::QueueFilter | Action::Export => queue::ask(model, action),
        Action::RetryOne | Action::RetryAll | Action::DeleteOne | Action::DeleteAll => {
            return queue::change(model, action);
        }
        Action::Accept if matches!(model.focus(), Focus::Prompt(_)) => {
            return queue::accept(model);
        }
        Action::Cancel if matches!(model.focus(), Focus::Prompt(_)) => queue::cancel(model),
        Action::Accept if matches!(model.screen(), Screen::Projects(_)) => {
            trace::accept_project(model);
        }
        Action::Accept => field::accept(model),
        Action::Cancel => field::cancel(model),
        Action::Back => back(model),
        Action::Help => {
            let of = model.context();
            model.push_screen(Screen::Help { scroll: 0, of });
        }
        Action::Detail => open_detail(model),
        Action::NextLine => step_detail(model, Direction::Newer),
        Action::PreviousLine => step_detail(model, Direction::Older),
        Action::ToggleStage => change_stages(model, nth, StageSet::toggled),
        Action::OnlyStage => change_stages(model, nth, |_, stage| StageSet::only(stage)),
        Action::AllStages => set_filter(model, |filter| filter.stages = StageSet::ALL),
        Action::Level => next_level(model),
        Action::Follow
        | Action::Oldest
        | Action::Up
        | Action::Down
        | Action::PageUp
        | Action::PageDown
        | Action::HalfUp
        | Action::HalfDown => scroll(model, action),
    }
    None
}

pub(super) fn scroll(model: &mut Model, action: Action) {
    match model.screen() {
        Screen::Log => scroll_log(model, action),
        Screen::Trace(_) => trace::scroll(model, action),
        Screen::Projects(_) => trace::choose(model, action),
        Screen::Queue | Screen::Verify | Screen::Live | Screen::Batch(_) => {
            boards::scroll(model, action);
        }
        Screen::Detail(_) | Screen::Failed(_) | Screen::Help { .. } => scroll_view(model, action),
    }
}

fn scroll_log(model: &mut Model, action: Action) {
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
        _ => pane.follow(),
    }
}

fn scroll_view(model: &mut Model, action: Action) {
    let page = model.layout().map_or(1, |layout| layout.overlay_rows());
    let Some(scroll) = scroll_of(model) else { return };
    *scroll = match action {
        Action::Oldest => 0,
        Action::Up => scroll.saturating_sub(1),
        Action::Down => scroll.saturating_add(1),
        Action::PageUp => scroll.saturating_sub(page),
        Action::PageDown => scroll.saturating_add(page),
        Action::HalfUp => scroll.saturating_sub(page.div_ceil(2)),
        Action::HalfDown => scroll.saturating_add(page.div_ceil(2)),
        _ => usize::MAX,
    };
    settle_scroll(model);
}

fn scroll_of(model: &mut Model) -> Option<&mut usize> {
    match model.screens.last_mut()? {
        Screen::Failed(shown) => Some(&mut shown.scroll),
        Screen::Detail(detail) => Some(&mut detail.scroll),
        Screen::Help { scroll, .. } => Some(scroll),
        _ => None,
    }
}

/// Scrolls no further than to the last row of a view.
pub(super) fn settle_scroll(model: &mut Model) {
    let Some(layout) = model.layout() else { return };
    let rows = view::overlay_rows(model, layout.overlay().width);
    let most = rows.saturating_sub(layout.overlay_rows());
    if let Some(scroll) = scroll_of(model) {
        *scroll = (*scroll).min(most);
    }
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

fn clear(model: &mut Model) {
    let lines = model.ring.len();
    forget_lines(model);
    model.notify(format!("cleared {} lines", view::format::count(lines as u64)));
}

/// Forgets all lines; the panes keep their filters.
pub(super) fn forget_lines(model: &mut Model) {
    model.ring.clear();
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
        model.notify("more figures need at least 24 rows");
    }
    model.settle_panes();
}

/// Closes the view on top; without one, ends the search, then the filter. Never ends the console.
fn back(model: &mut Model) {
    if queue::end_filter(model) {
        return;
    }
    if model.screens.pop().is_some() {
        return;
    }
    if model.alerts.acknowledge() {
        return;
    }
    if model.pane().in_context() {
        places::act(model, Action::Context);
    } else if model.pane().search().is_some() {
        field::apply(model, Purpose::Search, None);
    } else if model.pane().filter().query.is_some() {
        field::apply(model, Purpose::Filter, None);
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

fn open_detail(model: &mut Model) {
    if matches!(model.screen(), Screen::Log) && places::unfold(model) {
        return;
    }
    match boards::detail(model).or_else(|| trace::detail(model)).or_else(|| detail_of_cursor(model))
    {
        Some(detail) => model.push_screen(Screen::Detail(detail)),
        None => model.notify(NO_LINE),
    }
}

fn detail_of_cursor(model: &Model) -> Option<Detail> {
    let number = model.pane().cursor_line()?;
    let line = model.ring.get(number)?.to_owned();
    Some(Detail { number, line, scroll: 0 })
}

/// Goes to the line before or after the one shown in full; the log behind goes with it.
fn step_detail(model: &mut Model, direction: Direction) {
    let Some(Screen::Detail(shown)) = model.screens.last() else { return };
    let number = shown.number;
    if let [.., Screen::Trace(_), _] = model.screens.as_slice() {
        // The one opened from a trace goes through the trace.
        let before = model.screens.pop();
        let step = if direction == Direction::Older { Action::Up } else { Action::Down };
        trace::scroll(model, step);
        model.screens.extend(trace::detail(model).map(Screen::Detail).or(before));
        return;
    }
    if let [.., Screen::Verify, _] = model.screens.as_slice() {
        let before = model.screens.pop();
        // The newest stands first.
        let step = if direction == Direction::Older { Action::Down } else { Action::Up };
        boards::scroll(model, step);
        model.screens.extend(boards::detail(model).map(Screen::Detail).or(before));
        return;
    }
    let height = model.log_height();
    model.panes.focused_mut().go_beside(number, direction, height);
    match detail_of_cursor(model) {
        Some(detail) if detail.number != number => {
            model.screens.pop();
            model.push_screen(Screen::Detail(detail));
        }
        _ => model.notify(match direction {
            Direction::Older => "this is the oldest line",
            Direction::Newer => "this is the newest line",
        }),
    }
}

fn copy_id(model: &mut Model) -> Option<Effect> {
    if let Some(id) = boards::selected_id(model) {
        model.notify(
            id.as_ref().map_or_else(|| "it has no id".to_owned(), |id| format!("copied {id}")),
        );
        return id.map(Effect::Copy);
    }
    if model.ring.is_empty()
        && let Some(curl) = model.options.curl.clone()
    {
        model.notify("copied the curl command");
        return Some(Effect::Copy(curl));
    }
    let (notice, id) = match with_line(model, |line| line.event_id().map(str::to_owned)) {
        Some(Some(id)) => (format!("copied {id}"), Some(id)),
        Some(None) => ("this line has no event id".to_owned(), None),
        None => (NO_LINE.to_owned(), None),
    };
    model.notify(notice);
    id.map(Effect::Copy)
}

fn copy_line(model: &mut Model) -> Option<Effect> {
    let json = boards::selected_json(model).or_else(|| with_line(model, |line| line.to_json()));
    model.notify(if json.is_some() { "copied the line as JSON" } else { NO_LINE });
    json.map(Effect::Copy)
}

/// The line shown in full, or else the selected one.
fn with_line<T>(
    model: &Model,
    read: impl FnOnce(crate::model::line::LineRef<'_>) -> T,
) -> Option<T> {
    match model.screen() {
        Screen::Detail(detail) => Some(read(detail.line.as_ref())),
        Screen::Trace(trace) => trace.selected_row().map(|row| read(row.line.as_ref())),
        Screen::Verify => {
            let (_, line) = model.boards.verify.selected_line()?;
            Some(read(line.as_ref()))
        }
        Screen::Queue | Screen::Failed(_) | Screen::Batch(_) | Screen::Live => None,
        Screen::Log | Screen::Projects(_) | Screen::Help { .. } => {
            model.pane().cursor_line().and_then(|number| model.ring.get(number)).map(read)
        }
    }
}
