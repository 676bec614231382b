//! The list of projects.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::Draw;
use crate::format;
use crate::model::Model;
use crate::model::layout::{Layout, PROJECTS_HEAD, below};
use crate::model::projects::Projects;
use crate::view::draw::{put, put_right, row, rule, styled};
use bklit_wire::text;

const LABEL: &str = " Project: ";
/// The rightmost column at which the numbers of lines end.
const LINES_END: usize = 60;

impl Draw for Projects {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        Some(render(model, self, buf, layout.overlay()))
    }
}

/// Returns the cursor's position.
fn render(model: &Model, list: &Projects, buf: &mut Buffer, area: Rect) -> Position {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let working = list.has_work(model.ring());
    let right = if working { vec![styled("counting…", theme.warning())] } else { Vec::new() };
    let title = [styled("projects in the log, for this pane", theme.strong())];
    rule(buf, row(area, 0), theme, &title, &right);
    let field = row(area, 1);
    let used = put(buf, field, 0, width, LABEL, theme.title());
    let start = used + 1;
    let room = width.saturating_sub(start + 2).max(1);
    let scroll = list.input.visual_scroll(room);
    let value = list.input.value();
    let value = &value[text::fit(value, scroll).len()..];
    put(buf, field, start, room, value, theme.strong());
    let choices = list.choices();
    let (rows, selected) = (below(area, PROJECTS_HEAD), list.selected());
    let top = list.top(rows.height.into());
    if choices.is_empty() {
        put(buf, row(rows, 0), 2, width.saturating_sub(3), "No project matches.", theme.dim());
    }
    for (nth, (id, lines)) in choices.iter().enumerate().skip(top).take(rows.height.into()) {
        let at = row(rows, nth - top);
        let is_selected = nth == selected;
        if is_selected {
            buf.set_style(at, theme.selected());
            put(buf, at, 0, 1, "▌", theme.key());
        }
        let end = LINES_END.min(width.saturating_sub(2));
        let name = id.map_or("all projects".into(), text::safe);
        put(buf, at, 2, end.saturating_sub(18), &name, theme.plain());
        let lines = format::lines(*lines);
        put_right(buf, at, end, 16, &lines, theme.on(is_selected, theme.dim()));
    }
    let x = start + list.input.visual_cursor().saturating_sub(scroll).min(room);
    Position { x: field.x + u16::try_from(x).unwrap_or(0), y: field.y }
}
