//! The panes: their lines, and their titles if there are several.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{put, put_segments, row, segments_width, styled};
use super::{empty, log_rows, screens};
use crate::format;
use crate::model::Model;
use crate::model::layout::Layout;

pub(super) fn render(model: &Model, buf: &mut Buffer, layout: &Layout) {
    let theme = model.options.theme;
    for place in layout.panes(model.panes()) {
        if let Some(at) = place.title {
            title(model, place.pane, buf, at);
            join(model, layout, buf, at);
        }
        if let Some(border) = place.border {
            for nth in 0..usize::from(border.height) {
                put(buf, row(border, nth), 0, 1, "│", theme.frame(false));
            }
            let joint = if border.y + 1 == layout.log.y { "┬" } else { "┼" };
            put(buf, row(border, 0), 0, 1, joint, theme.frame(screens::is_focused(model)));
        }
        let pane = model.panes().get(place.pane);
        if pane.held(model.ring()).is_some() || !pane.index().is_empty() {
            log_rows::render(model, pane, buf, place.lines);
        } else {
            empty::render(model, pane, buf, place.lines);
        }
    }
}

/// Connects the title of a pane with the frame.
fn join(model: &Model, layout: &Layout, buf: &mut Buffer, title: Rect) {
    let style = model.options.theme.frame(screens::is_focused(model));
    let sides = [(title.x - 1, layout.rule.x, "├"), (title.right(), layout.rule.right() - 1, "┤")];
    for (x, side, joint) in sides {
        if x == side {
            put(buf, Rect { x, width: 1, ..title }, 0, 1, joint, style);
        }
    }
}

/// The focused pane is marked by a symbol and reversed text, not only by colour.
fn title(model: &Model, nth: usize, buf: &mut Buffer, at: Rect) {
    let theme = model.options.theme;
    let pane = model.panes().get(nth);
    let focused = nth == model.panes().focus();
    let width = usize::from(at.width);
    put(buf, at, 0, width, &"─".repeat(width), theme.frame(focused));
    let (mark, style) = if focused { ("▶", theme.badge()) } else { (" ", theme.dim()) };
    let used = put(buf, at, 0, width, &format!("{mark}{} ", nth + 1), style);
    let shown = screens::shown_by(model, pane);
    let shown = if shown.is_empty() { "all lines".to_owned() } else { shown.join(", ") };
    let lines = format::lines(pane.index().len() as u64);
    let state = if pane.follows() { "following" } else { "scrolled" };
    let right = [styled(format!(" {lines} · {state} "), theme.dim())];
    let right_width = segments_width(&right);
    let room = width.saturating_sub(used + right_width + 2);
    let left = format!(" {shown} ");
    let text = if focused { theme.strong() } else { theme.dim() };
    put(buf, at, used, room, &left, text);
    if width > used + right_width + 12 {
        put_segments(buf, at, width - right_width - 1, right_width, &right);
    }
}
