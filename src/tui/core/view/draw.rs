//! Drawing functions shared by several parts of the screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use crate::model::layout::MESSAGE_MARGIN;
use crate::theme::Theme;
pub(super) use crate::theme::{Segment, styled};
use bklit_wire::text;

/// Writes text at a column of a row, at most `width` columns; cut text ends in `…`. Returns the
/// columns used.
pub(super) fn put(
    buf: &mut Buffer,
    row: Rect,
    x: usize,
    width: usize,
    what: &str,
    style: Style,
) -> usize {
    let width = width.min(usize::from(row.width).saturating_sub(x));
    if width == 0 || row.height == 0 {
        return 0;
    }
    let column = row.x + u16::try_from(x).unwrap_or(u16::MAX);
    let (end, _) = buf.set_stringn(column, row.y, text::clip(what, width), width, style);
    usize::from(end - column)
}

/// Writes a message into the rows of an area, broken after spaces; cut text ends in `…`.
pub(super) fn put_message(buf: &mut Buffer, area: Rect, what: &str, style: Style) {
    let width = usize::from(area.width).saturating_sub(MESSAGE_MARGIN);
    let last = usize::from(area.height).saturating_sub(1);
    let mut rest = what;
    for (nth, piece) in text::wrap(what, width).into_iter().take(last + 1).enumerate() {
        put(buf, row(area, nth), 1, width, if nth == last { rest } else { piece }, style);
        rest = &rest[piece.len()..];
    }
}

/// Writes right-aligned text that ends before column `end`; at most `width` columns.
pub(super) fn put_right(
    buf: &mut Buffer,
    row: Rect,
    end: usize,
    width: usize,
    what: &str,
    style: Style,
) {
    let what = text::clip(what, width);
    let x = end.saturating_sub(text::width(&what));
    put(buf, row, x, width, &what, style);
}

/// The nth row of an area.
pub(super) fn row(area: Rect, nth: usize) -> Rect {
    let nth = u16::try_from(nth).unwrap_or(u16::MAX);
    let height = u16::from(nth < area.height);
    Rect { y: area.y.saturating_add(nth.min(area.height)), height, ..area }
}

/// Highlights a row as selected; must be called before text is written.
pub(super) fn select(buf: &mut Buffer, row: Rect, theme: Theme) {
    buf.set_style(row, theme.selected());
    put(buf, row, 0, 1, "▌", theme.key());
}

/// The width of segments in columns.
pub(super) fn segments_width(segments: &[Segment]) -> usize {
    segments.iter().map(|segment| text::width(&segment.content)).sum()
}

/// Writes segments one after the other; cut text ends in `…`.
pub(super) fn put_segments(
    buf: &mut Buffer,
    row: Rect,
    x: usize,
    width: usize,
    segments: &[Segment],
) -> usize {
    let mut used = 0;
    for segment in segments {
        if used >= width {
            break;
        }
        used += put(buf, row, x + used, width - used, &segment.content, segment.style);
    }
    used
}

/// Joins items with a dot between them.
pub(super) fn joined(items: Vec<Vec<Segment>>, theme: Theme) -> Vec<Segment> {
    let mut all = Vec::new();
    for item in items {
        if !all.is_empty() {
            all.push(styled(" · ", theme.dim()));
        }
        all.extend(item);
    }
    all
}

/// Makes columns of a row blank, so that text there does not have the colour of a line.
pub(super) fn clear(buf: &mut Buffer, row: Rect, x: usize, width: usize) {
    let place = Rect {
        x: row.x.saturating_add(u16::try_from(x).unwrap_or(u16::MAX)),
        width: u16::try_from(width).unwrap_or(u16::MAX),
        ..row
    };
    let place = place.intersection(row);
    buf.set_style(place, Style::reset());
    put(buf, place, 0, width, &" ".repeat(place.width.into()), Style::new());
}

/// A horizontal line with text at its left and right end; the right text is dropped first if there
/// is not enough space.
pub(super) fn rule(
    buf: &mut Buffer,
    area: Rect,
    theme: Theme,
    left: &[Segment],
    right: &[Segment],
) {
    let width = usize::from(area.width);
    put(buf, area, 0, width, &"─".repeat(width), theme.frame(false));
    let right_width = segments_width(right).min(width.saturating_sub(4));
    let mut free = width.saturating_sub(4);
    if right_width > 0 {
        let x = width - right_width - 3;
        clear(buf, area, x, right_width + 2);
        put_segments(buf, area, x + 1, right_width, right);
        free = free.saturating_sub(right_width + 3);
    }
    if !left.is_empty() && free > 0 {
        clear(buf, area, 1, segments_width(left).min(free) + 2);
        put_segments(buf, area, 2, free, left);
    }
}

/// Draws the visible rows of a scrollable view, below its title.
pub(super) fn scrolled(
    buf: &mut Buffer,
    area: Rect,
    theme: Theme,
    title: &[Segment],
    rows: &[Line<'_>],
    scroll: usize,
) {
    let height = usize::from(area.height).saturating_sub(1);
    let scroll = scroll.min(rows.len().saturating_sub(height));
    let end = (scroll + height).min(rows.len());
    let place = if rows.len() > height {
        vec![styled(format!("rows {}–{end} of {}", scroll + 1, rows.len()), theme.dim())]
    } else {
        Vec::new()
    };
    rule(buf, row(area, 0), theme, title, &place);
    for (nth, line) in rows[scroll..end].iter().enumerate() {
        let at = row(area, nth + 1);
        buf.set_line(at.x, at.y, line, at.width);
    }
}
