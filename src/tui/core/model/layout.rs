//! The positions of everything on a screen of a given size. They are part of the model, because
//! scrolling by screens depends on them; the view uses them for drawing.

pub mod columns;
mod panes;
mod parts;
mod strip;

use ratatui::layout::Rect;

use super::panels::QueueList;
use super::screen::Detail;
use super::{Amount, Model};
use bklit_wire::debug_log::Stage;
use bklit_wire::text;
pub use panes::PanePlace;
pub use parts::{QueueParts, VisitorsParts};
pub use strip::Strip;

/// Rows of a trace above its lines: title, summary, the event's state, labels.
pub const TRACE_HEAD: u16 = 4;
/// Rows of a batch's details above its events: title, worker, start, labels.
pub const BATCH_HEAD: u16 = 4;
/// Rows of the verify view above the verifier's messages: title, digits, counts, labels.
pub const VERIFY_HEAD: u16 = 7;
/// Rows above the list of projects: title, input.
pub const PROJECTS_HEAD: u16 = 2;
/// Rows above the list of processes: title, labels.
pub const PROCESSES_HEAD: u16 = 2;
/// The most completions shown for a command.
const CANDIDATE_ROWS: u16 = 8;

/// The smallest width in which the console can be used.
pub const MIN_WIDTH: u16 = 60;
/// The smallest height.
pub const MIN_HEIGHT: u16 = 15;

/// The height from which the figures of each stage have a row of their own.
pub const TABLE_MIN_HEIGHT: u16 = 20;
/// The width from which the queue has a block of its own next to them.
const QUEUE_MIN_WIDTH: u16 = 110;
/// The most columns of this block.
const QUEUE_MAX_WIDTH: u16 = 66;
/// The height from which the flow has a row for details.
const FLOW_MIN_HEIGHT: u16 = 28;
/// A row per stage.
const TABLE_ROWS: u16 = Stage::ALL.len() as u16;
/// The heights from which alerts may have this many rows.
const ALERT_ROWS: [(u16, u16); 2] = [(30, 3), (24, 2)];
/// The most rows of a message that does not fit into one; fewer on a small screen.
const MAX_MESSAGE_ROWS: usize = 3;
const FEW_MESSAGE_ROWS: usize = 2;
/// The columns that a message leaves free.
pub const MESSAGE_MARGIN: usize = 2;
/// The width from which a line is shown in full next to the log.
pub const DETAIL_MIN_WIDTH: u16 = 140;

/// The parts of the screen, from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Name, source, health, rate, state.
    pub header: Rect,
    /// The figures with their frame, without its lower border.
    pub figures: Rect,
    /// How many figures are shown.
    pub amount: Amount,
    /// The path of events through the stages, within the frame.
    pub flow: Rect,
    /// A row for each stage, if all figures are shown. The row above it has the labels.
    pub table: Option<Rect>,
    /// The queue's own block, if there is space for it, next to the table.
    pub queue: Option<Rect>,
    /// The upper border of the log, which separates it from the figures.
    pub rule: Rect,
    /// The log, within its frame.
    pub log: Rect,
    /// The lower border of the log: what it shows, or the text field.
    pub status: Rect,
    /// The timeline above the log, if it is enabled and there is space.
    pub timeline: Option<Strip>,
    /// A line in full next to the log, with its upper border.
    pub detail: Option<Rect>,
    /// The change of many failed events in progress; empty without one.
    pub bulk: Rect,
    /// The alerts; empty without any.
    pub alerts: Rect,
    /// Keys, or a message about the text in the field.
    pub hints: Rect,
}

/// What a screen shows in addition to its fixed parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How many figures.
    pub amount: Amount,
    /// The number of alerts.
    pub alerts: usize,
    /// Whether many failed events are being changed.
    pub bulk: bool,
    /// Whether a line is shown in full next to the log, if there is space.
    pub detail: bool,
    /// Whether the timeline is shown, if there is space.
    pub timeline: bool,
    /// Whether the log has several panes.
    pub split: bool,
    /// The rows of the message in place of the keys; one without a message.
    pub message: usize,
}

impl Wanted {
    /// The rows of the message, or of the keys.
    fn message_rows(&self, area: Rect) -> u16 {
        let few = area.height < TABLE_MIN_HEIGHT;
        let most = if few { FEW_MESSAGE_ROWS } else { MAX_MESSAGE_ROWS };
        u16::try_from(self.message.clamp(1, most)).unwrap_or(1)
    }
}

