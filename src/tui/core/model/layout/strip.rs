//! The position of the timeline: bars with their labels, and an axis that is also the border to the
//! log.

use ratatui::layout::Rect;

use super::Layout;

/// The columns of the labels left of the bars.
const LABELS: u16 = 7;
/// The fewest rows of the log below it.
const MIN_LOG: u16 = 5;

/// The position of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strip {
    /// The bars.
    pub bars: Rect,
    /// The labels left of them.
    pub labels: Rect,
    /// The axis below the bars, with the border of the log's frame.
    pub axis: Rect,
    /// The row below the axis, which has the titles of several panes.
    pub titles: Option<Rect>,
}

impl Layout {
    /// Takes the rows of the timeline from the log, if that leaves enough.
    pub(super) fn add_timeline(&mut self, height: u16, split: bool) {
        let rows = match height {
            0..30 => 2,
            30..40 => 3,
            _ => 4,
        };
        let used = rows + 1 + u16::from(split);
        if self.log.height < used + MIN_LOG {
            return;
        }
        let area = Rect { height: rows, ..self.log };
        let bars = Rect { x: area.x + LABELS, width: area.width - LABELS, ..area };
        let axis = Rect { y: area.bottom(), height: 1, ..self.rule };
        let titles = split.then_some(Rect { y: axis.bottom(), ..axis });
        let labels = Rect { width: LABELS, ..area };
        self.timeline = Some(Strip { bars, labels, axis, titles });
        (self.log.y, self.log.height) = (self.log.y + used, self.log.height - used);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Wanted;
    use super::*;
    use crate::model::Amount;

    #[test]
    fn the_log_keeps_its_rows_and_nothing_overlaps() {
        for (width, height) in [(60, 15), (80, 20), (80, 24), (120, 40), (250, 80)] {
            for (amount, split, alerts) in [(Amount::All, false, 1), (Amount::Few, true, 0)] {
                for detail in [false, true] {
                    let wanted = Wanted {
                        amount,
                        alerts,
                        bulk: false,
                        detail,
                        timeline: true,
                        split,
                        message: 1,
                    };
                    let layout = Layout::of(Rect::new(0, 0, width, height), wanted).unwrap();
                    assert!(layout.log.height >= 5, "{layout:?}");
                    let Some(strip) = layout.timeline else { continue };
                    assert_eq!(strip.bars.y, layout.rule.bottom());
                    assert_eq!(strip.axis.y, strip.bars.bottom());
                    let last = strip.titles.unwrap_or(strip.axis);
                    assert_eq!((last.bottom(), strip.titles.is_some()), (layout.log.y, split));
                    assert_eq!(layout.log.bottom(), layout.status.y);
                    assert_eq!(strip.bars.right(), layout.log.right());
                    assert_eq!(strip.labels.right(), strip.bars.x);
                }
            }
        }
    }

    #[test]
    fn it_has_space_on_a_small_terminal() {
        let wanted = |amount| Wanted {
            amount,
            alerts: 1,
            bulk: false,
            detail: false,
            timeline: true,
            split: false,
            message: 1,
        };
        let has_it = |height, amount| {
            let layout = Layout::of(Rect::new(0, 0, 80, height), wanted(amount));
            layout.unwrap().timeline.is_some()
        };
        assert!(has_it(24, Amount::All) && has_it(18, Amount::Few));
        assert!(!has_it(20, Amount::All) && !has_it(15, Amount::Few));
    }
}
