//! The log: a row for each line, in columns. As the width shrinks the least important go first:
//! the whole event id, its end, the duration, the level's name.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::draw::{put, put_right, row};
use crate::format;
use crate::model::Model;
use crate::model::line::{LineRef, shown_level};
use crate::model::pane::Pane;
use crate::model::query::ast::UNPARSED;
use crate::theme::Theme;
use bklit_wire::debug_log::Stage;
use bklit_wire::text;

/// `12:34:56.789`
const TIME: usize = 12;
/// `clickhouse`
const STAGE: usize = 10;
/// `12.3 ms`
const DURATION: usize = 7;
/// The end of an event id, as its beginning is a time.
const SHORT_ID: usize = 9;
/// An id that we made.
const WHOLE_ID: usize = 36;

const TIME_START: usize = 1;
const STAGE_START: usize = TIME_START + TIME + 1;
const LEVEL_START: usize = STAGE_START + STAGE + 1;

/// Where the columns of a width are. Columns with a width of 0 are left out.
struct Columns {
    level: usize,
    body_start: usize,
    body: usize,
    /// Within the body, where details start on every row; `None` lets them follow the message.
    fields: Option<usize>,
    event: usize,
    duration: usize,
    width: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        let level = if width < 70 { 1 } else { 5 };
        let duration = if width < 80 { 0 } else { DURATION };
        let event = match width {
            0..96 => 0,
            96..170 => SHORT_ID,
            170.. => WHOLE_ID,
        };
        let body_start = LEVEL_START + level + 1;
        let columns = [event, duration].into_iter().filter(|&column| column > 0);
        let right: usize = columns.map(|column| column + 2).sum();
        let body = width.saturating_sub(body_start + right + 1);
        let fields = (width >= 110).then(|| (body * 9 / 20).clamp(26, 44));
        Self { level, body_start, body, fields, event, duration, width }
    }
}

pub(super) fn render(model: &Model, pane: &Pane, buf: &mut Buffer, area: Rect) {
    let columns = Columns::of(area.width.into());
    if let Some(held) = pane.held(&model.ring) {
        for (nth, (_, line)) in held.iter().take(area.height.into()).enumerate() {
            let at = row(area, nth);
            line_row(model, pane, &columns, line.as_ref(), buf, at).render();
        }
        return;
    }
    let window = pane.window(area.height.into());
    for (nth, place) in window.range.enumerate() {
        let number = pane.index()[place];
        let Some(line) = model.ring.get(number) else { continue };
        let mut row = line_row(model, pane, &columns, line, buf, row(area, nth));
        row.selected = window.cursor == Some(place) && !pane.follows();
        row.repeats = pane.repeats(place);
        row.mark = model.marks.iter().find(|(_, marked)| **marked == number).map(|(mark, _)| *mark);
        row.render();
    }
}

fn line_row<'a>(
    model: &Model,
    pane: &Pane,
    columns: &'a Columns,
    line: LineRef<'a>,
    buf: &'a mut Buffer,
    at: Rect,
) -> Row<'a> {
    let search = pane.search();
    let found = search.map(|search| search.found_in(line.text()));
    let time = line.time().timestamp().to_zoned_datetime(model.zone.clone());
    Row {
        at,
        buf,
        columns,
        line,
        found: found.unwrap_or_default(),
        is_found: search.is_some_and(|search| search.matches(line)),
        names_found: search.map_or((false, false), |search| search.names_found(line)),
        theme: model.options.theme,
        store: model.stage_name(Stage::Clickhouse),
        selected: false,
        repeats: 1,
        mark: None,
        time: time.strftime("%H:%M:%S%.3f").to_string(),
    }
}

/// A row about to be drawn.
struct Row<'a> {
    buf: &'a mut Buffer,
    at: Rect,
    columns: &'a Columns,
    line: LineRef<'a>,
    /// Where the search is found in the line's text.
    found: Vec<Range<usize>>,
    /// Whether the line is what the search asks for.
    is_found: bool,
    /// Whether the search names its stage and its level.
    names_found: (bool, bool),
    /// The name of the store's stage.
    store: &'static str,
    theme: Theme,
    selected: bool,
    /// How many lines it stands for.
    repeats: u32,
    /// The letter it is marked with.
    mark: Option<char>,
    time: String,
}