impl Layout {
    /// The parts of a screen, including as many of the requested ones as possible; `None` if it is
    /// too small.
    pub fn of(area: Rect, wanted: Wanted) -> Option<Self> {
        if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
            return None;
        }
        let amount = if area.height < TABLE_MIN_HEIGHT { Amount::Few } else { wanted.amount };
        let alert_rows = ALERT_ROWS.iter().find(|(least, _)| area.height >= *least);
        let alert_rows = alert_rows
            .map_or(1, |(_, rows)| *rows)
            .min(u16::try_from(wanted.alerts).unwrap_or(u16::MAX));
        let flow_rows = if area.height < FLOW_MIN_HEIGHT { 2 } else { 3 };
        let mut top = area.y;
        let mut rows = |height: u16| {
            let part = Rect { y: top, height, ..area };
            top += height;
            part
        };
        let header = rows(1);
        let border = rows(1);
        let flow = within(rows(flow_rows));
        // A margin on the left.
        let flow = Rect { x: flow.x + 1, width: flow.width - 1, ..flow };
        let table = (amount == Amount::All).then(|| {
            // The labels.
            rows(1);
            within(rows(TABLE_ROWS))
        });
        let rule = rows(1);
        let bulk_rows = u16::from(wanted.bulk);
        let hint_rows = wanted.message_rows(area);
        let used = rule.bottom() - area.y + alert_rows + bulk_rows + 1 + hint_rows;
        let log = rows(area.height - used);
        let (status, bulk) = (rows(1), rows(bulk_rows));
        let (alerts, hints) = (rows(alert_rows), rows(hint_rows));
        let figures = Rect { height: rule.y - border.y, ..border };
        let table_and_queue = table.map(|table| side_by_side(table, area.width));
        let mut layout = Self {
            header,
            figures,
            amount,
            flow,
            table: table_and_queue.map(|(table, _)| table),
            queue: table_and_queue.and_then(|(_, queue)| queue),
            rule,
            log: within(log),
            status,
            timeline: None,
            detail: None,
            bulk,
            alerts,
            hints,
        };
        if wanted.detail && area.width >= DETAIL_MIN_WIDTH {
            layout.share_with_detail();
        }
        if wanted.timeline {
            layout.add_timeline(area.height, wanted.split);
        }
        Some(layout)
    }

    /// Narrows the log for a line in full to its right.
    fn share_with_detail(&mut self) {
        let width = self.rule.width * 2 / 5;
        let log = self.rule.width - width;
        self.detail = Some(within(Rect {
            x: self.rule.x + log,
            width,
            height: self.status.y - self.rule.y,
            ..self.rule
        }));
        (self.rule.width, self.status.width, self.log.width) = (log, log, log - 2);
    }

    /// The area of a stage's figures; of its place in the flow if the stages have no rows.
    pub fn stage(&self, stage: Stage) -> Rect {
        let nth = u16::try_from(stage.index()).unwrap_or(u16::MAX);
        match self.table {
            Some(table) => Rect { y: table.y + nth, height: 1, ..table },
            None => self.node(stage),
        }
    }

    /// The place of a stage in the flow.
    pub fn node(&self, stage: Stage) -> Rect {
        let count = u16::try_from(Stage::ALL.len()).unwrap_or(u16::MAX);
        let nth = u16::try_from(stage.index()).unwrap_or(u16::MAX);
        let (width, rest) = (self.flow.width / count, self.flow.width % count);
        let x = self.flow.x + width * nth + rest.min(nth);
        Rect { x, width: width + u16::from(nth < rest), ..self.flow }
    }

    /// The area for this many completions of a command: as many as fit, next to the text.
    pub fn candidates(&self, count: usize) -> Rect {
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let height = CANDIDATE_ROWS.min(self.log.height).min(count);
        Rect { y: self.status.y - height, height, ..self.log }
    }

    /// The area of a view over the log, within its frame, but with its upper border, which has its
    /// title.
    pub fn overlay(&self) -> Rect {
        within(Rect { height: self.status.y - self.figures.y, ..self.figures })
    }

    /// The area of a text, with its upper border: next to the log, or over it.
    pub fn page(&self) -> Rect {
        self.detail.unwrap_or_else(|| self.overlay())
    }

    /// The height of a text without its title.
    pub fn page_rows(&self) -> usize {
        usize::from(self.page().height).saturating_sub(1)
    }
}

/// The columns within a frame.
fn within(area: Rect) -> Rect {
    Rect { x: area.x + 1, width: area.width - 2, ..area }
}

