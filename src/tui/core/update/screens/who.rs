//! Where events come from.

use ratatui::layout::Rect;

use super::{Handler, List, Outcome, Selection};
use crate::keymap::Action;
use crate::model::cursor::target;
use crate::model::filter::Filter;
use crate::model::parts::ListParts;
use crate::model::query::Query;
use crate::model::query::ast::{Ast, DataTest, Term, Test};
use crate::model::screen::WhoScreen;
use crate::model::{ExportOf, Model, PromptPurpose};
use crate::msg::Effect;
use crate::requests::Request;
use crate::update::actions::NO_LINE;
use crate::update::field::set_filter;
use crate::update::prompt;
use bklit_wire::event::EventKind;
use bklit_wire::who::{Dimension, MAX_VALUE, WhoQuery};

impl Handler for WhoScreen {
    const IS_PANEL: bool = true;

    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        let query = model.panels.who.query();
        let changed = match action {
            Action::NextList => WhoQuery { by: query.by.cycle(true), ..query },
            Action::PreviousList => WhoQuery { by: query.by.cycle(false), ..query },
            Action::ZoomIn => WhoQuery { span: query.span.cycle(false), ..query },
            Action::ZoomOut => WhoQuery { span: query.span.cycle(true), ..query },
            Action::SortGroups => WhoQuery { sort: query.sort.cycle(true), ..query },
            Action::OpenRow => {
                open_row(model);
                return Outcome::Done(None);
            }
            Action::ExportGroup => {
                export(model);
                return Outcome::Done(None);
            }
            _ => return Outcome::Ignored,
        };
        model.panels.who.show(changed);
        Self::poll(model).into()
    }

    fn scroll(model: &mut Model, action: Action) {
        let height = usize::from(model.list_parts().list.height);
        let place = target(action, model.panels.who.cursor.selected(), height);
        Self::select(model, 0, place);
    }

    fn settle(model: &mut Model) {
        let height = usize::from(model.list_parts().list.height);
        let who = &mut model.panels.who;
        let count = who.rows().len();
        who.cursor.settle(count, height);
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        model.dirty = true;
        model.refresh_processes();
        let who = &mut model.panels.who;
        let request = Request::Who(who.query());
        who.polled.is_due(model.now).then_some(Effect::Ask(request))
    }

    fn selection(model: &Model) -> Option<Selection> {
        let row = model.panels.who.selected()?;
        Some(Selection::item(row, Some(&row.value), None))
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        let who = &model.panels.who;
        vec![List {
            area: ListParts::of(view).list,
            top: who.cursor.top(),
            count: who.rows().len(),
            selected: Some(who.cursor.selected()),
            opens: Action::OpenRow,
        }]
    }

    fn select(model: &mut Model, _list: usize, place: usize) {
        let height = usize::from(model.list_parts().list.height);
        let who = &mut model.panels.who;
        let count = who.rows().len();
        who.cursor.select(place, count, height);
    }
}

/// The lines of the selected value.
struct Wanted {
    project: Option<String>,
    query: Option<Query>,
}

impl Wanted {
    fn of(model: &Model) -> Result<Self, String> {
        let who = &model.panels.who;
        let row = who.selected().ok_or(NO_LINE)?;
        let by = who.query().by;
        if by == Dimension::Project {
            return match row.value.as_str() {
                "" => Err("events refused without a project cannot be filtered".to_owned()),
                project => Ok(Self { project: Some(project.to_owned()), query: None }),
            };
        }
        let query = Query::of(Ast { inverted: false, terms: vec![term(by, &row.value)] });
        Ok(Self { project: None, query: Some(query.ok_or("this value cannot be filtered")?) })
    }

    /// The filter in the query language.
    fn text(&self) -> String {
        let project = self.project.as_ref().map(|project| format!("project:{project}"));
        let query = self.query.as_ref().map(|query| query.source().to_owned());
        project.or(query).unwrap_or_default()
    }

    fn add_to(self, filter: &mut Filter) {
        if self.project.is_some() {
            filter.project = self.project;
        }
        if self.query.is_some() {
            filter.query = self.query;
        }
    }
}

/// The condition on lines about events with a value, as the lines of their arrival have it.
fn term(by: Dimension, value: &str) -> Term {
    let may_be_cut = value.len() + char::MAX.len_utf8() > MAX_VALUE;
    let custom = value.strip_prefix(EventKind::Event.as_str()).and_then(|v| v.strip_prefix(' '));
    let (path, value) = match (by, custom) {
        (Dimension::Type, Some(custom)) => ("eventType", custom),
        (Dimension::Type, None) => ("type", value),
        (Dimension::Token, _) => ("token", value),
        (Dimension::Address, _) => ("peer", value),
        (Dimension::Referrer, _) => ("referrer", value),
        (Dimension::Country, _) => ("countryCode", value),
        (Dimension::Page | Dimension::Project, _) => ("url", value),
    };
    let test = match value {
        "" => DataTest::Present,
        // Lines have the whole address of a referrer.
        value if may_be_cut || by == Dimension::Referrer => DataTest::Contains(value.to_owned()),
        value => DataTest::Is(value.to_owned()),
    };
    Term { negated: value.is_empty(), test: Test::Data(path.to_owned(), test) }
}

/// Shows only the lines of the selected value.
fn open_row(model: &mut Model) {
    let wanted = match Wanted::of(model) {
        Ok(wanted) => wanted,
        Err(why) => return model.notify(why),
    };
    model.screens.clear();
    model.notify(format!("only lines with {}", wanted.text()));
    set_filter(model, |filter| wanted.add_to(filter));
}

/// Asks for a file for these lines.
fn export(model: &mut Model) {
    let mut filter = Filter::default();
    match Wanted::of(model) {
        Ok(wanted) => wanted.add_to(&mut filter),
        Err(why) => return model.notify(why),
    }
    let name = model.zoned(model.now).strftime("who-%Y%m%d-%H%M%S.jsonl").to_string();
    prompt::open(model, PromptPurpose::Export(ExportOf::Lines(Box::new(filter))), name);
}