impl Row<'_> {
    fn render(&mut self) {
        let theme = self.theme;
        if self.selected {
            self.buf.set_style(self.at, theme.selected());
        }
        let mark = self.mark.map(String::from);
        let (sign, style) = match (self.selected, mark.as_deref(), self.is_found) {
            (true, None, _) => ("▌", theme.key()),
            (_, Some(mark), false) => (mark, theme.key()),
            (_, Some(mark), true) => (mark, theme.found()),
            (false, None, true) => ("•", theme.warning()),
            (false, None, false) => (" ", theme.plain()),
        };
        self.put(0, 1, sign, style);
        let time = std::mem::take(&mut self.time);
        self.put(TIME_START, TIME, &time, theme.dim());
        match self.line.stage() {
            Some(stage) => {
                let style = self.name_style(self.names_found.0, theme.stage(stage));
                let is_store = stage == Stage::Clickhouse;
                let name = if is_store { self.store } else { stage.as_str() };
                self.put(STAGE_START, STAGE, name, style)
            }
            None => {
                let style = self.name_style(self.names_found.0, theme.dim());
                self.put(STAGE_START, STAGE, UNPARSED, style)
            }
        };
        let level = level_name(self.line, self.columns.level);
        let style = self.name_style(self.names_found.1, theme.level(self.line.level()));
        self.put(LEVEL_START, self.columns.level, level, style);
        self.body();
        self.ends();
    }

    fn name_style(&self, found: bool, style: Style) -> Style {
        if found { self.theme.found() } else { style }
    }

    fn put(&mut self, x: usize, width: usize, what: &str, style: Style) -> usize {
        let style = self.theme.on(self.selected, style);
        put(self.buf, self.at, x, width, what, style)
    }

    /// Message and details.
    fn body(&mut self) {
        let (message, fields) = (self.line.message(), self.line.fields());
        let Columns { mut body_start, mut body, .. } = *self.columns;
        if self.repeats > 1 {
            let label = format!("×{} ", format::short_count(self.repeats.into()));
            let used = self.put(body_start, body, &label, self.theme.warning());
            (body_start, body) = (body_start + used, body - used);
        }
        let room = match self.columns.fields {
            Some(start) if !fields.is_empty() => start - 1,
            _ => body,
        };
        let style = self.theme.message(self.line.level());
        let used = self.part(message, 0, body_start..body_start + room, style);
        let gap = if used > 0 { 2 } else { 0 };
        let start = self.columns.fields.unwrap_or(used + gap);
        if start + 4 < body {
            let columns = body_start + start..body_start + body;
            self.part(fields, self.line.fields_start(), columns, self.theme.dim());
        }
    }

    /// Event id and duration.
    fn ends(&mut self) {
        let mut end = self.columns.width - 1;
        if self.columns.duration > 0 {
            if let Some(millis) = self.line.duration() {
                let duration = format::micros(f64::from(millis) * 1e3);
                put_right(self.buf, self.at, end, DURATION, &duration, Style::new());
            }
            end -= DURATION + 2;
        }
        let Some(id) = self.line.event_id().filter(|_| self.columns.event > 0) else { return };
        let (from, x) = (self.line.event_start(), end - self.columns.event);
        if text::width(id) <= self.columns.event {
            self.part(id, from, x..end, self.theme.dim());
            return;
        }
        // Only its end is shown, so it is highlighted as a whole.
        let part = from..from + id.len();
        let found = self.found.iter().any(|found| overlap(found, &part).is_some());
        let style = if found { self.theme.found() } else { self.theme.dim() };
        self.put(x, self.columns.event, &text::clip_start(id, self.columns.event), style);
    }

    /// Writes a part of the line, which starts at `from` in its text, into columns, and highlights
    /// what the search found. Where that would be out of sight, the part begins shortly before it.
    /// Returns the columns used.
    fn part(&mut self, part: &str, from: usize, columns: Range<usize>, style: Style) -> usize {
        let (mut x, mut width) = (columns.start, columns.len());
        let skipped = self.skipped(part, from, width);
        if skipped > 0 {
            self.put(x, 1, text::ELLIPSIS, style);
            (x, width) = (x + 1, width - 1);
        }
        let (shown, from) = (&part[skipped..], from + skipped);
        let used = self.put(x, width, shown, style);
        let visible = text::fit(shown, width);
        for range in &self.found {
            let Some(range) = overlap(range, &(from..from + visible.len())) else { continue };
            let start = x + text::width(&visible[..range.start - from]);
            let width = text::width(&visible[range.start - from..range.end - from]);
            let cells = Rect {
                x: self.at.x + u16::try_from(start).unwrap_or(u16::MAX),
                width: u16::try_from(width).unwrap_or(0),
                ..self.at
            };
            self.buf.set_style(cells, self.theme.found());
        }
        x - columns.start + used
    }

    /// How many bytes of a part to leave out, so that something found in it is in sight.
    fn skipped(&self, part: &str, from: usize, width: usize) -> usize {
        let visible = from..from + text::fit(part, width.saturating_sub(1)).len();
        if self.found.iter().any(|found| overlap(found, &visible).is_some()) {
            return 0;
        }
        let whole = from..from + part.len();
        let Some(first) = self.found.iter().find_map(|found| overlap(found, &whole)) else {
            return 0;
        };
        let before = &part[..first.start - from];
        let kept = text::clip_start(before, width / 3);
        before.len() - kept.strip_prefix(text::ELLIPSIS).unwrap_or(&kept).len()
    }
}

fn level_name(line: LineRef<'_>, width: usize) -> &'static str {
    match (line.stage(), line.level()) {
        (None, _) => "?",
        (_, level) => &shown_level(level)[..width.min(shown_level(level).len())],
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> Option<Range<usize>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (!both.is_empty()).then_some(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_every_width_and_go_by_importance() {
        for width in 60..=250 {
            let columns = Columns::of(width);
            assert!(columns.body >= 30, "{width}: {}", columns.body);
            let right = [columns.event, columns.duration].iter().filter(|&&w| w > 0).count() * 2;
            let sum = columns.body_start + columns.body + columns.event + columns.duration + right;
            assert_eq!(sum + 1, width);
            assert!(columns.fields.is_none_or(|fields| fields + 20 < columns.body), "{width}");
        }
        assert_eq!(Columns::of(60).level, 1);
        assert_eq!((Columns::of(80).duration, Columns::of(80).event), (DURATION, 0));
        assert_eq!(Columns::of(200).event, WHOLE_ID);
    }
}