/// The table, and the queue's block next to it if the screen is wide enough.
fn side_by_side(table: Rect, width: u16) -> (Rect, Option<Rect>) {
    if width < QUEUE_MIN_WIDTH {
        return (table, None);
    }
    let queue = (width / 3).min(QUEUE_MAX_WIDTH);
    let table = Rect { width: table.width - queue, ..table };
    (table, Some(Rect { x: table.right(), width: queue, ..table }))
}

/// The area of a view below a head of this many rows.
pub fn below(view: Rect, head: u16) -> Rect {
    let head = head.min(view.height);
    Rect { y: view.y + head, height: view.height - head, ..view }
}

impl Model {
    /// The parts of the screen; `None` if it is too small.
    pub fn layout(&self) -> Option<Layout> {
        Layout::of(Rect::new(0, 0, self.size.0, self.size.1), self.wanted())
    }

    /// What the screen shows in addition to its fixed parts.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            amount: self.amount,
            alerts: self.alerts.banners().len(),
            bulk: self.bulk.is_some(),
            // Over another view, a line covers it.
            detail: self.screens.len() == 1 && self.shown::<Detail>().is_some(),
            timeline: self.timeline.is_shown(),
            split: self.panes.count() > 1 && !self.panes.is_full(),
            message: self.message_rows(),
        }
    }

    /// The rows of the message in place of the keys; one without a message.
    fn message_rows(&self) -> usize {
        let width = usize::from(self.size.0).saturating_sub(MESSAGE_MARGIN);
        self.message().map_or(1, |message| text::wrap(&message, width).len())
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

    /// The height of the list of processes.
    pub fn process_list_height(&self) -> usize {
        let rows = |layout: Layout| below(layout.overlay(), PROCESSES_HEAD).height;
        usize::from(self.layout().map_or(0, rows)).max(1)
    }

    /// The height of the verifier's messages.
    pub fn verify_rows(&self) -> usize {
        let rows = |layout: Layout| below(layout.overlay(), VERIFY_HEAD).height;
        usize::from(self.layout().map_or(0, rows)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(amount: Amount, alerts: usize) -> Wanted {
        Wanted {
            amount,
            alerts,
            bulk: false,
            detail: false,
            timeline: false,
            split: false,
            message: 1,
        }
    }

    fn of(width: u16, height: u16, amount: Amount, alerts: usize, detail: bool) -> Layout {
        Layout::of(Rect::new(0, 0, width, height), Wanted { detail, ..wanted(amount, alerts) })
            .unwrap()
    }

    #[test]
    fn parts_fill_the_screen_without_overlap() {
        for (width, height) in [(60, 15), (80, 20), (80, 24), (109, 23), (120, 40), (250, 80)] {
            for amount in [Amount::All, Amount::Few] {
                for alerts in [0, 1, 5] {
                    let parts = of(width, height, amount, alerts, false);
                    let stacked =
                        [parts.header, parts.figures, parts.rule, parts.log, parts.status];
                    let mut y = 0;
                    for part in stacked.into_iter().chain([parts.alerts, parts.hints]) {
                        assert_eq!(part.y, y);
                        y = part.bottom();
                    }
                    assert_eq!(y, height);
                    assert!(parts.log.height >= 5, "{height}");
                    let queue = parts.queue.map_or(0, |queue| queue.width);
                    let table = parts.table.unwrap_or(parts.log);
                    assert_eq!(table.width + queue + 2, width);
                    assert_eq!(parts.flow.width + 3, width);
                }
            }
        }
    }

    #[test]
    fn figures_stay_on_a_small_terminal_under_a_status_line() {
        for height in [20, 23, 24] {
            assert!(of(80, height, Amount::All, 1, false).table.is_some(), "{height}");
        }
        assert!(of(80, 19, Amount::All, 0, false).table.is_none());
    }

    #[test]
    fn a_wide_screen_shows_a_line_next_to_the_log() {
        assert_eq!(of(139, 40, Amount::All, 0, true).detail, None);
        let parts = of(140, 40, Amount::All, 0, true);
        let detail = parts.detail.unwrap();
        assert_eq!(parts.rule.width + detail.width + 2, 140);
        assert!(parts.log.width >= 80 && detail.width >= 50, "{parts:?}");
        assert_eq!(detail.y, parts.rule.y);
        assert_eq!(detail.bottom(), parts.status.y);
    }

    #[test]
    fn below_the_minimum_size_there_is_no_layout() {
        let wanted = wanted(Amount::All, 0);
        for (width, height) in [(0, 0), (1, 1), (59, 80), (250, 14)] {
            assert_eq!(Layout::of(Rect::new(0, 0, width, height), wanted), None);
        }
    }
}
