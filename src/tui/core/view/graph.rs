//! Graphs of values over time: filled areas of braille dots, with axes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::draw::{put, put_right, row};
use crate::theme::Theme;
use bklit_wire::text;

/// A cell has two columns of four dots.
const DOTS: (usize, usize) = (2, 4);
/// The bits of the dots of a braille character, by column, from the bottom.
const BITS: [[u32; DOTS.1]; DOTS.0] = [[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]];
/// The first braille character.
const BLANK: u32 = 0x2800;
/// The fewest columns of a graph, without its labels.
const MIN_COLUMNS: usize = 4;

/// A graph of values at equal intervals, newest last.
pub(super) struct Graph<'a> {
    /// The values; gaps are empty.
    pub(super) values: &'a [Option<u64>],
    /// Formats a value for the value axis.
    pub(super) label: &'a dyn Fn(u64) -> String,
    /// The style of a value.
    pub(super) style: &'a dyn Fn(u64) -> Style,
    /// A threshold to mark, if it is within the scale.
    pub(super) threshold: Option<u64>,
    /// The smallest maximum of the scale, so that small values do not look like large ones.
    pub(super) least_scale: u64,
    /// Labels of the time axis, evenly spaced from the oldest value to the newest; without labels,
    /// there is no time axis.
    pub(super) times: &'a [String],
}

impl Graph<'_> {
    /// The rows and columns of the graph itself in an area, and the columns of the value axis.
    fn parts(&self, area: Rect) -> (Rect, usize) {
        let axis = u16::from(!self.times.is_empty() && area.height > 1);
        let rows = area.height - axis.min(area.height);
        let labels = [self.scale(), self.scale() / 2, 0].map(|n| text::width(&(self.label)(n)));
        let labels = labels.into_iter().max().unwrap_or(0);
        let used = labels + 1;
        if usize::from(area.width) < used + MIN_COLUMNS {
            return (Rect { height: rows, ..area }, 0);
        }
        let start = u16::try_from(used).unwrap_or(0);
        (Rect { x: area.x + start, width: area.width - start, height: rows, ..area }, labels)
    }

    fn scale(&self) -> u64 {
        let most = self.values.iter().flatten().copied().max().unwrap_or(0);
        most.max(self.least_scale).max(1)
    }

    /// Draws the graph.
    pub(super) fn draw(&self, buf: &mut Buffer, area: Rect, theme: Theme) {
        if area.is_empty() {
            return;
        }
        let (at, labels) = self.parts(area);
        let (rows, columns) = (usize::from(at.height), usize::from(at.width));
        let scale = self.scale();
        let points = resampled(self.values, columns * DOTS.0);
        let marked = self.threshold.filter(|&threshold| threshold <= scale);
        let marked = marked.map(|threshold| {
            let height = threshold as f64 / scale as f64 * rows as f64;
            (rows - 1).saturating_sub(height as usize)
        });
        for nth in 0..rows {
            let line = row(at, nth);
            if labels > 0 {
                let (label, style) = self.axis_label(nth, rows, marked, theme);
                put_right(buf, row(area, nth), labels, labels, &label, style);
                put(buf, row(area, nth), labels, 1, "┤", theme.frame(false));
            }
            for column in 0..columns {
                let pair = [points[column * 2], points[column * 2 + 1]];
                let (sign, style) = match self.cell(pair, scale, rows, rows - 1 - nth) {
                    Some(cell) => cell,
                    None if marked == Some(nth) => ('╌', theme.warning()),
                    None => continue,
                };
                put(buf, line, column, 1, sign.encode_utf8(&mut [0; 4]), style);
            }
        }
        if area.height > at.height {
            let below = row(area, rows);
            time_axis(buf, Rect { x: at.x, width: at.width, ..below }, self.times, theme);
        }
    }

    fn axis_label(
        &self,
        nth: usize,
        rows: usize,
        marked: Option<usize>,
        theme: Theme,
    ) -> (String, Style) {
        let scale = self.scale();
        match (marked, self.threshold) {
            (Some(row), Some(threshold)) if row == nth => {
                ((self.label)(threshold), theme.warning())
            }
            _ if nth == 0 => ((self.label)(scale), theme.dim()),
            _ if nth + 1 == rows => ((self.label)(0), theme.dim()),
            _ if rows >= 5 && nth == rows / 2 => ((self.label)(scale / 2), theme.dim()),
            _ => (String::new(), theme.dim()),
        }
    }

    /// The dots of two values in one row, counted from the bottom.
    fn cell(
        &self,
        pair: [Option<u64>; 2],
        scale: u64,
        rows: usize,
        from_bottom: usize,
    ) -> Option<(char, Style)> {
        let below = from_bottom * DOTS.1;
        let mut bits = 0;
        for (value, column) in pair.into_iter().zip(BITS) {
            let Some(value) = value else { continue };
            let dots = (value as f64 / scale as f64 * (rows * DOTS.1) as f64).round() as usize;
            // A zero has a dot as well, unlike a gap.
            let dots = dots.max(1).saturating_sub(below).min(DOTS.1);
            bits |= column.iter().take(dots).fold(0, |bits, bit| bits | bit);
        }
        let most = pair.into_iter().flatten().max()?;
        let sign = char::from_u32(BLANK + bits).filter(|_| bits > 0)?;
        Some((sign, (self.style)(most)))
    }
}

