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

    /// The lowest and the highest bucket shown.
    fn range(&self) -> (u8, u8) {
        let numbers = || self.columns.iter().flat_map(Buckets::numbered).map(|(bucket, _)| bucket);
        let (low, high) = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
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
        let upper = |nth: usize| {
            let above = ((nth + 1) * buckets).div_ceil(rows).min(buckets);
            Buckets::upper(low.saturating_add(u8::try_from(above - 1).unwrap_or(u8::MAX)))
        };
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
            let micros = upper(nth);
            let width = usize::from(labels.width).saturating_sub(1);
            let is_labelled = nth + 1 == rows || nth % 3 == 0 && nth + 2 < rows;
            if is_labelled {
                put_right(buf, label, width, width, &format::micros(micros as f64), theme.dim());
            }
            put(buf, label, width, 1, if is_labelled { "┤" } else { "│" }, theme.frame(false));
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
