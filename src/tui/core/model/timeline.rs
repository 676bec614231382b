//! The timeline above the log: how many lines the focused pane has at each time, with warnings and
//! errors on top.
//!
//! The bars are a copy of the pane's counts, made at most once a second and after keys, so that a
//! flood of lines does not redraw them with each frame.

use super::Model;
use super::pane::Tally;
use super::pane::tally::second;
use bklit_wire::debug_log::Level;

/// Lines by level.
pub type Levels = [u64; Level::ALL.len()];

/// The spans to choose from, in seconds; the longest one is all that the log holds.
const SPANS: [i64; 6] = [60, 300, 900, 3_600, 6 * 3_600, 86_400];
/// The spans of a bar to choose from, in seconds: enough of them that the bars fill most of the
/// columns.
const STEPS: [i64; 29] = [
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 60, 90, 120, 180, 240, 300, 600, 900, 1_200, 1_800,
    3_600, 7_200, 10_800, 14_400, 21_600, 43_200, 86_400,
];

/// What the timeline shows, and where the reader is in it.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Whether it is shown, if there is space.
    pub(crate) is_shown: bool,
    /// Whether keys go to it.
    pub(crate) has_keys: bool,
    /// The span in seconds; `None` is all that the log holds.
    span: Option<i64>,
    /// The last second shown; `None` stays with the newest line.
    end: Option<i64>,
    /// The selected second.
    selected: Option<i64>,
    bars: Bars,
    /// The source of the bars: the pane, and the version of its counts.
    made_of: Option<(usize, u64)>,
}

/// The bars: lines in equal spans of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bars {
    /// The first second of the first one.
    pub from: i64,
    /// The seconds of each.
    pub step: i64,
    /// The lines of each.
    pub counts: Vec<Levels>,
    /// The one that is selected, or at which the reader is.
    pub marked: Option<usize>,
    /// The oldest and the newest second that the log holds.
    held: (i64, i64),
}

impl Bars {
    /// The bars for this many columns at most, all of them empty.
    fn new(held: (i64, i64), span: Option<i64>, end: Option<i64>, columns: usize) -> Self {
        let columns = i64::try_from(columns).unwrap_or(i64::MAX).max(1);
        let end = end.unwrap_or(held.1);
        let bars = |step: i64| match span {
            Some(span) => (span + step - 1) / step,
            None => {
                let all = end.div_euclid(step) - held.0.div_euclid(step) + 1;
                all.max(SPANS[0].div_euclid(step))
            }
        };
        let mut steps = STEPS.into_iter();
        let fitting = steps.find(|&step| bars(step) <= columns);
        let step = fitting.unwrap_or_else(|| {
            let mut step = STEPS[STEPS.len() - 1];
            while bars(step) > columns {
                step = step.saturating_mul(2);
            }
            step
        });
        let count = bars(step).clamp(1, columns);
        // Enough further ones to fill the columns.
        let count = columns / (columns / count);
        let from = (end.div_euclid(step) - count + 1) * step;
        let counts = vec![Levels::default(); usize::try_from(count).unwrap_or(1)];
        Self { from, step, counts, marked: None, held }
    }

    fn count(&mut self, tally: &Tally) {
        tally.each(|second, levels| {
            if let Some(place) = self.place(second) {
                self.counts[place].iter_mut().zip(levels).for_each(|(sum, n)| *sum += n);
            }
        });
    }

    /// The bar of a second, if it is among them.
    fn place(&self, second: i64) -> Option<usize> {
        let place = usize::try_from((second - self.from).div_euclid(self.step.max(1))).ok()?;
        (place < self.counts.len()).then_some(place)
    }

    /// The seconds of a bar.
    pub fn seconds(&self, place: usize) -> std::ops::Range<i64> {
        let from = self.from + i64::try_from(place).unwrap_or(0) * self.step;
        from..from + self.step
    }

    /// The first second after all bars.
    pub fn until(&self) -> i64 {
        self.from + i64::try_from(self.counts.len()).unwrap_or(0) * self.step
    }

    /// The lines of all bars.
    pub fn total(&self) -> Levels {
        self.counts.iter().fold(Levels::default(), |mut total, counts| {
            total.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
            total
        })
    }

    /// The first column of a bar in a graph of this many columns, and how many it has. The newest
    /// one is at the right end.
    pub fn columns(&self, place: usize, columns: usize) -> (usize, usize) {
        let wide = (columns / self.counts.len().max(1)).max(1);
        let blank = columns.saturating_sub(wide * self.counts.len());
        (blank + place * wide, wide)
    }

