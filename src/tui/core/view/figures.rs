//! The stages' figures, with a row per stage or in two rows; and the queue's figures.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::draw::{Segment, joined, put, put_right, row, rule, styled};
use crate::format;
use crate::model::figures::{SECONDS, StageFigures};
use crate::model::layout::Layout;
use crate::model::{Amount, Link, Model};
use bklit_wire::debug_log::Stage;
use bklit_wire::gauges::match_rate;
use bklit_wire::text;

/// The columns of the table; numbers are right-aligned and end there.
const NAME_START: usize = 5;
const RATE_END: usize = 24;
const ERRORS_END: usize = 31;
/// Warnings are next to the errors, if the screen is wide enough.
const WARNINGS: usize = 6;
const WITH_WARNINGS: u16 = 80;
const PERCENTILE_ENDS: [usize; 3] = [40, 49, 58];
const BARS_START: usize = 60;
/// Fewer bars than this are not useful.
const MIN_BARS: usize = 10;

pub(super) fn render(model: &Model, buf: &mut Buffer, layout: &Layout) {
    match layout.amount {
        Amount::All => table(model, buf, layout),
        Amount::Few => chips(model, buf, layout),
    }
    let left = match layout.queue {
        Some(area) => {
            queue_block(model, buf, area);
            Vec::new()
        }
        None => queue_line(model),
    };
    rule(buf, layout.rule, model.options.theme, &left, &cut_off(model, layout.rule.width));
    if let Some(area) = layout.queue {
        let x = usize::from(area.x - layout.rule.x);
        // This must not overwrite the message shown there.
        if buf.cell((area.x, layout.rule.y)).is_some_and(|cell| cell.symbol() == "─") {
            put(buf, layout.rule, x, 1, "┴", model.options.theme.dim());
        }
    }
}

fn table(model: &Model, buf: &mut Buffer, layout: &Layout) {
    let (theme, area) = (model.options.theme, layout.figures);
    let bars = bars(area);
    let labels = row(area, 0);
    put(buf, labels, NAME_START, 10, "stage", theme.dim());
    put_right(buf, labels, RATE_END, 8, "rate", theme.dim());
    put_right(buf, labels, ERRORS_END, 7, "errors", theme.dim());
    let warnings = warnings(area);
    if warnings > 0 {
        put_right(buf, labels, ERRORS_END + warnings, 5, "warn", theme.dim());
    }
    for (end, label) in PERCENTILE_ENDS.into_iter().zip(["p50", "p95", "p99"]) {
        put_right(buf, labels, end + warnings, 8, label, theme.dim());
    }
    if bars > 0 {
        put(buf, labels, BARS_START + warnings, bars, &history_label(bars), theme.dim());
    }
    let summary = model.figures.summary();
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
        let style = theme.dim();
        latencies(model, buf, at, figures, style);
    }
    let at = row(area, Stage::ALL.len() + 1);
    put(buf, at, NAME_START, 18, "accept→stored", theme.dim());
    latencies(model, buf, at, &summary.accept_to_stored, theme.plain());
}

fn history_label(bars: usize) -> String {
    let long = format!("p95, last {bars} s");
    if long.len() <= bars { long } else { format!("p95, {bars} s") }
}

