//! Current visitors: projects, top pages, last events.

use ratatui::layout::Rect;

use super::{Handler, List, Outcome, Selection, neighbour, trace};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::cursor::{across, target};
use crate::model::panels::{VisitorsItem, VisitorsList};
use crate::model::query::Query;
use crate::model::query::ast::{Ast, DataTest, Term, Test};
use crate::model::screen::VisitorsScreen;
use crate::model::trace::Subject;
use crate::msg::Effect;
use crate::requests::Request;
use crate::update::actions::NO_LINE;
use crate::update::field::set_filter;

impl Handler for VisitorsScreen {
    const IS_PANEL: bool = true;

    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::NextList | Action::PreviousList => change_list(model, action),
            Action::OpenRow => return open_row(model).into(),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        let rows = model.visitors_parts().rows;
        let panel = &mut model.panels.visitors;
        let (list, place) = (panel.list() as usize, panel.cursor(panel.list()).selected());
        let within = || (list, target(action, place, rows[list].into()));
        let (list, place) = across(action, list, place, &panel.counts()).unwrap_or_else(within);
        panel.select(VisitorsList::ALL[list], place, rows[list].into());
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        model.dirty = true;
        model.panels.visitors.polled.is_due(model.now).then_some(Effect::Ask(Request::Live))
    }

    fn selection(model: &Model) -> Option<Selection> {
        Some(match model.panels.visitors.selected()? {
            VisitorsItem::Project(project) => {
                Selection::item(project, Some(&project.project_id), None)
            }
            VisitorsItem::Page(page) => Selection::item(page, Some(&page.url), None),
            VisitorsItem::Event(event) => {
                let subject = Subject::Event(event.event_id.clone());
                Selection::item(event, Some(&event.event_id), Some(subject))
            }
        })
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        let panel = &model.panels.visitors;
        let areas = VisitorsList::ALL.into_iter().zip(model.visitors_parts().lists(view));
        let lists = areas.map(|(list, area)| {
            let cursor = panel.cursor(list);
            let selected = (panel.list() == list).then_some(cursor.selected());
            let count = panel.counts()[list as usize];
            List { area, top: cursor.top(), count, selected, opens: Action::OpenRow }
        });
        lists.collect()
    }

    fn select(model: &mut Model, list: usize, place: usize) {
        let rows = model.visitors_parts().rows;
        model.panels.visitors.select(VisitorsList::ALL[list], place, rows[list].into());
    }
}

fn change_list(model: &mut Model, action: Action) {
    let panel = &mut model.panels.visitors;
    if let Some(list) = neighbour(action, panel.list() as usize, &panel.counts()) {
        panel.list = VisitorsList::ALL[list];
    }
}

/// Shows the subject of the selected row.
fn open_row(model: &mut Model) -> Option<Effect> {
    let (project, page) = match model.panels.visitors.selected() {
        Some(VisitorsItem::Project(project)) => (project.project_id.clone(), None),
        Some(VisitorsItem::Page(page)) => (page.project_id.clone(), Some(page.url.clone())),
        Some(VisitorsItem::Event(_)) => return trace::open(model),
        None => {
            model.notify(NO_LINE);
            return None;
        }
    };
    model.screens.clear();
    let query = page.and_then(|url| {
        let test = Test::Data("url".to_owned(), DataTest::Is(url));
        Query::of(Ast { inverted: false, terms: vec![Term { negated: false, test }] })
    });
    let notice = match &query {
        Some(query) => format!("only {} of project {project}", query.source()),
        None => format!("only lines of project {project}; :project all shows all"),
    };
    set_filter(model, |filter| {
        filter.project = Some(project);
        if query.is_some() {
            filter.query = query;
        }
    });
    model.notify(notice);
    None
}
