//! The rows of alerts, until they are acknowledged. Those whose condition holds come first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{Segment, put, put_right, put_segments, row, styled};
use crate::format;
use crate::keymap;
use crate::keymap::Action;
use crate::model::Model;
use crate::model::alerts::{Banner, BannerState};
use bklit_alerts::Kind;
use bklit_wire::time::UtcMillis;
use bklit_wire::{reason, text};

/// The fewest columns of the reason after an alert's condition.
const MIN_REASON: usize = 20;
/// An alert in less space than this is only counted.
const MIN_ALERT: usize = 24;

pub(super) fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    if area.is_empty() {
        return;
    }
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let mut banners: Vec<&Banner> = model.alerts().banners().iter().collect();
    // Stable: in the order in which they were raised, but causes before effects.
    banners.sort_by_key(|banner| {
        let state = match banner.state {
            BannerState::Holds => 0,
            BannerState::Normal(_) => 1,
            BannerState::Ended(_) => 2,
        };
        (state, !matches!(banner.alert.kind, Kind::Store | Kind::Queue | Kind::NoWorker))
    });
    let holds = banners.iter().any(|banner| !matches!(banner.state, BannerState::Ended(_)));
    let badge = if holds { theme.alarm() } else { theme.badge() };
    let start = put(buf, row(area, 0), 0, width, " ALERT ", badge) + 1;
    let acknowledge = acknowledge(model, banners.first().copied(), width.saturating_sub(start));
    put_right(buf, row(area, 0), width, text::width(&acknowledge), &acknowledge, theme.key());
    let mut rest = banners.as_slice();
    for nth in 0..usize::from(area.height) {
        let used = if nth == 0 { text::width(&acknowledge) + 1 } else { 1 };
        let room = width.saturating_sub(start + used);
        let is_last = nth + 1 == usize::from(area.height);
        let shown = if is_last { rest.len() } else { 1.min(rest.len()) };
        in_a_row(model, &rest[..shown], buf, row(area, nth), start, room);
        rest = &rest[shown..];
    }
}

/// As many alerts as fit into a row, and the number of the others.
fn in_a_row(
    model: &Model,
    banners: &[&Banner],
    buf: &mut Buffer,
    at: Rect,
    start: usize,
    room: usize,
) {
    let theme = model.options.theme;
    let mut used = 0;
    for (nth, banner) in banners.iter().enumerate() {
        let left = banners.len() - nth - 1;
        let more = |left: usize| format!(" +{left} more");
        let reserved = if left > 0 { text::width(&more(left)) } else { 0 };
        let gap = if nth > 0 { 3 } else { 0 };
        let free = room.saturating_sub(used + gap + reserved);
        let whole = text::width(&text::safe(&banner.alert.message)) + 2;
        if nth > 0 && free < MIN_ALERT.min(whole) {
            put(buf, at, start + used, room - used, &more(left + 1), theme.warning());
            return;
        }
        if nth > 0 {
            used += put(buf, at, start + used, 3, " · ", theme.dim());
        }
        used += put_segments(buf, at, start + used, free, &alert(model, banner, free));
    }
}

/// An alert as text. If space is short, its effect is left out first, or cut if it is a reason,
/// then its time is shortened, then the message is cut; that it has ended is always said.
fn alert(model: &Model, banner: &Banner, room: usize) -> Vec<Segment> {
    let theme = model.options.theme;
    let alert = &banner.alert;
    let again = if banner.count > 1 && alert.value != banner.count {
        format!(" ×{}", format::count(banner.count))
    } else {
        String::new()
    };
    let (sign, style) = match banner.state {
        BannerState::Holds => ("✗", theme.error()),
        BannerState::Normal(_) => ("▲", theme.warning()),
        BannerState::Ended(_) => ("✓", theme.dim()),
    };
    let message = text::safe(&alert.message);
    let condition = condition(&message);
    let [long, short, least] = times(model, banner);
    let room = room.saturating_sub(2);
    let repeated = format!("{again}{long}");
    let with_time = room.saturating_sub(text::width(&long));
    let is_reason = message[condition.len()..].starts_with("; mostly ");
    let cut = match with_time.saturating_sub(text::width(condition)) {
        left if is_reason && left >= MIN_REASON => text::clip(&message, with_time),
        _ => condition.into(),
    };
    let ways = [(&*message, &repeated), (&message, &long), (&cut, &long), (condition, &short)];
    let fits = |(words, time): &(&str, &String)| text::width(words) + text::width(time) <= room;
    let clipped = |time: &str| reason::clip(condition, room.saturating_sub(text::width(time)));
    let (words, time) = match ways.into_iter().find(fits) {
        Some((words, time)) => (words.into(), time),
        // With the time, unless the last cause would be cut.
        None if !clipped(&short).ends_with(text::ELLIPSIS) => (clipped(&short), &short),
        None => (clipped(&least), &least),
    };
    vec![styled(format!("{sign} "), style), styled(words, style), styled(time.clone(), theme.dim())]
}

/// A message without the effect.
fn condition(message: &str) -> &str {
    message.split_once("; ").map_or(message, |(condition, _)| condition)
}

/// When an alert began, or that it has ended and when: in full, shorter, and as short as possible.
fn times(model: &Model, banner: &Banner) -> [String; 3] {
    let at = |second: i64| UtcMillis::from_epoch_millis(second.saturating_mul(1000));
    let clock = |second: i64| model.time_of_day(at(second));
    let since = banner.alert.since;
    match banner.state {
        BannerState::Holds => {
            let clock = clock(since);
            [format!(" since {clock}"), format!(" {clock}"), String::new()]
        }
        BannerState::Normal(seconds) => {
            let (long, short) = (" normal again".to_owned(), " normal".to_owned());
            [format!("{long} for {seconds} s"), long, short]
        }
        BannerState::Ended(end) => {
            let after = format!("after {}", format::micros(end.abs_diff(since) as f64 * 1e6));
            let ended = format!(" ended {}", clock(end));
            [format!("{ended} {after}"), ended, " ended".into()]
        }
    }
}

/// The key that acknowledges alerts, if it is bound here; shorter if the first alert needs the space.
fn acknowledge(model: &Model, first: Option<&Banner>, width: usize) -> String {
    let action = Action::Acknowledge;
    if !keymap::is_bound(model.context(), action) {
        return String::new();
    }
    let key = model.key(action);
    let needed = first.map_or(0, |banner| {
        let [long, ..] = times(model, banner);
        let message = text::safe(&banner.alert.message);
        text::width(condition(&message)) + text::width(&long) + 3
    });
    let long = format!(" {key} acknowledge ");
    if needed + text::width(&long) <= width { long } else { format!(" {key} ack ") }
}
