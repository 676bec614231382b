//! A page of graphs: the pipeline's or a stage's latencies, rate and failures over time.

use ratatui::layout::{Position, Rect};

use super::{Handler, List, Outcome, Selection, settle};
use crate::keymap::Action;
use crate::model::cursor::target;
use crate::model::history::{PageParts, Shift, Topic};
use crate::model::layout::Layout;
use crate::model::panels::HistoryList;
use crate::model::screen::{HistoryScreen, Screen};
use crate::model::trace::Subject;
use crate::model::{HistoryRow, Model};
use crate::msg::Effect;
use crate::requests::Request;
use crate::update::field::set_filter;
use crate::update::navigation;
use bklit_wire::debug_log::Stage;
use bklit_wire::time::UtcMillis;

/// Points by which a page key moves the selected time.
const PAGE: i64 = 12;

impl Handler for HistoryScreen {
    const IS_PANEL: bool = true;

    fn act(model: &mut Model, action: Action, nth: usize) -> Outcome {
        let now = model.now;
        match action {
            Action::Earlier => move_cursor(model, -1),
            Action::Later => move_cursor(model, 1),
            Action::MuchEarlier => move_cursor(model, -PAGE),
            Action::MuchLater => move_cursor(model, PAGE),
            Action::Present => {
                let panel = &mut model.panels.history;
                panel.cursor = None;
                panel.show(panel.span, None);
                follow(model);
            }
            Action::ZoomIn | Action::ZoomOut => {
                model.panels.history.zoom(action == Action::ZoomOut, now);
            }
            Action::Compare => {
                let panel = &mut model.panels.history;
                panel.overlay = match panel.overlay {
                    None => Some(Shift::Hour),
                    Some(Shift::Hour) => Some(Shift::Day),
                    Some(Shift::Day) => Some(Shift::Week),
                    Some(Shift::Week) => None,
                };
            }
            Action::NextList | Action::PreviousList => change_list(model, action),
            Action::ShowStage => {
                let stage = Stage::ALL.get(nth).copied();
                show_topic(model, stage.map_or(Topic::Pipeline, Topic::Stage));
            }
            Action::ShowPipeline => show_topic(model, Topic::Pipeline),
            Action::OpenRow => return open_row(model).into(),
            Action::ShowTime => return show_time(model).into(),
            _ => return Outcome::Ignored,
        }
        settle(model);
        poll_now(model).into()
    }

    fn scroll(model: &mut Model, action: Action) {
        let height = model.history_parts().list_rows().height.into();
        let count = model.history_rows().len();
        let selected = &mut model.panels.history.selected;
        selected.select(target(action, selected.selected(), height), count, height);
    }

    fn settle(model: &mut Model) {
        model.refresh_minute(false);
        let height = model.history_parts().list_rows().height.into();
        let count = model.history_rows().len();
        model.panels.history.selected.settle(count, height);
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        model.dirty = true;
        model.panels.history.follow_cursor(model.now);
        model.refresh_minute(true);
        poll_now(model)
    }

    fn selection(model: &Model) -> Option<Selection> {
        let nth = model.panels.history.selected.selected();
        Some(match model.history_rows().into_iter().nth(nth)? {
            HistoryRow::Line(line) => {
                let subject = line.event.clone().map(Subject::Event);
                Selection::item(line, line.event.as_ref(), subject)
            }
            HistoryRow::Project(project) => Selection::item(project, Some(&project.project), None),
        })
    }

    fn lists(model: &Model, _view: Rect) -> Vec<List> {
        let selected = model.panels.history.selected;
        vec![List {
            area: model.history_parts().list_rows(),
            top: selected.top(),
            count: model.history_rows().len(),
            selected: Some(selected.selected()),
            opens: Action::OpenRow,
        }]
    }

    fn select(model: &mut Model, _list: usize, place: usize) {
        let height = model.history_parts().list_rows().height.into();
        let count = model.history_rows().len();
        model.panels.history.selected.select(place, count, height);
    }

