//! The batches in flight: one row each, and one batch with its events.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::{Draw, polled};
use crate::format;
use crate::model::Model;
use crate::model::layout::{BATCH_HEAD, Layout};
use crate::model::panels::{BatchPanel, QueueList};
use crate::view::draw::{Segment, joined, put, put_right, put_segments, row, rule, select, styled};
use bklit_wire::queue::BatchInFlight;
use bklit_wire::queue::{EventView, MOST_BATCHES, MOST_MEMBERS};
use bklit_wire::text;
use bklit_wire::time::UtcMillis;

/// The widths from which a column is shown.
const CLAIMS_MIN_WIDTH: usize = 76;
const AGE_MIN_WIDTH: usize = 90;
const LONG_ID_MIN_WIDTH: usize = 120;
/// The end of an id is more useful than the start.
const SHORT_ID: usize = 12;
const LONG_ID: usize = 34;
/// `1,000,000`
const EVENTS: usize = 9;
/// `99 min over`
const LEASE: usize = 12;
const CLAIMS: usize = 6;
const AGE: usize = 8;

/// The list below its title; the labels are on the title's row if there is space.
pub(super) fn list(model: &Model, buf: &mut Buffer, area: Rect, first: usize, rows: usize) {
    let theme = model.options.theme;
    let panel = &model.panels().queue;
    let batches = panel.batches();
    rule(buf, row(area, first), theme, &title(model), &place(model, rows));
    if batches.is_empty() {
        let in_flight = panel.polled.data().map(|snapshot| snapshot.view.in_flight);
        let none = match (in_flight, panel.polled.error()) {
            (Some(0), None) => "none",
            // It was claimed after the batches were read.
            (Some(_), None) => "just claimed",
            (None, None) => "loading…",
            (_, Some(_)) => "unavailable",
        };
        put(buf, row(area, first + 1), 2, usize::from(area.width) - 3, none, theme.dim());
    }
    let top = panel.batch.top();
    for (nth, batch) in batches.iter().enumerate().skip(top).take(rows) {
        let selected = nth == panel.batch.selected() && panel.list() == QueueList::Batches;
        let at = row(area, first + 1 + nth - top);
        batch_row(model, batch, selected, buf, at);
    }
}

fn title(model: &Model) -> Vec<Segment> {
    let theme = model.options.theme;
    let panel = &model.panels().queue;
    let style = if panel.list() == QueueList::Batches { theme.key() } else { theme.strong() };
    vec![styled("batches in flight", style), styled(", by lease expiry", theme.dim())]
}

/// The position of the reader, and the number of rows that are not visible.
fn place(model: &Model, rows: usize) -> Vec<Segment> {
    let theme = model.options.theme;
    let panel = &model.panels().queue;
    let count = panel.batches().len();
    let more = panel.polled.data().is_some_and(|snapshot| snapshot.view.more_batches);
    let sign = if more { "+" } else { "" };
    let mut said = Vec::new();
    if panel.list() == QueueList::Batches {
        let place = format::count(panel.batch.selected() as u64 + 1);
        let of = format::count(count as u64);
        said.push(vec![styled(format!("{place} of {of}{sign}"), theme.plain())]);
    } else if count > rows || more {
        let shown = rows.min(if more { MOST_BATCHES } else { count });
        let beyond = format::count((count - shown.min(count)) as u64);
        said.push(vec![styled(format!("{beyond}{sign} more"), theme.warning())]);
    }
    joined(said, theme)
}

/// The milliseconds left of a lease, negative if it has expired. The answer may be some seconds
/// old, so its age is subtracted.
fn lease_left(model: &Model, batch: &BatchInFlight) -> i64 {
    let left = batch.lease_until.epoch_millis().saturating_sub(model.now.epoch_millis());
    if batch.lease_left_ms <= 0 { batch.lease_left_ms.min(left) } else { left }
}

fn lease(model: &Model, batch: &BatchInFlight) -> (String, Style) {
    let theme = model.options.theme;
    let left = lease_left(model, batch);
    let time = format::micros(left.unsigned_abs() as f64 * 1e3);
    match left {
        // Released, or its worker's process has ended; it has been unclaimed for an unknown time.
        _ if batch.lease_until <= UtcMillis::from_epoch_millis(0) => {
            ("released".to_owned(), theme.error())
        }
        1.. => (format!("{time} left"), theme.plain()),
        _ => (format!("{time} ago"), theme.error()),
    }
}

fn age(model: &Model, at: UtcMillis) -> String {
    let age = model.now.epoch_millis().saturating_sub(at.epoch_millis()).max(0);
    format::micros(age as f64 * 1e3)
}

