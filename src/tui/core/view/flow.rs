//! The path of events through the stages: what each does now, and what is wrong with it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{put, row};
use crate::format;
use crate::model::Model;
use crate::model::figures::{StageFigures, Summary};
use crate::model::layout::Layout;
use crate::state::State;
use bklit_wire::debug_log::Stage;
use bklit_wire::gauges::Health;
use bklit_wire::pause::Pause;
use bklit_wire::time::UtcMillis;
use bklit_wire::{reason, text};

/// The places of the parts in the summary's health and failures.
const QUEUE: usize = 0;
const STORE: usize = 1;
const WORKER: usize = 2;

/// A stage as a node of the flow.
struct Node {
    /// Its rate, or the depth of the queue.
    value: String,
    /// The worst of its facts.
    state: State,
    /// What else to know about it, most important first.
    facts: Vec<(String, State)>,
}

impl Node {
    fn is_normal(&self) -> bool {
        self.facts.iter().all(|(_, state)| *state <= State::Normal)
    }
}

pub(super) fn render(model: &Model, buf: &mut Buffer, layout: &Layout) {
    let nodes = Stage::ALL.map(|stage| node(model, stage, layout.table.is_some()));
    // The column up to which a reason covers the facts of the stages after it.
    let mut covered = 0;
    for (nth, stage) in Stage::ALL.into_iter().enumerate() {
        let area = layout.node(stage);
        let next = nodes.get(nth + 1).map(|next| next.state);
        name(model, stage, next, buf, row(area, 0), layout.table.is_none());
        // A reason may be long, and matters more than values that are normal.
        let normal = Stage::ALL.into_iter().zip(&nodes).skip(nth + 1);
        let covers = !nodes[nth].is_normal();
        let normal = normal.take_while(|(_, n)| n.facts.is_empty() || covers && n.is_normal());
        let end = normal.last().map_or(area.right(), |(stage, _)| layout.node(stage).right());
        let width = if covered > area.x { 0 } else { end - area.x };
        let used = values(model, &nodes[nth], buf, area, Rect { width, ..area });
        covered = covered.max(area.x + used);
    }
}

/// The stage's name, and the pipe to the next one, which has its state. Without a table, the name
/// has the stage's key and shows whether it is hidden.
fn name(
    model: &Model,
    stage: Stage,
    next: Option<State>,
    buf: &mut Buffer,
    at: Rect,
    has_key: bool,
) {
    let theme = model.options.theme;
    let width = usize::from(at.width);
    let on = model.pane().filter().stages.contains(Some(stage));
    let style = if on { theme.chip(stage) } else { theme.dim() };
    let mut x = 0;
    if has_key {
        let digit = (stage.index() + 1).to_string();
        put(buf, at, 0, 1, &digit, if on { theme.key() } else { theme.dim() });
        put(buf, at, 1, 1, if on { "●" } else { "○" }, style);
        x = 2;
    }
    let room = width.saturating_sub(x + usize::from(next.is_some()));
    x += put(buf, at, x, room, short_name(model, stage, room), style);
    let Some(next) = next else { return };
    let style = match next {
        State::Unknown | State::Idle | State::Normal => theme.frame(false),
        next => theme.bar(next),
    };
    let pipe = match width - x {
        0 => String::new(),
        1 => "▶".to_owned(),
        2 => "▶ ".to_owned(),
        free => format!(" {}▶ ", "─".repeat(free - 3)),
    };
    put(buf, at, x, width - x, &pipe, style);
}

/// A stage's name; if space is short, a known abbreviation instead of a cut name.
fn short_name(model: &Model, stage: Stage, room: usize) -> &'static str {
    let name = model.stage_name(stage);
    match stage {
        _ if name.len() <= room => name,
        Stage::Ingestion => "ingest",
        Stage::Clickhouse if name == stage.as_str() => "click",
        Stage::Websocket => "socket",
        _ => name,
    }
}

