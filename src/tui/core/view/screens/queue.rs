//! The queue: its depth over time, batches in flight and failed events.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::{Draw, batch, polled};
use crate::format;
use crate::keymap::{Action, Binding};
use crate::model::Model;
use crate::model::figures::SECONDS;
use crate::model::layout::Layout;
use crate::model::panels::{MAX_FAILED, QueueList};
use crate::model::screen::QueueScreen;
use crate::state::State;
use crate::view::draw::{
    Segment, joined, put, put_right, put_segments, row, rule, segments_width, select, styled,
};
use crate::view::queue_figures;
use bklit_wire::gauges::QueueGauges;
use bklit_wire::queue::FailedView;
use bklit_wire::{reason, text};

/// The widths from which a column of failed events is shown.
const TIME_MIN_WIDTH: usize = 90;
const TYPE_MIN_WIDTH: usize = 100;
const PROJECT_MIN_WIDTH: usize = 76;
const LONG_ID_MIN_WIDTH: usize = 130;
/// The width from which an empty spool is shown.
/// What the spool's number is called.
const SPOOLED: &str = "spooled";
const SPOOL_MIN_WIDTH: usize = 100;
/// The end of an id is more useful than the start.
const SHORT_ID: usize = 14;
const LONG_ID: usize = 36;
/// `peak 9,999 · alarm 1,000`
const LABEL: usize = 24;

impl Draw for QueueScreen {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        render(model, buf, layout.overlay());
        None
    }

    fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
        let queue = &model.panels().queue;
        let works = match binding.action {
            Action::RetryAll | Action::EditMany | Action::DeleteAll => {
                let has_selection = queue.selected_item().is_some() || queue.marks().count() > 0;
                !model.options.read_only && has_selection
            }
            Action::RetryOne | Action::EditOne | Action::DeleteOne => {
                !model.options.read_only && queue.selected_item().is_some()
            }
            Action::MarkFailed => queue.selected_item().is_some(),
            Action::Export | Action::Trace => queue.selected_item().is_some(),
            Action::FailedDetail => {
                queue.selected_item().is_some() || queue.selected_batch().is_some()
            }
            Action::QueueFilter => !queue.all().is_empty() || !queue.filter().is_empty(),
            Action::NextList => !queue.batches().is_empty() && queue.count() > 0,
            _ => true,
        };
        binding.hint.filter(|_| works)
    }
}

fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let panel = &model.panels().queue;
    polled::title(model, "queue", Some(&panel.polled), buf, row(area, 0));
    let parts = model.queue_parts();
    let (chart, in_flight) = (usize::from(parts.chart), usize::from(parts.batches));
    figures(model, buf, row(area, 1));
    depth(model, buf, Rect { height: parts.chart, ..row(area, 2) });
    let first = 2 + chart;
    batch::list(model, buf, area, first, in_flight);
    let at = first + 1 + in_flight;
    failed_rule(model, buf, row(area, at));
    let columns = Columns::of(usize::from(area.width));
    columns.labels(model, buf, row(area, at + 1));
    let list = parts.failed_list(area);
    let height = usize::from(list.height);
    if panel.count() == 0 {
        put(buf, row(list, 0), 2, usize::from(area.width) - 3, &nothing(model), theme.dim());
    }
    let top = panel.cursor.top();
    for (nth, item) in panel.shown(top).take(height).enumerate() {
        let selected = top + nth == panel.selected() && panel.list() == QueueList::Failed;
        columns.item(model, item, selected, buf, row(list, nth));
    }
}

fn nothing(model: &Model) -> String {
    let panel = &model.panels().queue;
    match (polled::error(&panel.polled), panel.polled.data()) {
        (Some(reason), _) => format!("Unavailable: {reason}"),
        (None, None) => "loading…".to_owned(),
        (None, Some(_)) if !panel.filter().is_empty() => match panel.unknown() {
            0 => "No failed event matches.".to_owned(),
            older if panel.all().len() < MAX_FAILED => {
                format!("None of the newest so far; searching {} more…", format::count(older))
            }
            older => format!(
                "None of the newest {}; `bklit-tui queue list --reason` also searches the {} older ones.",
                format::count(panel.all().len() as u64),
                format::count(older)
            ),
        },
        (None, Some(_)) => "Nothing failed.".to_owned(),
    }
}

