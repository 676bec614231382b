//! The list below the graphs: the slowest steps, failures, or projects.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::stage_name;
use crate::format;
use crate::model::history::{NotableLine, Topic};
use crate::model::layout::below;
use crate::model::panels::HistoryList;
use crate::model::{HistoryRow, Model};
use crate::view::draw::{Segment, put, put_right, row, rule, segments_width, select, styled};
use bklit_wire::debug_log::Level;
use bklit_wire::history::ProjectTotals;
use bklit_wire::text;

const TIME: usize = 8;
const DURATION: usize = 7;
const STAGE: usize = 10;
const COUNT: usize = 6;
/// The least width of a project's name.
const MIN_NAME: usize = 16;
/// Less of a detail is not useful.
const MIN_PART: usize = 6;
/// The columns of the title that are not for texts.
const RULE: usize = 7;
/// The width from which rows have the stage's name, and not only its colour.
const STAGE_MIN_WIDTH: usize = 44;

pub(super) fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let (theme, panel) = (model.options.theme, &model.panels().history);
    let rows = model.history_rows();
    let place = panel.selected.selected() as u64 + 1;
    let place = match rows.len() as u64 {
        0 => Vec::new(),
        count => vec![styled(format!("{} of {}", place.min(count), count), theme.dim())],
    };
    let titles = titles(model);
    let fits = segments_width(&titles) + segments_width(&place) + RULE <= usize::from(area.width);
    rule(buf, row(area, 0), theme, &titles, if fits { &place } else { &[] });
    for nth in 0..usize::from(area.height) {
        let sign = if nth == 0 { "┬" } else { "│" };
        put(buf, row(area, nth), 0, 1, sign, theme.frame(false));
    }
    let inner = below(area, 1);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(1), ..inner };
    if rows.is_empty() && !inner.is_empty() {
        let text = match panel.list {
            HistoryList::Slowest => "No timed step in the log.",
            HistoryList::Failures => "The log has no warning or error of this time.",
            HistoryList::Projects => "No events at this time, or none known by project.",
        };
        put(buf, row(inner, 0), 1, usize::from(inner.width).saturating_sub(2), text, theme.dim());
    }
    let (top, height) = (panel.selected.top(), usize::from(inner.height));
    for (nth, shown) in rows.iter().enumerate().skip(top).take(height) {
        let at = row(inner, nth - top);
        let selected = nth == panel.selected.selected();
        if selected {
            select(buf, at, theme);
        }
        match shown {
            HistoryRow::Line(line) => line_row(model, line, buf, at, selected),
            HistoryRow::Project(project) => project_row(model, project, &rows, buf, at),
        }
    }
}

/// The lists, with the one shown.
fn titles(model: &Model) -> Vec<Segment> {
    let (theme, panel) = (model.options.theme, &model.panels().history);
    let count = if panel.topic() == Topic::Pipeline { 3 } else { 2 };
    let lists = HistoryList::ALL.into_iter().take(count);
    let titles = lists.flat_map(|list| {
        let style = if list == panel.list { theme.key() } else { theme.dim() };
        let gap = if list == HistoryList::Slowest { "" } else { " " };
        [styled(gap, theme.plain()), styled(list.title(), style)]
    });
    titles.collect()
}

fn line_row(model: &Model, line: &NotableLine, buf: &mut Buffer, at: Rect, selected: bool) {
    let theme = model.options.theme;
    let width = usize::from(at.width);
    put(buf, at, 1, TIME, &model.time_of_day(line.at), theme.on(selected, theme.dim()));
    let mut x = TIME + 2;
    if let Some(micros) = line.micros.map(|micros| micros as f64) {
        let style = theme.on(selected, theme.duration(micros));
        put_right(buf, at, x + DURATION, DURATION, &format::micros(micros), style);
    }
    x += DURATION + 1;
    let is_of_any = model.panels().history.topic() == Topic::Pipeline;
    if is_of_any && width >= STAGE_MIN_WIDTH {
        put(buf, at, x, STAGE, stage_name(model, line.stage), theme.stage(line.stage));
        x += STAGE + 1;
    }
    let room = width.saturating_sub(x + 1);
    // Narrow rows have what differs, in the colour of the stage.
    let about = line.about.as_deref().filter(|_| line.level == Level::Info);
    let short = about.filter(|_| width < STAGE_MIN_WIDTH);
    if let Some(short) = short {
        let style = if is_of_any { theme.stage(line.stage) } else { theme.plain() };
        put(buf, at, x, room, &text::clip_start(short, room), style);
        return;
    }
    let mut end = x + put(buf, at, x, room, &line.text, theme.message(line.level)) + 2;
    for part in [line.about.as_deref(), line.project.as_deref()].into_iter().flatten() {
        let room = width.saturating_sub(end + 1);
        if room >= MIN_PART {
            end += put(buf, at, end, room, part, theme.on(selected, theme.dim())) + 2;
        }
    }
}

/// A row of a project. Counts that are zero for all `projects` get no column; without space for a
/// name next to them, each row has only its worst count.
fn project_row(
    model: &Model,
    project: &ProjectTotals,
    projects: &[HistoryRow<'_>],
    buf: &mut Buffer,
    at: Rect,
) {
    let theme = model.options.theme;
    let mut counts = vec![
        ("failed", theme.error(), (|p| p.failed) as fn(&ProjectTotals) -> u64),
        ("refused", theme.warning(), |p| p.refused),
        ("accepted", theme.plain(), |p| p.accepted),
    ];
    let is_used = |count: fn(&ProjectTotals) -> u64| {
        projects.iter().any(|row| matches!(row, HistoryRow::Project(p) if count(p) > 0))
    };
    counts.retain(|(.., count)| is_used(*count));
    let width = |what: &str| COUNT + 1 + what.len() + 1;
    let columns: usize = counts.iter().map(|(what, ..)| width(what)).sum();
    let is_narrow = usize::from(at.width) < MIN_NAME + columns;
    if is_narrow {
        counts.retain(|(.., count)| count(project) > 0);
        counts.truncate(1);
    }
    let mut end = usize::from(at.width).saturating_sub(1);
    for (what, style, count) in counts {
        let number = count(project);
        let style = if number > 0 { style } else { theme.dim() };
        let start = end.saturating_sub(what.len());
        put(buf, at, start, what.len(), what, theme.dim());
        let shown = format::short_count(number);
        put_right(buf, at, start.saturating_sub(1), COUNT, &shown, style);
        let unused = if is_narrow { COUNT.saturating_sub(shown.len()) } else { 0 };
        end = end.saturating_sub(width(what) - unused);
    }
    put(buf, at, 1, end.saturating_sub(1), &text::safe(&project.project), theme.plain());
}
