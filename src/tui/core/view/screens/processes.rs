//! The processes of the pipeline.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::Draw;
use crate::format;
use crate::model::Model;
use crate::model::layout::{Layout, PROCESSES_HEAD, below};
use crate::model::panels::ProcessRow;
use crate::model::screen::ProcessesScreen;
use crate::theme::Theme;
use crate::view::draw::{put, put_right, row, rule, select, styled};
use crate::view::panel;
use bklit_wire::gauges::Failure;
use bklit_wire::{reason, text};

/// The width from which versions and latencies are shown.
const WIDE: u16 = 110;
/// The width from which roles and uptime are shown.
const MEDIUM: u16 = 76;
/// A reason in less space is not useful.
const MIN_REASON: usize = 16;
/// A process that has been silent for longer than this, in seconds, is marked.
const SILENT: i64 = 3;

/// A column: its label, its width, and whether it is right-aligned.
type Column = (&'static str, usize, bool);

fn columns(width: u16) -> Vec<Column> {
    let mut all = vec![("process", 14, false)];
    if width >= WIDE {
        all.extend([("host", 22, false), ("roles", 18, false), ("version", 8, false)]);
    } else {
        all.push(("host", 11, false));
    }
    if (MEDIUM..WIDE).contains(&width) {
        all.push(("roles", 9, false));
    }
    if width >= MEDIUM {
        all.push(("up", 6, true));
    }
    all.extend([("in", 7, true), ("stored", 7, true)]);
    if width >= WIDE {
        all.push(("p95", 8, true));
    }
    all.extend([("errors", 6, true), ("seen", 5, true)]);
    all
}

impl Draw for ProcessesScreen {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        render(model, buf, layout.overlay());
        None
    }

    fn status(model: &Model, buf: &mut Buffer, area: Rect) {
        let theme = model.options.theme;
        let failures = model.panels().processes.selected().and_then(|row| row.figures.as_ref());
        let failures = failures.map_or(&[][..], |figures| &figures.failures);
        let says = failures.first().map(|failure| {
            let why = why(failure);
            let room = usize::from(area.width).saturating_sub(6);
            styled(reason::clip(&text::safe(&why), room).into_owned(), theme.error())
        });
        panel::lower(buf, area, (theme, true), &Vec::from_iter(says), &[]);
    }
}

/// What fails, and why.
fn why(failure: &Failure) -> String {
    format!("{}: {}", failure.part, failure.reason)
}

fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let processes = &model.panels().processes;
    let rows = processes.rows();
    let running = rows.iter().filter(|row| row.figures.is_some()).count() as u64;
    let title = [styled("processes", theme.strong())];
    let right = [styled(format!("{running} running"), theme.dim())];
    rule(buf, row(area, 0), theme, &title, &right);
    let columns = columns(area.width);
    let labels = columns.iter().map(|&(label, ..)| label.to_owned());
    cells(buf, row(area, 1), &columns, labels.map(|label| (label, theme.dim())));
    let list = below(area, PROCESSES_HEAD);
    if rows.is_empty() {
        let text = "No process has published figures yet.";
        put(buf, row(list, 0), 2, usize::from(area.width) - 3, text, theme.dim());
    }
    let cursor = processes.cursor();
    for (nth, process) in rows.iter().enumerate().skip(cursor.top()).take(list.height.into()) {
        let at = row(list, nth - cursor.top());
        let selected = nth == cursor.selected();
        if selected {
            select(buf, at, theme);
        }
        process_row(model, process, buf, at, &columns, selected);
    }
}

fn process_row(
    model: &Model,
    process: &ProcessRow,
    buf: &mut Buffer,
    at: Rect,
    columns: &[Column],
    selected: bool,
) {
    let theme = model.options.theme;
    let about = &process.about;
    let (sign, style) = match &process.figures {
        None => ("○", theme.dim()),
        Some(figures) if !figures.failures.is_empty() => ("✗", theme.error()),
        Some(figures) if figures.heard > SILENT => ("?", theme.warning()),
        Some(_) => ("●", theme.good()),
    };
    put(buf, at, 1, 1, sign, theme.on(selected, style));
    let name = if process.figures.is_some() { theme.plain() } else { theme.dim() };
    let dim = theme.on(selected, theme.dim());
    let values = columns.iter().map(|&(label, ..)| match label {
        "process" => (text::safe(&process.process).into_owned(), theme.on(selected, name)),
        "host" => (text::safe(&about.host).into_owned(), theme.on(selected, name)),
        "roles" => (roles(&about.roles), dim),
        "version" => (text::safe(&about.version).into_owned(), dim),
        "up" => (up(model, process), dim),
        "errors" => errors(theme, process.errors),
        "seen" => (seen(model, process), theme.on(selected, style)),
        label => figure(theme, process, label),
    });
    let used = cells(buf, at, columns, values);
    let failure = process.figures.as_ref().and_then(|figures| figures.failures.first());
    if let Some(failure) = failure {
        let room = usize::from(at.width).saturating_sub(used + 2);
        let why = why(failure);
        // In too little space, only the status line has it.
        if room >= MIN_REASON {
            let why = reason::clip(&why, room);
            put(buf, at, used + 1, room, &text::safe(&why), theme.error());
        }
    }
}

/// Writes a row; returns the columns used.
fn cells(
    buf: &mut Buffer,
    at: Rect,
    columns: &[Column],
    values: impl Iterator<Item = (String, ratatui::style::Style)>,
) -> usize {
    let mut x = 3;
    for (&(_, width, is_right), (value, style)) in columns.iter().zip(values) {
        if is_right {
            put_right(buf, at, x + width, width, &value, style);
        } else {
            put(buf, at, x, width, &value, style);
        }
        x += width + 1;
    }
    x
}

fn roles(roles: &str) -> String {
    match roles.split(',').count() {
        3 => "all".to_owned(),
        _ => text::safe(roles).into_owned(),
    }
}

/// How long it has been running.
fn up(model: &Model, process: &ProcessRow) -> String {
    let end = match process.figures {
        Some(_) => Some(model.now),
        None => process.last,
    };
    let lasted = end.zip(process.about.since).map(|(end, since)| {
        let millis = end.epoch_millis() - since.epoch_millis();
        format::micros(millis.max(0) as f64 * 1e3)
    });
    lasted.unwrap_or_else(|| "–".to_owned())
}

fn figure(theme: Theme, process: &ProcessRow, label: &str) -> (String, ratatui::style::Style) {
    let Some(figures) = &process.figures else { return ("–".to_owned(), theme.dim()) };
    let rate = |rate: f64| {
        let style = if rate > 0.0 { theme.plain() } else { theme.dim() };
        (format::rate(rate), style)
    };
    match (label, figures.p95) {
        ("in", _) => rate(figures.accepted),
        ("stored", _) => rate(figures.stored),
        (_, Some(p95)) => (format::micros(p95 as f64), theme.plain()),
        (_, None) => ("–".to_owned(), theme.dim()),
    }
}

fn errors(theme: Theme, errors: u64) -> (String, ratatui::style::Style) {
    let style = if errors > 0 { theme.error() } else { theme.dim() };
    (format::tiny_count(errors), style)
}

/// How long ago there was a sign of life.
fn seen(model: &Model, process: &ProcessRow) -> String {
    match (&process.figures, process.last) {
        (Some(figures), _) if figures.heard <= 1 => "now".to_owned(),
        (Some(figures), _) => format!("{} s", figures.heard),
        (None, Some(last)) => model.zoned(last).strftime("%H:%M").to_string(),
        (None, None) => "–".to_owned(),
    }
}
