//! The timeline above the log: a bar for each span of time, with warnings and errors on top of
//! other lines.

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::draw::{joined, put, put_right, row, styled};
use super::graph::time_axis;
use super::panel;
use crate::format;
use crate::model::Model;
use crate::model::layout::{Layout, Strip};
use crate::model::timeline::{Bars, Levels};
use crate::state::State;
use crate::theme::{Segment, Theme};
use bklit_wire::debug_log::Level;
use bklit_wire::time::UtcMillis;

/// The parts of a cell that a bar can fill.
const PARTS: usize = 8;
const BLOCKS: [&str; PARTS] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const DAY: i64 = 86_400;

pub(super) fn render(model: &Model, buf: &mut Buffer, layout: &Layout) {
    let Some(strip) = layout.timeline else { return };
    let (theme, bars) = (model.options.theme, model.timeline().bars());
    let most = bars.counts.iter().map(|levels| levels.iter().sum()).max().unwrap_or(0);
    labels(buf, &strip, most, theme);
    let columns = usize::from(strip.bars.width);
    for (place, levels) in bars.counts.iter().enumerate() {
        let (from, wide) = bars.columns(place, columns);
        if from + wide <= columns {
            let is_marked = bars.marked == Some(place);
            bar(
                buf,
                strip.bars,
                (from, wide),
                &Bar::of(levels, most, strip.bars.height),
                is_marked,
                theme,
            );
        }
    }
    axis(model, buf, &strip);
}

/// A bar's parts from the bottom, in parts of a cell.
struct Bar {
    info: usize,
    warnings: usize,
    errors: usize,
}

impl Bar {
    /// Warnings and errors are visible even if they are few.
    fn of(levels: &Levels, most: u64, rows: u16) -> Self {
        let parts = usize::from(rows) * PARTS;
        let part = |count: u64| match count {
            0 => 0,
            count => {
                let share = count as f64 / most.max(1) as f64;
                ((share * parts as f64).round() as usize).clamp(1, parts)
            }
        };
        let all = part(levels.iter().sum());
        let errors = part(levels[Level::Error as usize]);
        let warnings = part(levels[Level::Warn as usize]).min(parts - errors);
        Self { info: all.saturating_sub(errors + warnings), warnings, errors }
    }

    fn height(&self) -> usize {
        self.info + self.warnings + self.errors
    }

    /// What a row shows: how much of it is filled, and the highest level there.
    fn in_row(&self, from_bottom: usize) -> Option<(&'static str, Level)> {
        let below = from_bottom * PARTS;
        let filled = self.height().saturating_sub(below).min(PARTS);
        let top = below + filled;
        let level = match top {
            top if self.errors > 0 && top > self.info + self.warnings => Level::Error,
            top if self.warnings > 0 && top > self.info => Level::Warn,
            _ => Level::Info,
        };
        Some((BLOCKS.get(filled.checked_sub(1)?)?, level))
    }
}

fn bar(
    buf: &mut Buffer,
    area: Rect,
    (from, wide): (usize, usize),
    bar: &Bar,
    is_marked: bool,
    theme: Theme,
) {
    let rows = usize::from(area.height);
    let cells = Rect {
        x: area.x + u16::try_from(from).unwrap_or(0),
        width: u16::try_from(wide).unwrap_or(1),
        ..area
    };
    if is_marked {
        buf.set_style(cells, theme.selected());
    }
    for nth in 0..rows {
        let Some((block, level)) = bar.in_row(rows - 1 - nth) else { continue };
        let style = theme.on(is_marked, style(level, theme));
        put(buf, row(cells, nth), 0, wide, &block.repeat(wide), style);
    }
}

fn style(level: Level, theme: Theme) -> Style {
    match level {
        Level::Info => theme.bar(State::Normal),
        Level::Warn => theme.bar(State::High),
        Level::Error => theme.error(),
    }
}

/// The value axis: the most lines of a bar.
fn labels(buf: &mut Buffer, strip: &Strip, most: u64, theme: Theme) {
    let width = usize::from(strip.labels.width).saturating_sub(1);
    let last = usize::from(strip.labels.height).saturating_sub(1);
    for nth in 0..=last {
        let at = row(strip.labels, nth);
        let label = match nth {
            0 => format::short_count(most),
            nth if nth == last => "0".to_owned(),
            _ => String::new(),
        };
        put_right(buf, at, width, width, &label, theme.dim());
        put(buf, at, width, 1, if label.is_empty() { "│" } else { "┤" }, theme.frame(false));
    }
}