    /// Selects the time that is clicked.
    fn click(model: &mut Model, layout: &Layout, at: Position) -> Option<Effect> {
        let graphs = PageParts::of(layout.overlay()).graphs();
        if graphs.contains(at) {
            let series = model.series();
            let column = usize::from(at.x - graphs.x);
            let points = series.of_column(column, graphs.width.into());
            let time = series.time(points.end.saturating_sub(1)).epoch_millis();
            model.panels.history.cursor = Some(time);
            follow(model);
            return poll_now(model);
        }
        let list = Self::lists(model, layout.overlay()).pop()?;
        let place = list.top + crate::update::mouse::row_of(list.area, at)?;
        if !list.area.contains(at) || place >= list.count {
            return None;
        }
        if list.selected == Some(place) {
            return open_row(model);
        }
        Self::select(model, 0, place);
        None
    }
}

/// Opens the page of the whole pipeline, or of a stage, at the present time. If it is open, another
/// stage is shown at the same time.
pub(in crate::update) fn open(model: &mut Model, topic: Topic) -> Option<Effect> {
    show_topic(model, topic);
    let is_open = matches!(model.screen(), Screen::History(_));
    if !is_open {
        super::replace_panel(model, Screen::History(HistoryScreen));
    }
    if !is_open || topic == Topic::Pipeline {
        let panel = &mut model.panels.history;
        panel.cursor = None;
        panel.show(panel.span, None);
    }
    settle(model);
    poll_now(model)
}

fn show_topic(model: &mut Model, topic: Topic) {
    let panel = &mut model.panels.history;
    if topic != panel.topic {
        panel.topic = topic;
        panel.selected = Default::default();
        if topic != Topic::Pipeline && panel.list == HistoryList::Projects {
            panel.list = HistoryList::default();
        }
    }
}

/// Requests the window, if a request is due. A replay has no pipeline.
fn poll_now(model: &mut Model) -> Option<Effect> {
    let now = model.now;
    if model.replay.is_some() {
        return None;
    }
    let panel = &mut model.panels.history;
    let query = panel.query(now)?;
    panel.polled.is_due(now).then_some(Effect::Ask(Request::History(query)))
}

fn move_cursor(model: &mut Model, points: i64) {
    let now = model.now;
    model.panels.history.step(points, now);
    follow(model);
}

/// Lets the log follow the selected time.
fn follow(model: &mut Model) {
    match model.panels.history.cursor {
        Some(at) => navigation::show_time(model, UtcMillis::from_epoch_millis(at)),
        None => model.panes.focused_mut().follow(),
    }
}

fn change_list(model: &mut Model, action: Action) {
    let panel = &mut model.panels.history;
    let lists = if panel.topic == Topic::Pipeline { 3 } else { 2 };
    let step = if action == Action::NextList { 1 } else { lists - 1 };
    let nth = (panel.list as usize + step) % lists;
    panel.list = HistoryList::ALL[nth];
    panel.selected = Default::default();
}

/// Closes the page for the log, which shows the selected time if it holds it. Without a selected
/// time, opens the selected row.
fn show_time(model: &mut Model) -> Option<Effect> {
    let Some(at) = model.panels.history.cursor else { return open_row(model) };
    let end = at + model.panels.history.span.step();
    let seconds = at.div_euclid(1000)..end.div_euclid(1000);
    let height = model.log_height();
    if model.panes.focused_mut().go_to_time(&seconds, &model.ring, height) {
        model.screens.clear();
        return None;
    }
    let time = |at: i64| model.moment(UtcMillis::from_epoch_millis(at));
    let Some((oldest, newest)) = navigation::held(model) else {
        model.notify("the log has no lines");
        return None;
    };
    if end <= oldest || at > newest {
        let says = format!("not in the log, which holds {} to {}", time(oldest), time(newest));
        model.notify(says);
        return None;
    }
    let says =
        format!("no line from {} to {} is shown; this is the nearest one", time(at), time(end));
    navigation::show_time(model, UtcMillis::from_epoch_millis(at));
    model.screens.clear();
    model.notify(says);
    None
}

/// Traces the selected event, or shows only the selected project's lines.
fn open_row(model: &mut Model) -> Option<Effect> {
    let nth = model.panels.history.selected.selected();
    let project = match model.history_rows().get(nth) {
        Some(HistoryRow::Project(project)) => project.project.clone(),
        Some(HistoryRow::Line(_)) => return super::trace::open(model),
        None => {
            model.notify(crate::update::actions::NO_LINE);
            return None;
        }
    };
    model.screens.clear();
    model.notify(format!("only lines of project {project}; :project all shows all"));
    set_filter(model, |filter| filter.project = Some(project));
    None
}
