//! A heat map: latencies over time. A column is a time, a row a range of latencies, and a shade how
//! many there were. It can be read without colours: colour only marks slow rows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{put, put_right, row};
use crate::format;
use crate::theme::Theme;
use bklit_wire::history::Buckets;

/// The shades, from few to many.
const SHADES: [&str; 4] = ["░", "▒", "▓", "█"];
/// One in this many may be an outlier, at each end.
const OUTLIERS: u128 = 200;
/// The fewest buckets that a map covers, so that steady latencies are not spread over all rows.
const MIN_BUCKETS: u8 = 16;

/// The columns of a heat map, with the latencies of each.
pub(super) struct HeatMap {
    columns: Vec<Buckets>,
    /// A latency to mark in each column, in microseconds.
    pub(super) marks: Vec<Option<u64>>,
}

impl HeatMap {
    pub(super) fn new(columns: Vec<Buckets>) -> Self {
        Self { columns, marks: Vec::new() }
    }

    /// Whether there is nothing to show.
    pub(super) fn is_empty(&self) -> bool {
        self.columns.iter().all(Buckets::is_empty)
    }

    /// The lowest and the highest bucket with a row of their own: a few outliers belong to the first
    /// and the last row, so that they do not take the space of all others.
    fn range(&self) -> (u8, u8) {
        let mut all = Buckets::default();
        self.columns.iter().for_each(|column| all.merge(column));
        let total = all.numbered().map(|(_, n)| u128::from(n)).sum::<u128>();
        let few = total / OUTLIERS;
        let mut below = 0;
        let mut inner = all.numbered().filter_map(|(bucket, n)| {
            let before = below;
            below += u128::from(n);
            (below > few && total - before > few).then_some(bucket)
        });
        let low = inner.next().unwrap_or(0);
        let high = inner.last().unwrap_or(low);
        let missing = MIN_BUCKETS.saturating_sub(high - low);
        let low = low.saturating_sub(missing / 2);
        (low, high.max(low.saturating_add(MIN_BUCKETS)))
    }

    /// Draws the map, and its labels left of it.
    pub(super) fn draw(&self, buf: &mut Buffer, area: Rect, labels: Rect, theme: Theme) {
        let rows = usize::from(area.height);
        if rows == 0 {
            return;
        }
        let (low, high) = self.range();
        let buckets = usize::from(high - low) + 1;
        // Counted from the bottom.
        let row_of = |bucket: u8| usize::from(bucket.clamp(low, high) - low) * rows / buckets;
        // Below 1, nothing.
        let upper = |rows_below: usize| {
            let below = (rows_below * buckets).div_ceil(rows).min(buckets);
            let bucket = u8::try_from(below).unwrap_or(u8::MAX).checked_add(low);
            bucket.and_then(|bucket| bucket.checked_sub(1)).map_or(0, Buckets::upper)
        };
        let mut labelled = None;
        let mut counts = vec![vec![0_u64; rows]; self.columns.len()];
        for (column, here) in self.columns.iter().zip(&mut counts) {
            for (bucket, n) in column.numbered() {
                let cell = &mut here[row_of(bucket)];
                *cell = cell.saturating_add(n);
            }
        }
        let most = counts.iter().flatten().copied().max().unwrap_or(0);
        for nth in 0..rows {
            let (at, label) = (row(area, rows - 1 - nth), row(labels, rows - 1 - nth));
            let micros = upper(nth + 1);
            let width = usize::from(labels.width).saturating_sub(1);
            let round = round_within(upper(nth), micros)
                .filter(|_| labelled.is_none_or(|last| nth > last + 1));
            if let Some(round) = round {
                labelled = Some(nth);
                put_right(buf, label, width, width, &format::micros(round as f64), theme.dim());
            }
            put(buf, label, width, 1, if round.is_some() { "┤" } else { "│" }, theme.frame(false));
            let style = theme.duration(micros as f64);
            for (column, counts) in counts.iter().enumerate() {
                if let Some(shade) = shade(counts[nth], most) {
                    put(buf, at, column, 1, SHADES[shade], style);
                }
            }
        }
        for (column, mark) in self.marks.iter().enumerate() {
            let Some(micros) = mark else { continue };
            let nth = row_of(Buckets::bucket(*micros));
            put(buf, row(area, rows - 1 - nth), column, 1, "╌", theme.key());
        }
    }
}

