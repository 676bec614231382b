//! The positions of everything on a screen of a given size. They are part of the model, because
//! scrolling by screens depends on them; the view uses them for drawing.

use ratatui::layout::Rect;

use super::panels::QueueList;
use super::panes::Panes;
use super::{Amount, Model};
use bklit_wire::debug_log::Stage;

/// Rows of a trace above its lines: title, summary, the event's state, labels.
pub const TRACE_HEAD: u16 = 4;
/// Rows of a batch's details above its events: title, worker, start, labels.
pub const BATCH_HEAD: u16 = 4;
/// Rows of the verify view above the verifier's messages: title, digits, counts, labels.
pub const VERIFY_HEAD: u16 = 7;
/// Rows above the list of projects: title, input.
pub const PROJECTS_HEAD: u16 = 2;
/// The most completions shown for a command.
const CANDIDATE_ROWS: u16 = 8;

/// The smallest width in which the console can be used.
pub const MIN_WIDTH: u16 = 60;
/// The smallest height.
pub const MIN_HEIGHT: u16 = 15;

/// The height from which the figures of each stage have a row of their own.
const TABLE_MIN_HEIGHT: u16 = 24;
/// The width from which the queue has a block of its own next to them.
const QUEUE_MIN_WIDTH: u16 = 110;
/// Labels, a row per stage, and the time from acceptance to storage.
const TABLE_ROWS: u16 = Stage::ALL.len() as u16 + 2;
const CHIP_ROWS: u16 = 2;

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

/// The area of a view below a head of this many rows.
pub fn below(view: Rect, head: u16) -> Rect {
    let head = head.min(view.height);
    Rect { y: view.y + head, height: view.height - head, ..view }
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

/// The parts of the screen, from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Name, source, health, rate, state.
    pub header: Rect,
    /// The stages' figures.
    pub figures: Rect,
    /// How many figures are shown.
    pub amount: Amount,
    /// The queue's own block, if there is space for it.
    pub queue: Option<Rect>,
    /// The separator between figures and log; also shows the queue if it has no block.
    pub rule: Rect,
    /// The log.
    pub log: Rect,
    /// What the log shows, or the text field.
    pub status: Rect,
    /// Keys, or a message about the text in the field.
    pub hints: Rect,
}

impl Layout {
    /// The parts of a screen, with as many figures as wanted and possible; `None` if it is too
    /// small.
    pub fn of(area: Rect, wanted: Amount) -> Option<Self> {
        if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
            return None;
        }
        let amount = if area.height < TABLE_MIN_HEIGHT { Amount::Few } else { wanted };
        let figure_rows = match amount {
            Amount::All => TABLE_ROWS,
            Amount::Few => CHIP_ROWS,
        };
        let mut top = area.y;
        let mut rows = |height: u16| {
            let part = Rect { y: top, height, ..area };
            top += height;
            part
        };
        let header = rows(1);
        let mut figures = rows(figure_rows);
        let rule = rows(1);
        let log = rows(area.height - figure_rows - 4);
        let (status, hints) = (rows(1), rows(1));
        let has_queue = amount == Amount::All && area.width >= QUEUE_MIN_WIDTH;
        let queue = has_queue.then(|| {
            let width = (area.width / 3).min(60);
            figures.width -= width;
            Rect { x: figures.right(), width, ..figures }
        });
        Some(Self { header, figures, amount, queue, rule, log, status, hints })
    }

    /// The positions of the visible panes: all of them, or only the focused one if it is maximized
    /// or the screen is too small for all.
    pub fn panes(&self, panes: &Panes) -> Vec<PanePlace> {
        let count = u16::try_from(panes.count()).unwrap_or(u16::MAX);
        let columns = if self.log.width < SIDE_BY_SIDE_MIN_WIDTH { 1 } else { 2.min(count) };
        let rows = count.div_ceil(columns);
        let alone = PanePlace { pane: panes.focus(), title: None, lines: self.log, border: None };
        if count == 1 || panes.is_full() || self.log.height / rows < MIN_PANE_HEIGHT {
            return vec![alone];
        }
        let place = |nth: u16| {
            let (row, column) = (nth / columns, nth % columns);
            // The last row may have fewer, wider panes.
            let beside = columns.min(count - row * columns);
            let share = |all: u16, parts: u16, nth: u16| all / parts * nth + (all % parts).min(nth);
            let (x, right) =
                (share(self.log.width, beside, column), share(self.log.width, beside, column + 1));
            let (y, bottom) =
                (share(self.log.height, rows, row), share(self.log.height, rows, row + 1));
            let has_border = column + 1 < beside;
            let width = right - x - u16::from(has_border);
            let area = Rect { x: self.log.x + x, y: self.log.y + y, width, height: bottom - y };
            PanePlace {
                pane: usize::from(nth),
                title: Some(Rect { height: 1, ..area }),
                lines: Rect { y: area.y + 1, height: area.height - 1, ..area },
                border: has_border.then_some(Rect { x: area.right(), width: 1, ..area }),
            }
        };
        (0..count).map(place).collect()
    }

    /// The area of a stage's figures.
    pub fn stage(&self, stage: Stage) -> Rect {
        let count = u16::try_from(Stage::ALL.len()).unwrap_or(u16::MAX);
        let nth = u16::try_from(stage.index()).unwrap_or(u16::MAX);
        match self.amount {
            // Below the labels.
            Amount::All => Rect { y: self.figures.y + 1 + nth, height: 1, ..self.figures },
            Amount::Few => {
                let width = self.figures.width / count;
                Rect { x: self.figures.x + width * nth, width, ..self.figures }
            }
        }
    }

    /// The area for this many completions of a command: as many as fit, next to the text.
    pub fn candidates(&self, count: usize) -> Rect {
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let height = CANDIDATE_ROWS.min(self.log.height).min(count);
        Rect { y: self.status.y - height, height, ..self.log }
    }

    /// The area of a view over the log: everything between header and hints.
    pub fn overlay(&self) -> Rect {
        let height = self.hints.y - self.figures.y;
        Rect { height, width: self.header.width, ..self.figures }
    }

    /// The height of such a view without its title.
    pub fn overlay_rows(&self) -> usize {
        usize::from(self.overlay().height).saturating_sub(1)
    }
}