/// The current figures: the requested ones, or until they arrive those that are published.
fn figures(model: &Model, buf: &mut Buffer, at: Rect) {
    let theme = model.options.theme;
    let width = usize::from(at.width);
    let polled = &model.panels().queue.polled;
    let view = polled.data().map(|snapshot| &snapshot.view);
    let known = view.map(|view| QueueGauges {
        depth: view.waiting,
        in_flight: view.in_flight,
        failed: view.failed,
        spooled: view.spooled,
        oldest_waiting_ms: view.oldest_waiting.map(|at| {
            // As of the answer: an event that waited then may be gone.
            let asked = polled.answered().unwrap_or(model.now);
            let waits = asked.epoch_millis().saturating_sub(at.epoch_millis());
            u64::try_from(waits).unwrap_or(0)
        }),
        lapsed: Some(view.lapsed),
    });
    let published = model.figures().summary().queue;
    let Some(now) = known.or(published) else {
        put(buf, at, 1, width - 2, &nothing(model), theme.dim());
        return;
    };
    if let Some(reason) = polled::error(polled)
        && published.is_none()
    {
        let reason = format!("no answer: {reason}");
        put(buf, at, 1, width - 2, &reason, theme.error());
        return;
    }
    // Published figures stay current while requests fail.
    let now = match polled.error() {
        Some(_) => published.unwrap_or(now),
        None => now,
    };
    // While the queue cannot be read, processes repeat what they knew, or publish zeros.
    let is_known = (known.is_some() && polled.error().is_none())
        || model.figures().summary().known_queue().is_some();
    let alarm = now.depth > model.alarm_depth();
    let figure = |n: u64, what: &str, style: Style| {
        let unknown = || vec![styled("–", theme.dim()), styled(format!(" {what}"), theme.dim())];
        if !is_known && what != SPOOLED {
            return unknown();
        }
        vec![styled(format::count(n), style), styled(format!(" {what}"), theme.dim())]
    };
    let if_any = |n: u64, style| if n > 0 { style } else { theme.strong() };
    let depth = if alarm { theme.error() } else { theme.strong() };
    let oldest = now.oldest_waiting_ms.map(|millis| {
        let waits = format::micros(millis as f64 * 1e3);
        vec![styled("oldest ", theme.dim()), styled(waits, theme.strong())]
    });
    let fullest = view.and_then(|view| {
        let shards = view.shards.iter().map(|shard| shard.waiting).enumerate();
        let (number, most) = shards.rev().max_by_key(|(_, waiting)| *waiting)?;
        let most = format!("most in shard {number}: {}", format::count(most));
        Some(vec![styled(most, theme.dim())])
    });
    let lapsed = now.lapsed.unwrap_or(0);
    let leases = if lapsed == 1 { "lease expired" } else { "leases expired" };
    // Each with its priority, for when there is not enough space for all.
    let items = [
        (Some(figure(now.depth, "waiting", depth)), 0),
        (Some(figure(now.in_flight, "in flight", theme.strong())), 5),
        (Some(figure(now.failed, "failed", if_any(now.failed, theme.error()))), 1),
        (
            Some(figure(now.spooled, SPOOLED, if_any(now.spooled, theme.warning()))),
            if now.spooled > 0 { 3 } else { 6 },
        ),
        (oldest, 4),
        ((lapsed > 0).then(|| figure(lapsed, leases, theme.error())), 2),
        (fullest, 7),
    ];
    let mut items: Vec<_> =
        items.into_iter().filter_map(|(item, matters)| Some((item?, matters))).collect();
    // An empty spool is left out on narrow screens, by width only, so that the others do not move.
    items.retain(|(_, matters)| *matters < 6 || width >= SPOOL_MIN_WIDTH);
    let line = |items: &[(Vec<Segment>, usize)]| {
        joined(items.iter().map(|(item, _)| item.clone()).collect(), theme)
    };
    while items.len() > 1 && segments_width(&line(&items)) > width - 2 {
        let least = items.iter().enumerate().max_by_key(|(_, (_, matters))| *matters);
        let Some((place, _)) = least else { break };
        items.remove(place);
    }
    put_segments(buf, at, 1, width - 2, &line(&items));
}

/// The depth of the last minute: a graph, or a row of bars if there is little space.
fn depth(model: &Model, buf: &mut Buffer, area: Rect) {
    if area.height > 1 {
        let time = |seconds: usize| format!("-{seconds} s");
        let times = [time(SECONDS), time(SECONDS / 2), "now".to_owned()];
        let graph = Rect { x: area.x + 1, width: area.width - 2, ..area };
        return queue_figures::depth_graph(model, buf, graph, &times);
    }
    let theme = model.options.theme;
    let history = &model.figures().summary().depth_history;
    let alarm = model.alarm_depth();
    let most = history.iter().flatten().copied().max().unwrap_or(0);
    let label =
        format!("peak {} · alarm {}", format::short_count(most), format::short_count(alarm));
    let bars = usize::from(area.width).saturating_sub(LABEL + 3).min(SECONDS);
    let recent = &history[SECONDS - bars..];
    for (nth, (bar, depth)) in format::sparkline(recent, bars).chars().zip(recent).enumerate() {
        let state = depth.map_or(State::Unknown, |depth| State::depth(depth, alarm));
        put(buf, area, 1 + nth, 1, bar.encode_utf8(&mut [0; 4]), theme.bar(state));
    }
    put(buf, area, 2 + bars, LABEL, &label, theme.dim());
}

