//! The keys, by group, from the key table.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::draw::{scrolled, styled};
use crate::tui::keymap::{self, Context, Group};
use crate::tui::model::Model;
use crate::tui::model::palette::commands::COMMANDS;
use crate::tui::text;

/// `Ctrl-U`, `f G End`, `Enter`
const KEYS: usize = 10;
/// `:project ID|all`
const COMMAND: usize = 17;
/// From this width on there are two columns.
const TWO_COLUMNS: u16 = 110;

pub(super) fn render(model: &Model, scroll: usize, of: Context, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let title = vec![styled("keys", theme.strong())];
    scrolled(buf, area, theme, &title, &rows(model, of, area.width), scroll);
}

/// The help in rows of a width; keys of other contexts are dim.
pub(super) fn rows(model: &Model, of: Context, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    if width < usize::from(TWO_COLUMNS) {
        return column(model, of, &Group::ALL, width);
    }
    let half = width / 2;
    let (left, right) = Group::ALL.split_at(2);
    let mut left = column(model, of, left, half).into_iter();
    let mut right = column(model, of, right, half).into_iter();
    let mut rows = Vec::new();
    loop {
        let (mut row, beside) = match (left.next(), right.next()) {
            (None, None) => return rows,
            (row, beside) => (row.unwrap_or_default(), beside),
        };
        if let Some(beside) = beside {
            let used = row.spans.iter().map(|span| text::width(&span.content)).sum();
            row.spans.push(" ".repeat(half.saturating_sub(used)).into());
            row.spans.extend(beside.spans);
        }
        rows.push(row);
    }
}

fn column(model: &Model, of: Context, groups: &[Group], width: usize) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let mut rows = Vec::new();
    for &group in groups {
        if !rows.is_empty() {
            rows.push(Line::default());
        }
        rows.push(Line::from(styled(format!("  {}", group.title()), theme.strong())));
        for binding in keymap::group(group) {
            let here = binding.contexts.contains(&of);
            let (keys, says) =
                if here { (theme.key(), theme.plain()) } else { (theme.dim(), theme.dim()) };
            let mut label = keymap::label(model.options.shell.bindings.keys(binding));
            for piece in text::wrap(binding.help, width.saturating_sub(KEYS + 6)) {
                let pad = KEYS.saturating_sub(text::width(&label));
                let keys = styled(format!("  {label}{}  ", " ".repeat(pad)), keys);
                rows.push(Line::from(vec![keys, styled(piece.trim_end(), says)]));
                label.clear();
            }
        }
        if group == Group::Console {
            rows.extend(commands(model, of, width));
        }
    }
    rows
}

/// The commands of the palette, from their table.
fn commands(model: &Model, of: Context, width: usize) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let here = of == Context::Log;
    let (names, says) =
        if here { (theme.key(), theme.plain()) } else { (theme.dim(), theme.dim()) };
    let mut rows = vec![Line::default(), Line::from(styled("  Commands", theme.strong()))];
    for spec in COMMANDS {
        let mut label = format!(":{} {}", spec.name, spec.usage);
        for piece in text::wrap(spec.help, width.saturating_sub(COMMAND + 6)) {
            let pad = COMMAND.saturating_sub(text::width(&label));
            let name = styled(format!("  {label}{}  ", " ".repeat(pad)), names);
            rows.push(Line::from(vec![name, styled(piece.trim_end(), says)]));
            label.clear();
        }
    }
    rows
}
