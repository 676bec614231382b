//! Queries on the store: the rows of the result, or the saved queries.

use std::sync::Arc;

use ratatui::layout::Rect;

use super::{Handler, List, Outcome, Selection};
use crate::keymap::Action;
use crate::model::cursor::target;
use crate::model::screen::{Screen, SqlRow, SqlScreen};
use crate::model::sql;
use crate::model::sql::MAX_CHARS;
use crate::model::sql::parts::SqlParts;
use crate::model::sql::table::ResultTable;
use crate::model::trace::Subject;
use crate::model::{ExportOf, Focus, Model, PromptPurpose};
use crate::msg::Effect;
use crate::requests::Request;
use crate::update::field::save_histories;
use crate::update::prompt;
use bklit_wire::sql::{SqlAnswer, SqlSchema, query_problem};

/// Columns with the id of an event.
const EVENT_IDS: [&str; 2] = ["id", "event_id"];

impl Handler for SqlScreen {
    const IS_PANEL: bool = true;

    fn act(model: &mut Model, action: Action, _nth: usize) -> Outcome {
        match action {
            Action::EditSql => model.focus = Focus::Sql,
            Action::OpenRow => return open_row(model).into(),
            Action::ColumnsLeft => scroll_columns(model, false),
            Action::ColumnsRight => scroll_columns(model, true),
            Action::Export => ask_for_file(model),
            _ => return Outcome::Ignored,
        }
        Outcome::Done(None)
    }

    fn scroll(model: &mut Model, action: Action) {
        let selected = model.panels.sql.cursor.selected();
        if action == Action::Up && selected == 0 {
            model.focus = Focus::Sql;
            return;
        }
        let height = usize::from(model.sql_parts().list.height);
        Self::select(model, 0, target(action, selected, height));
    }

    fn back(model: &mut Model) -> bool {
        stop(model)
    }

    fn settle(model: &mut Model) {
        let (parts, count) = (model.sql_parts(), model.sql_rows());
        let panel = &mut model.panels.sql;
        panel.cursor.settle(count, parts.list.height.into());
        let last = panel.table().map_or(0, |table| table.last_first(parts.table_width()));
        panel.first_column = panel.first_column.min(last);
    }

    fn poll(model: &mut Model) -> Option<Effect> {
        // The time that a query has been running.
        model.dirty |= model.panels.sql.running().is_some();
        let (now, schema) = (model.now, &mut model.panels.sql.schema);
        let asks = schema.data().is_none() && schema.is_due(now);
        asks.then_some(Effect::Ask(Request::SqlSchema))
    }

    fn selection(model: &Model) -> Option<Selection> {
        let panel = &model.panels.sql;
        selected(panel.table()?, panel.cursor.selected())
    }

    fn lists(model: &Model, view: Rect) -> Vec<List> {
        let parts = SqlParts::of(view, model.sql_input_rows(view).len());
        let cursor = model.panels.sql.cursor;
        vec![List {
            area: parts.list,
            top: cursor.top(),
            count: model.sql_rows(),
            selected: Some(cursor.selected()),
            opens: Action::OpenRow,
        }]
    }

    fn select(model: &mut Model, _list: usize, place: usize) {
        let (height, count) = (model.sql_parts().list.height.into(), model.sql_rows());
        model.panels.sql.cursor.select(place, count, height);
    }
}

/// A row, to be copied, traced and shown in full.
pub(super) fn selected(table: &ResultTable, row: usize) -> Option<Selection> {
    let json = table.json(row)?;
    let event = EVENT_IDS.into_iter().find_map(|name| table.named(row, name));
    Some(Selection::Item(super::Item {
        id: event.map(str::to_owned),
        json: Some(json),
        subject: event.map(|id| Subject::Event(id.to_owned())),
    }))
}

