//! The figures: the flow of events, a row for each stage, and the queue.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{Segment, put, put_right, styled};
use super::{flow, panel, queue_figures};
use crate::format;
use crate::model::Model;
use crate::model::figures::{SECONDS, StageFigures};
use crate::model::history::{Series, Span};
use crate::model::layout::Layout;
use crate::state::State;
use bklit_wire::debug_log::Stage;
use bklit_wire::text;

/// The columns of the table; numbers are right-aligned and end there.
const NAME_START: usize = 5;
const RATE_END: usize = 23;
const ERRORS_END: usize = 30;
/// Warnings are next to the errors, if the screen is wide enough.
const WARNINGS: usize = 6;
const WITH_WARNINGS: u16 = 76;
const PERCENTILE_ENDS: [usize; 3] = [39, 48, 57];
/// Their labels; they cover a minute, unlike the bars next to them.
const BARS_START: usize = 59;
/// Fewer bars than this are not useful.
const MIN_BARS: usize = 10;

pub(super) fn render(model: &Model, buf: &mut Buffer, layout: &Layout) {
    let theme = model.options.theme;
    let frame = panel::Panel {
        title: match layout.queue {
            Some(_) => vec![styled("flow", theme.dim())],
            None => queue_figures::line(model, usize::from(layout.figures.width)),
        },
        right: stored(model, layout.header.width),
        ..panel::Panel::default()
    };
    // The lower border is the upper one of the log.
    let whole = Rect { height: layout.figures.height + 1, ..layout.figures };
    frame.draw(buf, whole, theme);
    flow::render(model, buf, layout);
    if let Some(table) = layout.table {
        self::table(model, buf, layout, table);
    }
    if let Some(area) = layout.queue {
        queue_figures::block(model, buf, area);
    }
}

/// How long events take from acceptance to storage, or for how long none was stored.
fn stored(model: &Model, width: u16) -> Vec<Segment> {
    let theme = model.options.theme;
    // The figures of the previous minute would look normal.
    if let Some(stalled) = stalled(model) {
        return vec![stalled];
    }
    let figures = &model.figures.summary().accept_to_stored;
    let Some([p50, p95, p99]) = figures.percentiles else { return Vec::new() };
    let time = |micros: u64| format::micros(micros as f64);
    let p95 = styled(time(p95), theme.state(figures.latency().max(State::Normal)));
    let label = |text: String| styled(text, theme.dim());
    if width < 100 {
        return vec![label("accept→stored p95 ".to_owned()), p95];
    }
    vec![
        label(format!("accept→stored p50 {} · p95 ", time(p50))),
        p95,
        label(format!(" · p99 {}, {}", time(p99), covered(model))),
    ]
}

/// The time that the figures are about.
fn covered(model: &Model) -> String {
    match model.figures.covered() {
        SECONDS => "last minute".to_owned(),
        seconds => format!("last {seconds} s"),
    }
}

/// For how long nothing was stored, if that is too long.
pub(super) fn stalled(model: &Model) -> Option<Segment> {
    let seconds = model.figures.summary().stalled.filter(|_| !model.has_no_current_data())?;
    let says = format!("nothing stored for {}", format::micros(seconds as f64 * 1e6));
    Some(styled(says, model.options.theme.state(State::Critical)))
}

fn table(model: &Model, buf: &mut Buffer, layout: &Layout, area: Rect) {
    labels(model, buf, layout, area);
    let theme = model.options.theme;
    let summary = model.figures.summary();
    let warnings = warnings(area);
    let series = model.panels.bars.series(model.now);
    for stage in Stage::ALL {
        let at = layout.stage(stage);
        let figures = &summary.stages[stage.index()];
        chip(model, buf, at, stage, 10);
        let rate = if figures.rate > 0.0 { theme.plain() } else { theme.dim() };
        put_right(buf, at, RATE_END, 8, &rate_of(model, figures), rate);
        let style = if figures.errors > 0 { theme.error() } else { theme.dim() };
        put_right(buf, at, ERRORS_END, 6, &format::short_count(figures.errors), style);
        if warnings > 0 {
            let style = if figures.warnings > 0 { theme.warning() } else { theme.dim() };
            let count = format::tiny_count(figures.warnings);
            put_right(buf, at, ERRORS_END + warnings, 5, &count, style);
        }
        latencies(model, buf, at, figures, series.as_ref().map(|series| (series, stage)));
    }
}

