//! The mouse: the wheel scrolls what is under it, a click selects, and a click on what is selected
//! already opens it. Where things are is the layout's to say.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{actions, boards, palette, places};
use crate::keymap::Action;
use crate::model::boards::{LiveList, QueueList};
use crate::model::layout::{
    BATCH_HEAD, Layout, PROJECTS_HEAD, PanePlace, TRACE_HEAD, VERIFY_HEAD, below,
};
use crate::model::pane::{Direction, Position as At};
use crate::model::{Focus, Model, Screen};
use crate::msg::Effect;
use bklit_wire::debug_log::Stage;

/// Lines that one notch of the wheel scrolls.
const NOTCH: usize = 3;

/// Turns it on or off.
pub(super) fn toggle(model: &mut Model) -> Option<Effect> {
    set(model, !model.mouse)
}

pub(super) fn set(model: &mut Model, on: bool) -> Option<Effect> {
    model.mouse = on;
    let key = model.key(Action::Mouse);
    model.notify(if on {
        format!("the mouse is on; {key} gives it back to the terminal, to select text")
    } else {
        "the mouse is off".to_owned()
    });
    Some(Effect::Mouse(on))
}

pub(super) fn act(model: &mut Model, mouse: &MouseEvent) -> Option<Effect> {
    // What the terminal sent before it was told to stop.
    if !model.mouse {
        return None;
    }
    let layout = model.layout()?;
    let at = Position { x: mouse.column, y: mouse.row };
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            model.dirty = true;
            places::end_seek(model);
            click(model, &layout, at)
        }
        MouseEventKind::ScrollUp | MouseEventKind::ScrollDown => {
            model.dirty = true;
            places::end_seek(model);
            let is_up = mouse.kind == MouseEventKind::ScrollUp;
            wheel(model, &layout, at, is_up);
            None
        }
        _ => None,
    }
}

/// Which row of a list is there.
fn row_of(list: Rect, at: Position) -> Option<usize> {
    list.contains(at).then(|| usize::from(at.y - list.y))
}

fn pane_at(model: &Model, layout: &Layout, at: Position) -> Option<PanePlace> {
    let places = layout.panes(&model.panes).into_iter();
    places.into_iter().find(|place| {
        place.lines.contains(at) || place.title.is_some_and(|title| title.contains(at))
    })
}

fn wheel(model: &mut Model, layout: &Layout, at: Position, is_up: bool) {
    match &mut model.focus {
        Focus::Palette(palette) => {
            if layout.candidates(palette.candidates.len()).contains(at) {
                palette.choose(!is_up);
            }
            return;
        }
        // The letter is for the line that is selected.
        Focus::Letter(_) => return,
        Focus::Keys | Focus::Field(_) | Focus::Prompt(_) => {}
    }
    if !matches!(model.screen(), Screen::Log) {
        if layout.overlay().contains(at) {
            let action = if is_up { Action::Up } else { Action::Down };
            (0..NOTCH).for_each(|_| actions::scroll(model, action));
        }
        return;
    }
    let Some(place) = pane_at(model, layout, at) else { return };
    let height = place.lines.height.into();
    let Some(pane) = model.panes.get_mut(place.pane) else { return };
    let before = pane.position();
    if is_up {
        pane.move_view(Direction::Older, NOTCH, height);
    } else {
        pane.move_view(Direction::Newer, NOTCH, height);
        // Beyond the end there is only what comes.
        if pane.position() == before && before != At::Follow {
            pane.follow();
        }
    }
}

fn click(model: &mut Model, layout: &Layout, at: Position) -> Option<Effect> {
    match &mut model.focus {
        Focus::Keys => {}
        Focus::Palette(open) => {
            let list = layout.candidates(open.candidates.len());
            let row = row_of(list, at)?;
            open.choose_nth(open.top(list.height.into()) + row);
            return palette::list_files(model);
        }
        // Neither keeps nor cancels what is typed.
        Focus::Field(_) | Focus::Prompt(_) | Focus::Letter(_) => return None,
    }
    if let Screen::Log = model.screen() {
        return click_log(model, layout, at);
    }
    let list = list(model, layout, at)?;
    let place = list.top + row_of(list.area, at)?;
    if place == list.selected && place < list.count {
        return actions::act(model, list.opens, 0);
    }
    if place < list.count {
        select(model, list.kind, place);
    }
    None
}

/// Which list of a view.
#[derive(Clone, Copy)]
enum Kind {
    /// The only one.
    Only,
    /// The batches in flight.
    Batches,
    /// One of the live view.
    Live(LiveList),
}

/// The rows of a view of which one is selected.
struct List {
    kind: Kind,
    area: Rect,
    /// Rows scrolled out at the top.
    top: usize,
    count: usize,
    /// Nothing, where the keys move in another list.
    selected: usize,
    /// What a click on the selected one does.
    opens: Action,
}

