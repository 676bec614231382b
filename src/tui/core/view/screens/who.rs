//! Where events come from: a row for each value, and the selected one in full.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::{Draw, polled};
use crate::format;
use crate::keymap::{Action, Binding};
use crate::model::Model;
use crate::model::layout::Layout;
use crate::model::parts::ListParts;
use crate::model::screen::WhoScreen;
use crate::theme::Theme;
use crate::view::draw::{Segment, joined, put, put_right, put_segments, row, rule, select, styled};
use crate::view::panel;
use bklit_wire::text;
use bklit_wire::who::{Dimension, WhoCounts, WhoRow, WhoSort, WhoSpan, WhoView};

/// `3.4 k/s`
const RATE: usize = 7;
/// `>×9,999 ▲`
const CHANGE: usize = 9;
/// `100%`
const PERCENT: usize = 4;
/// `refused`
const COUNT: usize = 7;
/// The width of a view from which all dimensions are named.
const NAMED_MIN_WIDTH: u16 = 78;
/// The width from which the title has a span in words.
const WORDS_MIN_WIDTH: u16 = 90;
/// A rate that has changed by this factor or more is marked.
const MUCH: f64 = 2.0;
/// Unless it stands for fewer events than this.
const FEW: f64 = 10.0;

/// The columns for a width, by their ends; the first by its width.
struct Columns {
    value: usize,
    rate: usize,
    change: usize,
    /// The bar's start and its width.
    bar: (usize, usize),
    percent: usize,
    refused: usize,
    failed: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        let bar = match width {
            0..74 => 0,
            74..110 => 10,
            110..160 => 20,
            _ => 40,
        };
        let failed = width.saturating_sub(2);
        let refused = failed.saturating_sub(COUNT + 1);
        let percent = refused.saturating_sub(COUNT + 1);
        let start = percent.saturating_sub(PERCENT + 1 + bar);
        let change = start.saturating_sub(2);
        let rate = change.saturating_sub(CHANGE + 1);
        let value = rate.saturating_sub(RATE + 4);
        Self { value, rate, change, bar: (start, bar), percent, refused, failed }
    }
}

impl Draw for WhoScreen {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        render(model, buf, layout.overlay());
        None
    }

    fn status(model: &Model, buf: &mut Buffer, area: Rect) {
        panel::lower(buf, area, (model.options.theme, true), &remarks(model), &[]);
    }

    fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
        let is_selected = model.panels().who.selected().is_some();
        let needs_one = matches!(binding.action, Action::OpenRow | Action::ExportGroup);
        binding.hint.filter(|_| is_selected || !needs_one)
    }
}

fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let (theme, who) = (model.options.theme, &model.panels().who);
    let right = match who.polled.data() {
        Some(view) => styled(format::rate(view.rate(view.total.accepted)), theme.strong()),
        None => styled("loading…", theme.dim()),
    };
    rule(buf, row(area, 0), theme, &title(model, area.width), &[right]);
    let (parts, width) = (ListParts::of(area), usize::from(area.width));
    let columns = Columns::of(width);
    let Some(view) = who.polled.data() else {
        let why = polled::error(&who.polled);
        let says = why.map_or_else(String::new, |why| format!("Unavailable: {why}"));
        put(buf, parts.list, 2, width.saturating_sub(4), &says, theme.dim());
        return;
    };
    labels(view, &columns, buf, parts.labels, theme);
    if view.rows.is_empty() {
        let says = "No events in this time.";
        put(buf, row(parts.list, 0), 2, width.saturating_sub(4), says, theme.dim());
    }
    let (top, height) = (who.cursor().top(), usize::from(parts.list.height));
    for (nth, value) in view.rows.iter().enumerate().skip(top).take(height) {
        let selected = nth == who.cursor().selected();
        value_row(theme, view, value, &columns, selected, buf, row(parts.list, nth - top));
    }
    if let Some(value) = who.selected().filter(|_| parts.details.height > 0) {
        details(model, view, value, buf, parts.details);
    }
}

/// `who · last 10 min · by ‹project› token …`
fn title(model: &Model, width: u16) -> Vec<Segment> {
    let (theme, query) = (model.options.theme, model.panels().who.query());
    let span = match query.span {
        WhoSpan::Minute => "last 1 min · by",
        WhoSpan::TenMinutes => "last 10 min · by",
        WhoSpan::Hour => "last 1 h · by",
    };
    let is_short = (NAMED_MIN_WIDTH..WORDS_MIN_WIDTH).contains(&width);
    let span = if is_short { format!("{} ·", query.span.as_str()) } else { span.to_owned() };
    let mut title = vec![styled("who", theme.strong()), styled(format!(" · {span}"), theme.dim())];
    for by in Dimension::ALL {
        if by == query.by {
            title.push(styled(format!(" ‹{}›", by.as_str()), theme.key()));
        } else if width >= NAMED_MIN_WIDTH {
            title.push(styled(format!(" {}", by.as_str()), theme.dim()));
        }
    }
    title
}

