//! The positions of the panes.

use ratatui::layout::Rect;

use super::Layout;
use crate::model::Model;
use crate::model::panes::Panes;

/// The width from which panes are side by side.
const SIDE_BY_SIDE_MIN_WIDTH: u16 = 160;
/// The smallest useful pane: its title and a few lines.
const MIN_PANE_HEIGHT: u16 = 4;

/// The position of a pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PanePlace {
    /// The pane.
    pub pane: usize,
    /// Its title, if there are several panes.
    pub title: Option<Rect>,
    /// Its lines.
    pub lines: Rect,
    /// The line between it and the pane to its right.
    pub border: Option<Rect>,
}

impl Layout {
    /// The positions of the visible panes: all of them, or only the focused one if it is maximized
    /// or the screen is too small for all. The first row of several has its titles in the border.
    pub fn panes(&self, panes: &Panes) -> Vec<PanePlace> {
        let count = u16::try_from(panes.count()).unwrap_or(u16::MAX);
        let all = Rect { y: self.log.y - 1, height: self.log.height + 1, ..self.log };
        let columns = if all.width < SIDE_BY_SIDE_MIN_WIDTH { 1 } else { 2.min(count) };
        let rows = count.div_ceil(columns);
        let alone = PanePlace { pane: panes.focus(), title: None, lines: self.log, border: None };
        if count == 1 || panes.is_full() || all.height / rows < MIN_PANE_HEIGHT {
            return vec![alone];
        }
        let place = |nth: u16| {
            let (row, column) = (nth / columns, nth % columns);
            // The last row may have fewer, wider panes.
            let in_row = columns.min(count - row * columns);
            let share = |all: u16, parts: u16, nth: u16| all / parts * nth + (all % parts).min(nth);
            let (x, right) =
                (share(all.width, in_row, column), share(all.width, in_row, column + 1));
            let (y, bottom) = (share(all.height, rows, row), share(all.height, rows, row + 1));
            let has_border = column + 1 < in_row;
            let width = right - x - u16::from(has_border);
            let area = Rect { x: all.x + x, y: all.y + y, width, height: bottom - y };
            PanePlace {
                pane: usize::from(nth),
                title: Some(Rect { height: 1, ..area }),
                lines: Rect { y: area.y + 1, height: area.height - 1, ..area },
                border: has_border.then_some(Rect { x: area.right(), width: 1, ..area }),
            }
        };
        (0..count).map(place).collect()
    }
}

impl Model {
    /// The height of the focused pane.
    pub fn log_height(&self) -> usize {
        self.pane_height(self.panes.focus())
    }

    /// The height of a pane; of the focused one if it is not visible.
    pub fn pane_height(&self, nth: usize) -> usize {
        self.pane_lines(nth).map_or(1, |lines| lines.height.into())
    }

    /// The width of a pane; of the focused one if it is not visible.
    pub fn pane_width(&self, nth: usize) -> usize {
        self.pane_lines(nth).map_or(1, |lines| lines.width.into())
    }

    fn pane_lines(&self, nth: usize) -> Option<Rect> {
        let places = self.layout()?.panes(&self.panes);
        let place = places.iter().find(|place| place.pane == nth).or(places.first());
        place.map(|place| place.lines)
    }

    /// Whether all panes are visible.
    pub fn shows_all_panes(&self) -> bool {
        let places = self.layout().map(|layout| layout.panes(&self.panes).len());
        places.is_none_or(|shown| shown == self.panes.count())
    }

    /// After the size of the panes has changed: each reader stays at its line.
    pub(crate) fn settle_panes(&mut self) {
        // Too small to show anything.
        if self.layout().is_none() {
            return;
        }
        for nth in 0..self.panes.count() {
            let height = self.pane_height(nth);
            if let Some(pane) = self.panes.get_mut(nth) {
                pane.settle(height);
            }
        }
    }

    /// Measures the lines that are on the screen, or will be after the next key; after the reader has
    /// moved, `settles` records on which rows they are.
    pub(crate) fn measure_panes(&mut self, settles: bool) {
        if !(0..self.panes.count()).any(|nth| self.panes.get(nth).wraps()) {
            return;
        }
        let limit = self.limit();
        for nth in 0..self.panes.count() {
            let (width, height) = (self.pane_width(nth), self.pane_height(nth));
            if let Some(pane) = self.panes.get_mut(nth) {
                pane.measure(&self.ring, width, height);
                if settles && pane.wraps() && !pane.has_work(&self.ring, limit) {
                    pane.settle(height);
                }
            }
        }
    }
}