fn list(model: &Model, layout: &Layout, at: Position) -> Option<List> {
    let view = layout.overlay();
    let only = |area, top, count, selected, opens| {
        Some(List { kind: Kind::Only, area, top, count, selected, opens })
    };
    match model.screen() {
        Screen::Trace(shown) => {
            let (count, selected) = (shown.rows().len(), shown.selected());
            only(below(view, TRACE_HEAD), shown.top, count, selected, Action::Detail)
        }
        Screen::Projects(projects) => {
            let area = below(view, PROJECTS_HEAD);
            let (top, count) = (projects.top(area.height.into()), projects.choices().len());
            only(area, top, count, projects.selected(), Action::Accept)
        }
        Screen::Batch(shown) => {
            let (cursor, count) = (shown.cursor, shown.events().len());
            only(below(view, BATCH_HEAD), cursor.top(), count, cursor.selected(), Action::Trace)
        }
        Screen::Verify => {
            let board = &model.boards.verify;
            let area = below(view, VERIFY_HEAD);
            only(area, board.top, board.count(), board.selected(), Action::Detail)
        }
        Screen::Queue => queue_list(model, view, at),
        Screen::Live => live_list(model, view, at),
        _ => None,
    }
}

fn queue_list(model: &Model, view: Rect, at: Position) -> Option<List> {
    let (board, parts) = (&model.boards.queue, model.queue_parts());
    let batches = parts.batch_list(view);
    let (kind, area, cursor, count, is_focused) = if batches.contains(at) {
        let is_focused = board.list() == QueueList::Batches;
        (Kind::Batches, batches, board.batch, board.batches().len(), is_focused)
    } else {
        let is_focused = board.list() == QueueList::Failed;
        (Kind::Only, parts.failed_list(view), board.cursor, board.count(), is_focused)
    };
    let selected = if is_focused { cursor.selected() } else { usize::MAX };
    Some(List { kind, area, top: cursor.top(), count, selected, opens: Action::FailedDetail })
}

fn live_list(model: &Model, view: Rect, at: Position) -> Option<List> {
    let board = &model.boards.live;
    let areas = LiveList::ALL.into_iter().zip(model.live_parts().lists(view));
    let (list, area) = areas.into_iter().find(|(_, area)| area.contains(at))?;
    let cursor = board.cursor(list);
    let selected = if board.list() == list { cursor.selected() } else { usize::MAX };
    let count = board.counts()[list as usize];
    let (kind, top) = (Kind::Live(list), cursor.top());
    Some(List { kind, area, top, count, selected, opens: Action::OpenRow })
}

fn select(model: &mut Model, kind: Kind, place: usize) {
    let (trace, findings, events) = (model.trace_rows(), model.verify_rows(), model.batch_rows());
    let (queue, live) = (model.queue_parts(), model.live_parts());
    match (model.screens.last_mut(), kind) {
        (Some(Screen::Trace(shown)), _) => shown.select(place, trace),
        (Some(Screen::Projects(projects)), _) => projects.select(place),
        (Some(Screen::Batch(shown)), _) => {
            let count = shown.events().len();
            shown.cursor.select(place, count, events);
        }
        (Some(Screen::Queue), Kind::Batches) => {
            model.boards.queue.select_batch(place, queue.batches.into());
        }
        (Some(Screen::Queue), _) => model.boards.queue.select(place, queue.failed.into()),
        (Some(Screen::Live), Kind::Live(list)) => {
            model.boards.live.select(list, place, live.rows[list as usize].into());
        }
        (Some(Screen::Verify), _) => model.boards.verify.select(place, findings),
        _ => {}
    }
    // Which list has the keys decides how much room each has.
    boards::settle(model);
}

fn click_log(model: &mut Model, layout: &Layout, at: Position) -> Option<Effect> {
    if let Some(stage) = Stage::ALL.into_iter().find(|&stage| layout.stage(stage).contains(at)) {
        return actions::act(model, Action::ToggleStage, stage.index());
    }
    let place = pane_at(model, layout, at)?;
    let had_focus = model.panes.focus() == place.pane;
    model.panes.set_focus(place.pane);
    let line = line_at(model, &place, row_of(place.lines, at)?)?;
    let pane = model.panes.focused_mut();
    if had_focus && !pane.follows() && pane.cursor_line() == Some(line) {
        return actions::act(model, Action::Detail, 0);
    }
    if model.ring.get(line).is_none() {
        model.notify("that line is no longer kept");
    } else {
        pane.go_to_line(line, place.lines.height.into());
    }
    None
}

/// The number of the line on a row of a pane.
fn line_at(model: &Model, place: &PanePlace, row: usize) -> Option<u64> {
    let pane = model.panes.get(place.pane);
    if let Some(held) = pane.held(&model.ring) {
        return held.get(row).map(|(number, _)| *number);
    }
    let shown = pane.window(place.lines.height.into()).range;
    pane.index().range(shown).nth(row).copied()
}