/// An unknown rate is shown as `–`, not as zero.
fn rate_of(model: &Model, figures: &StageFigures) -> String {
    match model.link {
        Link::Down(_) => "–".to_owned(),
        Link::Up => format::rate(figures.rate),
    }
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

fn latencies(model: &Model, buf: &mut Buffer, at: Rect, figures: &StageFigures, bar: Style) {
    let theme = model.options.theme;
    for (nth, end) in PERCENTILE_ENDS.into_iter().enumerate() {
        let (value, style) = match figures.percentiles {
            Some(percentiles) => (format::micros(percentiles[nth] as f64), theme.plain()),
            None => ("–".to_owned(), theme.dim()),
        };
        put_right(buf, at, end + warnings(at), 8, &value, style);
    }
    let bars = bars(at);
    put(buf, at, BARS_START + warnings(at), bars, &format::sparkline(&figures.history, bars), bar);
}

/// A stage's key, state and name. Returns whether the stage is shown.
fn chip(model: &Model, buf: &mut Buffer, at: Rect, stage: Stage, width: usize) -> bool {
    let theme = model.options.theme;
    let on = model.pane().filter().stages.contains(Some(stage));
    let name = if on { theme.chip(stage) } else { theme.dim() };
    let digit = (stage.index() + 1).to_string();
    put(buf, at, 1, 1, &digit, if on { theme.key() } else { theme.dim() });
    put(buf, at, 3, 1, if on { "●" } else { "○" }, name);
    put(buf, at, NAME_START, width, model.stage_name(stage), name);
    on
}

/// All stages side by side: key and name, with rate and errors below.
fn chips(model: &Model, buf: &mut Buffer, layout: &Layout) {
    let theme = model.options.theme;
    for stage in Stage::ALL {
        let cell = layout.stage(stage);
        let width = cell.width;
        let (names, values) = (row(cell, 0), row(cell, 1));
        let on = model.pane().filter().stages.contains(Some(stage));
        let name = if on { theme.chip(stage) } else { theme.dim() };
        let digit = (stage.index() + 1).to_string();
        put(buf, names, 1, 1, &digit, if on { theme.key() } else { theme.dim() });
        put(buf, names, 2, 1, if on { "●" } else { "○" }, name);
        let room = usize::from(width).saturating_sub(3);
        put(buf, names, 3, room, short_name(model, stage, room), name);
        let figures = &model.figures.summary().stages[stage.index()];
        let errors = match figures.errors {
            0 => String::new(),
            errors => format!(" ✗{}", format::tiny_count(errors)),
        };
        let style = if figures.rate > 0.0 { theme.plain() } else { theme.dim() };
        let room = usize::from(width).saturating_sub(1 + text::width(&errors));
        let used = put(buf, values, 1, room, &rate_of(model, figures).replace(' ', ""), style);
        put(buf, values, 1 + used, 5, &errors, theme.error());
    }
}

/// A stage's name; if space is short, a known abbreviation instead of a cut name.
fn short_name(model: &Model, stage: Stage, room: usize) -> &'static str {
    let name = model.stage_name(stage);
    match stage {
        _ if name.len() < room => name,
        Stage::Ingestion => "ingest",
        Stage::Clickhouse if name == stage.as_str() => "click",
        Stage::Websocket => "socket",
        _ => name,
    }
}

fn depth(model: &Model, depth: u64) -> Segment {
    let theme = model.options.theme;
    let style = if depth > model.alarm_depth() { theme.error() } else { theme.strong() };
    styled(format::count(depth), style)
}

fn of_alarm(model: &Model, depth: u64) -> String {
    let alarm = format::count(model.alarm_depth());
    if depth > model.alarm_depth() { format!(" above {alarm}") } else { format!(" of {alarm}") }
}

fn failed(model: &Model, failed: u64) -> Segment {
    let theme = model.options.theme;
    styled(format::count(failed), if failed > 0 { theme.error() } else { theme.strong() })
}

/// Events in the spool, which wait until the queue is available again; `None` if there are none.
fn spooled(model: &Model, spooled: u64) -> Option<Segment> {
    let text = format!("{} spooled", format::count(spooled));
    (spooled > 0).then(|| styled(text, model.options.theme.error()))
}

/// Batches without a worker; `None` if there are none.
fn lapsed(model: &Model, lapsed: Option<u64>) -> Option<Segment> {
    let lapsed = lapsed.filter(|&lapsed| lapsed > 0)?;
    let leases = if lapsed == 1 { "lease" } else { "leases" };
    let text = format!("{} {leases} expired", format::count(lapsed));
    Some(styled(text, model.options.theme.error()))
}

/// What was over a limit, and what filters dropped, in the last minute; `None` if nothing was.
fn left_out(model: &Model) -> Option<Segment> {
    let (summary, theme) = (model.figures.summary(), model.options.theme);
    let throttled = format!("{} throttled", format::short_count(summary.throttled));
    let filtered = format!("{} filtered", format::short_count(summary.filtered));
    match (summary.throttled, summary.filtered) {
        (0, 0) => None,
        (0, _) => Some(styled(filtered, theme.dim())),
        (_, 0) => Some(styled(throttled, theme.warning())),
        (..) => Some(styled(format!("{throttled}, {filtered}"), theme.warning())),
    }
}

/// The age of the oldest waiting event, if there is one.
fn oldest(model: &Model, millis: Option<u64>) -> Option<Segment> {
    let text = format!("oldest {}", format::micros(millis? as f64 * 1e3));
    Some(styled(text, model.options.theme.dim()))
}

/// How many of the compared events match, and how many were compared, if dual write is enabled.
fn matching(model: &Model) -> Option<[Segment; 2]> {
    let theme = model.options.theme;
    let verify = model.figures.summary().verify?;
    let mismatched = verify.mismatched();
    let rate = match match_rate(verify.matched, mismatched) {
        Some(rate) => format!("{rate} %"),
        None => "–".to_owned(),
    };
    let style = if mismatched > 0 { theme.error() } else { theme.strong() };
    // Unknown results are more important than the number compared.
    let of = match verify.unknown() {
        0 => {
            let compared = verify.matched.saturating_add(mismatched);
            styled(format!(" of {}", format::count(compared)), theme.dim())
        }
        unknown => styled(format!(" ({} unknown)", format::short_count(unknown)), theme.warning()),
    };
    Some([styled(rate, style), of])
}