/// The value with the sign of its state, and the first facts: in the same row, or in one of their
/// own, in the area `facts`. Returns the columns of that row that they take.
fn values(model: &Model, node: &Node, buf: &mut Buffer, area: Rect, facts: Rect) -> u16 {
    let theme = model.options.theme;
    // A gap to the next node.
    let room = usize::from(area.width).saturating_sub(1);
    let value = if node.state.sign().is_empty() || node.state == State::Unknown {
        node.value.clone()
    } else {
        format!("{} {}", node.value, node.state.sign())
    };
    let style = match node.state {
        State::Normal => theme.strong(),
        state => theme.state(state),
    };
    let first = row(area, 1);
    let x = put(buf, first, 0, room, &value, style);
    let (second, wide) = (row(facts, 2), usize::from(facts.width).saturating_sub(1));
    let mut facts = node.facts.iter();
    if area.height < 3 {
        // Only what fits entirely.
        let fits = |fact: &&(String, State)| x + 3 + text::width(&fact.0) <= room;
        if let Some((fact, state)) = facts.find(fits) {
            put(buf, first, x, 3, " · ", theme.dim());
            put(buf, first, x + 3, room - x - 3, fact, theme.bar(*state));
        }
        return 0;
    }
    let Some((fact, state)) = facts.next().filter(|_| wide > 0) else { return 0 };
    // Of a reason that does not fit, the last cause says most.
    let fact = if text::width(fact) > wide { reason::last_cause(fact) } else { fact };
    let mut x = put(buf, second, 0, wide, fact, theme.bar(*state));
    for (fact, state) in facts {
        if x + 3 + text::width(fact) > room {
            break;
        }
        x += put(buf, second, x, 3, " · ", theme.dim());
        x += put(buf, second, x, room - x, fact, theme.bar(*state));
    }
    u16::try_from(x).unwrap_or(u16::MAX)
}

fn node(model: &Model, stage: Stage, has_table: bool) -> Node {
    let summary = model.figures.summary();
    let figures = &summary.stages[stage.index()];
    let mut facts = match stage {
        Stage::Ingestion => ingestion(model, figures, summary),
        Stage::Queue => queue(model, summary),
        Stage::Worker => worker(model, summary),
        Stage::Clickhouse => failing(summary, STORE),
        Stage::Pubsub | Stage::Websocket => Vec::new(),
    };
    facts.extend(errors(figures));
    // Without a connection, nothing is known about now.
    if model.has_no_current_data() {
        return Node { value: "–".to_owned(), state: State::Unknown, facts: Vec::new() };
    }
    let state = facts.iter().map(|(_, state)| *state).max().unwrap_or_default();
    let state = state.max(figures.latency()).max(idle(figures));
    // The table has it.
    if let Some(p95) = figures.recent.filter(|_| !has_table) {
        facts.push((format!("p95 {}", format::micros(p95 as f64)), figures.latency()));
    }
    // Stable: of equal states, the order says what matters more.
    facts.sort_by_key(|(_, state)| std::cmp::Reverse(*state));
    let (value, state) = match (stage, summary.known_queue(), summary.queue) {
        (Stage::Queue, Some(queue), _) => {
            let depth = State::depth(queue.depth, model.alarm_depth());
            (format::short_count(queue.depth), state.max(depth))
        }
        (Stage::Queue, None, Some(_)) => ("–".to_owned(), state),
        _ => (format::rate(figures.rate).replace(' ', ""), state),
    };
    Node { value, state, facts }
}

/// What is wrong now, for where the flow has no space for it: each with the stage's name.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// In a few words, the worst first.
    pub(super) facts: Vec<(String, State)>,
    /// Why parts fail; these reasons may be long.
    pub(super) reasons: Vec<String>,
}

pub(super) fn problems(model: &Model) -> Problems {
    let summary = model.figures.summary();
    if model.has_no_current_data() {
        return Problems::default();
    }
    let mut facts = Vec::new();
    facts.extend(summary.paused.iter().filter_map(|(_, pause)| paused(model, Some(pause))));
    facts.extend(no_worker(model, summary).map(|missing| (missing, State::Critical)));
    let share = refused(summary);
    if share > State::Normal {
        facts.push((format!("{} % refused", summary.refused_percent()), share));
    }
    for stage in Stage::ALL {
        let (figures, name) = (&summary.stages[stage.index()], model.stage_name(stage));
        facts.extend(errors(figures).map(|(errors, state)| (format!("{name} {errors}"), state)));
        let latency = figures.latency();
        if let Some(p95) = figures.recent.filter(|_| latency > State::Normal) {
            facts.push((format!("{name} p95 {}", format::micros(p95 as f64)), latency));
        }
    }
    // Stable: of equal states, the order says what matters more.
    facts.sort_by_key(|(_, state)| std::cmp::Reverse(*state));
    let (mut reasons, mut causes) = (Vec::new(), Vec::new());
    for (part, stage) in
        [(STORE, Stage::Clickhouse), (QUEUE, Stage::Queue), (WORKER, Stage::Worker)]
    {
        for (reason, _) in failing(summary, part) {
            // A worker without a queue fails for the same reason.
            let cause = reason::last_cause(&reason).to_owned();
            if !causes.contains(&cause) {
                reasons.push(format!("{}: {cause}", model.stage_name(stage)));
                causes.push(cause);
            }
        }
    }
    Problems { facts, reasons }
}

