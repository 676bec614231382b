//! The processes of the pipeline.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::Draw;
use crate::format;
use crate::model::Model;
use crate::model::figures::ProcessFigures;
use crate::model::layout::{Layout, PROCESSES_HEAD, below};
use crate::model::panels::{ProcessRow, ProcessState};
use crate::model::screen::ProcessesScreen;
use crate::theme::Theme;
use crate::view::draw::{Segment, put, put_right, row, rule, select, styled};
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
        let failures = model.panels().processes.selected().and_then(ProcessRow::figures);
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
    let title = [styled("processes", theme.strong())];
    rule(buf, row(area, 0), theme, &title, &counts(model));
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

/// How many processes run, how many are lost, and whether others may be running.
fn counts(model: &Model) -> Vec<Segment> {
    let theme = model.options.theme;
    let rows = model.panels().processes.rows();
    let count = |is: fn(&ProcessState) -> bool| rows.iter().filter(|row| is(&row.state)).count();
    let running = count(|state| matches!(state, ProcessState::Running(_)));
    let lost = count(|state| matches!(state, ProcessState::Lost(_)));
    let mut counts = vec![styled(format!("{running} running"), theme.dim())];
    if lost > 0 {
        counts.extend([styled(" · ", theme.dim()), styled(format!("{lost} lost"), theme.error())]);
    }
    if model.figures.misses_others() {
        let unknown = match running {
            0 => vec![styled("running processes unknown: no connection", theme.warning())],
            _ => vec![styled(" · ", theme.dim()), styled("others unknown", theme.warning())],
        };
        counts = if running == 0 { unknown } else { [counts, unknown].concat() };
    }
    counts
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
    let (sign, style) = sign(model, process);
    let name = if process.figures().is_some() { theme.plain() } else { theme.dim() };
    let name = if matches!(process.state, ProcessState::Lost(_)) { style } else { name };
    let dim = theme.on(selected, theme.dim());
    put(buf, at, 1, 1, sign, theme.on(selected, style));
    let value = |label| match label {
        "process" => (text::safe(&process.process).into_owned(), theme.on(selected, name)),
        "host" => (text::safe(&about.host).into_owned(), theme.on(selected, name)),
        "roles" => (roles(&about.roles), dim),
        "version" => (text::safe(&about.version).into_owned(), dim),
        "up" => (up(model, process), dim),
        "errors" => errors(theme, process.errors),
        label => figure(theme, process, label),
    };
    // The columns from the rates on are about the present.
    let past = columns.iter().take_while(|&&(label, ..)| label != "in").count();
    let Some(figures) = process.figures() else {
        let values = columns[..past].iter().map(|&(label, ..)| value(label));
        let used = cells(buf, at, &columns[..past], values);
        let room = usize::from(at.width).saturating_sub(used + 2);
        let ended = ended(model, process);
        let fits = ended.iter().find(|ended| text::width(ended) <= room);
        put(buf, at, used + 1, room, fits.unwrap_or(&ended[2]), theme.on(selected, style));
        return;
    };
    let values = columns.iter().map(|&(label, ..)| match label {
        "seen" => (seen(figures), theme.on(selected, style)),
        label => value(label),
    });
    let used = cells(buf, at, columns, values);
    if let Some(failure) = figures.failures.first() {
        let room = usize::from(at.width).saturating_sub(used + 2);
        let why = why(failure);
        // If there is too little space, it is only in the status line.
        if room >= MIN_REASON {
            let why = reason::clip(&why, room);
            put(buf, at, used + 1, room, &text::safe(&why), theme.error());
        }
    }
}

fn sign(model: &Model, process: &ProcessRow) -> (&'static str, Style) {
    let theme = model.options.theme;
    match &process.state {
        ProcessState::Running(figures) if !figures.failures.is_empty() => ("✗", theme.error()),
        ProcessState::Running(figures) if figures.heard > SILENT => ("?", theme.warning()),
        ProcessState::Running(_) => ("●", theme.good()),
        ProcessState::Lost(_) => ("✗", theme.error()),
        ProcessState::Unknown(_) => ("?", theme.warning()),
        ProcessState::Past(_) if !model.figures.all_heard() => ("?", theme.dim()),
        ProcessState::Stopped(_) | ProcessState::Past(_) => ("○", theme.dim()),
    }
}

/// What became of a process that publishes no figures: in full, shorter, and as short as possible.
fn ended(model: &Model, process: &ProcessRow) -> [String; 3] {
    let (state, last) = match process.state {
        ProcessState::Running(_) => return Default::default(),
        ProcessState::Unknown(last) => ("unknown", last),
        ProcessState::Lost(last) => ("lost", last),
        ProcessState::Stopped(last) => ("stopped", last),
        ProcessState::Past(last) => {
            let state = if model.figures.all_heard() { "gone" } else { "unknown" };
            let Some(last) = last else { return [(); 3].map(|()| state.to_owned()) };
            let minute = model.zoned(last).strftime("%H:%M");
            let short = format!("{state} · until {minute}");
            return [format!("{state} · figures until {minute}"), short.clone(), short];
        }
    };
    let millis = model.now.epoch_millis() - last.epoch_millis();
    let ago = format!("{} ago", format::micros(millis.max(0) as f64 * 1e3));
    let (clock, seen) =
        (model.time_of_day(last), if state == "stopped" { "" } else { "last seen " });
    [
        format!("{state} · {seen}{clock} ({ago})"),
        format!("{state} · {clock} ({ago})"),
        format!("{state} · {ago}"),
    ]
}

/// Writes a row; returns the columns used.
fn cells(
    buf: &mut Buffer,
    at: Rect,
    columns: &[Column],
    values: impl Iterator<Item = (String, Style)>,
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

/// How long it has been running, or ran.
fn up(model: &Model, process: &ProcessRow) -> String {
    let end = match process.state {
        ProcessState::Running(_) => Some(model.now),
        ProcessState::Unknown(last) | ProcessState::Lost(last) | ProcessState::Stopped(last) => {
            Some(last)
        }
        // Known to the minute.
        ProcessState::Past(_) => None,
    };
    let lasted = end.zip(process.about.since).map(|(end, since)| {
        let millis = end.epoch_millis() - since.epoch_millis();
        format::micros(millis.max(0) as f64 * 1e3)
    });
    lasted.unwrap_or_else(|| "–".to_owned())
}

fn figure(theme: Theme, process: &ProcessRow, label: &str) -> (String, Style) {
    let Some(figures) = process.figures() else { return ("–".to_owned(), theme.dim()) };
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

fn errors(theme: Theme, errors: u64) -> (String, Style) {
    let style = if errors > 0 { theme.error() } else { theme.dim() };
    (format::tiny_count(errors), style)
}

/// How long ago there was a sign of life.
fn seen(figures: &ProcessFigures) -> String {
    if figures.heard <= 1 { "now".to_owned() } else { format!("{} s", figures.heard) }
}
