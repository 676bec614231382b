//! The history of figures: the window that is shown, its cursor, and the last answer.

use super::Polled;
use crate::model::cursor::Cursor;
use crate::model::history::{Series, Shift, Span, Topic};
use crate::requests::HistoryWindow;
use bklit_wire::history::{History, HistoryQuery, MINUTE};
use bklit_wire::time::UtcMillis;

/// The polling interval for the current figures, in milliseconds.
const NOW_EVERY: i64 = 10_000;
/// The same for longer spans, and for the past, which does not change.
const LONG_EVERY: i64 = 60_000;

/// The lists below the graphs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistoryList {
    /// The slowest steps.
    #[default]
    Slowest,
    /// Warnings and errors.
    Failures,
    /// The projects with the most events.
    Projects,
}

impl HistoryList {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Slowest, Self::Failures, Self::Projects];

    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Slowest => "slowest",
            Self::Failures => "failures",
            Self::Projects => "projects",
        }
    }
}

/// The selected part of the history; it outlives the screen.
#[derive(Debug)]
pub struct HistoryPanel {
    /// The last answer.
    pub polled: Polled<Box<HistoryWindow>>,
    /// The seconds of the last minute, while they are shown.
    pub(crate) minute: Series<'static>,
    pub(crate) topic: Topic,
    pub(crate) span: Span,
    /// The end of the window; `None` stays with the present.
    pub(crate) end: Option<i64>,
    /// The selected time, in milliseconds; `None` is the present.
    pub(crate) cursor: Option<i64>,
    /// The earlier figures in the graphs.
    pub(crate) overlay: Option<Shift>,
    pub(crate) list: HistoryList,
    /// The selection in the list.
    pub(crate) selected: Cursor,
}

impl Default for HistoryPanel {
    fn default() -> Self {
        Self {
            polled: Polled::new(NOW_EVERY),
            minute: Series::of(None, 0, 1_000, 0),
            topic: Topic::default(),
            span: Span::default(),
            end: None,
            cursor: None,
            overlay: None,
            list: HistoryList::default(),
            selected: Cursor::default(),
        }
    }
}

impl HistoryPanel {
    /// What the page is about.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// The span shown.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Whether the window ends at the present.
    pub fn is_current(&self) -> bool {
        self.end.is_none()
    }

    /// The beginning of the first point of the window, in milliseconds.
    pub fn from(&self, now: UtcMillis) -> i64 {
        let step = self.span.step();
        let last = self.end.unwrap_or(now.epoch_millis()).div_euclid(step) * step;
        last - self.span.millis() + step
    }

    /// What has to be requested for the window. The figures of the last minute are published; then
    /// this is for those of earlier times.
    pub fn query(&self, now: UtcMillis) -> Option<HistoryQuery> {
        let span = if self.span == Span::Minute { Span::Hour } else { self.span };
        let last = self.end.unwrap_or(now.epoch_millis());
        let from = UtcMillis::from_epoch_millis(last - span.millis() + span.step());
        let step = std::time::Duration::from_millis(span.step().unsigned_abs());
        HistoryQuery::new(from, UtcMillis::from_epoch_millis(last), step).ok()
    }

    /// The last answer's history, or that of an earlier time.
    pub fn history(&self, shift: Option<Shift>) -> Option<&History> {
        let window = self.polled.data()?;
        match shift {
            None => Some(&window.now),
            Some(shift) => window.before.get(shift as usize)?.as_ref(),
        }
    }

    /// Changes the window, and requests it soon.
    pub(crate) fn show(&mut self, span: Span, end: Option<i64>) {
        let is_long = end.is_some() || matches!(span, Span::Day | Span::Week);
        (self.span, self.end) = (span, end);
        self.polled.set_every(if is_long { LONG_EVERY } else { NOW_EVERY });
    }

    /// Shows a longer or shorter span around the selected time.
    pub(crate) fn zoom(&mut self, out: bool, now: UtcMillis) {
        let span = self.span.zoomed(out);
        let centred = self.cursor.map(|at| at + span.millis() / 2);
        let end = centred.filter(|&end| end < now.epoch_millis() && span != Span::Minute);
        if span == Span::Minute {
            // The seconds of earlier times are not kept.
            self.cursor = None;
        }
        self.show(span, end);
    }

