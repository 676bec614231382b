//! The history next to the figures.

use std::time::Duration;

use super::Polled;
use crate::model::history::{Series, Span};
use bklit_wire::history::{History, HistoryQuery, MINUTE};
use bklit_wire::time::UtcMillis;

/// The polling interval, in milliseconds: half a minute, the shortest step but one.
const EVERY: i64 = 30_000;
/// With a history shorter than this, in milliseconds, most of the bars for an hour would be missing,
/// and the last minute says more.
const MIN_HISTORY: i64 = 30 * MINUTE;

/// The bars next to the figures of the stages.
#[derive(Debug)]
pub struct BarsPanel {
    /// The span that was chosen, if one was.
    chosen: Option<Span>,
    pub(crate) polled: Polled<History>,
}

impl Default for BarsPanel {
    fn default() -> Self {
        Self { chosen: None, polled: Polled::new(EVERY) }
    }
}

impl BarsPanel {
    /// The span shown: by default an hour, or the last minute while less than half an hour is known.
    pub fn span(&self, now: UtcMillis) -> Span {
        let known = self.polled.data().and_then(|history| history.points.first());
        let is_long = |at: UtcMillis| now.epoch_millis() - at.epoch_millis() >= MIN_HISTORY;
        match self.chosen {
            Some(span) => span,
            None if known.is_some_and(|first| is_long(first.at)) => Span::Hour,
            None => Span::Minute,
        }
    }

    /// What has to be requested; `None` for the last minute, whose figures are published.
    pub fn query(&self, now: UtcMillis) -> Option<HistoryQuery> {
        let span = self.chosen.unwrap_or(Span::Hour);
        let from = now.epoch_millis() - span.millis() + span.step();
        let step = Duration::from_millis(span.step().unsigned_abs());
        let from = UtcMillis::from_epoch_millis(from);
        HistoryQuery::new(from, now, step).ok().filter(|_| span != Span::Minute)
    }

    /// The points shown; `None` for the last minute.
    pub fn series(&self, now: UtcMillis) -> Option<Series<'_>> {
        let span = self.span(now);
        let query = self.query(now)?;
        let series =
            Series::of(self.polled.data(), query.from().epoch_millis(), span.step(), span.points());
        (span != Span::Minute).then_some(series)
    }

    /// Shows a longer or shorter span.
    pub(crate) fn zoom(&mut self, out: bool, now: UtcMillis) -> Span {
        let span = self.span(now).zoomed(out);
        self.chosen = Some(span);
        self.polled.set_every(EVERY);
        span
    }

    /// Applies an answer.
    pub(crate) fn take(&mut self, answer: Result<History, String>, now: UtcMillis) {
        self.polled.take(answer, now);
    }
}