/// The largest of 1, 2, 5, 10, 20, 50 and so on above `low`, up to `high`.
fn round_within(low: u64, high: u64) -> Option<u64> {
    let power = 10_u64.pow(high.checked_ilog10()?);
    let round = [5, 2, 1].map(|digit| power.saturating_mul(digit));
    round.into_iter().find(|&round| round <= high).filter(|&round| round > low)
}

/// The shade of a count, by its order of magnitude.
fn shade(count: u64, most: u64) -> Option<usize> {
    if count == 0 {
        return None;
    }
    let share = (count as f64).ln_1p() / (most as f64).ln_1p();
    Some(((share * SHADES.len() as f64).ceil() as usize).clamp(1, SHADES.len()) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::Palette;

    fn column(all: &[(u64, u64)]) -> Buckets {
        let mut buckets = Buckets::default();
        all.iter().for_each(|&(micros, n)| buckets.record(micros, n));
        buckets
    }

    fn drawn(map: &HeatMap, width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width + 8, height);
        let mut buf = Buffer::empty(area);
        let at = Rect { x: 8, width, ..area };
        map.draw(&mut buf, at, Rect { width: 8, ..area }, Theme::new(Palette::Ansi256));
        let rows = buf.content().chunks(usize::from(area.width.max(1)));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect()).collect()
    }

    #[test]
    fn many_are_darker_and_slow_ones_higher() {
        let map = HeatMap {
            marks: vec![None, None, Some(1_000)],
            ..HeatMap::new(vec![
                column(&[(1_000, 1_000), (64_000, 1)]),
                Buckets::default(),
                column(&[(1_000, 3), (1_000_000, 30)]),
            ])
        };
        let rows = drawn(&map, 3, 5);
        let cells: Vec<String> = rows.iter().map(|row| row.chars().skip(8).collect()).collect();
        assert_eq!(cells, ["  ▒", "   ", "░  ", "   ", "█ ╌"], "{rows:?}");
        assert!(rows[0].starts_with("  1.0 s┤") && rows[4].contains("ms┤"), "{rows:?}");
    }

    #[test]
    fn an_outlier_does_not_stretch_the_axis() {
        let mut columns = vec![column(&[(2_000, 100), (20_000, 100)]); 10];
        let rows = drawn(&HeatMap::new(columns.clone()), 10, 6);
        columns[3] = column(&[(537_000_000, 1)]);
        let with_outlier = drawn(&HeatMap::new(columns), 10, 6);
        let axis = |rows: &[String]| -> Vec<String> {
            rows.iter().map(|row| row.chars().take(8).collect()).collect()
        };
        assert_eq!(axis(&rows), axis(&with_outlier));
        assert!(with_outlier[0].contains('░'), "the outlier is in the first row");
    }

    #[test]
    fn labels_are_round() {
        for (low, high, round) in [
            (90, 110, Some(100)),
            (1_700, 2_900, Some(2_000)),
            (0, 1, Some(1)),
            (5_000, 9_999, None),
            (4_999, 9_999, Some(5_000)),
            (0, 0, None),
        ] {
            assert_eq!(round_within(low, high), round, "{low} to {high}");
        }
        assert!(round_within(1, u64::MAX).is_some());
    }

    #[test]
    fn no_size_is_too_small() {
        let map = HeatMap::new(vec![column(&[(1, 1), (u64::MAX, u64::MAX)]); 7]);
        for height in 0..9 {
            assert_eq!(drawn(&map, 7, height).len(), usize::from(height));
        }
        let one = HeatMap::new(vec![column(&[(u64::MAX, 1)])]);
        assert!(!one.is_empty() && drawn(&one, 1, 3).concat().contains('█'));
        assert!(HeatMap::new(vec![Buckets::default()]).is_empty());
    }
}
