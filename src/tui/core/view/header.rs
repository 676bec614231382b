//! The first row: the source, its health, the event rate, and whether the display is paused.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{Segment, put_segments, segments_width, styled};
use crate::format;
use crate::model::figures::PARTS;
use crate::model::{Flow, Link, Model};
use crate::playback::ReplayState;
use bklit_wire::gauges::Health;
use bklit_wire::text;

/// `3.4 k/s`
const RATE: usize = 7;
/// The fewest columns in which the source is useful.
const MIN_SOURCE: usize = 12;

pub(super) fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let health = health(model);
    let mut left = vec![styled(" bklit-tui ", theme.dim()), styled(" ", theme.plain())];
    let mut room = room(model, width, segments_width(&left) + segments_width(&health));
    if room.1 < text::width(&short_source(model)) {
        // The program's name is dropped first: the address is more important.
        left = vec![styled(" ", theme.plain())];
        room = self::room(model, width, segments_width(&left) + segments_width(&health));
    }
    let (right, room) = room;
    let right_width = segments_width(&right);
    if room >= text::width(&model.options.source).min(MIN_SOURCE) {
        left.push(source(model, room));
        left.push(styled("   ", theme.plain()));
    }
    left.extend(health);
    put_segments(buf, area, 0, width.saturating_sub(right_width), &left);
    put_segments(buf, area, width.saturating_sub(right_width), right_width, &right);
}

/// The right side next to a left side of this width, and the columns left between them for the
/// source.
fn room(model: &Model, width: usize, left: usize) -> (Vec<Segment>, usize) {
    let right = right(model, width.saturating_sub(left));
    let room = width.saturating_sub(segments_width(&right) + left + 3);
    (right, room)
}

/// The rate and the display's state, in as many words as fit; the source is more important than a
/// unit.
fn right(model: &Model, room: usize) -> Vec<Segment> {
    let theme = model.options.theme;
    // Fixed width, so that nothing next to it moves when the rate changes.
    let rate = if model.has_no_current_data() {
        "–".to_owned()
    } else {
        format::rate(model.figures.summary().events_per_second)
    };
    let rate = format!("{rate:>RATE$}");
    let read_only = model.options.read_only.then(|| styled("READ-ONLY ", theme.warning()));
    let mouse = model.mouse.then(|| styled("mouse ", theme.key()));
    let paused = paused(model).map(|parts| styled(parts, theme.alarm()));
    let state = paused.into_iter().chain(read_only).chain(mouse).chain(state(model));
    let state: Vec<_> = state.collect();
    let whole = text::width(&short_source(model)) + 3;
    let source = whole.min(MIN_SOURCE + 3);
    let (long, short) = (format!("{rate} accepted  "), format!("{rate}  "));
    for (rate, reserved) in [(&long, whole), (&short, whole), (&short, source), (&short, 0)] {
        if text::width(rate) + segments_width(&state) + reserved <= room {
            return [vec![styled(rate.as_str(), theme.plain())], state].concat();
        }
    }
    state
}

/// Without the common start of addresses, and without its servers, if space is short.
fn short_source(model: &Model) -> Cow<'_, str> {
    let source = &model.options.source;
    let source = source.strip_prefix("http://").unwrap_or(source);
    text::safe(source.split_once(" (").map_or(source, |(address, _)| address))
}

fn source(model: &Model, room: usize) -> Segment {
    let whole = text::safe(&model.options.source);
    let source = if text::width(&whole) <= room { whole } else { short_source(model) };
    styled(text::clip(&source, room), model.options.theme.strong())
}

/// Uses symbols, so that colour is not needed.
fn health(model: &Model) -> Vec<Segment> {
    let theme = model.options.theme;
    // The health from before the connection was lost may be outdated.
    let health = if model.has_no_current_data() {
        [Health::Unknown; PARTS.len()]
    } else {
        let summary = model.figures.summary();
        let [queue, store, worker] = summary.health;
        // As in the flow: a worker that cannot work does not report that.
        let is_idle = summary.no_worker.is_some() || summary.stalled.is_some();
        [queue, store, if is_idle { Health::Failing } else { worker }]
    };
    let known = PARTS.into_iter().zip(health);
    let signs = known.flat_map(|(part, health)| {
        let (sign, style) = match health {
            Health::Unknown => ("?", theme.dim()),
            Health::Absent => ("–", theme.dim()),
            Health::Ok => ("✓", theme.good()),
            Health::Failing => ("✗", theme.error()),
        };
        let name = if health == Health::Failing { theme.error() } else { theme.dim() };
        [styled(format!("{part} "), name), styled(sign, style), styled("  ", theme.plain())]
    });
    signs.collect()
}

/// The parts of the pipeline that are paused.
fn paused(model: &Model) -> Option<String> {
    let paused = model.figures.summary().paused.iter();
    let parts: Vec<_> = paused.map(|(part, _)| part.as_str().to_uppercase()).collect();
    (!parts.is_empty()).then(|| format!(" {} PAUSED ", parts.join(" AND ")))
}

fn state(model: &Model) -> Vec<Segment> {
    let theme = model.options.theme;
    if let Some(replay) = model.replay() {
        return replayed(model, replay);
    }
    match model.flow {
        Flow::Live if model.link == Link::Up => match model.figures.silence() {
            None => vec![styled("● LIVE ", theme.good())],
            Some(seconds) => vec![styled(format!(" SILENT {seconds} s "), theme.badge())],
        },
        Flow::Live if model.has_no_current_data() => vec![styled(" NO CONNECTION ", theme.badge())],
        Flow::Live => vec![styled(" THIS PROCESS ONLY ", theme.badge())],
        Flow::Paused { since, oldest } => {
            let held = model.ring.next() - since.max(model.ring.first());
            let first = model.ring.first();
            let (forgotten, lost) = (first - oldest, first.saturating_sub(since));
            let mut state = format!(" PAUSED · {} new ", format::count(held));
            // Held-back lines are dropped only after all lines that were shown, which are older.
            if lost > 0 {
                state = format!("{state}· {} new dropped ", format::count(lost));
            } else if forgotten > 0 {
                state = format!("{state}· {} dropped ", format::count(forgotten));
            }
            vec![styled(state, theme.badge())]
        }
    }
}

/// The position of a replay, its length and its speed.
fn replayed(model: &Model, replay: &ReplayState) -> Vec<Segment> {
    let theme = model.options.theme;
    let passed = replay.at.epoch_millis() - replay.start.epoch_millis();
    let whole = replay.end.epoch_millis() - replay.start.epoch_millis();
    let place = format!(" {} of {}", clock(passed), clock(whole));
    let state = match replay {
        ReplayState { seeking: true, .. } => "SEEKING".to_owned(),
        ReplayState { ended: true, .. } => "END".to_owned(),
        ReplayState { paused: true, .. } => "PAUSED".to_owned(),
        _ => replay.speed_name(),
    };
    vec![
        styled(format!(" REPLAY {state} "), theme.badge()),
        styled(format!("{place} "), theme.plain()),
    ]
}

/// `3:07`, `1:02:03`.
fn clock(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}