    /// The bar at a column.
    pub fn at_column(&self, column: usize, columns: usize) -> Option<usize> {
        let (blank, wide) = self.columns(0, columns);
        let place = column.checked_sub(blank)? / wide;
        (place < self.counts.len()).then_some(place)
    }
}

impl Timeline {
    /// The bars.
    pub fn bars(&self) -> &Bars {
        &self.bars
    }

    /// Whether it is enabled; there may be no space for it.
    pub fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// The spans that are shorter than what the log holds.
    fn shorter(&self) -> impl DoubleEndedIterator<Item = i64> {
        let held = self.bars.held.1 - self.bars.held.0 + 1;
        SPANS.into_iter().filter(move |&span| span < held)
    }

    /// Shows a shorter or a longer span. Returns whether there is one.
    pub(crate) fn zoom(&mut self, out: bool) -> bool {
        let span = match (self.span, out) {
            (None, true) => return false,
            (None, false) => self.shorter().next_back(),
            (Some(now), true) => self.shorter().find(|&span| span > now),
            (Some(now), false) => self.shorter().rev().find(|&span| span < now).or(Some(now)),
        };
        let is_new = span != self.span;
        (self.span, self.end) = (span, None);
        is_new
    }

    /// Selects the bar this many bars later; without a selection, relative to the reader.
    pub(crate) fn step(&mut self, bars: i64) {
        let held = self.bars.held;
        let at = self.selected.or_else(|| self.marked_second()).unwrap_or(held.1);
        let step = self.bars.step.max(1);
        self.selected = Some((at + bars * step).clamp(held.0, held.1.max(held.0)));
    }

    /// Selects a bar.
    pub(crate) fn select(&mut self, place: usize) {
        self.selected = Some(self.bars.seconds(place).start);
    }

    /// Ends the selection.
    pub(crate) fn deselect(&mut self) {
        self.selected = None;
    }

    /// The seconds of the selected bar.
    pub(crate) fn selection(&self) -> Option<std::ops::Range<i64>> {
        self.bars.marked.map(|place| self.bars.seconds(place))
    }

    fn marked_second(&self) -> Option<i64> {
        self.selection().map(|seconds| seconds.start)
    }

    /// The span shown in seconds; `None` is all that the log holds.
    pub fn span(&self) -> Option<i64> {
        self.span
    }

    /// The end for a window in which this second is visible: unchanged if it is.
    fn end_for(&self, at: i64, newest: i64) -> Option<i64> {
        let span = self.span?;
        let end = self.end.unwrap_or(newest);
        if (end - span + 1..=end).contains(&at) {
            return self.end.filter(|&end| end < newest);
        }
        Some(at + span / 2).filter(|&end| end < newest)
    }
}

impl Model {
    /// The timeline.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Whether keys go to the timeline.
    pub fn is_in_timeline(&self) -> bool {
        let is_on_top = self.screens.is_empty() && self.timeline.has_keys;
        is_on_top && self.layout().is_some_and(|layout| layout.timeline.is_some())
    }

    /// Whether the counts have changed since the bars were made.
    pub(crate) fn has_stale_bars(&self) -> bool {
        let current = (self.panes.focus(), self.pane().tally().version());
        self.timeline.made_of != Some(current)
    }

    /// Makes the bars of the focused pane.
    pub(crate) fn make_bars(&mut self) {
        let Some(columns) = self.layout().and_then(|layout| Some(layout.timeline?.bars.width))
        else {
            return;
        };
        self.panes.focused_mut().freshen_tally(&self.ring);
        let held = self.held_seconds();
        let reader = self.reader_second();
        let newest = held.1;
        let timeline = &mut self.timeline;
        let selected = timeline.selected.map(|at| at.clamp(held.0, held.1));
        timeline.selected = selected.filter(|_| timeline.has_keys);
        let at = timeline.selected.or(reader);
        timeline.end = at.and_then(|at| timeline.end_for(at, newest));
        let mut bars = Bars::new(held, timeline.span, timeline.end, columns.into());
        bars.marked = at.or(timeline.has_keys.then_some(newest)).and_then(|at| bars.place(at));
        bars.count(self.panes.focused().tally());
        let version = self.panes.focused().tally().version();
        self.dirty |= bars != self.timeline.bars;
        (self.timeline.bars, self.timeline.made_of) = (bars, Some((self.panes.focus(), version)));
    }