    /// Moves the selected time by points, and the window if it leaves that.
    pub(crate) fn step(&mut self, points: i64, now: UtcMillis) {
        let step = self.span.step();
        let from = self.from(now);
        let last = from + self.span.millis() - step;
        let at = self.cursor.unwrap_or(last) + points * step;
        let newest = now.epoch_millis().div_euclid(step) * step;
        let oldest = newest - bklit_wire::history::MINUTES as i64 * MINUTE;
        let oldest = if self.span == Span::Minute { from } else { oldest };
        if at >= newest {
            self.cursor = None;
            return if self.end.is_some() {
                self.show(self.span, None);
            };
        }
        let at = at.max(oldest);
        self.cursor = Some(at);
        let half = self.span.millis() / 2;
        if at < from {
            self.show(self.span, Some((at + half).min(newest)));
        } else if at > last {
            let end = Some(at + half).filter(|&end| end < newest);
            self.show(self.span, end);
        }
    }

    /// Keeps the selected time in the window as the window moves.
    pub(crate) fn follow_cursor(&mut self, now: UtcMillis) {
        if self.cursor.is_none_or(|at| at >= self.from(now)) {
            return;
        }
        if self.span == Span::Minute {
            self.cursor = None;
        } else {
            self.step(0, now);
        }
    }

    /// Applies an answer.
    pub(crate) fn take(&mut self, answer: Result<Box<HistoryWindow>, String>, now: UtcMillis) {
        self.polled.take(answer, now);
    }

    /// Whether the last answer is for the window shown.
    pub fn is_loaded(&self, now: UtcMillis) -> bool {
        let wanted = self.query(now);
        self.polled.data().is_some_and(|window| {
            wanted.is_some_and(|query| {
                window.now.step_ms == query.step()
                    && window.now.to > query.from()
                    && window.now.from < query.to()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_769_860_830_000;

    fn now() -> UtcMillis {
        UtcMillis::from_epoch_millis(NOW)
    }

    #[test]
    fn the_selected_time_stays_in_the_window_and_within_the_history() {
        for span in Span::ALL {
            let mut panel = HistoryPanel { span, ..HistoryPanel::default() };
            for (moves, points) in [(400, -7), (2_000, -60), (100, 13), (3_000, 60)] {
                for _ in 0..moves {
                    panel.step(points, now());
                    let window = panel.from(now())..panel.from(now()) + span.millis();
                    let at = panel.cursor.unwrap_or(window.end - 1);
                    assert!(window.contains(&at), "{span:?} {window:?} {at}");
                    assert!(at >= NOW - 9 * 24 * 3_600_000, "{span:?}");
                }
            }
            assert_eq!((panel.cursor, panel.end), (None, None), "back at the present");
        }
    }

    #[test]
    fn the_window_stays_at_the_selected_time_while_time_passes() {
        for span in Span::ALL {
            let mut panel = HistoryPanel { span, ..HistoryPanel::default() };
            panel.step(-2, now());
            let at = panel.cursor;
            let later = UtcMillis::from_epoch_millis(NOW + span.millis());
            panel.follow_cursor(later);
            if span == Span::Minute {
                assert_eq!(panel.cursor, None, "its seconds are not kept");
                continue;
            }
            assert!(at.is_some() && panel.cursor == at, "{span:?}");
            let window = panel.from(later)..panel.from(later) + span.millis();
            assert!(at.is_some_and(|at| window.contains(&at)), "{span:?}");
        }
    }

    #[test]
    fn zooming_keeps_the_selected_time() {
        let mut panel = HistoryPanel::default();
        panel.show(Span::Week, None);
        panel.step(-50, now());
        let at = panel.cursor.unwrap();
        for out in [false, false, true, true] {
            panel.zoom(out, now());
            let from = panel.from(now());
            assert!((from..from + panel.span.millis()).contains(&at), "{:?}", panel.span);
            assert_eq!(panel.cursor, Some(at));
        }
        (0..3).for_each(|_| panel.zoom(false, now()));
        assert_eq!((panel.span, panel.cursor, panel.end), (Span::Minute, None, None));
        let query = panel.query(now()).unwrap();
        assert_eq!((query.step(), query.points()), (MINUTE, 60));
    }
}
