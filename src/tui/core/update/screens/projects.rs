//! The list of projects.

use crossterm::event::{Event, KeyEvent};
use ratatui::layout::Rect;
use tui_input::backend::crossterm::to_input_request;

use super::{Handler, List, Outcome};
use crate::keymap::Action;
use crate::model::layout::{PROJECTS_HEAD, below};
use crate::model::projects::Projects;
use crate::model::screen::Shown as _;
use crate::model::{Model, Screen};
use crate::update::field::set_filter;
use crate::update::typing;

/// The most bytes in the input that narrows the list.
const MAX_TYPED: usize = 100;

impl Handler for Projects {
    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::Accept => accept(model),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        let Some(projects) = model.shown_mut::<Self>() else { return };
        let (place, last) = (projects.selected(), projects.choices().len().saturating_sub(1));
        projects.select(match action {
            Action::Up => place.saturating_sub(1),
            _ => (place + 1).min(last),
        });
    }

    fn type_key(model: &mut Model, key: &KeyEvent) {
        let Some(projects) = model.shown_mut::<Self>() else { return };
        let Some(request) = to_input_request(&Event::Key(*key)) else { return };
        if typing::edit(&mut projects.input, [request], MAX_TYPED) {
            projects.select(0);
        }
    }

    fn work(model: &mut Model) -> bool {
        let ring = &model.ring;
        let shown = model.screens.last_mut().and_then(Self::of_mut);
        let Some(projects) = shown.filter(|projects| projects.has_work(ring)) else {
            return false;
        };
        projects.work(ring);
        model.dirty = true;
        true
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        let Some(projects) = model.shown::<Self>() else { return Vec::new() };
        let area = below(view, PROJECTS_HEAD);
        vec![List {
            area,
            top: projects.top(area.height.into()),
            count: projects.choices().len(),
            selected: Some(projects.selected()),
            opens: Action::Accept,
        }]
    }

    fn select(model: &mut Model, _list: usize, place: usize) {
        if let Some(projects) = model.shown_mut::<Self>() {
            projects.select(place);
        }
    }
}

/// Opens the list.
pub(super) fn open(model: &mut Model) {
    model.push_screen(Screen::Projects(Projects::new(&model.ring)));
}

/// Shows only the selected project, in the focused pane.
fn accept(model: &mut Model) {
    let Some(projects) = model.shown::<Projects>() else { return };
    let Some(chosen) = projects.chosen() else {
        return model.notify("no project matches");
    };
    model.screens.pop();
    set_filter(model, |filter| filter.project = chosen);
}
