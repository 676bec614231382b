//! The heights of the parts of views with several lists.

use ratatui::layout::Rect;

use super::below;

/// The heights of the parts of the queue's view, from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueParts {
    /// The chart of the depth.
    pub chart: u16,
    /// The batches in flight, without labels.
    pub batches: u16,
    /// The failed events, without labels.
    pub failed: u16,
}

impl QueueParts {
    /// The height from which the chart has several rows.
    const CHART_MIN_HEIGHT: u16 = 26;
    /// Title, figures, two rows of labels, and the separator.
    const FIXED: u16 = 5;

    /// The heights for a view of this height with this many batches; the batches get more rows if
    /// the reader is among them.
    pub fn of(height: u16, batches: usize, on_batches: bool) -> Self {
        let chart = if height >= Self::CHART_MIN_HEIGHT { 5 } else { 1 };
        let most = u16::try_from(batches).unwrap_or(u16::MAX).max(1);
        let room = height.saturating_sub(Self::FIXED + chart);
        let share = if on_batches { room * 2 / 3 } else { room / 3 };
        let batches = most.min(share.max(1));
        Self { chart, batches, failed: room.saturating_sub(batches).max(1) }
    }

    /// The area of the batches in a view.
    pub fn batch_list(&self, view: Rect) -> Rect {
        // Title and figures are above the chart, a title is below it.
        let list = below(view, 3 + self.chart);
        Rect { height: list.height.min(self.batches), ..list }
    }

    /// The area of the failed events in a view.
    pub fn failed_list(&self, view: Rect) -> Rect {
        let list = below(view, Self::FIXED + self.chart + self.batches);
        Rect { height: list.height.min(self.failed), ..list }
    }
}

/// The heights of the live view's lists, without labels and titles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisitorsParts {
    /// Projects, top pages, latest events.
    pub rows: [u16; 3],
    /// Whether top pages and latest events are side by side.
    pub side_by_side: bool,
}

impl VisitorsParts {
    /// The width from which pages and events are side by side.
    const SIDE_BY_SIDE_MIN_WIDTH: u16 = 110;
    /// Title, total, labels.
    pub const HEAD: u16 = 3;

    /// The heights for a view of this size with this many items in each list.
    pub fn of(width: u16, height: u16, counts: [usize; 3]) -> Self {
        let side_by_side = width >= Self::SIDE_BY_SIDE_MIN_WIDTH;
        let titles = if side_by_side { 1 } else { 2 };
        let room = height.saturating_sub(Self::HEAD + titles);
        let wanted = counts.map(|count| u16::try_from(count).unwrap_or(u16::MAX).max(1));
        let lists = titles + 1;
        // Space that one list does not need goes to the next ones.
        let projects = wanted[0].min((room / lists).max(1));
        let room = room.saturating_sub(projects);
        if side_by_side {
            return Self { rows: [projects, room.max(1), room.max(1)], side_by_side };
        }
        let pages = wanted[1].min(room.div_ceil(2)).max(room.saturating_sub(wanted[2]));
        let pages = pages.max(1);
        Self { rows: [projects, pages, room.saturating_sub(pages).max(1)], side_by_side }
    }

    /// The areas of the lists in a view.
    pub fn lists(&self, view: Rect) -> [Rect; 3] {
        let [projects, pages, events] = self.rows;
        let rows = |head: u16, height: u16| {
            let list = below(view, head);
            Rect { height: height.min(list.height), ..list }
        };
        let first = rows(Self::HEAD, projects);
        let top = Self::HEAD + projects + 1;
        if self.side_by_side {
            let (both, half) = (rows(top, pages), view.width / 2);
            let right = Rect { x: both.x + half, width: both.width - half, ..both };
            return [first, Rect { width: half.saturating_sub(1), ..both }, right];
        }
        [first, rows(top, pages), rows(top + pages + 1, events)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_view_uses_all_space() {
        for (width, height) in [(60, 13), (80, 22), (109, 40), (110, 40), (200, 58)] {
            for counts in [[0, 0, 0], [1, 50, 50], [100, 2, 50], [3, 50, 1], [100, 50, 50]] {
                let parts = VisitorsParts::of(width, height, counts);
                let [projects, pages, events] = parts.rows;
                let lists = if parts.side_by_side { pages + 1 } else { pages + events + 2 };
                assert_eq!(VisitorsParts::HEAD + projects + lists, height, "{counts:?}");
                assert!(projects >= 1 && pages >= 1 && events >= 1);
            }
        }
    }
}
