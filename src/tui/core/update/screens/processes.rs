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
        let (height, count) = (model.process_list_height(), model.process_rows().len());
        let cursor = &mut model.panels.processes;
        cursor.select(target(action, cursor.selected(), height), count, height);
    }

    fn settle(model: &mut Model) {
        let (height, count) = (model.process_list_height(), model.process_rows().len());
        model.panels.processes.settle(count, height);
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        model.dirty = true;
        super::log::poll_bars(model)
    }

    fn selection(model: &Model) -> Option<Selection> {
        let nth = model.panels.processes.selected();
        let row = model.process_rows().into_iter().nth(nth)?;
        Some(Selection::item(&row.about, Some(row.process), None))
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        vec![List {
            area: below(view, PROCESSES_HEAD),
            top: model.panels.processes.top(),
            count: model.process_rows().len(),
            selected: Some(model.panels.processes.selected()),
            opens: Action::OpenRow,
        }]
    }

    fn select(model: &mut Model, _list: usize, place: usize) {
        let (height, count) = (model.process_list_height(), model.process_rows().len());
        model.panels.processes.select(place, count, height);
    }
}

/// Shows only the selected process's lines.
fn open_row(model: &mut Model) {
    let nth = model.panels.processes.selected();
    let Some(row) = model.process_rows().into_iter().nth(nth) else {
        return model.notify(NO_LINE);
    };
    model.screens.clear();
    model.notify(format!("only lines of process {}; :process all shows all", row.process));
    set_process(model, Some(row.process));
}
