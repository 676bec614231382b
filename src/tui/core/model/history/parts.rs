//! The positions of everything on a page of graphs. They are part of the model, because the mouse and
//! scrolling depend on them.

use ratatui::layout::Rect;

/// The columns of the labels of latencies: `1.2 ms` and the axis.
const LABELS: u16 = 8;
/// The columns of the figures: names, and four times.
const FIGURES_WIDTH: u16 = 47;
/// The rows of the figures, with their title and labels.
const FIGURES_HEIGHT: u16 = 10;
/// The width from which the list is next to the figures.
const LIST_MIN_WIDTH: u16 = 76;
/// The height from which the log is below them.
const LOG_MIN_HEIGHT: u16 = 34;
/// The part of the height for the log.
const LOG_SHARE: u16 = 4;
/// The most rows of the graphs.
const MAX_GRAPHS: u16 = 34;

/// The parts of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageParts {
    /// The title.
    pub title: Rect,
    /// The heat map of latencies, without labels.
    pub heat: Rect,
    /// The rate.
    pub rate: Rect,
    /// Failures.
    pub failures: Rect,
    /// The labels of times.
    pub times: Rect,
    /// The figures, with their title.
    pub figures: Rect,
    /// The list, with its title, if there is space for it.
    pub list: Option<Rect>,
    /// The log, with its title, if there is space for it.
    pub log: Option<Rect>,
}

impl PageParts {
    /// The parts in an area.
    pub fn of(area: Rect) -> Self {
        let log = if area.height >= LOG_MIN_HEIGHT { area.height / LOG_SHARE } else { 0 };
        let below = FIGURES_HEIGHT.min(area.height.saturating_sub(log) / 2);
        let chart = area.height.saturating_sub(log + below).min(MAX_GRAPHS);
        let below = area.height.saturating_sub(log + chart);
        let rows = |top: u16, height: u16| {
            let top = top.min(area.height);
            Rect { y: area.y + top, height: height.min(area.height - top), ..area }
        };
        let bottom = rows(chart, below);
        let has_list = area.width >= LIST_MIN_WIDTH;
        let wide = if has_list { FIGURES_WIDTH } else { area.width };
        let figures = Rect { width: wide.min(area.width), ..bottom };
        let list = Rect { x: figures.right(), width: area.width - figures.width, ..bottom };
        let labels = LABELS.min(area.width);
        let graphs = chart.saturating_sub(1);
        let inner = Rect { x: area.x + labels, width: area.width - labels, ..rows(1, graphs) };
        let graph = match inner.height {
            0..9 => 1,
            9..16 => 2,
            _ => 3,
        };
        let heat = inner.height.saturating_sub(2 * graph + 1);
        let part = |top: u16, height: u16| {
            let top = top.min(inner.height);
            Rect { y: inner.y + top, height: height.min(inner.height - top), ..inner }
        };
        Self {
            title: rows(0, 1),
            heat: part(0, heat),
            rate: part(heat, graph),
            failures: part(heat + graph, graph),
            times: part(heat + 2 * graph, 1),
            figures,
            list: has_list.then_some(list),
            log: (log > 0).then(|| rows(chart + below, log)),
        }
    }

    /// The rows of the list.
    pub fn list_rows(&self) -> Rect {
        let Some(list) = self.list else { return Rect::ZERO };
        // Below its title, and right of the line between it and the figures.
        let (width, height) = (list.width.saturating_sub(1), list.height.saturating_sub(1));
        Rect { x: list.x + 1, y: list.y + 1, width, height }
    }

    /// All rows of the graphs, without labels.
    pub fn graphs(&self) -> Rect {
        let height = self.heat.height + self.rate.height + self.failures.height;
        Rect { height: height + self.times.height, ..self.heat }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_page_without_overlap() {
        for (width, height) in [(58, 11), (76, 13), (78, 20), (118, 36), (198, 56), (250, 100)] {
            let area = Rect::new(3, 2, width, height);
            let parts = PageParts::of(area);
            let mut y = area.y;
            let stacked = [parts.title, parts.heat, parts.rate, parts.failures, parts.times];
            for part in stacked.into_iter().chain([parts.figures]) {
                assert!(part.height >= 1, "{width}×{height} {part:?}");
                assert_eq!(part.y, y);
                y = part.bottom();
            }
            let log = parts.log.map_or(0, |log| log.height);
            assert_eq!(y + log, area.bottom(), "{width}×{height}");
            let list = parts.list.map_or(0, |list| list.width);
            assert_eq!(parts.figures.width + list, width);
            assert_eq!(parts.heat.right(), area.right());
        }
    }

    #[test]
    fn no_area_is_too_small() {
        for width in 0..80 {
            for height in 0..20 {
                let parts = PageParts::of(Rect::new(0, 0, width, height));
                assert!(parts.figures.bottom() <= height && parts.heat.right() <= width + 9);
            }
        }
    }
}
