//! The keys, by group, from the key table.

use ratatui::text::Line;

use super::Page;
use crate::keymap;
use crate::keymap::{Context, Group};
use crate::model::Model;
use crate::model::palette::commands::COMMANDS;
use crate::model::screen::Help;
use crate::theme::{Segment, styled};
use bklit_wire::text;

/// `Ctrl-U`, `f G End`, `Enter`
const KEYS: usize = 10;
/// `:project ID|all`
const COMMAND: usize = 17;
/// The most columns of the filter in the title.
const MAX_FILTER: usize = 24;
/// The width from which there are two columns.
const TWO_COLUMNS: u16 = 110;

impl Page for Help {
    fn title(&self, model: &Model) -> Vec<Segment> {
        let mut title = vec![styled("keys", model.options.theme.strong())];
        if !self.filter.is_empty() {
            let with = format!(" with “{}”", text::clip(&text::safe(&self.filter), MAX_FILTER));
            title.push(styled(with, model.options.theme.warning()));
        }
        title
    }

    fn rows(&self, model: &Model, width: u16) -> Vec<Line<'static>> {
        rows(model, self, width)
    }

    fn scroll(&self) -> usize {
        self.scroll
    }

    fn scroll_mut(&mut self) -> &mut usize {
        &mut self.scroll
    }
}

/// Keys of other contexts come last and are dim.
fn rows(model: &Model, help: &Help, width: u16) -> Vec<Line<'static>> {
    let of = help.of;
    let width = usize::from(width);
    let two = width >= usize::from(TWO_COLUMNS);
    let column = if two { width / 2 } else { width };
    let blocks = Group::order(of).into_iter().map(|group| block(model, help, group, column));
    let blocks: Vec<_> = blocks.collect();
    if blocks.iter().all(Vec::is_empty) {
        return vec![Line::from(styled(
            "  No key or command with that text.",
            model.options.theme.dim(),
        ))];
    }
    if !two {
        return blocks.concat();
    }
    let all: usize = blocks.iter().map(Vec::len).sum();
    let mut left = Vec::new();
    let mut right = Vec::new();
    for block in blocks {
        // The columns have about the same length.
        let in_left = right.is_empty() && 2 * left.len() + block.len() <= all;
        if in_left {
            left.extend(block);
        } else {
            right.extend(block);
        }
    }
    side_by_side(left, right, column)
}

fn side_by_side(
    left: Vec<Line<'static>>,
    right: Vec<Line<'static>>,
    column: usize,
) -> Vec<Line<'static>> {
    let count = left.len().max(right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    let mut rows = Vec::with_capacity(count);
    for _ in 0..count {
        let mut row = left.next().unwrap_or_default();
        if let Some(other) = right.next() {
            let used = row.spans.iter().map(|span| text::width(&span.content)).sum();
            row.spans.push(" ".repeat(column.saturating_sub(used)).into());
            row.spans.extend(other.spans);
        }
        rows.push(row);
    }
    rows
}

/// A group with its title, followed by an empty row; nothing if the filter hides all of it.
fn block(model: &Model, help: &Help, group: Group, width: usize) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let mut rows = vec![Line::from(styled(format!("  {}", group.title()), theme.strong()))];
    for binding in group.bindings() {
        let here = binding.contexts.contains(help.of);
        let (keys, says) =
            if here { (theme.key(), theme.plain()) } else { (theme.dim(), theme.dim()) };
        let mut label = keymap::label(model.options.shell.bindings.keys(binding));
        if !help.shows(&[&label, binding.help, group.title()]) {
            continue;
        }
        for piece in text::wrap(binding.help, width.saturating_sub(KEYS + 6)) {
            let pad = KEYS.saturating_sub(text::width(&label));
            let keys = styled(format!("  {label}{}  ", " ".repeat(pad)), keys);
            rows.push(Line::from(vec![keys, styled(piece.trim_end(), says)]));
            label.clear();
        }
    }
    ended(&mut rows);
    if group == Group::Console {
        rows.extend(commands(model, help, width));
    }
    rows
}

/// Ends a block by an empty row; a title alone is dropped.
fn ended(rows: &mut Vec<Line<'static>>) {
    if rows.len() > 1 {
        rows.push(Line::default());
    } else {
        rows.clear();
    }
}

impl Help {
    /// Whether a row with these texts is shown.
    fn shows(&self, texts: &[&str]) -> bool {
        self.filter.is_empty()
            || texts.iter().any(|text| text.to_lowercase().contains(&self.filter))
    }
}

/// The commands of the palette, from their table.
fn commands(model: &Model, help: &Help, width: usize) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let here = help.of == Context::Log;
    let (names, says) =
        if here { (theme.key(), theme.plain()) } else { (theme.dim(), theme.dim()) };
    let mut rows = vec![Line::from(styled("  Commands", theme.strong()))];
    for spec in COMMANDS {
        let mut label = format!(":{} {}", spec.name, spec.usage);
        if !help.shows(&[&label, spec.help, "Commands"]) {
            continue;
        }
        for piece in text::wrap(spec.help, width.saturating_sub(COMMAND + 6)) {
            let pad = COMMAND.saturating_sub(text::width(&label));
            let name = styled(format!("  {label}{}  ", " ".repeat(pad)), names);
            rows.push(Line::from(vec![name, styled(piece.trim_end(), says)]));
            label.clear();
        }
    }
    ended(&mut rows);
    rows
}
