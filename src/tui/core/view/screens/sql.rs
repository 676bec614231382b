//! Queries on the store: the query, its state, and the result or the saved queries.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::{Draw, polled};
use crate::format;
use crate::keymap::{Action, Binding};
use crate::model::layout::Layout;
use crate::model::screen::SqlScreen;
use crate::model::sql::parts::{INPUT_START, SqlParts, shown};
use crate::model::sql::table::{self, Place, ResultTable};
use crate::model::sql::tokens::{Kind, Token, is_keyword, tokens};
use crate::model::sql::{Outcome, SqlPanel};
use crate::model::{Focus, Model};
use crate::theme::Theme;
use crate::view::draw::{Segment, joined, put, put_right, row, rule, select, styled};
use crate::view::{palette, panel};
use bklit_wire::sql::{MAX_ROWS, TIME_LIMIT};
use bklit_wire::text;

/// `projects`, or a name from the settings.
const NAME: usize = 16;
/// The most completions shown.
const CANDIDATES: u16 = 8;

impl Draw for SqlScreen {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        render(model, buf, layout.overlay())
    }

    fn status(model: &Model, buf: &mut Buffer, area: Rect) {
        let theme = model.options.theme;
        let mut left = Vec::new();
        if let Some(export) = &model.export {
            let progress = format!("exporting {} %", export.progress());
            left.push(vec![styled(progress, theme.warning())]);
        }
        let right = place(model, theme);
        panel::lower(buf, area, (theme, true), &joined(left, theme), &joined(right, theme));
    }

    fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
        let panel = &model.panels().sql;
        match (binding.action, &panel.outcome) {
            (Action::OpenRow, Outcome::Saved) => Some("run"),
            (Action::Back, _) if panel.running().is_some() => Some("stop"),
            (Action::OpenRow | Action::Export | Action::ColumnsRight, Outcome::Failed(_)) => None,
            (Action::Export | Action::ColumnsRight, Outcome::Saved) => None,
            _ => binding.hint,
        }
    }
}

fn render(model: &Model, buf: &mut Buffer, area: Rect) -> Option<Position> {
    let theme = model.options.theme;
    let panel = &model.panels().sql;
    let engine = panel.engine().map_or("", |engine| engine.as_str());
    let title = [styled("sql", theme.strong()), styled(format!(" {engine}"), theme.dim())];
    let bounds = format!(
        "read-only, at most {} rows and {} s",
        format::count(MAX_ROWS as u64),
        TIME_LIMIT.as_secs()
    );
    rule(buf, row(area, 0), theme, &title, &[styled(bounds, theme.dim())]);
    let rows = model.sql_input_rows(area);
    let parts = SqlParts::of(area, rows.len());
    let cursor = input(model, &rows, buf, parts.input);
    rule(buf, parts.divider, theme, &state(model, panel), &problem(panel, theme));
    match &panel.outcome {
        Outcome::Saved => saved(model, buf, &parts),
        Outcome::Rows(table) => table_rows(model, table, buf, &parts),
        Outcome::Failed(reason) => failure(reason, theme, buf, &parts),
    }
    if !matches!(model.focus(), Focus::Sql) {
        return None;
    }
    candidates(model, panel, buf, &parts);
    Some(cursor)
}

/// The query, with its keywords; returns the cursor's position.
fn input(model: &Model, rows: &[std::ops::Range<usize>], buf: &mut Buffer, area: Rect) -> Position {
    let theme = model.options.theme;
    let panel = &model.panels().sql;
    let (value, cursor) = (panel.input.value(), panel.cursor_byte());
    let at = rows.iter().rposition(|row| row.start <= cursor).unwrap_or(0);
    let height = usize::from(area.height).max(1);
    let top = (at + 1).saturating_sub(height);
    let is_typed = matches!(model.focus(), Focus::Sql);
    let mark = if is_typed { theme.key() } else { theme.dim() };
    put(buf, row(area, 0), 1, 1, ">", mark);
    if value.is_empty() {
        let says = "SELECT …, or the name of a saved query";
        put(buf, row(area, 0), INPUT_START.into(), 60, says, theme.dim());
    }
    let all = tokens(value, panel.engine());
    for (nth, part) in rows.iter().enumerate().skip(top).take(height) {
        let mut x = usize::from(INPUT_START);
        for (at, character) in shown(value.get(part.clone()).unwrap_or_default()) {
            let after = all.partition_point(|token| token.start <= part.start + at);
            let style = match after.checked_sub(1).and_then(|nth| all.get(nth)) {
                Some(token) if token.kind == Kind::Word && is_keyword(token.text) => theme.key(),
                Some(Token { kind: Kind::Comment | Kind::Space, .. }) => theme.dim(),
                _ => theme.plain(),
            };
            x += put(buf, row(area, nth - top), x, usize::from(area.width), &character, style);
        }
    }
    let before = rows.get(at).and_then(|part| value.get(part.start..cursor)).unwrap_or_default();
    let columns: usize = shown(before).map(|(_, character)| text::width(&character)).sum();
    let x = INPUT_START + u16::try_from(columns).unwrap_or(0);
    let y = u16::try_from(at - top).unwrap_or(0);
    Position { x: area.x + x, y: area.y + y }
}

