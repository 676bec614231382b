//! The processes of the pipeline.

use ratatui::layout::Rect;

use super::{Handler, List, Outcome, Selection};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::cursor::target;
use crate::model::layout::{PROCESSES_HEAD, below};
use crate::model::screen::ProcessesScreen;
use crate::msg::Effect;
use crate::update::actions::NO_LINE;
use crate::update::field::set_process;

impl Handler for ProcessesScreen {
    const IS_PANEL: bool = true;

    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::OpenRow => open_row(model),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        let place =
            target(action, model.panels.processes.cursor.selected(), model.process_list_height());
        Self::select(model, 0, place);
    }

    fn settle(model: &mut Model) {
        let height = model.process_list_height();
        let processes = &mut model.panels.processes;
        processes.cursor.settle(processes.rows().len(), height);
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        model.dirty = true;
        refresh(model);
        super::log::poll_bars(model)
    }

    fn selection(model: &Model) -> Option<Selection> {
        let row = model.panels.processes.selected()?;
        Some(Selection::item(&row.about, Some(&row.process), None))
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        vec![List {
            area: below(view, PROCESSES_HEAD),
            top: model.panels.processes.cursor.top(),
            count: model.panels.processes.rows().len(),
            selected: Some(model.panels.processes.cursor.selected()),
            opens: Action::OpenRow,
        }]
    }

    fn select(model: &mut Model, _list: usize, place: usize) {
        let height = model.process_list_height();
        let processes = &mut model.panels.processes;
        processes.cursor.select(place, processes.rows().len(), height);
    }
}

/// Brings the list up to date, if it is shown.
pub(in crate::update) fn refresh(model: &mut Model) {
    if model.shown::<ProcessesScreen>().is_some() {
        model.refresh_processes();
        <ProcessesScreen as Handler>::settle(model);
    }
}

/// Shows only the selected process's lines.
fn open_row(model: &mut Model) {
    let Some(process) = model.panels.processes.selected().map(|row| row.process.clone()) else {
        return model.notify(NO_LINE);
    };
    model.screens.clear();
    model.notify(format!("only lines of process {process}; :process all shows all"));
    set_process(model, Some(process));
}