impl Model {
    /// The parts of the screen; `None` if it is too small.
    pub fn layout(&self) -> Option<Layout> {
        Layout::of(Rect::new(0, 0, self.size.0, self.size.1), self.amount)
    }

    /// The height of the focused pane.
    pub fn log_height(&self) -> usize {
        self.pane_height(self.panes.focus())
    }

    /// The height of a pane; of the focused one if it is not visible.
    pub fn pane_height(&self, nth: usize) -> usize {
        let Some(layout) = self.layout() else { return 1 };
        let places = layout.panes(&self.panes);
        let place = places.iter().find(|place| place.pane == nth).or(places.first());
        place.map_or(1, |place| place.lines.height.into())
    }

    /// The height of a trace's lines.
    pub fn trace_rows(&self) -> usize {
        self.layout().map_or(1, |layout| below(layout.overlay(), TRACE_HEAD).height.into())
    }

    /// The parts of the queue's view.
    pub fn queue_parts(&self) -> QueueParts {
        let panel = &self.panels.queue;
        let height = self.layout().map_or(0, |layout| layout.overlay().height);
        QueueParts::of(height, panel.batches().len(), panel.list() == QueueList::Batches)
    }

    /// The parts of the live view.
    pub fn visitors_parts(&self) -> VisitorsParts {
        let area = self.layout().map_or(Rect::ZERO, |layout| layout.overlay());
        VisitorsParts::of(area.width, area.height, self.panels.visitors.counts())
    }

    /// The height of a batch's events.
    pub fn batch_rows(&self) -> usize {
        let rows = |layout: Layout| below(layout.overlay(), BATCH_HEAD).height;
        usize::from(self.layout().map_or(0, rows)).max(1)
    }

    /// The height of the verifier's messages.
    pub fn verify_rows(&self) -> usize {
        let rows = |layout: Layout| below(layout.overlay(), VERIFY_HEAD).height;
        usize::from(self.layout().map_or(0, rows)).max(1)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_screen_without_overlap() {
        for (width, height) in [(60, 15), (80, 24), (109, 23), (120, 40), (250, 80)] {
            for wanted in [Amount::All, Amount::Few] {
                let area = Rect::new(0, 0, width, height);
                let parts = Layout::of(area, wanted).unwrap();
                let stacked = [parts.header, parts.figures, parts.rule, parts.log, parts.status];
                let mut y = 0;
                for part in stacked.into_iter().chain([parts.hints]) {
                    assert_eq!(part.y, y);
                    y = part.bottom();
                }
                assert_eq!(y, height);
                assert!(parts.log.height >= 9, "{height}");
                let queue = parts.queue.map_or(0, |queue| queue.width);
                assert_eq!(parts.figures.width + queue, width);
            }
        }
    }

    #[test]
    fn the_live_view_leaves_no_room_unused() {
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

    #[test]
    fn too_small_is_too_small() {
        for (width, height) in [(0, 0), (1, 1), (59, 80), (250, 14)] {
            assert_eq!(Layout::of(Rect::new(0, 0, width, height), Amount::All), None);
        }
    }
}