/// Opens the screen, and runs the query, if there is one: SQL, or the name of a saved query.
pub(in crate::update) fn open(model: &mut Model, query: Option<String>) -> Option<Effect> {
    super::replace_panel(model, Screen::Sql(SqlScreen));
    let polled = <SqlScreen as Handler>::poll(model);
    if let Some(query) = query {
        // Both effects are needed.
        model.outbox.extend(polled);
        model.panels.sql.set_input(query);
        return run(model);
    }
    if model.panels.sql.table().is_none() {
        model.focus = Focus::Sql;
    }
    super::settle(model);
    polled
}

/// Runs what was typed, unless a part of it is missing.
pub(in crate::update) fn run(model: &mut Model) -> Option<Effect> {
    if model.panels.sql.is_cut {
        model.notify("not run: what was inserted last did not fit; change the query first");
        return None;
    }
    let typed = model.panels.sql.input.value().trim().to_owned();
    if typed.is_empty() {
        return None;
    }
    let saved = model.saved_queries().into_iter().find(|saved| saved.name == typed);
    let query = saved.map_or(typed, |saved| saved.query);
    model.panels.sql.set_input(query.clone());
    let is_kept = query.chars().count() <= MAX_CHARS;
    if is_kept && model.histories.sql.remember(&query) {
        save_histories(model);
    }
    if let Some(problem) = query_problem(&query) {
        model.panels.sql.fail(format!("the query {problem}"));
        return None;
    }
    model.focus = Focus::Keys;
    let number = model.panels.sql.begin(model.wall);
    super::settle(model);
    Some(Effect::Ask(Request::Sql { number, query }))
}

/// Stops the running query. Returns whether there was one.
pub(in crate::update) fn stop(model: &mut Model) -> bool {
    let was_running = model.panels.sql.stop();
    if was_running {
        model.outbox.push(Effect::StopSql);
        model.notify("query stopped");
    }
    was_running
}

/// Applies the answer to a query. After an error, the query can be corrected.
pub(in crate::update) fn take(model: &mut Model, number: u64, answer: Result<SqlAnswer, String>) {
    let has_failed = answer.is_err();
    let is_current = model.panels.sql.take(number, answer);
    let is_waiting = model.shown::<SqlScreen>().is_some() && matches!(model.focus, Focus::Keys);
    if is_current && has_failed && is_waiting {
        model.focus = Focus::Sql;
    }
}

/// Applies the tables.
pub(in crate::update) fn take_schema(model: &mut Model, answer: Result<SqlSchema, String>) {
    model.panels.sql.schema.take(answer, model.now);
}

/// Shows the selected row in full, or runs the selected query.
fn open_row(model: &mut Model) -> Option<Effect> {
    let row = model.panels.sql.cursor.selected();
    match &model.panels.sql.outcome {
        sql::Outcome::Rows(table) if row < table.rows().len() => {
            let table = Arc::clone(table);
            model.push_screen(Screen::SqlRow(Box::new(SqlRow { table, row, scroll: 0 })));
            None
        }
        sql::Outcome::Saved => {
            let saved = model.saved_queries().into_iter().nth(row)?;
            model.panels.sql.set_input(saved.query);
            run(model)
        }
        sql::Outcome::Rows(_) | sql::Outcome::Failed(_) => {
            model.notify("no row is selected");
            None
        }
    }
}

fn scroll_columns(model: &mut Model, right: bool) {
    let width = model.sql_parts().table_width();
    let panel = &mut model.panels.sql;
    let last = panel.table().map_or(0, |table| table.last_first(width));
    let first = panel.first_column;
    panel.first_column = if right { (first + 1).min(last) } else { first.saturating_sub(1) };
}

fn ask_for_file(model: &mut Model) {
    let Some(table) = model.panels.sql.table() else {
        return model.notify("no result to export");
    };
    let table = Arc::clone(table);
    let name = model.zoned(model.now).strftime("query-%Y%m%d-%H%M%S.csv").to_string();
    prompt::open(model, PromptPurpose::Export(ExportOf::Rows(table)), name);
}
