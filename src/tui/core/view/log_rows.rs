//! The log: one row per line, in columns; or several, if long lines are wrapped.

mod body;
mod details;

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::draw::{put, put_right, row};
use crate::format;
use crate::model::Model;
use crate::model::layout::columns::{
    Columns, DURATION, LEVEL_START, REPEATS, STAGE, STAGE_START, TIME, TIME_START,
};
use crate::model::line::{LineRef, shown_level};
use crate::model::pane::Pane;
use crate::model::query::ast::UNPARSED;
use crate::model::screen::Detail;
use crate::theme::Theme;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::{reason, text};

/// Details in less space are not useful.
const MIN_DETAILS: usize = 6;
/// The name of what writes notes into the log.
const CONSOLE: &str = "console";

pub(super) fn render(model: &Model, pane: &Pane, buf: &mut Buffer, area: Rect) {
    let mut columns = Columns::of(area.width.into(), pane.folds() && pane.wraps());
    let height = usize::from(area.height);
    if let Some(held) = pane.held(&model.ring) {
        let mut place = (0, held.skip);
        fit(&mut columns, pane, held.lines.iter().map(|held| held.line.as_ref()));
        for line in &held.lines {
            let mut row = line_row(model, pane, &columns, line.line.as_ref(), buf, area);
            place = row.render_at(pane, area, place);
        }
        return;
    }
    let window = pane.window(height);
    let lines = || window.range.clone().filter_map(|place| model.ring.get(pane.index()[place]));
    fit(&mut columns, pane, lines());
    let common = if is_known(pane) { details::common(lines()) } else { Vec::new() };
    let mut at = (0, window.skip);
    // The line shown next to the log.
    let shown = model.shown::<Detail>().map(|detail| detail.number);
    for place in window.range.clone() {
        let number = pane.index()[place];
        let Some(line) = model.ring.get(number) else { continue };
        let mut row = line_row(model, pane, &columns, line, buf, area);
        row.selected = match shown {
            Some(shown) => shown == number,
            None => window.cursor == Some(place) && !pane.follows(),
        };
        row.repeats = pane.repeats(place);
        row.common = &common;
        row.mark = model.marks.iter().find(|(_, marked)| **marked == number).map(|(mark, _)| *mark);
        at = row.render_at(pane, area, at);
    }
}

/// Whether the reason of the lines is in the title, because all have the same one.
fn is_known(pane: &Pane) -> bool {
    pane.filter().group.is_some()
}

/// Makes the column of the messages as wide as the longest one shown.
fn fit<'a>(columns: &mut Columns, pane: &Pane, lines: impl Iterator<Item = LineRef<'a>>) {
    let Some(most) = columns.fields else { return };
    let shown = lines.filter(|line| reason_of(*line).is_none() || is_known(pane));
    let longest = shown.map(|line| text::width(line.message())).max().unwrap_or(0);
    columns.fields = Some(most.min(longest + 2));
}

/// Where the reason of a warning or an error is, and where the details after it start.
fn reason_of(line: LineRef<'_>) -> Option<(Range<usize>, usize)> {
    line.reason().filter(|_| line.level() > Level::Info)
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
        reserved: 0,
        is_known: is_known(pane),
        common: &[],
        mark: None,
        time: time.strftime("%H:%M:%S%.3f").to_string(),
    }
}

/// A row to draw.
struct Row<'a> {
    buf: &'a mut Buffer,
    at: Rect,
    columns: &'a Columns,
    line: LineRef<'a>,
    /// The matches of the search in the line's text.
    found: Vec<Range<usize>>,
    /// Whether the line matches the search.
    is_found: bool,
    /// Whether the search matches its stage and its level.
    names_found: (bool, bool),
    /// The name of the store's stage.
    store: &'static str,
    theme: Theme,
    selected: bool,
    /// How many lines it represents.
    repeats: u32,
    /// The columns at the end of its body that are not for message and details.
    reserved: usize,
    /// Whether its reason is in the title, because all lines of the pane have the same one.
    is_known: bool,
    /// The details that all lines shown have.
    common: &'a [&'a str],
    /// The letter it is marked with.
    mark: Option<char>,
    time: String,
}