    /// The oldest and the newest second of the lines that the pane could show.
    fn held_seconds(&self) -> (i64, i64) {
        let pane = self.pane();
        let first = self.ring.first_of(pane.filter().level);
        let limit = self.limit();
        let of = |line: Option<(u64, super::line::LineRef<'_>)>| Some(second(line?.1.time()));
        let oldest = of(self.ring.lines(first..limit).next());
        let newest = of(self.ring.lines(limit.saturating_sub(1)..limit).next());
        let now = second(self.now);
        let (oldest, newest) = match (oldest, newest, pane.tally().ends()) {
            // Lines are almost in order of time.
            (Some(oldest), Some(newest), Some(ends)) => (oldest.min(ends.0), newest.max(ends.1)),
            (Some(oldest), Some(newest), None) => (oldest, newest),
            _ => (now, now),
        };
        (oldest.min(newest), newest)
    }

    /// The second of the line at which the reader is, unless the pane follows the newest one.
    fn reader_second(&self) -> Option<i64> {
        let pane = self.pane();
        let line = self.ring.get(pane.cursor_line().filter(|_| !pane.follows())?)?;
        Some(second(line.time()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(held: (i64, i64), span: Option<i64>, end: Option<i64>, columns: usize) -> Bars {
        Bars::new(held, span, end, columns)
    }

    #[test]
    fn bars_cover_the_span_in_round_steps_and_fit() {
        for columns in [1, 40, 51, 70, 190, 500] {
            for held in [0, 1, 59, 60, 61, 4_000, 86_400, 40 * 86_400, 4_000 * 86_400] {
                let (from, to) = (1_769_860_813 - held, 1_769_860_813);
                let all = bars((from, to), None, None, columns);
                assert!(all.counts.len() <= columns, "{all:?}");
                assert!(all.place(to) == Some(all.counts.len() - 1), "{all:?}");
                assert!(columns < 60 || all.place(from).is_some(), "{held} {columns} {all:?}");
                assert_eq!(all.from.rem_euclid(all.step), 0);
                for span in SPANS {
                    let part = bars((from, to), Some(span), Some(to - 7), columns);
                    assert!(part.counts.len() <= columns);
                    assert!(part.until() - part.from >= span.min(part.until() - part.from));
                    assert!(part.place(to - 7).is_some(), "{part:?}");
                }
            }
        }
        let minute = bars((0, 10_000), Some(60), None, 70);
        assert_eq!((minute.step, minute.counts.len(), minute.until()), (1, 70, 10_001));
        let wide = bars((0, 10_000), Some(60), None, 191);
        assert_eq!((wide.step, wide.counts.len(), wide.columns(0, 191)), (1, 63, (2, 3)));
        assert_eq!(wide.at_column(1, 191), None);
        assert_eq!(wide.at_column(2, 191), Some(0));
        assert_eq!(wide.at_column(190, 191), Some(62));
    }

    #[test]
    fn zooming_goes_through_the_spans_that_the_log_holds() {
        let held = Bars { held: (0, 1_000), ..Bars::default() };
        let mut timeline = Timeline { bars: held, ..Timeline::default() };
        let mut spans = Vec::new();
        while timeline.zoom(false) {
            spans.push(timeline.span());
        }
        assert_eq!(spans, [Some(900), Some(300), Some(60)]);
        while timeline.zoom(true) {
            spans.push(timeline.span());
        }
        assert_eq!(spans[3..], [Some(300), Some(900), None]);
    }

    #[test]
    fn the_selection_stays_within_what_is_held_and_in_the_window() {
        let held = (500, 10_000);
        let mut timeline = Timeline { span: Some(60), ..Timeline::default() };
        timeline.bars = bars(held, timeline.span, None, 70);
        for (bars_back, expected) in [(-5, 9_995), (-50_000, 500), (3, 503), (90_000, 10_000)] {
            timeline.step(bars_back);
            assert_eq!(timeline.selected, Some(expected));
            timeline.end = timeline.end_for(expected, held.1);
            let shown = bars(held, timeline.span, timeline.end, 70);
            assert!(shown.place(expected).is_some(), "{expected} {shown:?}");
        }
        assert_eq!(timeline.end, None, "back at the newest line");
    }
}