fn queue_line(model: &Model) -> Vec<Segment> {
    let theme = model.options.theme;
    let label = |text: String| styled(text, theme.dim());
    let matching = matching(model).map(|[rate, of]| vec![label("match ".into()), rate, of]);
    let Some(queue) = model.figures.summary().queue else {
        let queue = vec![label("queue –".into())];
        return joined([Some(queue), matching].into_iter().flatten().collect(), theme);
    };
    let alarm = label(of_alarm(model, queue.depth));
    let depth = vec![label("queue ".into()), depth(model, queue.depth), alarm];
    let in_flight =
        vec![styled(format::count(queue.in_flight), theme.strong()), label(" in flight".into())];
    let failed = vec![failed(model, queue.failed), label(" failed".into())];
    let spooled = spooled(model, queue.spooled).map(|spooled| vec![spooled]);
    let oldest = oldest(model, queue.oldest_waiting_ms).map(|oldest| vec![oldest]);
    let lapsed = lapsed(model, queue.lapsed).map(|lapsed| vec![lapsed]);
    // Last, so that nothing moves when it appears or disappears.
    let left_out = left_out(model).map(|left_out| vec![left_out]);
    let parts =
        [Some(depth), matching, Some(in_flight), Some(failed), spooled, lapsed, left_out, oldest];
    joined(parts.into_iter().flatten().collect(), theme)
}

fn queue_block(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    for nth in 0..usize::from(area.height) {
        put(buf, row(area, nth), 0, 1, "│", theme.dim());
    }
    put(buf, row(area, 0), 2, 20, "queue", theme.dim());
    let bars = usize::from(area.width).saturating_sub(4).min(SECONDS);
    let summary = model.figures.summary();
    let values = match summary.queue {
        Some(queue) => {
            let over = queue.depth > model.alarm_depth();
            let fraction = queue.depth as f64 / model.alarm_depth().max(1) as f64;
            let (filled, rest) = format::meter(fraction, bars);
            let style = if over { theme.error() } else { theme.good() };
            let used = put(buf, row(area, 2), 2, bars, &filled, style);
            put(buf, row(area, 2), 2 + used, bars, &rest, theme.dim());
            let alarm = of_alarm(model, queue.depth);
            put(buf, row(area, 1), 22, bars, &alarm, theme.dim());
            let beside = [
                (0, oldest(model, queue.oldest_waiting_ms)),
                (3, spooled(model, queue.spooled)),
                (4, lapsed(model, queue.lapsed)),
            ];
            for (nth, said) in beside {
                if let Some(said) = said {
                    put(buf, row(area, nth), 23, bars, &said.content, said.style);
                }
            }
            [
                Some(depth(model, queue.depth)),
                Some(styled(format::count(queue.in_flight), theme.strong())),
                Some(failed(model, queue.failed)),
            ]
        }
        None => [None, None, None],
    };
    let labels = [(1, "waiting"), (3, "in flight"), (4, "failed")];
    for ((nth, label), value) in labels.into_iter().zip(values) {
        let at = row(area, nth);
        put(buf, at, 2, 12, label, theme.dim());
        let value = value.unwrap_or_else(|| styled("–", theme.dim()));
        put_right(buf, at, 22, 10, &value.content, value.style);
    }
    if let Some([rate, of]) = matching(model) {
        let at = row(area, 5);
        put(buf, at, 2, 12, "match rate", theme.dim());
        put_right(buf, at, 22, 10, &rate.content, rate.style);
        put(buf, at, 22, bars, &of.content, of.style);
    } else if let Some(left_out) = left_out(model) {
        put(buf, row(area, 5), 2, bars, &left_out.content, left_out.style);
    }
    let last = usize::from(area.height).saturating_sub(1);
    put(
        buf,
        row(area, last.saturating_sub(1)),
        2,
        40,
        &format!("waiting, last {bars} s"),
        theme.dim(),
    );
    let history = format::sparkline(&summary.depth_history, bars);
    put(buf, row(area, last), 2, bars, &history, theme.dim());
}

/// Why there are no new figures, if so.
fn cut_off(model: &Model, width: u16) -> Vec<Segment> {
    match &model.link {
        Link::Up => Vec::new(),
        Link::Down(reason) => {
            let reason = text::clip(reason, usize::from(width) / 3).into_owned();
            vec![styled(format!("no connection: {reason}"), model.options.theme.error())]
        }
    }
}