fn batch_row(model: &Model, batch: &BatchInFlight, selected: bool, buf: &mut Buffer, at: Rect) {
    let theme = model.options.theme;
    let width = usize::from(at.width);
    let on = |style| theme.on(selected, style);
    if selected {
        select(buf, at, theme);
    }
    let id_width = if width >= LONG_ID_MIN_WIDTH { LONG_ID } else { SHORT_ID };
    let id = text::safe(&batch.id);
    put(buf, at, 2, id_width, &text::clip_start(&id, id_width), theme.plain());
    let mut x = 2 + id_width + EVENTS + 1;
    put_right(buf, at, x, EVENTS, &format::count(batch.items), theme.strong());
    x += put(buf, at, x + 1, 6, if batch.items == 1 { "event" } else { "events" }, on(theme.dim()));
    x = x.max(2 + id_width + EVENTS + 7) + 1 + LEASE + 1;
    let (lease, style) = lease(model, batch);
    put_right(buf, at, x, LEASE, &lease, style);
    if width >= CLAIMS_MIN_WIDTH {
        let claims = format!("×{}", format::short_count(batch.attempts));
        let style = if batch.attempts > 1 { theme.warning() } else { on(theme.dim()) };
        x += CLAIMS;
        put_right(buf, at, x, CLAIMS - 1, &claims, style);
    }
    if width >= AGE_MIN_WIDTH {
        let since = batch.claimed_at.map_or_else(|| "–".to_owned(), |at| age(model, at));
        x += AGE + 1;
        put_right(buf, at, x, AGE, &since, on(theme.dim()));
    }
    let owner = batch.owner.as_deref().map_or("owner unknown".into(), text::safe);
    put(buf, at, x + 2, width.saturating_sub(x + 3), &owner, on(theme.dim()));
}

impl Draw for BatchPanel {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        in_full(model, self, buf, layout.overlay());
        None
    }
}

/// One batch: its worker, its start, and its events.
fn in_full(model: &Model, shown: &BatchPanel, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    // Its current state, if it is still in flight.
    let now = model.panels().queue.batches().iter().find(|batch| batch.id == shown.batch.id);
    let batch = now.unwrap_or(&shown.batch);
    let id = text::safe(&batch.id).into_owned();
    polled::title(model, &format!("batch {id}"), Some(&shown.polled), buf, row(area, 0));
    let label = |text: &str| styled(text.to_owned(), theme.dim());
    let count = |n: u64, one: &str, many: &str| {
        let noun = if n == 1 { one } else { many };
        vec![styled(format::count(n), theme.strong()), label(&format!(" {noun}"))]
    };
    let state = if shown.is_done() {
        vec![styled("done: its events are stored, or in the failed queue", theme.good())]
    } else {
        let (left, style) = lease(model, batch);
        vec![label("lease "), styled(left, style)]
    };
    let owner = batch.owner.as_deref().map_or("unknown".into(), text::safe).into_owned();
    let first = vec![
        count(batch.items, "event", "events"),
        state,
        count(batch.attempts, "claim", "claims"),
    ];
    put_segments(buf, row(area, 1), 1, width - 2, &joined(first, theme));
    let mut second = vec![vec![label("owner "), styled(owner, theme.plain())]];
    if let Some(at) = batch.claimed_at {
        let claimed = model.long_time(at);
        second.push(vec![label("claimed "), styled(claimed, theme.plain())]);
        second.push(vec![styled(format!("{} ago", age(model, at)), theme.plain())]);
    }
    put_segments(buf, row(area, 2), 1, width - 2, &joined(second, theme));
    events(model, shown, batch.items, buf, area);
}

fn events(model: &Model, shown: &BatchPanel, items: u64, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let head = usize::from(BATCH_HEAD) - 1;
    let known = shown.events();
    let mut right = Vec::new();
    if !known.is_empty() {
        let place = format::count(shown.cursor.selected() as u64 + 1);
        let of = format::count(known.len() as u64);
        right.push(vec![styled(format!("{place} of {of}"), theme.dim())]);
    }
    if known.len() >= MOST_MEMBERS && items > known.len() as u64 {
        let more = format!("{} more", format::count(items - known.len() as u64));
        right.push(vec![styled(more, theme.warning())]);
    }
    let title = [styled("its events, oldest first", theme.strong())];
    rule(buf, row(area, head), theme, &title, &joined(right, theme));
    if known.is_empty() {
        let says = match (polled::error(&shown.polled), shown.is_done()) {
            (Some(reason), _) => format!("Unavailable: {reason}"),
            (None, true) => "It was done before they could be read.".to_owned(),
            (None, false) => "loading…".to_owned(),
        };
        put(buf, row(area, head + 1), 2, width - 3, &says, theme.dim());
    }
    let rows = usize::from(area.height).saturating_sub(head + 1);
    let top = shown.cursor.top();
    for (nth, event) in known.iter().enumerate().skip(top).take(rows) {
        let at = row(area, head + 1 + nth - top);
        event_row(model, event, nth == shown.cursor.selected(), buf, at);
    }
}

fn event_row(model: &Model, event: &EventView, selected: bool, buf: &mut Buffer, at: Rect) {
    let theme = model.options.theme;
    let width = usize::from(at.width);
    let on = |style| theme.on(selected, style);
    if selected {
        select(buf, at, theme);
    }
    let since = event.queued_at.map_or_else(|| "–".to_owned(), |at| age(model, at));
    put_right(buf, at, 10, AGE, &since, on(theme.dim()));
    let kind = event.r#type.map_or("–", |kind| kind.as_str());
    put(buf, at, 12, 11, kind, theme.plain());
    // The id is the most important part; the project gets the remaining space.
    let id = event.event_id.as_deref().map_or("not an event, or without an id".into(), text::safe);
    let room = width.saturating_sub(25);
    let used = put(buf, at, 24, room, &text::clip_start(&id, room), theme.strong());
    let project = event.project_id.as_deref().map_or("–".into(), text::safe);
    let room = room.saturating_sub(used + 2);
    if room > 3 {
        put(buf, at, 24 + used + 2, room, &project, on(theme.dim()));
    }
}