impl Row<'_> {
    /// Draws the line from a row of an area on, of which the first `skip` are above it. Returns
    /// where the next line starts.
    fn render_at(
        &mut self,
        pane: &Pane,
        area: Rect,
        (top, skip): (usize, usize),
    ) -> (usize, usize) {
        if pane.wraps() {
            let rows = self.line.body_rows(self.columns.body, pane.most_rows(area.height.into()));
            self.render_rows(area, top, skip, &rows);
            return (top + rows.rows.len().saturating_sub(skip), 0);
        }
        self.at = row(area, top);
        self.background();
        self.fixed();
        match pane.shift() {
            0 => self.body(),
            shift => self.shifted_body(shift),
        }
        self.ends();
        (top + 1, 0)
    }

    fn background(&mut self) {
        let theme = self.theme;
        let row = if self.selected { theme.selected() } else { theme.row(self.line.level()) };
        self.buf.set_style(self.at, row);
    }

    /// What is before message and details, which is always in the same columns.
    fn fixed(&mut self) {
        let theme = self.theme;
        let is_note = self.line.stage().is_none() && self.line.level() == Level::Info;
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
                self.put(STAGE_START, STAGE, if is_note { CONSOLE } else { UNPARSED }, style)
            }
        };
        let level = level_name(self.line, self.columns.level);
        let style = self.name_style(self.names_found.1, theme.level(self.line.level()));
        self.put(LEVEL_START, self.columns.level, level, style);
        if self.repeats > 1 {
            let label = format!("×{}", format::tiny_count(self.repeats.into()));
            // Wrapped, there is a column for it. Otherwise it is at the end of the body.
            let start = match self.columns.repeats {
                0 => {
                    let end = self.body_end();
                    self.reserved = text::width(&label) + 2;
                    end - text::width(&label)
                }
                columns => self.columns.body_start - columns,
            };
            self.put(start, REPEATS, &label, theme.warning());
        }
    }

    fn name_style(&self, found: bool, style: Style) -> Style {
        if found { self.theme.found() } else { style }
    }

    fn put(&mut self, x: usize, width: usize, what: &str, style: Style) -> usize {
        let style = self.theme.on(self.selected, style);
        put(self.buf, self.at, x, width, what, style)
    }

    /// Message and details; of a warning or an error, the reason comes first.
    fn body(&mut self) {
        let start = self.columns.body_start;
        let mut free = start..self.body_end();
        let reason = reason_of(self.line);
        if self.is_known {
            let from = reason.map_or(self.line.fields_start(), |(_, rest)| rest);
            let common = self.common;
            return self.known_body(from, common);
        }
        let has_reason = reason.is_some();
        let (fields_start, style) = match reason {
            Some((reason, rest)) => {
                let reason_text = &self.line.text()[reason.clone()];
                free.start += self.reason(reason_text, reason.start, free.clone());
                (rest, self.theme.dim())
            }
            None => (self.line.fields_start(), self.theme.message(self.line.level())),
        };
        let fields_end = self.line.fields_start() + self.line.fields().len();
        let fields = &self.line.text()[fields_start.min(fields_end)..fields_end];
        let message = self.line.message();
        // Details start in a column of their own, if the message is shorter; a long message leaves
        // a third of the space for them, unless that is too little to show any.
        let details = text::width(fields).min(free.len() / 3);
        let details = if details < MIN_DETAILS + 2 { 0 } else { details };
        let room = free.len() - details;
        let used = self.part(message, 0, free.start..free.start + room, style);
        let gap = if used > 0 { 2 } else { 0 };
        let column = self.columns.fields.filter(|_| !has_reason).unwrap_or(0);
        let from = (free.start + used + gap).max(start + column);
        if from + MIN_DETAILS <= free.end {
            self.details(fields_start, from..free.end);
        }
    }

    /// The end of the body: columns to its right that are empty belong to it.
    fn body_end(&self) -> usize {
        let Columns { body_start, body, event, duration, width, .. } = *self.columns;
        let has_event = event > 0 && self.line.event_id().is_some();
        let has_duration = duration > 0 && self.line.duration().is_some();
        let end = match (has_event, has_duration) {
            (true, _) => body_start + body,
            (false, true) => width - 1 - duration - 2,
            (false, false) => width - 1,
        };
        end - self.reserved
    }

    /// The reason, the brightest text of the line. If it is too long, its last cause stays, which
    /// says most. Returns the columns used with a gap.
    fn reason(&mut self, reason: &str, from: usize, columns: Range<usize>) -> usize {
        let style = self.theme.reason();
        let is_found = self.found.iter().any(|f| f.start < from + reason.len() && from < f.end);
        let room = columns.len();
        let kept = reason::clip(reason, room);
        let used = if kept.len() == reason.len() || is_found {
            self.part(reason, from, columns, style)
        } else {
            self.put(columns.start, room, &kept, style)
        };
        (used + 2).min(room)
    }

    /// Event id and duration.
    fn ends(&mut self) {
        let mut end = self.columns.width - 1;
        if self.columns.duration > 0 {
            if let Some(millis) = self.line.duration() {
                let duration = format::micros(f64::from(millis) * 1e3);
                let style = self.theme.duration(f64::from(millis) * 1e3);
                let style = self.theme.on(self.selected, style);
                put_right(self.buf, self.at, end, DURATION, &duration, style);
            }
            end -= DURATION + 2;
        }
        let Some(id) = self.line.event_id().filter(|_| self.columns.event > 0) else { return };
        let (from, x) = (self.line.event_start(), end - self.columns.event);
        if text::width(id) <= self.columns.event {
            self.part(id, from, x..end, self.theme.dim());
            return;
        }
        // Only its end is visible, so all of it is highlighted.
        let part = from..from + id.len();
        let found = self.found.iter().any(|found| overlap(found, &part).is_some());
        let style = if found { self.theme.found() } else { self.theme.dim() };
        self.put(x, self.columns.event, &text::clip_start(id, self.columns.event), style);
    }

    /// Writes a part of the line, which starts at `from` in its text, and highlights the search's
    /// matches. If a match would not be visible, the part starts shortly before it. Returns the
    /// columns used.
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
        self.highlight(visible, from, x);
        x - columns.start + used
    }

    /// Highlights the search's matches in a text that is visible at a column and starts at `from` in
    /// the line's text.
    fn highlight(&mut self, visible: &str, from: usize, x: usize) {
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
    }

    /// How many bytes to skip at the start of a part, so that a match is visible.
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
        (None, Level::Info) => "",
        (None, _) => "?",
        (_, level) => &shown_level(level)[..width.min(shown_level(level).len())],
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> Option<Range<usize>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (!both.is_empty()).then_some(both)
}