/// The errors of the last minute, and what they mean.
fn errors(figures: &StageFigures) -> Option<(String, State)> {
    let steps = (figures.rate * 60.0) as u64 + figures.errors;
    let state = State::errors(figures.errors, steps);
    (figures.errors > 0)
        .then(|| (format!("{}/min", format::plural(figures.errors, "error")), state))
}

/// How the share of refused requests compares with what is normal.
fn refused(summary: &Summary) -> State {
    State::share(summary.refused, summary.accepted.saturating_add(summary.refused))
}

fn stalled(seconds: u64) -> String {
    format!("stalled {}", format::micros(seconds as f64 * 1e6))
}

/// That no process stores events, and since when.
fn no_worker(model: &Model, summary: &Summary) -> Option<String> {
    let since = UtcMillis::from_epoch_millis(summary.no_worker?.saturating_mul(1_000));
    Some(format!("no worker since {}", model.time_of_day(since)))
}

fn idle(figures: &StageFigures) -> State {
    if figures.rate > 0.0 { State::Normal } else { State::Idle }
}

/// Requests that are refused because of a limit, or because something is wrong with them.
fn ingestion(model: &Model, figures: &StageFigures, summary: &Summary) -> Vec<(String, State)> {
    let mut facts = Vec::from_iter(paused(model, summary.paused.intake.as_ref()));
    if summary.throttled > 0 {
        let throttled = format::short_count(summary.throttled);
        facts.push((format!("{throttled} throttled/min"), State::High));
    }
    match refused(summary) {
        State::Normal if figures.warnings > 0 => {
            let refused = format::short_count(figures.warnings);
            facts.push((format!("{refused} refused/min"), State::Normal));
        }
        State::Normal => {}
        // Requests over a limit are refused, too.
        _ if summary.throttled.saturating_mul(2) > summary.refused => {}
        state => facts.push((format!("{} % refused", summary.refused_percent()), state)),
    }
    facts
}

fn queue(model: &Model, summary: &Summary) -> Vec<(String, State)> {
    let mut facts = failing(summary, QUEUE);
    let Some(queue) = summary.queue else { return facts };
    if queue.spooled > 0 {
        let spooled = format!("{} spooled", format::short_count(queue.spooled));
        facts.push((spooled, State::Critical));
    }
    if let Some(millis) = queue.oldest_waiting_ms {
        let oldest = format!("oldest {}", format::micros(millis as f64 * 1e3));
        let state = State::depth(queue.depth, model.alarm_depth());
        let state = if summary.stalled.is_some() { State::High.max(state) } else { state };
        facts.push((oldest, state));
    }
    let alarm = format::short_count(model.alarm_depth());
    facts.push((format!("alarm {alarm}"), State::Idle));
    facts
}

/// Who has paused it, since when, and why.
fn paused(model: &Model, pause: Option<&Pause>) -> Option<(String, State)> {
    let Pause { by, reason, since } = pause?;
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let text = format!("paused by {by} since {}{reason}", model.time_of_day(*since));
    Some((text::safe(&text).into_owned(), State::Critical))
}

fn worker(model: &Model, summary: &Summary) -> Vec<(String, State)> {
    let mut facts = Vec::from_iter(paused(model, summary.paused.workers.as_ref()));
    facts.extend(failing(summary, WORKER));
    if let Some(missing) = no_worker(model, summary) {
        facts.insert(0, (missing, State::Critical));
    } else if let Some(seconds) = summary.stalled {
        // Who paused it says why.
        let place = usize::from(summary.paused.workers.is_some());
        facts.insert(place, (stalled(seconds), State::Critical));
    }
    if let Some(lapsed) = summary.queue.and_then(|queue| queue.lapsed).filter(|&n| n > 0) {
        facts.push((format::plural(lapsed, "lease") + " expired", State::High));
    }
    if let Some(queue) = summary.queue {
        facts.push((format!("{} in flight", format::short_count(queue.in_flight)), State::Idle));
    }
    facts
}

/// The reason why a part fails, if it does.
fn failing(summary: &Summary, part: usize) -> Vec<(String, State)> {
    if summary.health[part] != Health::Failing {
        return Vec::new();
    }
    let reason = summary.failures[part].as_ref().map_or("", |failure| failure.reason.as_str());
    let reason = if reason.is_empty() { "failing" } else { reason };
    vec![(text::safe(reason).into_owned(), State::Critical)]
}