/// Exactly `count` values: the maximum of several, or each one several times.
fn resampled(values: &[Option<u64>], count: usize) -> Vec<Option<u64>> {
    let n = values.len();
    let part = |nth: usize| {
        let from = nth * n / count;
        let to = ((nth + 1) * n / count).max(from + 1).min(n);
        values.get(from..to).and_then(|values| values.iter().flatten().copied().max())
    };
    (0..count).map(part).collect()
}

/// Labels below a graph, evenly spaced; those that do not fit are left out.
pub(super) fn time_axis(buf: &mut Buffer, at: Rect, labels: &[String], theme: Theme) {
    let width = usize::from(at.width);
    let last = labels.len().saturating_sub(1);
    let mut free = 0;
    // The ends are the most important.
    let end = labels.last().map_or(0, |label| text::width(label));
    for (nth, label) in labels.iter().enumerate() {
        let wide = text::width(label);
        let middle = (width * nth).checked_div(last).unwrap_or(width);
        let x = match nth {
            0 if last > 0 => 0,
            nth if nth == last => width.saturating_sub(wide),
            _ => middle.saturating_sub(wide / 2),
        };
        let reserved = if nth == last { 0 } else { end + 1 };
        if x >= free && x + wide + reserved <= width {
            put(buf, at, x, wide, label, theme.dim());
            free = x + wide + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::Palette;

    fn drawn(graph: &Graph<'_>, width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        graph.draw(&mut buf, area, Theme::new(Palette::Ansi256));
        let rows = buf.content().chunks(usize::from(width.max(1)));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect()).collect()
    }

    fn graph<'a>(values: &'a [Option<u64>], times: &'a [String]) -> Graph<'a> {
        Graph {
            values,
            label: &|n| n.to_string(),
            style: &|_| Style::new(),
            threshold: None,
            least_scale: 0,
            times,
        }
    }

    #[test]
    fn values_fill_the_area_below_them() {
        let values: Vec<_> = [0, 2, 4, 8, 8, 4, 2, 0].map(Some).to_vec();
        let times = ["-8 s".to_owned(), "now".to_owned()];
        let rows = drawn(&graph(&values, &times), 10, 3);
        assert_eq!(rows, ["8┤   ⣿⣿   ", "0┤⣀⣤⣿⣿⣿⣿⣤⣀", "  -8 s now"]);
    }

    #[test]
    fn gaps_and_thresholds_are_shown() {
        let values = [Some(10), Some(10), None, None, None, None, Some(5), Some(5)];
        let graph = Graph { threshold: Some(5), ..graph(&values, &[]) };
        let rows = drawn(&graph, 7, 2);
        assert!(rows[0].starts_with(" 5┤⣿╌╌"), "{rows:?}");
        assert!(rows[1].starts_with(" 0┤⣿  ⣿"), "{rows:?}");
    }

    #[test]
    fn any_size_works_and_no_value_is_lost() {
        let values: Vec<_> = (0..500).map(|n| (n == 250).then_some(n)).collect();
        let times = ["one hour ago".to_owned(), "now".to_owned()];
        for width in 0..60 {
            for height in 0..6 {
                let rows = drawn(&graph(&values, &times), width, height).concat();
                let dots = rows.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c));
                assert_eq!(dots, width > 0 && height > 0, "{width}×{height}");
            }
        }
        assert_eq!(resampled(&[Some(1), Some(2)], 4), [1, 1, 2, 2].map(Some));
        assert_eq!(resampled(&[Some(1), Some(3), None, Some(2)], 2), [Some(3), Some(2)]);
        assert_eq!(resampled(&[], 2), [None, None]);
    }
}
