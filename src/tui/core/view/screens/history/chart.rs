//! The graphs: a heat map of latencies, and bars of rate and failures below it, all with the same
//! columns.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{point_time, topic_name};
use crate::format;
use crate::model::Model;
use crate::model::history::{PageParts, Series, Shift, Span, Topic};
use crate::view::draw::{Segment, put, put_right, row, rule, segments_width, styled};
use crate::view::heat_map::HeatMap;
use bklit_wire::history::{Buckets, Totals};
use bklit_wire::text;
use bklit_wire::time::UtcMillis;

/// The bars, by their height.
const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// The fewest columns between two labels of times.
const LABEL_EVERY: usize = 14;
/// The columns of the title that are not for texts.
const RULE: usize = 7;

pub(super) fn render(model: &Model, buf: &mut Buffer, parts: &PageParts) {
    let theme = model.options.theme;
    let spans = spans(model);
    let free = usize::from(parts.title.width).saturating_sub(segments_width(&spans) + RULE);
    rule(buf, parts.title, theme, &title(model, free), &spans);
    if parts.heat.width == 0 {
        return;
    }
    let series = model.series();
    let columns = usize::from(parts.heat.width);
    mark_cursor(model, &series, buf, parts);
    let mut map = heat_map(model, &series, columns);
    if map.is_empty() {
        let text = nothing(model, &series);
        put(
            buf,
            row(parts.heat, usize::from(parts.heat.height) / 2),
            2,
            columns,
            &text,
            theme.dim(),
        );
    } else {
        map.marks = marks(model, &series, columns);
        map.draw(buf, parts.heat, labels(parts, parts.heat), theme);
    }
    let topic = model.panels().history.topic();
    let earlier = earlier(model, &series);
    let per_second = |series: &Series<'_>, now| {
        by_column(series, columns, |totals, seconds| topic.count(totals) as f64 / seconds, now)
    };
    let rates = per_second(&series, model.now);
    let before = earlier.as_ref().map(|earlier| per_second(earlier, model.now));
    let rate = Bars { values: &rates, before: before.as_deref(), label: format::rate };
    rate.draw(model, buf, parts.rate, labels(parts, parts.rate), theme.plain());
    let per_minute = |series: &Series<'_>, now| {
        by_column(series, columns, |totals, s| topic.errors(totals) as f64 * 60.0 / s, now)
    };
    let failures = per_minute(&series, model.now);
    let before = earlier.as_ref().map(|earlier| per_minute(earlier, model.now));
    let failures = Bars { values: &failures, before: before.as_deref(), label: failures_label };
    failures.draw(model, buf, parts.failures, labels(parts, parts.failures), theme.error());
    times(model, &series, buf, parts);
}

fn failures_label(per_minute: f64) -> String {
    format!("✗ {}", format::tiny_count(per_minute.ceil() as u64))
}

/// The columns left of a part.
fn labels(parts: &PageParts, part: Rect) -> Rect {
    let x = parts.title.x;
    Rect { x, width: part.x.saturating_sub(x), ..part }
}

/// The title in this many columns.
fn title(model: &Model, columns: usize) -> Vec<Segment> {
    let theme = model.options.theme;
    let what = match model.panels().history.topic() {
        Topic::Pipeline => "accept→stored, accepted, ✗ failures",
        Topic::Stage(_) => "latency, rate, ✗ failures",
    };
    let mut title = vec![topic_name(model), styled("  ", theme.plain())];
    title.extend(looked_at(model));
    match problem(model) {
        Some(why) => title.push(styled(format!("  {why}"), theme.warning())),
        None => {
            let free = columns.saturating_sub(segments_width(&title) + 2);
            let fitting = [what, "✗ failures"].into_iter().find(|what| text::width(what) <= free);
            let what = fitting.map(|what| styled(format!("  {what}"), theme.dim()));
            title.extend(what);
        }
    }
    title
}

/// The spans, with the one shown.
fn spans(model: &Model) -> Vec<Segment> {
    let (theme, panel) = (model.options.theme, &model.panels().history);
    let mut all = Vec::new();
    if let Some(shift) = panel.overlay {
        all.push(styled(format!("╌ {}   ", shift.name()), theme.key()));
    }
    for span in Span::ALL {
        let gap = if span == Span::Minute { "" } else { " " };
        all.push(styled(gap, theme.plain()));
        all.push(match span == panel.span() {
            true => styled(format!("[{}]", span.name()), theme.strong()),
            false => styled(span.name(), theme.dim()),
        });
    }
    all
}

/// The selected time.
fn looked_at(model: &Model) -> Vec<Segment> {
    let (theme, panel) = (model.options.theme, &model.panels().history);
    let Some(at) = panel.cursor else { return vec![styled("now", theme.good())] };
    let from = UtcMillis::from_epoch_millis(at);
    let text = model.zoned(from).strftime("%a %Y-%m-%d %H:%M:%S").to_string();
    vec![styled(format!("▲ {text}"), theme.key())]
}

/// What is missing or wrong, if anything.
fn problem(model: &Model) -> Option<std::borrow::Cow<'_, str>> {
    let panel = &model.panels().history;
    let incomplete = panel.history(None).and_then(|history| history.incomplete.as_deref());
    panel.polled.error().or(incomplete).map(text::safe)
}

/// Why there are no latencies.
fn nothing(model: &Model, series: &Series<'_>) -> String {
    let panel = &model.panels().history;
    let has_points = series.points.iter().any(Option::is_some);
    if model.replay().is_some() && panel.span() != Span::Minute {
        return "A recording has no history; + shows its last minute.".to_owned();
    }
    match panel.polled.error() {
        Some(why) => format!("No history: {}", text::safe(why)),
        None if has_points => "Nothing happened at this time.".to_owned(),
        None if panel.span() == Span::Minute => "No figures in the last minute.".to_owned(),
        None if panel.is_loaded(model.now) => "No process ran at this time.".to_owned(),
        None => "loading…".to_owned(),
    }
}

