//! The waterfall of a trace: one row per line, with a bar for the time of the step.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::{Draw, polled};
use crate::format;
use crate::model::Model;
use crate::model::layout::{Layout, TRACE_HEAD, below};
use crate::model::trace::{Subject, Trace, TraceRow};
use crate::view::draw::{Segment, joined, put, put_right, put_segments, row, rule, select, styled};
use bklit_wire::debug_log::Level;
use bklit_wire::event_lookup::{QueuedPlace, StoredEvent};
use bklit_wire::text;
use bklit_wire::time::UtcMillis;

const SINCE_END: usize = 9;
const STAGE_START: usize = 10;
const STAGE: usize = 10;
const WAITED_END: usize = 28;
const TOOK_END: usize = 36;
const BAR_START: usize = 38;
/// A shorter message is not useful.
const MIN_MESSAGE: usize = 16;
/// The end of a batch's id.
const SHORT_BATCH: usize = 12;
/// The most bytes of a reason that are used.
const MAX_REASON: usize = 1024;
/// A longer bar is not more useful.
const MAX_BAR: usize = 80;

impl Draw for Trace {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        render(model, self, buf, layout.overlay());
        None
    }
}

fn render(model: &Model, trace: &Trace, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    title(model, trace, buf, row(area, 0));
    put(buf, row(area, 1), 1, usize::from(area.width) - 2, &summary(model, trace), theme.plain());
    let width = usize::from(area.width);
    put_segments(buf, row(area, 2), 1, width - 2, &place(model, trace));
    let bar = bar_width(width);
    let labels = row(area, 3);
    put_right(buf, labels, SINCE_END, 8, "after", theme.dim());
    put(buf, labels, STAGE_START, STAGE, "stage", theme.dim());
    put_right(buf, labels, WAITED_END, 7, "waited", theme.dim());
    put_right(buf, labels, TOOK_END, 7, "took", theme.dim());
    let (start, end) = trace.span();
    let total = format::micros((end - start) as f64);
    put(buf, labels, BAR_START, bar, "0", theme.dim());
    put_right(buf, labels, BAR_START + bar, bar.saturating_sub(2), &total, theme.dim());
    let list = below(area, TRACE_HEAD);
    if trace.rows().is_empty() && !trace.is_searching(model.ring()) {
        put(buf, row(list, 0), 1, width - 2, "No line about it is kept.", theme.dim());
    }
    let selected = trace.selected();
    for (nth, line) in trace.rows().iter().enumerate().skip(trace.top).take(list.height.into()) {
        let at = row(list, nth - trace.top);
        line_row(model, line, (start, end), bar, nth == selected, buf, at);
    }
}

/// The space left by the other columns, or half of it if the message needs space.
fn bar_width(width: usize) -> usize {
    let room = width.saturating_sub(BAR_START + 1);
    if room < 2 * MIN_MESSAGE { room } else { (room / 2).min(MAX_BAR) }
}

fn title(model: &Model, trace: &Trace, buf: &mut Buffer, at: Rect) {
    let theme = model.options.theme;
    let (what, id) = match trace.subject() {
        Some(Subject::Event(id)) => ("trace of ", id.as_str()),
        Some(Subject::Batch(id)) => ("trace of batch ", id.as_str()),
        None => ("trace", ""),
    };
    let left = vec![styled(what, theme.dim()), styled(text::safe(id), theme.strong())];
    let mut right: Vec<Segment> = Vec::new();
    if trace.is_searching(model.ring()) {
        right.push(styled("looking…", theme.warning()));
    } else if trace.left_out() > 0 {
        let more = format!("{} more lines left out", format::count(trace.left_out() as u64));
        right.push(styled(more, theme.warning()));
    }
    rule(buf, at, theme, &left, &right);
}

/// The event's state: stored, failed, in flight, waiting, or unknown.
fn place(model: &Model, trace: &Trace) -> Vec<Segment> {
    let theme = model.options.theme;
    let dim = |text: &str| vec![styled(text.to_owned(), theme.dim())];
    if model.replay().is_some() {
        return dim("where the event is now is unknown in a recording");
    }
    if !matches!(trace.subject(), Some(Subject::Event(_))) {
        return Vec::new();
    }
    let polled = trace.place();
    let Some(found) = polled.data() else {
        return match polled::error(polled) {
            Some(reason) => {
                vec![styled(format!("location unknown: {reason}"), theme.warning())]
            }
            None => dim("querying queue and store…"),
        };
    };
    let mut items: Vec<_> = found.stored.iter().map(|row| vec![stored(model, row)]).collect();
    items.extend(found.queued.iter().map(|place| vec![queued(model, place)]));
    let gaps = found.gaps.iter().map(|gap| vec![styled(text::safe(gap), theme.warning())]);
    if items.is_empty() {
        items.push(vec![styled("not found: neither stored nor in the queue", theme.warning())]);
        items.extend(gaps);
    } else if found.stored.is_empty() {
        items.extend(gaps);
    }
    joined(items, theme)
}

