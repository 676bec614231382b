//! The log: a row for each line, in columns. As the width shrinks the least important go first:
//! the whole event id, its end, the duration, the level's name.

use std::borrow::Cow;
use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::draw::{put, put_right, row};
use super::format;
use crate::pipeline::debug_log::Level;
use crate::tui::model::Model;
use crate::tui::model::filter::TextQuery;
use crate::tui::model::line::LineRef;
use crate::tui::text;
use crate::tui::theme::Theme;

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
            0..100 => 0,
            100..170 => SHORT_ID,
            170.. => WHOLE_ID,
        };
        let body_start = LEVEL_START + level + 1;
        let columns = [event, duration].into_iter().filter(|&column| column > 0);
        let right: usize = columns.map(|column| column + 2).sum();
        let body = width.saturating_sub(body_start + right + 1);
        let fields = (width >= 110).then(|| (body * 2 / 5).clamp(24, 44));
        Self { level, body_start, body, fields, event, duration, width }
    }
}

pub(super) fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let columns = Columns::of(area.width.into());
    let pane = model.pane();
    let window = pane.window(area.height.into());
    for (nth, place) in window.range.enumerate() {
        let number = pane.index()[place];
        let Some(line) = model.ring.get(number) else { continue };
        let at = row(area, nth);
        let selected = window.cursor == Some(place) && !pane.follows();
        render_line(model, buf, at, &columns, line, selected);
    }
}

fn render_line(
    model: &Model,
    buf: &mut Buffer,
    at: Rect,
    columns: &Columns,
    line: LineRef<'_>,
    selected: bool,
) {
    let theme = model.options.theme;
    if selected {
        buf.set_style(at, theme.selected());
    }
    let found = model.pane().search().filter(|search| search.matches(line));
    let mark = if selected {
        "▌"
    } else if found.is_some() {
        "•"
    } else {
        " "
    };
    put(buf, at, 0, 1, mark, if selected { theme.key() } else { theme.warning() });
    let time = line.time().timestamp().to_zoned_datetime(model.zone.clone());
    let time = time.strftime("%H:%M:%S%.3f").to_string();
    put(buf, at, TIME_START, TIME, &time, theme.on(selected, theme.dim()));
    let (stage, style) = match line.stage() {
        Some(stage) => (stage.as_str(), theme.stage(stage)),
        None => ("unparsed", theme.dim()),
    };
    put(buf, at, STAGE_START, STAGE, stage, theme.on(selected, style));
    let style = theme.on(selected, level_style(theme, line));
    put(buf, at, LEVEL_START, columns.level, level_name(line, columns.level), style);
    body(buf, at, columns, line, found, theme, selected);
    ends(buf, at, columns, line, found, theme, selected);
}

fn level_name(line: LineRef<'_>, width: usize) -> &'static str {
    match (line.stage(), line.level()) {
        (None, _) => "?",
        (_, Level::Info) if width == 1 => "I",
        (_, Level::Info) => "INFO",
        (_, Level::Warn) if width == 1 => "W",
        (_, Level::Warn) => "WARN",
        (_, Level::Error) if width == 1 => "E",
        (_, Level::Error) => "ERROR",
    }
}

fn level_style(theme: Theme, line: LineRef<'_>) -> Style {
    theme.level(line.level())
}

/// Message and details.
fn body(
    buf: &mut Buffer,
    at: Rect,
    columns: &Columns,
    line: LineRef<'_>,
    found: Option<&TextQuery>,
    theme: Theme,
    selected: bool,
) {
    let (message, fields) = (line.message(), line.fields());
    let style = theme.message(line.level());
    let room = match columns.fields {
        Some(start) if !fields.is_empty() => start - 1,
        _ => columns.body,
    };
    let used = put(buf, at, columns.body_start, room, message, style);
    let shown = Shown { text: message, from: 0, x: columns.body_start, width: room };
    highlight(buf, at, line, found, &shown, theme);
    let start = columns.fields.unwrap_or(used + 2);
    if !fields.is_empty() && start + 4 < columns.body {
        let (x, width) = (columns.body_start + start, columns.body - start);
        put(buf, at, x, width, fields, theme.on(selected, theme.dim()));
        let shown = Shown { text: fields, from: line.fields_start(), x, width };
        highlight(buf, at, line, found, &shown, theme);
    }
}

/// Event id and duration.
fn ends(
    buf: &mut Buffer,
    at: Rect,
    columns: &Columns,
    line: LineRef<'_>,
    found: Option<&TextQuery>,
    theme: Theme,
    selected: bool,
) {
    let mut end = columns.width - 1;
    if columns.duration > 0 {
        if let Some(millis) = line.duration() {
            let duration = format::micros(f64::from(millis) * 1e3);
            put_right(buf, at, end, DURATION, &duration, Style::new());
        }
        end -= DURATION + 2;
    }
    if let Some(id) = line.event_id().filter(|_| columns.event > 0) {
        let shown = text::clip_start(id, columns.event);
        let x = end - columns.event;
        put(buf, at, x, columns.event, &shown, theme.on(selected, theme.dim()));
        let whole = Shown { text: id, from: line.event_start(), x, width: columns.event };
        if let Cow::Borrowed(_) = shown {
            highlight(buf, at, line, found, &whole, theme);
        } else if let Some(search) = found {
            let part = whole.from..whole.from + id.len();
            if search.found_in(line.text()).any(|found| overlap(&found, &part).is_some()) {
                put(buf, at, x, columns.event, &shown, theme.found());
            }
        }
    }
}

/// A part of a line as it stands on the screen.
struct Shown<'a> {
    text: &'a str,
    /// Where it starts in the line's text.
    from: usize,
    x: usize,
    width: usize,
}

fn highlight(
    buf: &mut Buffer,
    at: Rect,
    line: LineRef<'_>,
    found: Option<&TextQuery>,
    shown: &Shown<'_>,
    theme: Theme,
) {
    let Some(search) = found else { return };
    let visible = text::fit(shown.text, shown.width);
    let part = shown.from..shown.from + visible.len();
    for range in search.found_in(line.text()) {
        let Some(range) = overlap(&range, &part) else { continue };
        let before = &visible[..range.start - shown.from];
        let x = shown.x + text::width(before);
        let width = text::width(&visible[range.start - shown.from..range.end - shown.from]);
        let cells = Rect {
            x: at.x + u16::try_from(x).unwrap_or(u16::MAX),
            width: u16::try_from(width).unwrap_or(0),
            ..at
        };
        buf.set_style(cells, theme.found());
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