fn failed_rule(model: &Model, buf: &mut Buffer, at: Rect) {
    let theme = model.options.theme;
    let panel = &model.panels().queue;
    let style = if panel.list() == QueueList::Failed { theme.key() } else { theme.strong() };
    let mut left = vec![styled("failed events", style), styled(", newest first", theme.dim())];
    if !panel.filter().is_empty() {
        let filter = text::safe(panel.filter()).into_owned();
        left.push(styled(format!(" with “{}”", text::clip(&filter, 20)), theme.warning()));
    }
    let shown = panel.count() as u64;
    let mut right = Vec::new();
    if shown > 0 {
        let place = panel.selected() as u64 + 1;
        let place = format!("{} of {}", format::count(place), format::count(shown));
        right.push(vec![styled(place, theme.dim())]);
    }
    let marked = panel.marks().count();
    if marked > 0 {
        right.push(vec![styled(format!("{} marked", format::count(marked)), theme.key())]);
    }
    if panel.unknown() > 0 {
        let older = format!("{} older not loaded", format::count(panel.unknown()));
        right.push(vec![styled(older, theme.warning())]);
    }
    rule(buf, at, theme, &left, &joined(right, theme));
}

/// The columns that fit; the reason gets the remaining space.
struct Columns {
    time: bool,
    project: bool,
    kind: bool,
    id: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        Self {
            time: width >= TIME_MIN_WIDTH,
            project: width >= PROJECT_MIN_WIDTH,
            kind: width >= TYPE_MIN_WIDTH,
            id: if width >= LONG_ID_MIN_WIDTH { LONG_ID } else { SHORT_ID },
        }
    }

    /// Writes cells into their columns; returns nothing, because the reason is last.
    fn write(&self, buf: &mut Buffer, at: Rect, cells: [(&str, Style); 6]) {
        let widths = [9 * usize::from(self.time), 8, 13 * usize::from(self.project)];
        let widths = widths.into_iter().chain([12 * usize::from(self.kind), self.id + 1]);
        let mut x = 2;
        let [time, age, project, kind, id, reason] = cells;
        for (nth, ((what, style), width)) in
            [time, age, project, kind, id].into_iter().zip(widths).enumerate()
        {
            match (nth, width) {
                (_, 0) => {}
                (1, width) => put_right(buf, at, x + width - 1, width - 1, what, style),
                (4, width) => {
                    put(buf, at, x, width - 1, &text::clip_start(what, width - 1), style);
                }
                (_, width) => {
                    put(buf, at, x, width - 1, what, style);
                }
            }
            x += width;
        }
        let room = usize::from(at.width).saturating_sub(x + 1);
        put(buf, at, x, room, &reason::clip(reason.0, room), reason.1);
    }

    fn labels(&self, model: &Model, buf: &mut Buffer, at: Rect) {
        let dim = model.options.theme.dim();
        let labels = ["time", "age", "project", "type", "event", "reason"];
        self.write(buf, at, labels.map(|label| (label, dim)));
    }

    fn item(&self, model: &Model, item: &FailedView, selected: bool, buf: &mut Buffer, at: Rect) {
        let theme = model.options.theme;
        if selected {
            select(buf, at, theme);
        }
        if model.panels().queue.marks().has(item) {
            put(buf, at, 1, 1, "●", theme.key());
        }
        let time = item.failed_at.map_or_else(|| "–".to_owned(), |at| model.time_of_day(at));
        let age = item.failed_at.map_or_else(
            || "–".to_owned(),
            |at| {
                let age = model.now.epoch_millis().saturating_sub(at.epoch_millis()).max(0);
                format::micros(age as f64 * 1e3)
            },
        );
        let kind =
            item.event.r#type.map_or_else(|| "–".to_owned(), |kind| kind.as_str().to_owned());
        let project = item.event.project_id.as_deref().map_or("–".into(), text::safe);
        let id = item.event.event_id.as_deref().map_or("–".into(), text::safe);
        let reason = text::safe(text::fit_bytes(&item.reason, 1024));
        let (plain, dim) = (theme.plain(), theme.on(selected, theme.dim()));
        self.write(
            buf,
            at,
            [
                (&time, dim),
                (&age, plain),
                (&project, plain),
                (&kind, plain),
                (&id, plain),
                (&reason, theme.message(bklit_wire::debug_log::Level::Error)),
            ],
        );
    }
}
