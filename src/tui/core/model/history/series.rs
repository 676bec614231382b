//! The points of a graph.

use std::borrow::Cow;

use bklit_wire::history::{History, Totals};
use bklit_wire::time::UtcMillis;

/// Totals at equal intervals.
#[derive(Debug)]
pub struct Series<'a> {
    /// The beginning of the first point, in milliseconds since the epoch.
    pub from: i64,
    /// The length of a point in milliseconds.
    pub step: i64,
    /// The points, oldest first; `None` where no process ran.
    pub points: Vec<Option<Cow<'a, Totals>>>,
}

impl<'a> Series<'a> {
    /// The points of a history in a window; none if its points have another length.
    pub(crate) fn of(history: Option<&'a History>, from: i64, step: i64, count: i64) -> Self {
        let history = history.filter(|history| history.step_ms == step);
        let point = |nth: i64| {
            let point = history?.point(from + nth * step)?;
            Some(Cow::Borrowed(&point.totals))
        };
        Self { from, step, points: (0..count).map(point).collect() }
    }

    /// The same points.
    pub(crate) fn borrowed(&self) -> Series<'_> {
        let points = self.points.iter().map(|point| point.as_deref().map(Cow::Borrowed));
        Series { from: self.from, step: self.step, points: points.collect() }
    }

    /// The beginning of a point.
    pub fn time(&self, nth: usize) -> UtcMillis {
        UtcMillis::from_epoch_millis(self.from + self.step * i64::try_from(nth).unwrap_or(0))
    }

    /// The end of the last point.
    pub fn end(&self) -> i64 {
        self.from + self.step * i64::try_from(self.points.len()).unwrap_or(0)
    }

    /// The point in which a time lies.
    pub fn place(&self, at: i64) -> Option<usize> {
        let nth = usize::try_from((at - self.from).div_euclid(self.step)).ok()?;
        (nth < self.points.len()).then_some(nth)
    }

    /// The totals of a point.
    pub fn totals(&self, nth: usize) -> Option<&Totals> {
        self.points.get(nth)?.as_deref()
    }

    /// The length of a point in seconds, as far as it lies in the past.
    pub fn seconds(&self, nth: usize, now: UtcMillis) -> f64 {
        let passed = now.epoch_millis() - self.time(nth).epoch_millis();
        passed.clamp(self.step.min(1_000), self.step) as f64 / 1e3
    }

    /// The points that a column shows if all are drawn in `columns`: several, or each one several
    /// times.
    pub fn of_column(&self, column: usize, columns: usize) -> std::ops::Range<usize> {
        let n = self.points.len();
        let from = column * n / columns.max(1);
        from..((column + 1) * n / columns.max(1)).max(from + 1).min(n)
    }

    /// The columns in which a point is drawn.
    pub fn columns_of(&self, nth: usize, columns: usize) -> std::ops::Range<usize> {
        let shows = |column: &usize| self.of_column(*column, columns).contains(&nth);
        let first = (0..columns).find(shows).unwrap_or(0);
        first..(first..columns).take_while(shows).last().map_or(first, |last| last + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_point_has_a_column_and_each_column_a_point() {
        for count in [1, 60, 144, 168] {
            for columns in [1, 7, 60, 71, 144, 190] {
                let series = Series::of(None, 0, 60_000, count);
                let mut shown = vec![false; series.points.len()];
                for column in 0..columns {
                    let range = series.of_column(column, columns);
                    assert!(!range.is_empty(), "{count} {columns} {column}");
                    shown[range].fill(true);
                }
                assert!(shown.iter().all(|&shown| shown), "{count} {columns}");
                for nth in 0..series.points.len() {
                    let own = series.columns_of(nth, columns);
                    assert!(!own.is_empty() && own.end <= columns, "{count} {columns} {nth}");
                }
            }
        }
    }

    #[test]
    fn times_are_found() {
        let series = Series::of(None, 600_000, 60_000, 10);
        assert_eq!(series.end(), 1_200_000);
        assert_eq!(
            [599_999, 600_000, 719_999, 1_200_000].map(|at| series.place(at)),
            [None, Some(0), Some(1), None]
        );
        let now = UtcMillis::from_epoch_millis(1_150_000);
        assert_eq!((series.seconds(8, now), series.seconds(9, now)), (60.0, 10.0));
    }
}