/// What the rows below are.
fn state(model: &Model, panel: &SqlPanel) -> Vec<Segment> {
    let theme = model.options.theme;
    if let Some(running) = panel.running() {
        let millis = model.wall.epoch_millis() - running.since.epoch_millis();
        let says = format!("running {} s", millis.max(0) / 1000);
        let key = format!("  {} stops it", model.key(Action::Back));
        return vec![styled(says, theme.warning()), styled(key, theme.dim())];
    }
    match &panel.outcome {
        Outcome::Saved => vec![styled("saved queries", theme.strong())],
        Outcome::Failed(_) => vec![styled("failed", theme.error())],
        Outcome::Rows(table) => {
            let count = table.rows().len() as u64;
            let took = match table.elapsed_ms() {
                0 => "<1 ms".to_owned(),
                millis => format::micros(millis as f64 * 1e3),
            };
            let mut state = vec![
                styled(format::plural(count, "row"), theme.strong()),
                styled(format!(" in {took}"), theme.dim()),
            ];
            if table.is_truncated() {
                state.push(styled(", cut off: there are more", theme.warning()));
            }
            state
        }
    }
}

/// Why there is no completion.
fn problem(panel: &SqlPanel, theme: Theme) -> Vec<Segment> {
    let why = polled::error(&panel.schema).map(|why| format!("tables unknown: {why}"));
    why.map(|why| styled(why, theme.warning())).into_iter().collect()
}

/// The position in the result.
fn place(model: &Model, theme: Theme) -> Vec<Vec<Segment>> {
    let panel = &model.panels().sql;
    let Some(table) = panel.table().filter(|table| !table.rows().is_empty()) else {
        return Vec::new();
    };
    let (selected, count) = (panel.cursor.selected() as u64 + 1, table.rows().len() as u64);
    let row = format!("row {} of {}", format::count(selected), format::count(count));
    let places = table.places(panel.first_column, model.sql_parts().table_width());
    let of = table.columns().len();
    let mut items = Vec::new();
    if let (Some(first), Some(last)) = (places.first(), places.last())
        && places.len() < of
    {
        let columns = format!("columns {}–{} of {of}", first.column + 1, last.column + 1);
        items.push(vec![styled(columns, theme.dim())]);
    }
    items.push(vec![styled(row, theme.dim())]);
    items
}

fn saved(model: &Model, buf: &mut Buffer, parts: &SqlParts) {
    let theme = model.options.theme;
    let cursor = model.panels().sql.cursor;
    let width = usize::from(parts.list.width);
    put(buf, parts.labels, 1, NAME, "name", theme.dim());
    put(buf, parts.labels, 1 + NAME + 2, width, "shows", theme.dim());
    let all = model.saved_queries();
    let visible = all.iter().enumerate().skip(cursor.top()).take(parts.list.height.into());
    for (nth, query) in visible {
        let at = row(parts.list, nth - cursor.top());
        let is_selected = nth == cursor.selected() && matches!(model.focus(), Focus::Keys);
        if is_selected {
            select(buf, at, theme);
        }
        let style = if query.is_own { theme.strong() } else { theme.plain() };
        put(buf, at, 1, NAME, &text::safe(&query.name), theme.on(is_selected, style));
        let room = width.saturating_sub(NAME + 4);
        let dim = theme.on(is_selected, theme.dim());
        put(buf, at, 1 + NAME + 2, room, &text::safe(&query.help), dim);
    }
}

fn failure(reason: &str, theme: Theme, buf: &mut Buffer, parts: &SqlParts) {
    let width = usize::from(parts.list.width).saturating_sub(3);
    let area = parts.labels.union(parts.list);
    let reason = text::safe(reason);
    for (nth, piece) in text::wrap(&reason, width).iter().take(area.height.into()).enumerate() {
        put(buf, row(area, nth), 1, width, piece, theme.error());
    }
}

fn table_rows(model: &Model, table: &ResultTable, buf: &mut Buffer, parts: &SqlParts) {
    let theme = model.options.theme;
    let panel = &model.panels().sql;
    let places = table.places(panel.first_column, parts.table_width());
    for place in &places {
        let name = text::safe(&table.columns()[place.column]);
        cell(buf, parts.labels, place, table, (&name, theme.dim()));
    }
    if table.rows().is_empty() {
        put(buf, row(parts.list, 0), 1, 40, "No row.", theme.dim());
    }
    let top = panel.cursor.top();
    let visible = table.rows().iter().enumerate().skip(top).take(parts.list.height.into());
    for (nth, values) in visible {
        let at = row(parts.list, nth - top);
        let is_selected = nth == panel.cursor.selected() && matches!(model.focus(), Focus::Keys);
        if is_selected {
            select(buf, at, theme);
        }
        for place in &places {
            let Some(value) = values.get(place.column) else { continue };
            let style = if value.is_null() { theme.dim() } else { theme.plain() };
            cell(buf, at, place, table, (&table::shown(value), theme.on(is_selected, style)));
        }
    }
}

/// Numbers, and the names of their columns, are aligned to the right.
fn cell(
    buf: &mut Buffer,
    at: Rect,
    place: &Place,
    table: &ResultTable,
    (text, style): (&str, ratatui::style::Style),
) {
    if table.is_numeric(place.column) {
        put_right(buf, at, 1 + place.x + place.width, place.width, text, style);
    } else {
        put(buf, at, 1 + place.x, place.width, text, style);
    }
}

fn candidates(model: &Model, panel: &SqlPanel, buf: &mut Buffer, parts: &SqlParts) {
    let completion = &panel.completion;
    let room = parts.divider.union(parts.list);
    let count = u16::try_from(completion.candidates.len()).unwrap_or(u16::MAX);
    let area = Rect { height: count.min(CANDIDATES).min(room.height), ..room };
    let top = completion.top(area.height.into());
    palette::list(model, &completion.candidates, completion.chosen, top, buf, area);
}