/// The labels, in the border between flow and table.
fn labels(model: &Model, buf: &mut Buffer, layout: &Layout, table: Rect) {
    let theme = model.options.theme;
    let y = table.y - 1;
    let border = Rect { y, height: 1, ..layout.header };
    panel::divider(buf, border, theme, &[], &[]);
    let at = Rect { y, height: 1, ..table };
    put(buf, at, NAME_START - 1, 7, " stage ", theme.dim());
    let warnings = warnings(table);
    let ends = [(RATE_END, " rate "), (ERRORS_END, " errors ")];
    let percentiles = PERCENTILE_ENDS.map(|end| end + warnings).into_iter();
    let span = match model.figures.covered() {
        SECONDS => "1m".to_owned(),
        seconds => format!("{seconds}s"),
    };
    let first = format!(" {span}: p50 ");
    let labels = [first.as_str(), " p95 ", " p99 "];
    for (end, label) in ends.into_iter().chain(percentiles.zip(labels)) {
        put_right(buf, at, end + 1, text::width(label), label, theme.dim());
    }
    if warnings > 0 {
        put_right(buf, at, ERRORS_END + warnings + 1, 6, " warn ", theme.dim());
    }
    let bars = bars(table);
    if bars > 0 {
        let label = bars_label(model, bars);
        put(buf, at, BARS_START + warnings - 1, bars, &label, theme.dim());
    }
}

/// An unknown rate is shown as `–`, not as zero.
fn rate_of(model: &Model, figures: &StageFigures) -> String {
    if model.has_no_current_data() { "–".to_owned() } else { format::rate(figures.rate) }
}

/// The columns of warnings.
fn warnings(area: Rect) -> usize {
    if area.width >= WITH_WARNINGS { WARNINGS } else { 0 }
}

fn bars(area: Rect) -> usize {
    let start = BARS_START + warnings(area) + 1;
    let bars = usize::from(area.width).saturating_sub(start).min(SECONDS);
    if bars < MIN_BARS { 0 } else { bars }
}

/// The percentiles of the last minute, and the p95 of each second as a bar: each compared with what
/// is usual. Over a longer span, the bars are those of the stage in the history.
fn latencies(
    model: &Model,
    buf: &mut Buffer,
    at: Rect,
    figures: &StageFigures,
    past: Option<(&Series<'_>, Stage)>,
) {
    let theme = model.options.theme;
    for (nth, end) in PERCENTILE_ENDS.into_iter().enumerate() {
        let (value, style) = match figures.percentiles {
            Some(percentiles) => {
                let state = if nth == 1 { figures.latency() } else { State::Normal };
                (format::micros(percentiles[nth] as f64), theme.state(state.max(State::Normal)))
            }
            None => ("–".to_owned(), theme.dim()),
        };
        put_right(buf, at, end + warnings(at), 8, &value, style);
    }
    let (bars, start) = (bars(at), BARS_START + warnings(at));
    let recent = match past {
        Some((series, stage)) => history(series, stage, bars),
        None => figures.history[SECONDS - bars..].to_vec(),
    };
    for (nth, (bar, p95)) in format::sparkline(&recent, bars).chars().zip(&recent).enumerate() {
        let state = p95.map_or(State::Unknown, |p95| figures.state_of(p95));
        put(buf, at, start + nth, 1, bar.encode_utf8(&mut [0; 4]), theme.bar(state));
    }
}

/// The p95 of a stage in each column.
fn history(series: &Series<'_>, stage: Stage, columns: usize) -> Vec<Option<u64>> {
    let p95 = |column| {
        let points = series.of_column(column, columns).filter_map(|nth| series.totals(nth));
        points.filter_map(|totals| totals.stages[stage.index()].latencies.quantile(0.95)).max()
    };
    (0..columns).map(p95).collect()
}

/// What the bars show.
fn bars_label(model: &Model, bars: usize) -> String {
    let (long, short) = match model.panels.bars.span(model.now) {
        Span::Minute => (format!(" p95 by second, {bars} s "), " p95 by s ".to_owned()),
        span => {
            let name = span.name();
            (format!(" p95 over time, last {name} "), format!(" p95, {name} "))
        }
    };
    if long.len() <= bars { long } else { short }
}

/// A stage's key, state and name.
fn chip(model: &Model, buf: &mut Buffer, at: Rect, stage: Stage, width: usize) {
    let theme = model.options.theme;
    let on = model.pane().filter().stages.contains(Some(stage));
    let name = if on { theme.chip(stage) } else { theme.dim() };
    let digit = (stage.index() + 1).to_string();
    put(buf, at, 1, 1, &digit, if on { theme.key() } else { theme.dim() });
    put(buf, at, 3, 1, if on { "●" } else { "○" }, name);
    put(buf, at, NAME_START, width, model.stage_name(stage), name);
}