fn stored(model: &Model, row: &StoredEvent) -> Segment {
    let mut text = format!("stored in {}", row.table);
    if let Some(at) = row.accepted_at {
        text.push_str(&format!(", accepted {}", time(model, at)));
    }
    text.push_str(&format!(", project {}", row.project_id));
    if let Some(at) = row.at.filter(|at| Some(*at) != row.accepted_at) {
        text.push_str(&format!(", happened {}", time(model, at)));
    }
    styled(text::safe(&text).into_owned(), model.options.theme.good())
}

fn queued(model: &Model, place: &QueuedPlace) -> Segment {
    let theme = model.options.theme;
    let since = |at: &Option<UtcMillis>| {
        at.map_or_else(String::new, |at| {
            let for_so_long = model.now.epoch_millis().saturating_sub(at.epoch_millis()).max(0);
            let for_so_long = format::micros(for_so_long as f64 * 1e3);
            format!(" since {} ({for_so_long})", time(model, at))
        })
    };
    let (text, style) = match place {
        QueuedPlace::Waiting { since: at, .. } => {
            (format!("waiting in the queue{}", since(at)), theme.warning())
        }
        QueuedPlace::InFlight { batch, owner, since: at, lapsed } => {
            let owner = owner.as_deref().unwrap_or("an unknown worker");
            let lease = if *lapsed { ", lease expired" } else { "" };
            let batch = text::clip_start(batch, SHORT_BATCH);
            let style = if *lapsed { theme.error() } else { theme.warning() };
            (format!("in flight{}, batch {batch} of {owner}{lease}", since(at)), style)
        }
        QueuedPlace::Failed { reason, since: at, .. } => {
            let reason = text::fit_bytes(reason, MAX_REASON);
            (format!("failed{}: {reason}", since(at)), theme.error())
        }
    };
    styled(text::safe(&text).into_owned(), style)
}

/// With the date, if it is not today.
fn time(model: &Model, at: UtcMillis) -> String {
    let (at, now) = (model.zoned(at), model.zoned(model.now));
    let form = if at.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    at.strftime(form).to_string()
}

fn summary(model: &Model, trace: &Trace) -> String {
    let (start, end) = trace.span();
    let stages = trace.stages();
    let names = |stages: &[bklit_wire::debug_log::Stage]| {
        stages.iter().map(|stage| model.stage_name(*stage)).collect::<Vec<_>>().join(" → ")
    };
    let lines = format::lines(trace.rows().len() as u64);
    if trace.rows().is_empty() {
        return "no lines".to_owned();
    }
    let waited: i64 = trace.rows().iter().map(|row| row.waited).sum();
    let (total, waited) = (format::micros((end - start) as f64), format::micros(waited as f64));
    let mut parts = vec![lines, format!("{total}, {waited} of it waiting")];
    if matches!(trace.subject(), Some(Subject::Event(_))) {
        parts.extend(trace.batches().map(|batch| format!("batch {}", text::safe(batch))));
    }
    parts.push(names(&stages));
    parts.join(" · ")
}

fn line_row(
    model: &Model,
    shown: &TraceRow,
    (start, end): (i64, i64),
    bar: usize,
    selected: bool,
    buf: &mut Buffer,
    at: Rect,
) {
    let theme = model.options.theme;
    let line = shown.line.as_ref();
    let on = |style| theme.on(selected, style);
    if selected {
        select(buf, at, theme);
    }
    let since = format::micros((shown.span.0 - start) as f64);
    put_right(buf, at, SINCE_END, 8, &since, on(theme.dim()));
    let stage = line.stage().map_or(theme.dim(), |stage| theme.stage(stage));
    let name = line.stage().map_or("unparsed", |stage| model.stage_name(stage));
    put(buf, at, STAGE_START, STAGE, name, stage);
    if shown.waited > 0 {
        put_right(buf, at, WAITED_END, 7, &format::micros(shown.waited as f64), on(theme.plain()));
    }
    if let Some(took) = line.duration() {
        let took = format::micros(f64::from(took) * 1e3);
        put_right(buf, at, TOOK_END, 7, &took, on(theme.strong()));
    }
    // A thin line for the wait before a step, a thick one for the step.
    let column = |time: i64| {
        let all = (end - start).max(1) as f64;
        (((time - start) as f64 / all * bar as f64) as usize).min(bar.saturating_sub(1))
    };
    let (from, to) = (column(shown.span.0), column(shown.span.1));
    let waits_from = column(shown.span.0 - shown.waited);
    put(
        buf,
        at,
        BAR_START + waits_from,
        from - waits_from,
        &"·".repeat(from - waits_from),
        on(theme.dim()),
    );
    let sign = if line.duration().is_some() { "█" } else { "◆" };
    let bars = line.stage().map_or(theme.dim(), |stage| theme.stage(stage));
    let style = if line.level() == Level::Error { theme.error() } else { bars };
    put(buf, at, BAR_START + from, to - from + 1, &sign.repeat(to - from + 1), style);
    let message_start = BAR_START + bar + 1;
    let room = usize::from(at.width).saturating_sub(message_start + 1);
    if room >= MIN_MESSAGE {
        let used = put(buf, at, message_start, room, line.message(), theme.message(line.level()));
        if room > used + 6 {
            put(buf, at, message_start + used + 2, room - used - 2, line.fields(), on(theme.dim()));
        }
    }
}
