//! Frames with titles. The focused frame has the accent colour and a mark before its title, so that
//! the focus does not depend on colour.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::draw::{clear, put, put_segments, row, segments_width};
use crate::theme::{Segment, Theme};

/// The smallest frame that has space for content.
const MIN_SIZE: (u16, u16) = (4, 3);

/// A frame with titles in its upper border; [`lower`] writes into the lower one.
#[derive(Clone, Debug, Default)]
pub(super) struct Panel {
    /// At the start of the upper border.
    pub(super) title: Vec<Segment>,
    /// At the end of the upper border; left out if there is not enough space for both.
    pub(super) right: Vec<Segment>,
    /// Whether keys go to this panel.
    pub(super) focused: bool,
    /// Whether the upper border continues that of a panel above it, `├─┤` instead of `╭─╮`.
    pub(super) joined: bool,
}

impl Panel {
    /// The area within the frame; empty if there is not enough space.
    pub(super) fn inner(area: Rect) -> Rect {
        if area.width < MIN_SIZE.0 || area.height < MIN_SIZE.1 {
            return Rect { width: 0, height: 0, ..area };
        }
        Rect { x: area.x + 1, y: area.y + 1, width: area.width - 2, height: area.height - 2 }
    }

    /// Draws the frame and returns the area within it.
    pub(super) fn draw(&self, buf: &mut Buffer, area: Rect, theme: Theme) -> Rect {
        let inner = Self::inner(area);
        if inner.is_empty() {
            return inner;
        }
        let style = theme.frame(self.focused);
        let corners = if self.joined { ["├", "┤"] } else { ["╭", "╮"] };
        let last = usize::from(area.height) - 1;
        edge(buf, row(area, 0), corners, style);
        edge(buf, row(area, last), ["╰", "╯"], style);
        for nth in 1..last {
            let at = row(area, nth);
            put(buf, at, 0, 1, "│", style);
            put(buf, at, usize::from(area.width) - 1, 1, "│", style);
        }
        let mark = if self.focused && !self.title.is_empty() { "▶" } else { "" };
        texts(buf, row(area, 0), (mark, style), &self.title, &self.right, End::Left);
        inner
    }
}

/// A divider within a frame, from border to border, with texts.
pub(super) fn divider(
    buf: &mut Buffer,
    area: Rect,
    theme: Theme,
    left: &[Segment],
    right: &[Segment],
) {
    edge(buf, area, ["├", "┤"], theme.frame(false));
    texts(buf, area, ("", theme.frame(false)), left, right, End::Left);
}

/// A lower border with texts; if there is not enough space for both, the left one is cut.
pub(super) fn lower(
    buf: &mut Buffer,
    area: Rect,
    (theme, focused): (Theme, bool),
    left: &[Segment],
    right: &[Segment],
) {
    let style = theme.frame(focused);
    edge(buf, area, ["╰", "╯"], style);
    texts(buf, area, ("", style), left, right, End::Right);
}

/// Whether a border has enough space for both texts.
pub(super) fn fits(area: Rect, left: &[Segment], right: &[Segment]) -> bool {
    segments_width(left) + segments_width(right) + 9 <= usize::from(area.width)
}

/// Which text is more important.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

/// Connects the rules within a frame, and the one that is its upper border, with it.
pub(super) fn join_rules(buf: &mut Buffer, frame: Rect, theme: Theme) {
    let style = theme.frame(true);
    let (left, right) = (frame.left(), frame.right().saturating_sub(1));
    for y in frame.top()..frame.bottom() {
        let is_rule = |x: u16, buf: &Buffer| buf.cell((x, y)).is_some_and(|c| c.symbol() == "─");
        let (first, last) = (is_rule(left + 1, buf), is_rule(right.saturating_sub(1), buf));
        if y == frame.top() {
            for x in left..=right {
                if is_rule(x, buf) {
                    buf.set_style(Rect { x, y, width: 1, height: 1 }, style);
                }
            }
        } else if y + 1 < frame.bottom() && first && last {
            put(buf, Rect { x: left, y, width: 1, height: 1 }, 0, 1, "├", style);
            put(buf, Rect { x: right, y, width: 1, height: 1 }, 0, 1, "┤", style);
        }
    }
}