fn heat_map(model: &Model, series: &Series<'_>, columns: usize) -> HeatMap {
    HeatMap::new(latencies(model, series, columns))
}

/// The latencies of each column.
fn latencies(model: &Model, series: &Series<'_>, columns: usize) -> Vec<Buckets> {
    let topic = model.panels().history.topic();
    let of_column = |column| {
        let mut sum = Buckets::default();
        for nth in series.of_column(column, columns) {
            if let Some(totals) = series.totals(nth) {
                sum.merge(topic.latencies(totals));
            }
        }
        sum
    };
    (0..columns).map(of_column).collect()
}

/// The p95 of the earlier figures in each column, if they are compared with.
fn marks(model: &Model, series: &Series<'_>, columns: usize) -> Vec<Option<u64>> {
    let Some(earlier) = earlier(model, series) else { return Vec::new() };
    latencies(model, &earlier, columns).iter().map(|buckets| buckets.quantile(0.95)).collect()
}

/// The earlier figures to compare with, moved to the window.
fn earlier<'a>(model: &'a Model, series: &Series<'_>) -> Option<Series<'a>> {
    let panel = &model.panels().history;
    let shift: Shift = panel.overlay?;
    let from = series.from - shift.millis();
    let count = i64::try_from(series.points.len()).ok()?;
    Some(Series::of(panel.history(Some(shift)), from, series.step, count))
}

/// The largest value of the points of each column.
fn by_column(
    series: &Series<'_>,
    columns: usize,
    value: impl Fn(&Totals, f64) -> f64,
    now: UtcMillis,
) -> Vec<Option<f64>> {
    let of_point = |nth| Some(value(series.totals(nth)?, series.seconds(nth, now)));
    let of_column = |column| {
        let values = series.of_column(column, columns).filter_map(of_point);
        values.reduce(f64::max)
    };
    (0..columns).map(of_column).collect()
}

/// Bars of values, with a scale of their own.
struct Bars<'a> {
    values: &'a [Option<f64>],
    before: Option<&'a [Option<f64>]>,
    label: fn(f64) -> String,
}

impl Bars<'_> {
    fn draw(&self, model: &Model, buf: &mut Buffer, area: Rect, labels: Rect, style: Style) {
        let theme = model.options.theme;
        let rows = usize::from(area.height);
        let all = self.values.iter().chain(self.before.unwrap_or_default()).flatten();
        let most = all.copied().fold(0.0, f64::max);
        let width = usize::from(labels.width).saturating_sub(1);
        for nth in 0..rows {
            put(buf, row(labels, nth), width, 1, "│", theme.frame(false));
        }
        put_right(buf, row(labels, 0), width, width, &(self.label)(most), theme.dim());
        put(buf, row(labels, 0), width, 1, "┤", theme.frame(false));
        if most <= 0.0 {
            return;
        }
        // In eighths of a row.
        let height = |value: f64| (value / most * (rows * BARS.len()) as f64).round() as usize;
        for (column, value) in self.values.iter().enumerate() {
            let Some(value) = value.filter(|&value| value > 0.0) else { continue };
            let height = height(value).max(1);
            for nth in 0..rows {
                let here = height.saturating_sub(nth * BARS.len()).min(BARS.len());
                if here > 0 {
                    put(buf, row(area, rows - 1 - nth), column, 1, BARS[here - 1], style);
                }
            }
        }
        for (column, value) in self.before.unwrap_or_default().iter().enumerate() {
            let Some(value) = value.filter(|&value| value > 0.0) else { continue };
            let nth = (height(value).saturating_sub(1) / BARS.len()).min(rows - 1);
            put(buf, row(area, rows - 1 - nth), column, 1, "╌", theme.key());
        }
    }
}

/// Marks the columns of the selected time.
fn mark_cursor(model: &Model, series: &Series<'_>, buf: &mut Buffer, parts: &PageParts) {
    let theme = model.options.theme;
    let cursor = model.panels().history.cursor;
    let Some(place) = cursor.and_then(|at| series.place(at)) else { return };
    let columns = series.columns_of(place, parts.heat.width.into());
    let graphs = parts.graphs();
    let x = graphs.x + u16::try_from(columns.start).unwrap_or(0);
    let width = u16::try_from(columns.len()).unwrap_or(1);
    let area = Rect { x, width, ..graphs }.intersection(graphs);
    buf.set_style(area, theme.selected());
}

/// The times below the graphs.
fn times(model: &Model, series: &Series<'_>, buf: &mut Buffer, parts: &PageParts) {
    let (theme, panel) = (model.options.theme, &model.panels().history);
    let columns = usize::from(parts.times.width);
    let last = if panel.is_current() { "now" } else { "" };
    let end = columns.saturating_sub(text::width(last));
    put(buf, parts.times, end, columns, last, theme.dim());
    let mut free = 0;
    let every = columns.div_ceil((columns / LABEL_EVERY).max(1));
    for column in (0..columns).step_by(every.max(1)) {
        let nth = series.of_column(column, columns).start;
        let label = point_time(model, panel.span(), series.time(nth));
        if column >= free && column + text::width(&label) < end {
            put(buf, parts.times, column, columns, &label, theme.dim());
            free = column + text::width(&label) + 1;
        }
    }
    if let Some(place) = panel.cursor.and_then(|at| series.place(at)) {
        let columns = series.columns_of(place, columns);
        put(buf, parts.times, columns.start, 1, "▲", theme.key());
    }
}