/// The times below the bars, in the border to the log.
fn axis(model: &Model, buf: &mut Buffer, strip: &Strip) {
    let (theme, bars) = (model.options.theme, model.timeline().bars());
    panel::divider(buf, strip.axis, theme, &[], &[]);
    if let Some(titles) = strip.titles {
        panel::divider(buf, titles, theme, &[], &[]);
    }
    let columns = usize::from(strip.bars.width);
    let (from, _) = bars.columns(0, columns);
    let at = Rect { y: strip.axis.y, height: 1, ..strip.bars };
    let shift = u16::try_from(from).unwrap_or(0).min(at.width);
    let middle = bars.from + (bars.until() - bars.from) / 2;
    let times = [bars.from, middle, bars.until()].map(|second| time(model, bars, second));
    let line = buf.cell(at.as_position()).cloned().unwrap_or_default();
    time_axis(buf, Rect { x: at.x + shift, width: at.width - shift, ..at }, &times, theme);
    if let Some(place) = bars.marked {
        let (from, wide) = bars.columns(place, columns);
        let mark = from + (wide - 1) / 2;
        remove_label(buf, at, mark, &line);
        put(buf, at, mark, 1, "▲", theme.key());
    }
}

/// Removes the label that the mark would cover a character of.
fn remove_label(buf: &mut Buffer, at: Rect, mark: usize, line: &Cell) {
    let mark = at.x.saturating_add(u16::try_from(mark).unwrap_or(u16::MAX));
    let is_label =
        |x: &u16| buf.cell((*x, at.y)).is_some_and(|cell| cell.symbol() != line.symbol());
    let start = (at.x..=mark).rev().take_while(is_label).last();
    let end = (mark..at.right()).take_while(is_label).last();
    for x in start.zip(end).map_or(0..0, |(start, end)| start..end + 1) {
        if let Some(cell) = buf.cell_mut((x, at.y)) {
            *cell = line.clone();
        }
    }
}

/// A time on the axis, as exact as the bars are.
fn time(model: &Model, bars: &Bars, second: i64) -> String {
    let at = model.zoned(UtcMillis::from_epoch_millis(second.saturating_mul(1000)));
    let is_long = bars.until() - bars.from > DAY;
    let format = match bars.step {
        ..60 if !is_long => "%H:%M:%S",
        _ if !is_long => "%H:%M",
        ..DAY => "%b %d %H:%M",
        _ => "%b %d",
    };
    at.strftime(format).to_string()
}

/// The counts of the marked bar, or of all of them.
pub(super) fn title(model: &Model) -> Vec<Segment> {
    let (theme, bars) = (model.options.theme, model.timeline().bars());
    let (seconds, levels) =
        match bars.marked.and_then(|place| Some((place, bars.counts.get(place)?))) {
            Some((place, levels)) => (bars.seconds(place), *levels),
            None => (bars.from..bars.until(), bars.total()),
        };
    let (from, to) = (time(model, bars, seconds.start), time(model, bars, seconds.end));
    let mut items = vec![vec![styled(format!("{from}–{to}"), theme.plain())]];
    items.push(vec![styled(format::lines(levels.iter().sum()), theme.plain())]);
    for (level, name) in [(Level::Warn, "warnings"), (Level::Error, "errors")] {
        let count = levels[level as usize];
        if count > 0 {
            let name = if count == 1 { name.trim_end_matches('s') } else { name };
            let text = format!("{} {name}", format::count(count));
            items.push(vec![styled(text, theme.level(level))]);
        }
    }
    joined(items, theme)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(levels: Levels, most: u64, rows: u16) -> Vec<Option<(&'static str, Level)>> {
        let bar = Bar::of(&levels, most, rows);
        (0..usize::from(rows)).map(|nth| bar.in_row(nth)).collect()
    }

    #[test]
    fn errors_are_on_top_and_always_visible() {
        assert_eq!(rows([0, 0, 0], 100, 2), [None, None]);
        let full = [Some(("█", Level::Info)), Some(("█", Level::Error))];
        assert_eq!(rows([1_000_000, 0, 1], 1_000_001, 2), full);
        assert_eq!(rows([0, 0, 1], 1_000_000, 2), [Some(("▁", Level::Error)), None]);
        assert_eq!(
            rows([50, 25, 25], 100, 2),
            [Some(("█", Level::Info)), Some(("█", Level::Error)),]
        );
        assert_eq!(rows([50, 50, 0], 100, 2), [Some(("█", Level::Info)), Some(("█", Level::Warn))]);
        assert_eq!(rows([1, 0, 0], 1_000, 2), [Some(("▁", Level::Info)), None]);
    }

    #[test]
    fn a_bar_is_as_high_as_its_share_and_fits() {
        for (info, warnings, errors) in [(0, 0, 9), (3, 2, 1), (100, 0, 0), (0, 100, 3), (1, 1, 1)]
        {
            let levels = [info, warnings, errors];
            let all: u64 = levels.iter().sum();
            for most in [all, all * 2, all * 1_000] {
                for rows in 1..5 {
                    let bar = Bar::of(&levels, most, rows);
                    let parts = usize::from(rows) * PARTS;
                    assert!(bar.height() <= parts && bar.height() > 0);
                    assert!(bar.errors > 0 || errors == 0);
                    assert!(bar.warnings > 0 || warnings == 0 || bar.errors == parts);
                }
            }
        }
    }
}