/// Notes needed to understand the numbers.
fn remarks(model: &Model) -> Vec<Segment> {
    let (theme, who) = (model.options.theme, &model.panels().who);
    let mut says = vec![(format!("sorted by {}", who.query().sort.as_str()), theme.dim())];
    if let Some(why) = polled::error(&who.polled).filter(|_| who.polled.data().is_some()) {
        says.push((format!("no answer: {why}"), theme.error()));
    }
    if let Some(view) = who.polled.data() {
        let has = |role: &str| view.roles.split(',').any(|own| own == role);
        if !has("ingestion") {
            says.push(("this process accepts no events".to_owned(), theme.warning()));
        } else if !has("worker") {
            says.push(("workers count what fails".to_owned(), theme.warning()));
        }
        let others = other_intakes(model, view);
        if others > 0 {
            let processes = if others == 1 { "process" } else { "processes" };
            let more = format!("{others} other {processes} not counted here");
            says.push((more, theme.warning()));
        }
        if view.estimated {
            says.push(("estimated from a sample".to_owned(), theme.dim()));
        }
        if view.others.sum() > 0 {
            let others = format::short_count(view.others.sum());
            says.push((format!("others: {others}"), theme.dim()));
        }
        let missing = of_sort(view.query.sort, view.missing);
        if missing > 0 {
            let missing = format::short_count(missing);
            says.push((format!("counts up to {missing} too low"), theme.dim()));
        }
    }
    joined(says.into_iter().map(|(says, style)| vec![styled(says, style)]).collect(), theme)
}

/// How many other processes accept events.
fn other_intakes(model: &Model, view: &WhoView) -> u64 {
    let others = model.panels().processes.rows().iter().filter(|row| {
        let accepts = row.about.roles.split(',').any(|role| role == "ingestion");
        row.figures().is_some() && accepts && row.process != view.process
    });
    others.count() as u64
}

/// The count by which rows are sorted.
fn of_sort(sort: WhoSort, counts: WhoCounts) -> u64 {
    match sort {
        WhoSort::Rate | WhoSort::Change => counts.accepted,
        WhoSort::Refused => counts.refused,
        WhoSort::Failed => counts.failed,
    }
}

fn labels(view: &WhoView, columns: &Columns, buf: &mut Buffer, at: Rect, theme: Theme) {
    let sort = view.query.sort;
    let style = |by: &[WhoSort]| if by.contains(&sort) { theme.strong() } else { theme.dim() };
    put(buf, at, 2, columns.value, view.query.by.as_str(), theme.dim());
    put_right(buf, at, columns.rate, RATE, "rate", style(&[WhoSort::Rate]));
    put_right(buf, at, columns.change, CHANGE, "×1h ago", style(&[WhoSort::Change]));
    let share = match sort {
        WhoSort::Rate | WhoSort::Change => "share",
        WhoSort::Refused => "of refused",
        WhoSort::Failed => "of failed",
    };
    match columns.bar {
        (_, 0) => put_right(buf, at, columns.percent, PERCENT, "%", theme.dim()),
        (start, width) => drop(put(buf, at, start, width, share, theme.dim())),
    }
    put_right(buf, at, columns.refused, COUNT, "refused", style(&[WhoSort::Refused]));
    put_right(buf, at, columns.failed, COUNT, "failed", style(&[WhoSort::Failed]));
}

fn value_row(
    theme: Theme,
    view: &WhoView,
    value: &WhoRow,
    columns: &Columns,
    selected: bool,
    buf: &mut Buffer,
    at: Rect,
) {
    if selected {
        select(buf, at, theme);
    }
    let dim = theme.on(selected, theme.dim());
    let (name, style) = shown(value);
    let style = if style { theme.on(selected, theme.plain()) } else { dim };
    put(buf, at, 2, columns.value, &name, style);
    let rate = view.rate(value.counts.accepted);
    let style = if rate > 0.0 { theme.on(selected, theme.plain()) } else { dim };
    put_right(buf, at, columns.rate, RATE, &format::rate(rate), style);
    let (change, is_marked) = change(rate, value.before, view.seconds());
    let style = if is_marked { theme.warning() } else { dim };
    put_right(buf, at, columns.change, CHANGE, &change, style);
    let share = share(view, value);
    let (start, width) = columns.bar;
    let (full, _) = format::meter(share, width);
    put(buf, at, start, width, &full, theme.on(selected, theme.key()));
    put_right(buf, at, columns.percent, PERCENT, &percent(share), dim);
    let count = |count: u64, alarming: Style| match count {
        0 => ("0".to_owned(), dim),
        count => (format::short_count(count), alarming),
    };
    let (refused, style) = count(value.counts.refused, theme.warning());
    put_right(buf, at, columns.refused, COUNT, &refused, style);
    let (failed, style) = count(value.counts.failed, theme.error());
    put_right(buf, at, columns.failed, COUNT, &failed, style);
}