fn edge(buf: &mut Buffer, at: Rect, corners: [&str; 2], style: Style) {
    let width = usize::from(at.width);
    put(buf, at, 0, 1, corners[0], style);
    put(buf, at, 1, width - 2, &"─".repeat(width - 2), style);
    put(buf, at, width - 1, 1, corners[1], style);
}

/// Texts in a border, with a space around each.
fn texts(
    buf: &mut Buffer,
    at: Rect,
    (mark, style): (&str, Style),
    left: &[Segment],
    right: &[Segment],
    first: End,
) {
    let width = usize::from(at.width).saturating_sub(4);
    let left_width = segments_width(left);
    let right_width = segments_width(right).min(width.saturating_sub(3));
    let needed = if first == End::Left { left_width + 5 } else { 0 };
    let shows_right = right_width > 0 && right_width + needed <= width;
    let mut room = width.saturating_sub(2);
    if shows_right {
        let x = usize::from(at.width) - right_width - 3;
        clear(buf, at, x - 1, right_width + 2);
        put_segments(buf, at, x, right_width, right);
        room = room.saturating_sub(right_width + 3);
    }
    if left_width > 0 && room > 0 {
        let mark = if mark.is_empty() { " " } else { mark };
        clear(buf, at, 2, left_width.min(room) + 2);
        put(buf, at, 2, 1, mark, style);
        put_segments(buf, at, 3, room, left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::{Palette, styled};

    fn rows(buf: &Buffer) -> Vec<String> {
        let rows = buf.content().chunks(usize::from(buf.area.width.max(1)));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect()).collect()
    }

    fn drawn(panel: &Panel, width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        panel.draw(&mut buf, area, Theme::new(Palette::Ansi256));
        rows(&buf)
    }

    #[test]
    fn a_frame_has_its_titles_in_its_borders() {
        let text = |what: &str| vec![styled(what, Style::new())];
        let mut panel = Panel { title: text("queue"), right: text("1 min"), ..Panel::default() };
        assert_eq!(
            drawn(&panel, 24, 3),
            ["╭─ queue ────── 1 min ─╮", "│                      │", "╰──────────────────────╯"]
        );
        (panel.focused, panel.joined) = (true, true);
        assert!(drawn(&panel, 24, 3)[0].starts_with("├─▶queue ─"));
        // The right text is left out first, then the left one is cut.
        for width in 0..40 {
            let drawn = drawn(&panel, width, 3);
            assert!(drawn.is_empty() || width < 12 || drawn[0].contains("queue"), "{drawn:?}");
        }
        assert_eq!(drawn(&panel, 14, 3)[0], "├─▶queue ────┤");
        assert_eq!(drawn(&panel, 10, 3)[0].chars().count(), 10);
    }

    #[test]
    fn the_right_text_of_a_lower_border_has_priority() {
        let area = Rect::new(0, 0, 20, 1);
        let mut buf = Buffer::empty(area);
        let text = |what: &str| vec![styled(what, Style::new())];
        let theme = Theme::new(Palette::Ansi256);
        lower(&mut buf, area, (theme, true), &text("all the lines"), &text("12 lines"));
        assert_eq!(rows(&buf), ["╰─ al… ─ 12 lines ─╯"]);
    }

    #[test]
    fn no_size_is_too_small() {
        let text = vec![styled("a long title of a small panel", Style::new())];
        let panel = Panel { title: text.clone(), right: text, ..Panel::default() };
        for width in 0..40 {
            for height in 0..6 {
                let inner = Panel::inner(Rect::new(0, 0, width, height));
                assert!(inner.width <= width && inner.height <= height);
                drawn(&panel, width, height);
            }
        }
    }
}
