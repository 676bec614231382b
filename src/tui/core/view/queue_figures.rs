//! The queue's figures: in a line, or in a block of their own with a graph.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{Segment, joined, put, put_right, put_segments, row, segments_width, styled};
use super::flow;
use super::graph::Graph;
use crate::format;
use crate::model::Model;
use crate::model::figures::SECONDS;
use crate::state::State;
use crate::theme::Theme;
use bklit_wire::gauges::match_rate;
use bklit_wire::{reason, text};

/// The width of the block from which the graph is next to the numbers instead of below them.
const GRAPH_BESIDE_MIN_WIDTH: u16 = 56;
/// The columns of the numbers next to the graph.
const NUMBERS: u16 = 32;
/// The columns of the border around the line.
const FRAME: usize = 8;
/// The column in which the numbers of the block end.
const NUMBER_END: usize = 20;
/// The smallest maximum of the graph's scale.
const LEAST_SCALE: u64 = 10;

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
    let text = format::plural(lapsed, "lease") + " expired";
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

/// The figures in a line in the upper border of this width, most important first. What is wrong
/// follows the depth, because a flow of this width has no space for it. What does not fit is left
/// out, but the reasons are shortened.
pub(super) fn line(model: &Model, width: usize) -> Vec<Segment> {
    let theme = model.options.theme;
    let summary = model.figures.summary();
    let label = |text: String| styled(text, theme.dim());
    let problems = flow::problems(model);
    let depth = match summary.known_queue() {
        None => vec![label("queue –".into())],
        Some(queue) => {
            let mut part = vec![label("queue ".into()), depth(model, queue.depth)];
            let of = of_alarm(model, queue.depth);
            // The colour says it, too.
            let reason = problems.reasons.first().map_or(0, |reason| text::width(reason) + 3);
            if segments_width(&part) + text::width(&of) + reason + FRAME <= width {
                part.push(label(of));
            }
            part
        }
    };
    let mut line = Line { parts: vec![depth], room: width.saturating_sub(FRAME), theme };
    let spooled = summary.queue.and_then(|queue| spooled(model, queue.spooled));
    line.extend(spooled.map(|spooled| vec![spooled]));
    for reason in problems.reasons {
        let reason = reason::clip(&reason, line.free()).into_owned();
        line.push(vec![styled(reason, theme.error())]);
    }
    for (fact, state) in problems.facts {
        line.push(vec![styled(fact, theme.state(state))]);
    }
    if let Some(queue) = summary.known_queue() {
        let in_flight = styled(format::count(queue.in_flight), theme.strong());
        line.push(vec![failed(model, queue.failed), label(" failed".into())]);
        line.push(vec![in_flight, label(" in flight".into())]);
        line.extend(lapsed(model, queue.lapsed).map(|lapsed| vec![lapsed]));
    }
    line.extend(matching(model).map(|[rate, of]| vec![label("match ".into()), rate, of]));
    // Last, so that nothing moves when it appears or disappears.
    line.extend(left_out(model).map(|left_out| vec![left_out]));
    joined(line.parts, theme)
}

/// Parts of a line, with dots between them.
struct Line {
    parts: Vec<Vec<Segment>>,
    room: usize,
    theme: Theme,
}

impl Line {
    /// The columns for another part.
    fn free(&self) -> usize {
        let used = segments_width(&joined(self.parts.clone(), self.theme));
        self.room.saturating_sub(used + 3)
    }

    /// Adds a part that fits.
    fn push(&mut self, part: Vec<Segment>) {
        if segments_width(&part) <= self.free() {
            self.parts.push(part);
        }
    }

    fn extend(&mut self, part: Option<Vec<Segment>>) {
        part.into_iter().for_each(|part| self.push(part));
    }
}

/// A block of numbers with a graph of the depth. Its title is in the border above it.
pub(super) fn block(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let border = Rect { y: area.y - 1, height: 1, ..area };
    for nth in 0..usize::from(area.height) {
        put(buf, row(area, nth), 0, 1, "│", theme.frame(false));
    }
    put(buf, border, 0, 1, "┬", theme.frame(false));
    put(buf, border, 1, 9, "─ queue ", theme.dim());
    let inner = Rect { x: area.x + 2, width: area.width - 2, ..area };
    if area.width >= GRAPH_BESIDE_MIN_WIDTH {
        numbers(model, buf, Rect { width: NUMBERS, ..inner });
        let times = [format!("-{SECONDS} s"), format!("-{} s", SECONDS / 2), "now".to_owned()];
        let graph = Rect { x: inner.x + NUMBERS + 1, width: inner.width - NUMBERS - 1, ..inner };
        depth_graph(model, buf, graph, &times);
    } else {
        numbers(model, buf, inner);
        let rows = 2.min(inner.height);
        depth_graph(model, buf, Rect { y: inner.bottom() - rows, height: rows, ..inner }, &[]);
        let label = format!(" depth, last {SECONDS} s ");
        put_right(buf, border, usize::from(area.width) - 1, label.len(), &label, theme.dim());
    }
}

/// The depth of the last minute.
pub(super) fn depth_graph(model: &Model, buf: &mut Buffer, area: Rect, times: &[String]) {
    let theme = model.options.theme;
    let history = &model.figures.summary().depth_history;
    let alarm = model.alarm_depth();
    let most = history.iter().flatten().copied().max().unwrap_or(0);
    // The alarm line is shown once the depth comes near it; one event must not look like many.
    let near = if most > alarm / 2 { alarm } else { LEAST_SCALE.min(alarm) };
    let graph = Graph {
        values: history,
        label: &format::short_count,
        style: &|depth| theme.bar(State::depth(depth, alarm)),
        threshold: Some(alarm),
        least_scale: near,
        times,
    };
    graph.draw(buf, area, theme);
}

fn numbers(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let queue = model.figures.summary().known_queue();
    let values = [
        ("waiting", queue.map(|queue| depth(model, queue.depth))),
        ("in flight", queue.map(|queue| styled(format::count(queue.in_flight), theme.strong()))),
        ("failed", queue.map(|queue| failed(model, queue.failed))),
    ];
    for (nth, (label, value)) in values.into_iter().enumerate() {
        put(buf, row(area, nth), 0, 10, label, theme.dim());
        let value = value.unwrap_or_else(|| styled("–", theme.dim()));
        put_right(buf, row(area, nth), NUMBER_END, 10, &value.content, value.style);
    }
    if let Some(queue) = queue {
        let of = of_alarm(model, queue.depth);
        put(buf, row(area, 0), NUMBER_END, width - NUMBER_END, &of, theme.dim());
    }
    // In a row of their own: next to another number they could be read as its digits.
    put_segments(buf, row(area, 3), 0, width, &others(model));
}

/// What is shown only if there is any, most important first.
fn others(model: &Model) -> Vec<Segment> {
    let theme = model.options.theme;
    let queue = model.figures.summary().queue;
    let spooled = queue.and_then(|queue| spooled(model, queue.spooled));
    let lapsed = queue.and_then(|queue| lapsed(model, queue.lapsed));
    let matching =
        matching(model).map(|[rate, of]| vec![styled("match ".to_owned(), theme.dim()), rate, of]);
    let single = [spooled, lapsed].into_iter().map(|said| said.map(|said| vec![said]));
    let left_out = left_out(model).map(|said| vec![said]);
    joined(single.chain([matching, left_out]).flatten().collect(), theme)
}