/// A value, and whether there is one.
fn shown(row: &WhoRow) -> (String, bool) {
    let value = text::safe(&row.value);
    match &row.name {
        _ if value.is_empty() => ("(none)".to_owned(), false),
        Some(name) => (format!("{} {value}", text::safe(name)), true),
        None => (value.into_owned(), true),
    }
}

/// Of the count by which the rows are sorted.
fn share(view: &WhoView, row: &WhoRow) -> f64 {
    let count = |counts| of_sort(view.query.sort, counts) as f64;
    count(row.counts) / count(view.total).max(1.0)
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0%".to_owned(),
        percent if percent < 1.0 => "<1%".to_owned(),
        percent => format!("{:.0}%", percent.min(100.0)),
    }
}

/// The ratio to the rate of an hour ago, and whether that is a large change.
fn change(rate: f64, before: Option<f64>, seconds: f64) -> (String, bool) {
    let Some(before) = before else { return ("–".to_owned(), false) };
    if before <= 0.0 {
        return if rate > 0.0 { ("new".to_owned(), false) } else { ("–".to_owned(), false) };
    }
    let times = rate / before;
    let number = match times {
        0.0 => "gone".to_owned(),
        times if times < 0.095 => "<×0.1".to_owned(),
        times if times < 9.95 => format!("×{times:.1}"),
        times if times < 9_999.5 => format!("×{}", format::count(times.round() as u64)),
        _ => ">×9,999".to_owned(),
    };
    let is_marked = rate.max(before) * seconds >= FEW;
    match times {
        _ if !is_marked => (number, false),
        times if times >= MUCH => (format!("{number} ▲"), true),
        times if times <= 1.0 / MUCH => (format!("{number} ▼"), true),
        _ => (number, false),
    }
}

/// The selected value in full.
fn details(model: &Model, view: &WhoView, value: &WhoRow, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    rule(buf, row(area, 0), theme, &[styled(view.query.by.as_str(), theme.strong())], &[]);
    let width = usize::from(area.width).saturating_sub(3);
    let (name, _) = shown(value);
    for (nth, piece) in text::wrap(&name, width).into_iter().take(2).enumerate() {
        put(buf, row(area, 1 + nth), 2, width, piece, theme.plain());
    }
    let WhoCounts { accepted, refused, failed } = value.counts;
    let counts = [(accepted, "accepted"), (refused, "refused"), (failed, "failed")];
    let counts = counts.map(|(count, what)| {
        vec![styled(format::count(count), theme.plain()), styled(format!(" {what}"), theme.dim())]
    });
    put_segments(buf, row(area, 3), 2, width, &joined(counts.into(), theme));
    let now = format::rate(view.rate(accepted));
    let before = match value.before {
        Some(before) => format!("{} an hour ago", format::rate(before)),
        None => "not known an hour ago".to_owned(),
    };
    let seconds = format::micros(view.seconds() * 1e6);
    let says = format!("{now} in the last {seconds}, {before}");
    put(buf, row(area, 4), 2, width, &says, theme.dim());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_leave_space_for_the_value() {
        for width in 58..=250 {
            let columns = Columns::of(width);
            assert!(columns.value >= 12, "{width}: {}", columns.value);
            assert!(columns.failed < width && columns.bar.0 + columns.bar.1 < columns.percent);
        }
    }

    #[test]
    fn a_change_is_marked_if_it_is_large_and_not_of_a_few_events() {
        let said = |rate, before| change(rate, Some(before), 60.0);
        assert_eq!(said(400.0, 10.5), ("×38 ▲".to_owned(), true));
        assert_eq!(said(50.0, 50.0), ("×1.0".to_owned(), false));
        assert_eq!(said(1.0, 4.1), ("×0.2 ▼".to_owned(), true));
        assert_eq!(said(0.1, 0.02), ("×5.0".to_owned(), false), "six events");
        assert_eq!(said(0.0, 4.0), ("gone ▼".to_owned(), true));
        assert_eq!(said(0.01, 4.0), ("<×0.1 ▼".to_owned(), true));
        assert_eq!(said(9_000_000.0, 1.0).0, ">×9,999 ▲");
        assert_eq!(said(3.0, 0.0), ("new".to_owned(), false));
        assert_eq!(said(0.0, 0.0).0, "–");
        assert_eq!(change(3.0, None, 60.0).0, "–");
        assert!(text::width(">×9,999 ▲") <= CHANGE);
    }

    #[test]
    fn a_share_is_never_rounded_to_nothing() {
        assert_eq!([0.0, 0.004, 0.89, 1.0].map(percent), ["0%", "<1%", "89%", "100%"]);
    }
}
